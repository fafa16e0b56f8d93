//! The transition function.

use std::time::Duration;

use super::{
    Answer, Asked, BackendEvent, Cause, Effect, End, Event, ExitStatus, GRACE, Life, MEMORY, Moment, NUDGE,
    Order, Pausing, Phase, Request, Shutdown, ShutdownBy, Step, Way,
};

/// Moves a VM on by one event at the moment `now`.
#[must_use]
pub fn step(life: &Life, event: &Event, now: Moment) -> Step {
    let mut draft = Draft { life: life.clone(), effects: Vec::new(), now };
    let answer = match event {
        Event::Request(request) => Some(draft.request(*request)),
        Event::Backend(event) => {
            draft.backend(event);
            None
        }
        Event::Tick => {
            draft.tick();
            None
        }
    };
    Step { life: draft.life, effects: draft.effects, answer }
}

fn denied(reason: &str, unblock: &str) -> Answer {
    Answer::Denied { reason: reason.to_owned(), unblock: unblock.to_owned() }
}

/// The step being put together.
struct Draft {
    life: Life,
    effects: Vec<Effect>,
    now: Moment,
}

impl Draft {
    fn order(&mut self, order: Order) {
        self.effects.push(Effect::Order(order));
    }

    /// The end is decided; the process gets its grace.
    fn expect_end(&mut self, cause: Cause) {
        let kill_at = self.now.saturating_add(GRACE);
        self.life.phase = Phase::Ending { cause, kill_at };
        self.effects.push(Effect::WakeAt(kill_at));
    }

    /// Asks the guest by one way, and remembers what that means for the story of its end.
    fn ask(&mut self, way: Way) {
        self.life.asked = match (way, self.life.asked) {
            (Way::Agent, Asked::No) => Asked::Agent,
            (Way::Agent, asked @ (Asked::Agent | Asked::AgentHeard | Asked::Button)) => asked,
            (Way::Button, Asked::AgentHeard) => Asked::AgentHeard,
            (Way::Button, Asked::No | Asked::Agent | Asked::Button) => Asked::Button,
        };
        self.order(Order::PowerDown(way));
    }

    fn power_down(&mut self, way: Way, force_at: Moment) {
        self.ask(way);
        let nudge_at = self.now.saturating_add(NUDGE);
        self.life.phase = Phase::Stopping { nudge_at, force_at };
        self.effects.push(Effect::WakeAt(nudge_at.min(force_at)));
    }

    const fn first_way(&self) -> Way {
        if self.life.agent { Way::Agent } else { Way::Button }
    }

    fn request(&mut self, request: Request) -> Answer {
        match request {
            Request::Start { paused } => self.start(paused),
            Request::Pause => self.pause(),
            Request::Resume => self.resume(),
            Request::Suspend => self.suspend(),
            Request::Stop { timeout_ms } => self.stop(Duration::from_millis(timeout_ms)),
            Request::Kill => self.kill(),
        }
    }

    fn start(&mut self, paused: bool) -> Answer {
        match self.life.phase {
            Phase::Stopped => {
                self.life.phase = Phase::Starting { stop: None };
                self.order(Order::Start { paused });
                Answer::Accepted
            }
            Phase::Starting { .. } | Phase::Running | Phase::Paused | Phase::Detached => Answer::AlreadySo,
            Phase::Stopping { .. } | Phase::Ending { .. } => {
                denied("it is being stopped", "wait for its end")
            }
            Phase::Suspending { .. } => denied("it is being suspended", "run it when it is suspended"),
            Phase::Ended(_) => denied("it has just ended", "run it again"),
        }
    }

    fn pause(&mut self) -> Answer {
        match self.life.phase {
            Phase::Running => {
                self.order(Order::Pause);
                self.life.pausing = Some(Pausing::Stay);
                Answer::Accepted
            }
            Phase::Paused => Answer::AlreadySo,
            Phase::Starting { .. } => denied("it is starting", "wait until it runs"),
            // It stands still, but not for long; whoever counts on a pause must not be told that there is one.
            Phase::Suspending { .. } => denied("it is being suspended", "run it when it is suspended"),
            Phase::Stopping { .. } | Phase::Ending { .. } => denied("it is being stopped", "run it again"),
            Phase::Detached => denied("its monitor is gone", "kill it and run it again"),
            Phase::Stopped | Phase::Ended(_) => denied("it is not running", "run it"),
        }
    }

    fn resume(&mut self) -> Answer {
        match self.life.phase {
            Phase::Paused => {
                self.order(Order::Resume);
                Answer::Accepted
            }
            Phase::Running if self.life.pausing.is_some() => {
                self.life.pausing = Some(Pausing::GoOn);
                Answer::Accepted
            }
            Phase::Running | Phase::Starting { .. } => Answer::AlreadySo,
            // A guest that went on would part from the state that is being written.
            Phase::Suspending { .. } => denied("it is being suspended", "run it when it is suspended"),
            Phase::Stopping { .. } | Phase::Ending { .. } => denied("it is being stopped", "run it again"),
            Phase::Detached => denied("its monitor is gone", "kill it and run it again"),
            Phase::Stopped | Phase::Ended(_) => denied("it is not running", "run it"),
        }
    }

    fn suspend(&mut self) -> Answer {
        match self.life.phase {
            Phase::Running | Phase::Paused if self.life.shares_folders => denied(
                "it uses folders of the host, which no saved state can hold",
                "stop it and run it without `--dir`; `set --no-dir` takes those of vm.toml away",
            ),
            Phase::Running | Phase::Paused if self.life.one_run => denied(
                "it was made for one run, and is deleted when that ends",
                "let it end, or make a VM that stays by `create`",
            ),
            Phase::Running => {
                self.life.phase = Phase::Suspending { ran: true, saving: false };
                self.order(Order::Pause);
                Answer::Accepted
            }
            Phase::Paused => {
                self.save(false);
                Answer::Accepted
            }
            Phase::Suspending { .. } | Phase::Ending { cause: Cause::Suspended, .. } => Answer::AlreadySo,
            Phase::Ended(End { cause: Cause::Suspended, .. }) => Answer::AlreadySo,
            Phase::Starting { .. } => denied("it is starting", "wait until it runs"),
            Phase::Stopping { .. } | Phase::Ending { .. } => {
                denied("it is being stopped", "wait for its end")
            }
            Phase::Detached => denied("its monitor is gone", "kill it and run it again"),
            Phase::Stopped | Phase::Ended(_) => denied("it is not running", "run it"),
        }
    }

    fn save(&mut self, ran: bool) {
        self.life.phase = Phase::Suspending { ran, saving: true };
        self.order(Order::Save { to: MEMORY.into() });
    }

    fn stop(&mut self, timeout: Duration) -> Answer {
        let force_at = self.now.saturating_add(timeout);
        match &self.life.phase {
            Phase::Starting { stop: None } => {
                self.life.phase = Phase::Starting { stop: Some(timeout) };
                Answer::Accepted
            }
            Phase::Running => {
                self.life.pausing = self.life.pausing.map(|_| Pausing::GoOn);
                self.power_down(self.first_way(), force_at);
                Answer::Accepted
            }
            Phase::Paused => {
                // A guest that stands still answers neither its agent's port nor its power button.
                self.order(Order::Resume);
                self.power_down(self.first_way(), force_at);
                Answer::Accepted
            }
            Phase::Stopping { nudge_at, force_at: before } => {
                let (nudge_at, sooner) = (*nudge_at, force_at.min(*before));
                let answer = if sooner < *before { Answer::Accepted } else { Answer::AlreadySo };
                self.life.phase = Phase::Stopping { nudge_at, force_at: sooner };
                self.effects.push(Effect::WakeAt(nudge_at.min(sooner)));
                answer
            }
            // A guest that stands still cannot power down. Its end comes by itself, and nothing of it is lost.
            Phase::Suspending { .. } => denied("it is being suspended", "wait for its end, or kill it"),
            Phase::Detached => denied("its monitor is gone, so the guest cannot be asked", "kill it"),
            Phase::Stopped | Phase::Starting { stop: Some(_) } | Phase::Ending { .. } | Phase::Ended(_) => {
                Answer::AlreadySo
            }
        }
    }

    fn kill(&mut self) -> Answer {
        match self.life.phase {
            Phase::Starting { .. }
            | Phase::Running
            | Phase::Paused
            // The state that is not whole yet goes with it.
            | Phase::Suspending { .. }
            | Phase::Stopping { .. }
            | Phase::Detached => {
                self.order(Order::Kill);
                self.expect_end(Cause::Killed);
                Answer::Accepted
            }
            Phase::Ending { cause, .. } => {
                // It was to go by itself; now it is told to go at once, and why it ends stays as it was.
                self.order(Order::Kill);
                self.expect_end(cause);
                Answer::Accepted
            }
            Phase::Stopped | Phase::Ended(_) => Answer::AlreadySo,
        }
    }

    fn backend(&mut self, event: &BackendEvent) {
        match event {
            BackendEvent::Ready { paused } => self.ready(*paused),
            BackendEvent::Paused => self.paused(),
            BackendEvent::Resumed => self.resumed(),
            BackendEvent::StartFailed(_) => self.start_failed(),
            BackendEvent::Saved => self.saved(),
            BackendEvent::SaveFailed(_) => self.save_failed(),
            BackendEvent::Reset | BackendEvent::Incident(_) => {}
            BackendEvent::Agent { listens } => self.agent(*listens),
            BackendEvent::AgentHeard => self.agent_heard(),
            BackendEvent::AgentRefused => self.agent_refused(),
            BackendEvent::ShutDown(shutdown) => self.shut_down(*shutdown),
            BackendEvent::Panicked => self.life.shutdown = Some(Shutdown::ByPanic),
            BackendEvent::InternalError => self.internal_error(),
            BackendEvent::MonitorLost => self.monitor_lost(),
            BackendEvent::Exited(status) => self.exited(*status),
        }
    }

    fn ready(&mut self, paused: bool) {
        if let Phase::Starting { stop } = self.life.phase {
            self.life.phase = if paused { Phase::Paused } else { Phase::Running };
            if let Some(timeout) = stop {
                self.stop(timeout);
            }
        }
    }

    fn start_failed(&mut self) {
        let cause = match self.life.phase {
            Phase::Starting { .. } => Cause::StartFailed,
            // Killed while it was starting: nothing came of it, as was wished.
            Phase::Ending { cause, .. } => cause,
            Phase::Stopped
            | Phase::Running
            | Phase::Paused
            | Phase::Suspending { .. }
            | Phase::Stopping { .. }
            | Phase::Detached
            | Phase::Ended(_) => return,
        };
        self.life.phase = Phase::Ended(End::new(cause, ExitStatus::Unknown));
        self.effects.push(Effect::Release);
    }

    fn paused(&mut self) {
        // One that nobody ordered, for a disk that fails, stays.
        let goes_on = self.life.pausing.take() == Some(Pausing::GoOn);
        if goes_on && matches!(self.life.phase, Phase::Running | Phase::Stopping { .. }) {
            self.order(Order::Resume);
        }
        match self.life.phase {
            Phase::Running => self.life.phase = Phase::Paused,
            Phase::Suspending { ran, saving: false } => self.save(ran),
            Phase::Stopped
            | Phase::Starting { .. }
            | Phase::Paused
            | Phase::Suspending { saving: true, .. }
            | Phase::Stopping { .. }
            | Phase::Detached
            | Phase::Ending { .. }
            | Phase::Ended(_) => {}
        }
    }

    /// The state is whole: the guest must not go on any more.
    fn saved(&mut self) {
        if let Phase::Suspending { saving: true, .. } = self.life.phase {
            self.order(Order::CutPower);
            self.expect_end(Cause::Suspended);
        }
    }

    /// No state came of it: the guest is brought back to what it did before.
    fn save_failed(&mut self) {
        if let Phase::Suspending { ran, saving } = self.life.phase {
            // One that was not seen to stand still runs: telling it to go on only makes up for a pause on its way.
            self.life.phase = if ran && !saving { Phase::Running } else { Phase::Paused };
            if ran {
                self.order(Order::Resume);
            }
        }
    }

    fn resumed(&mut self) {
        if self.life.phase == Phase::Paused {
            self.life.phase = Phase::Running;
        }
    }

    fn agent(&mut self, listens: bool) {
        let began = listens && !self.life.agent;
        self.life.agent = listens;
        // A guest that was still booting has overheard its button, and hears its agent as soon as there is one.
        if began && matches!(self.life.phase, Phase::Stopping { .. }) {
            self.ask(Way::Agent);
        }
    }

    fn agent_heard(&mut self) {
        if self.life.asked != Asked::No {
            self.life.asked = Asked::AgentHeard;
        }
    }

    /// Nothing came of the agent: the button need not wait for its turn.
    fn agent_refused(&mut self) {
        if self.life.asked != Asked::No {
            self.life.asked = Asked::Button;
        }
        if matches!(self.life.phase, Phase::Stopping { .. }) {
            self.ask(Way::Button);
        }
    }

    fn shut_down(&mut self, shutdown: Shutdown) {
        // A panic is told before the shutdown that follows from it, and is the better explanation.
        let shutdown = match self.life.shutdown {
            Some(Shutdown::ByPanic) => Shutdown::ByPanic,
            Some(Shutdown::ByGuest | Shutdown::BySignal | Shutdown::ByOther) | None => shutdown,
        };
        self.life.shutdown = Some(shutdown);
        if self.life.phase.is_live() {
            let cause = self.cause(ExitStatus::Code(0));
            self.expect_end(cause);
        }
    }

    fn internal_error(&mut self) {
        if self.life.phase.is_live() {
            self.order(Order::CutPower);
            self.expect_end(Cause::InternalError);
        }
    }

    fn monitor_lost(&mut self) {
        match self.life.phase {
            Phase::Running | Phase::Paused | Phase::Suspending { .. } => self.life.phase = Phase::Detached,
            Phase::Starting { .. } => {
                self.order(Order::Kill);
                self.expect_end(Cause::StartFailed);
            }
            // A stop that was accepted still comes to its end: cutting the power needs no monitor.
            Phase::Stopping { .. } => {}
            Phase::Stopped | Phase::Detached | Phase::Ending { .. } | Phase::Ended(_) => {}
        }
    }

    fn exited(&mut self, status: ExitStatus) {
        let cause = match self.life.phase {
            Phase::Stopped | Phase::Ended(_) => return,
            Phase::Ending { cause, .. } => cause,
            Phase::Starting { .. } => Cause::StartFailed,
            Phase::Running
            | Phase::Paused
            | Phase::Suspending { .. }
            | Phase::Stopping { .. }
            | Phase::Detached => self.cause(status),
        };
        self.life.phase = Phase::Ended(End { cause, status, by: self.by(cause) });
        self.effects.push(Effect::Release);
    }

    /// What brought the guest down, where it was asked to power off.
    const fn by(&self, cause: Cause) -> Option<ShutdownBy> {
        match cause {
            Cause::Requested => match self.life.asked {
                Asked::Agent | Asked::AgentHeard => Some(ShutdownBy::Agent),
                Asked::Button => Some(ShutdownBy::Button),
                Asked::No => None,
            },
            Cause::Forced => Some(ShutdownBy::Force),
            Cause::Guest
            | Cause::Killed
            | Cause::Suspended
            | Cause::Panic
            | Cause::InternalError
            | Cause::Signal
            | Cause::Crashed
            | Cause::StartFailed
            | Cause::Unwatched => None,
        }
    }

    /// Why a guest ended that nobody killed.
    fn cause(&self, status: ExitStatus) -> Cause {
        match self.life.shutdown {
            Some(Shutdown::ByGuest) if self.life.asked != Asked::No => Cause::Requested,
            Some(Shutdown::ByGuest) => Cause::Guest,
            Some(Shutdown::ByPanic) => Cause::Panic,
            Some(Shutdown::BySignal) => Cause::Signal,
            Some(Shutdown::ByOther) => Cause::Killed,
            None => match status {
                ExitStatus::Signal(_) => Cause::Signal,
                ExitStatus::Code(_) | ExitStatus::Failed => Cause::Crashed,
                ExitStatus::Unknown => Cause::Unwatched,
            },
        }
    }

    fn tick(&mut self) {
        match self.life.phase {
            Phase::Stopping { force_at, .. } if self.now >= force_at => {
                self.order(Order::CutPower);
                self.expect_end(Cause::Forced);
            }
            Phase::Stopping { nudge_at, force_at } if self.now >= nudge_at => {
                self.power_down(Way::Button, force_at);
            }
            Phase::Stopping { nudge_at, force_at } => {
                self.effects.push(Effect::WakeAt(nudge_at.min(force_at)))
            }
            Phase::Ending { cause, kill_at } if self.now >= kill_at => {
                self.order(Order::Kill);
                self.expect_end(cause);
            }
            Phase::Ending { kill_at, .. } => self.effects.push(Effect::WakeAt(kill_at)),
            Phase::Stopped
            | Phase::Starting { .. }
            | Phase::Running
            | Phase::Paused
            | Phase::Suspending { .. }
            | Phase::Detached
            | Phase::Ended(_) => {}
        }
    }
}
