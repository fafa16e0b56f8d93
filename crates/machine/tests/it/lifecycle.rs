//! The life cycle: the whole table as one snapshot, and laws over random lives.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::{
    Answer, BackendEvent, Cause, Effect, End, Event, ExitStatus, GRACE, Incident, IncidentKind, Life, Moment,
    NUDGE, Order, Phase, Request, Shutdown, ShutdownBy, Way, step,
};
use selfsame_machine::problem::Report;

const NOW: Moment = Duration::from_secs(100);
const LATER: Moment = Duration::from_secs(160);

fn phases() -> Vec<Phase> {
    vec![
        Phase::Stopped,
        Phase::Starting { stop: None },
        Phase::Starting { stop: Some(Duration::from_secs(30)) },
        Phase::Running,
        Phase::Paused,
        Phase::Suspending { ran: true, saving: false },
        Phase::Suspending { ran: true, saving: true },
        Phase::Suspending { ran: false, saving: true },
        Phase::Stopping { nudge_at: NOW, force_at: LATER },
        Phase::Stopping { nudge_at: NOW, force_at: NOW },
        Phase::Detached,
        Phase::Ending { cause: Cause::Requested, kill_at: LATER },
        Phase::Ending { cause: Cause::Requested, kill_at: NOW },
        Phase::Ending { cause: Cause::Suspended, kill_at: LATER },
        Phase::Ended(End::new(Cause::Guest, ExitStatus::Code(0))),
        Phase::Ended(End::new(Cause::Suspended, ExitStatus::Code(0))),
    ]
}

fn report() -> Box<Report> {
    Box::new(Report { code: Code::QuotaFull, message: "full".into(), causes: Vec::new(), hints: Vec::new() })
}

fn events() -> Vec<Event> {
    let requests = [
        Request::Start { paused: false },
        Request::Start { paused: true },
        Request::Pause,
        Request::Resume,
        Request::Suspend,
        Request::Stop { timeout_ms: 30_000 },
        Request::Kill,
    ];
    let backend = [
        BackendEvent::Ready { paused: false },
        BackendEvent::Ready { paused: true },
        BackendEvent::Paused,
        BackendEvent::Resumed,
        BackendEvent::Reset,
        BackendEvent::ShutDown(Shutdown::ByGuest),
        BackendEvent::ShutDown(Shutdown::BySignal),
        BackendEvent::Panicked,
        BackendEvent::Incident(Incident { kind: IncidentKind::Disk, what: "full".into() }),
        BackendEvent::Agent { listens: true },
        BackendEvent::Agent { listens: false },
        BackendEvent::AgentHeard,
        BackendEvent::AgentRefused,
        BackendEvent::Saved,
        BackendEvent::SaveFailed(report()),
        BackendEvent::StartFailed(report()),
        BackendEvent::InternalError,
        BackendEvent::MonitorLost,
        BackendEvent::Exited(ExitStatus::Code(0)),
        BackendEvent::Exited(ExitStatus::Code(1)),
        BackendEvent::Exited(ExitStatus::Signal(9)),
        BackendEvent::Exited(ExitStatus::Unknown),
        BackendEvent::Exited(ExitStatus::Failed),
    ];
    let requests = requests.into_iter().map(Event::Request);
    requests.chain(backend.into_iter().map(Event::Backend)).chain([Event::Tick]).collect()
}

fn life(phase: Phase) -> Life {
    Life { phase, ..Life::new() }
}

#[test]
fn matrix() {
    let mut table = String::new();
    for phase in phases() {
        writeln!(table, "{phase:?}").unwrap();
        for event in events() {
            let name = match &event {
                Event::Request(request) => format!("{request:?}"),
                Event::Backend(BackendEvent::StartFailed(_)) => "<StartFailed>".to_owned(),
                Event::Backend(BackendEvent::SaveFailed(_)) => "<SaveFailed>".to_owned(),
                Event::Backend(event) => format!("<{event:?}>"),
                Event::Tick => "Tick".to_owned(),
            };
            let next = step(&life(phase.clone()), &event, NOW);
            let to =
                if next.life.phase == phase { "same".to_owned() } else { format!("{:?}", next.life.phase) };
            let answer = match next.answer {
                None => String::new(),
                Some(Answer::Accepted) => " accepted".into(),
                Some(Answer::AlreadySo) => " already so".into(),
                Some(Answer::Denied { reason, unblock }) => format!(" denied: {reason}; {unblock}"),
            };
            writeln!(table, "  {name:<30} -> {to} {:?}{answer}", next.effects).unwrap();
        }
    }
    writeln!(table, "with folders of the host: Suspend").unwrap();
    for phase in phases() {
        let one_run =
            step(&life(phase.clone()).of_one_run(true), &Event::Request(Request::Suspend), Duration::ZERO);
        assert!(
            !matches!(phase, Phase::Running | Phase::Paused)
                || matches!(one_run.answer, Some(Answer::Denied { .. })) && one_run.effects.is_empty(),
            "{phase:?}: {one_run:?}"
        );
        let sharing = life(phase.clone()).sharing_folders(true);
        let next = step(&sharing, &Event::Request(Request::Suspend), NOW);
        assert_eq!(next.life, sharing, "nothing changes");
        writeln!(table, "  {phase:?} {:?} {:?}", next.effects, next.answer).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_pause_under_way_stands_nobody_still_who_asked_for_something_else() {
    let told = |life: &Life, event: BackendEvent| step(life, &Event::Backend(event), NOW);
    let asked = |life: &Life, request: Request| step(life, &Event::Request(request), NOW);
    let pausing = asked(&life(Phase::Running), Request::Pause).life;
    // Before the back end has told of the pause:
    for request in [Request::Resume, Request::Stop { timeout_ms: 30_000 }] {
        let next = asked(&pausing, request);
        assert_eq!(next.answer, Some(Answer::Accepted));
        let paused = told(&next.life, BackendEvent::Paused);
        assert!(paused.effects.contains(&Effect::Order(Order::Resume)), "{request:?}: {:?}", paused.effects);
        let again = told(&paused.life, BackendEvent::Paused);
        assert!(again.effects.is_empty(), "a pause that nobody ordered stays: {:?}", again.effects);
    }
    let paused = told(&pausing, BackendEvent::Paused);
    assert_eq!((paused.life.phase, paused.effects), (Phase::Paused, vec![]), "it was only to stand still");
    // A disk that fails stands a guest still that is being stopped, and it stays so.
    let stopping = asked(&life(Phase::Running), Request::Stop { timeout_ms: 30_000 }).life;
    assert_eq!(told(&stopping, BackendEvent::Paused).effects, []);
}

/// A life, and what happens to it one after the other.
struct Story(Life, Vec<Order>);

impl Story {
    fn of(life: Life) -> Self {
        Self(life, Vec::new())
    }

    fn then(mut self, event: Event, now: Moment) -> Self {
        let next = step(&self.0, &event, now);
        self.0 = next.life;
        self.1.extend(next.effects.into_iter().filter_map(|effect| match effect {
            Effect::Order(order) => Some(order),
            Effect::WakeAt(_) | Effect::Release => None,
        }));
        self
    }

    fn told(self, event: BackendEvent) -> Self {
        self.then(Event::Backend(event), NOW)
    }

    fn asked(self, request: Request) -> Self {
        self.then(Event::Request(request), NOW)
    }

    /// Powers off, and says what brought it down and what was ordered on the way.
    fn off(self) -> (Option<ShutdownBy>, Vec<Order>) {
        let over = self
            .told(BackendEvent::ShutDown(Shutdown::ByGuest))
            .told(BackendEvent::Exited(ExitStatus::Code(0)));
        let Phase::Ended(end) = over.0.phase else { panic!("{:?}", over.0) };
        (end.by, over.1)
    }
}

const STOP: Request = Request::Stop { timeout_ms: 60_000 };
const AGENT: Order = Order::PowerDown(Way::Agent);
const BUTTON: Order = Order::PowerDown(Way::Button);

#[test]
fn a_stop_goes_through_the_agent_first_and_its_end_says_which_way_it_went() {
    let listening = || Life { agent: true, ..life(Phase::Running) };
    let nudged = |story: Story| story.then(Event::Tick, NOW + NUDGE);
    let stopped = |life: Life| Story::of(life).asked(STOP);
    let (by_agent, by_button) = (Some(ShutdownBy::Agent), Some(ShutdownBy::Button));

    assert_eq!(stopped(life(Phase::Running)).off(), (by_button, vec![BUTTON]), "nobody listens");
    assert_eq!(stopped(listening()).off(), (by_agent, vec![AGENT]));
    // It heard, and takes longer than a nudge to go down.
    let heard = nudged(stopped(listening()).told(BackendEvent::AgentHeard));
    assert_eq!(heard.off(), (by_agent, vec![AGENT, BUTTON]));
    // It hangs: that costs a nudge. A late word of it still counts.
    assert_eq!(nudged(stopped(listening())).off(), (by_button, vec![AGENT, BUTTON]));
    let late = nudged(stopped(listening())).told(BackendEvent::AgentHeard);
    assert_eq!(late.off(), (by_agent, vec![AGENT, BUTTON]));
    // It refuses, or cannot be told: the button does not wait for its turn.
    let refused = stopped(listening()).told(BackendEvent::AgentHeard).told(BackendEvent::AgentRefused);
    assert_eq!(refused.off(), (by_button, vec![AGENT, BUTTON]));
    // It was still booting. One that flips is told each time that it begins to listen.
    let begins = BackendEvent::Agent { listens: true };
    let booting = stopped(life(Phase::Running)).told(begins.clone()).told(begins.clone());
    let again = booting.told(BackendEvent::Agent { listens: false }).told(begins);
    assert_eq!(again.off(), (by_button, vec![BUTTON, AGENT, AGENT]));
    // It stands still.
    let paused = Life { agent: true, ..life(Phase::Paused) };
    assert_eq!(stopped(paused).off(), (by_agent, vec![Order::Resume, AGENT]));
    // Nobody asked, and an agent that says so all the same is not believed.
    let by_itself = Story::of(listening()).told(BackendEvent::AgentHeard).told(BackendEvent::AgentRefused);
    assert_eq!(by_itself.off(), (None, vec![]));
    // It was in vain.
    let forced =
        stopped(listening()).then(Event::Tick, LATER).told(BackendEvent::Exited(ExitStatus::Code(0)));
    let Phase::Ended(end) = forced.0.phase else { panic!("{:?}", forced.0) };
    assert_eq!((end.cause, end.by), (Cause::Forced, Some(ShutdownBy::Force)));
    assert!(end.to_string().starts_with("forced: unwritten data may be lost"), "{end}");
}

fn any_event() -> impl Strategy<Value = Event> {
    proptest::sample::select(events())
}

proptest! {
    #[test]
    fn laws_of_every_life(script in proptest::collection::vec((any_event(), 0_u64..5_000), 0..60)) {
        let mut life = Life::new();
        let mut now = Duration::ZERO;
        let mut wake: Option<Moment> = None;
        let mut released = 0;
        for (event, wait) in script {
            now += Duration::from_millis(wait);
            let before = life.clone();
            let next = step(&life, &event, now);
            prop_assert_eq!(next.answer.is_some(), matches!(event, Event::Request(_)));
            for effect in &next.effects {
                match effect {
                    Effect::WakeAt(at) => wake = Some(*at),
                    Effect::Release => released += 1,
                    Effect::Order(order) => {
                        prop_assert!(!matches!(before.phase, Phase::Ended(_)), "ordered after the end");
                        let fresh = matches!(order, Order::Start { .. });
                        prop_assert_eq!(fresh, before.phase == Phase::Stopped, "only a first start starts");
                        // A guest whose state is whole, or being written, never goes on beside it.
                        if matches!(order, Order::Resume) {
                            prop_assert!(!matches!(before.phase, Phase::Ending { .. }), "went on after its end");
                            let saving = matches!(before.phase, Phase::Suspending { .. });
                            let failed = matches!(event, Event::Backend(BackendEvent::SaveFailed(_)));
                            prop_assert!(!saving || failed, "went on while its state was written");
                        }
                    }
                }
            }
            // Whatever is waited for has a moment at which it is looked at again.
            match &next.life.phase {
                Phase::Stopping { nudge_at, force_at } => {
                    prop_assert!(wake.is_some_and(|at| at <= *nudge_at.min(force_at)));
                }
                Phase::Ending { kill_at, .. } => prop_assert!(wake.is_some_and(|at| at <= *kill_at)),
                Phase::Ended(_) => prop_assert_eq!(released, 1),
                Phase::Stopped
                | Phase::Starting { .. }
                | Phase::Running
                | Phase::Paused
                | Phase::Suspending { .. }
                | Phase::Detached => prop_assert_eq!(released, 0),
            }
            // What is refused changes nothing.
            if matches!(next.answer, Some(Answer::Denied { .. })) {
                prop_assert_eq!(&next.life, &before);
                prop_assert!(next.effects.is_empty());
            }
            life = next.life;
        }
        // Whatever came before, the end of the process is the end, once.
        let started = !matches!(life.phase, Phase::Stopped);
        let end = step(&life, &Event::Backend(BackendEvent::Exited(ExitStatus::Unknown)), now).life;
        prop_assert_eq!(matches!(end.phase, Phase::Ended(_)), started);
    }

    #[test]
    fn a_suspend_ends_in_suspended_or_where_it_began_or_in_the_end(
        ran in any::<bool>(),
        script in proptest::collection::vec((any_event(), 0_u64..5_000), 0..40),
        outcome in proptest::sample::select(vec![
            BackendEvent::Saved,
            BackendEvent::SaveFailed(report()),
            BackendEvent::Exited(ExitStatus::Signal(9)),
        ]),
    ) {
        let from = if ran { Phase::Running } else { Phase::Paused };
        let mut now = Duration::ZERO;
        let mut life = step(&life(from), &Event::Request(Request::Suspend), now).life;
        let mut was_saved = false;
        let follow = |life: &mut Life, event: &Event, now: Moment| {
            let (before, next) = (life.phase.clone(), step(life, event, now));
            *life = next.life;
            matches!((before, &life.phase), (Phase::Suspending { saving: true, .. }, Phase::Ending { cause: Cause::Suspended, .. }))
        };
        for (event, wait) in script {
            now += Duration::from_millis(wait);
            if !matches!(life.phase, Phase::Suspending { .. }) {
                break;
            }
            was_saved |= follow(&mut life, &event, now);
        }
        // Whatever came in between: once it stands still, what the back end says of the state decides.
        for event in [BackendEvent::Paused, outcome] {
            if matches!(life.phase, Phase::Suspending { .. }) {
                was_saved |= follow(&mut life, &Event::Backend(event), now);
            }
        }
        match &life.phase {
            Phase::Ending { cause: Cause::Suspended, .. } => prop_assert!(was_saved, "nothing was saved"),
            Phase::Running | Phase::Paused | Phase::Detached | Phase::Ending { .. } | Phase::Ended(_) => {
                prop_assert!(!was_saved);
            }
            phase @ (Phase::Stopped
            | Phase::Starting { .. }
            | Phase::Suspending { .. }
            | Phase::Stopping { .. }) => prop_assert!(false, "it came to {phase:?}"),
        }
    }

    #[test]
    fn a_stop_always_comes_to_an_end(timeout_ms in 0_u64..60_000) {
        let mut now = Duration::ZERO;
        let mut life = life(Phase::Running);
        let mut next = step(&life, &Event::Request(Request::Stop { timeout_ms }), now);
        let mut cut = false;
        for _ in 0..200 {
            life = next.life;
            let Some(at) = next.effects.iter().find_map(|effect| match effect {
                Effect::WakeAt(at) => Some(*at),
                Effect::Order(_) | Effect::Release => None,
            }) else { break };
            now = at;
            next = step(&life, &Event::Tick, now);
            cut |= next.effects.contains(&Effect::Order(Order::CutPower));
            if next.effects.contains(&Effect::Order(Order::Kill)) {
                break;
            }
        }
        prop_assert!(cut, "the power was never cut");
        prop_assert_eq!(now, Duration::from_millis(timeout_ms) + GRACE);
    }
}
