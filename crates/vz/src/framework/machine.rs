//! One machine's side of the queue: everything that is done with its `VZVirtualMachine`.
//!
//! ```text
//!             start                  handler: Ok              delegate, or handler of a stop
//!   Idle ─────────────▶ Starting ────────────────▶ Up ───────────────────────────────────────▶ Over
//!    ▲  busy: wait, try again │ handler: error                                                   ▲
//!    └────────────────────────┴──────────────────────────────────── gave up, or told to end ─────┘
//! ```
//!
//! - **Idle**: no object exists; a start may be waiting for its next try.
//! - **Starting**, **Up**: the objects exist.
//! - **Over**: the objects are let go of, and with them the framework's locks; then the end is told, once.
//!
//! **Invariant.** Each function here runs on the queue (it takes the proof), and after `Over` nothing is told any more.

use std::cell::Cell;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use block2::RcBlock;
use objc2::rc::Retained;
use objc2::runtime::{NSObjectProtocol as _, ProtocolObject};
use objc2::{AnyThread as _, sel};
use objc2_foundation::NSError;
use objc2_virtualization::{VZVirtualMachine, VZVirtualMachineConfiguration};
use selfsame_machine::lifecycle::{BackendEvent, ExitStatus, GRACE, Incident, IncidentKind, Shutdown};
use selfsame_machine::problem::Report;

use super::configuration::configure;
use super::delegate::Delegate;
use super::error::link_of;
use super::file_url;
use super::queue::{Bound, OnQueue, Queue};
use crate::bell::Bell;
use crate::error::{Link, Unsupported, VzError};
use crate::plan::Plan;
use crate::retry::Retry;

/// After so long an end that does not come is given up: [`GRACE`], by the clock of whoever asks again after it. This queue
/// may have come to the first asking a little later than that.
const STUCK: Duration = GRACE.saturating_sub(Duration::from_secs(1));

/// How a guest is to begin.
#[derive(Debug, Clone)]
pub(super) enum Begin {
    /// From the power button; its processors stand still afterwards if `paused`.
    Boot {
        /// Whether to stand still.
        paused: bool,
    },
    /// From a saved state.
    Restore {
        /// Its file.
        from: PathBuf,
    },
}

/// One machine.
#[derive(Debug)]
pub(super) struct Machine {
    queue: Queue,
    plan: Plan,
    bell: Bell,
    /// The guest's end of its report port.
    report: Option<OwnedFd>,
    state: Bound<State>,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    retry: Retry,
    /// When the end was first asked for.
    end_asked: Option<Instant>,
    /// Whether a macOS guest was asked to shut down.
    power_pressed: bool,
    /// Whether the framework is switching it off.
    cutting: bool,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Starting(Objects),
    Up(Objects),
    /// With what is still to be let go of.
    Over(Option<Objects>),
}

/// What exists of a machine.
#[derive(Debug)]
struct Objects {
    vm: Retained<VZVirtualMachine>,
    /// The framework refers to it weakly.
    _delegate: Retained<Delegate>,
    /// Whether this machine's devices can be saved; why not.
    saves: Result<(), Report>,
}

type Outcome = Result<(), Link>;
type Handler = RcBlock<dyn Fn(*mut NSError)>;

impl Machine {
    pub(super) fn new(plan: Plan, bell: Bell, report: Option<OwnedFd>) -> Arc<Self> {
        let queue = Queue::new("dev.selfsame.machine");
        let state = Bound::new(&queue);
        Arc::new(Self { queue, plan, bell, report, state })
    }

    pub(super) const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Runs `work` on the queue.
    pub(super) fn submit(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>, &OnQueue<'_>) + Send + 'static) {
        let machine = Arc::clone(self);
        self.queue.submit(move |on| work(&machine, on));
    }

    // --- Beginning ---

    pub(super) fn start(self: &Arc<Self>, on: &OnQueue<'_>, begin: Begin) {
        // It may have been told to end while it waited.
        let is_idle = self.state.with(on, |state| matches!(state.stage, Stage::Idle));
        if !is_idle {
            return;
        }
        if let Err(error) = self.try_start(on, begin.clone()) {
            self.start_failed(on, begin, error);
        }
    }

    fn try_start(self: &Arc<Self>, on: &OnQueue<'_>, begin: Begin) -> Result<(), VzError> {
        // SAFETY: a class method that takes nothing.
        if !unsafe { VZVirtualMachine::isSupported() } {
            return Err(VzError::Unsupported(Unsupported::Guests));
        }
        let configuration = configure(on, &self.plan, self.report.as_ref().map(|port| port.as_fd()))?;
        let saves = saves(&configuration);
        if let (Begin::Restore { .. }, Err(why)) = (&begin, &saves) {
            self.over(on, [BackendEvent::StartFailed(Box::new(why.clone()))]);
            return Ok(());
        }
        // SAFETY: the configuration was validated and is given up here; the queue is this machine's own and serial.
        let vm = unsafe {
            VZVirtualMachine::initWithConfiguration_queue(
                VZVirtualMachine::alloc(),
                &configuration,
                self.queue.dispatch(),
            )
        };
        let delegate = Delegate::new(Arc::downgrade(self));
        // SAFETY: on the machine's queue; the delegate lives as long as the machine (`Objects`).
        unsafe { vm.setDelegate(Some(ProtocolObject::from_ref(&*delegate))) };
        let handler = self.handler({
            let begin = begin.clone();
            move |machine, on, outcome| machine.started(on, begin, outcome)
        });
        let objects = Objects { vm: vm.clone(), _delegate: delegate, saves };
        self.state.with(on, |state| state.stage = Stage::Starting(objects));
        // SAFETY: on the machine's queue; a machine just made is stopped, and both want it so.
        unsafe {
            match begin {
                Begin::Boot { .. } => vm.startWithCompletionHandler(&handler),
                Begin::Restore { from } => {
                    vm.restoreMachineStateFromURL_completionHandler(&file_url(&from), &handler);
                }
            }
        }
        Ok(())
    }

    fn started(self: &Arc<Self>, on: &OnQueue<'_>, begin: Begin, outcome: Outcome) {
        let stage = self.state.with(on, |state| std::mem::take(&mut state.stage));
        let Stage::Starting(objects) = stage else {
            // The end came first.
            self.state.with(on, |state| state.stage = stage);
            return;
        };
        if let Err(link) = outcome {
            // With the objects go their locks, for the next try as well.
            drop(objects);
            let doing = match begin {
                Begin::Boot { .. } => "start the guest",
                Begin::Restore { .. } => "start the guest from its saved state",
            };
            self.start_failed(on, begin, VzError::failed(doing, link));
            return;
        }
        let end_wanted = self.state.with(on, |state| {
            state.stage = Stage::Up(objects);
            state.end_asked.is_some()
        });
        match begin {
            _ if end_wanted => self.cut_power(on),
            Begin::Boot { paused: false } => self.tell(on, BackendEvent::Ready { paused: false }),
            Begin::Restore { .. } => self.tell(on, BackendEvent::Ready { paused: true }),
            Begin::Boot { paused: true } => self.stand_still_at_first(on),
        }
    }

    fn start_failed(self: &Arc<Self>, on: &OnQueue<'_>, begin: Begin, error: VzError) {
        let (end_wanted, wait) = self.state.with(on, |state| {
            let wait = if error.is_busy() { state.retry.next_wait() } else { None };
            (state.end_asked.is_some(), wait)
        });
        match wait {
            _ if end_wanted => self.over(on, [BackendEvent::Exited(ExitStatus::Unknown)]),
            Some(wait) => {
                let machine = Arc::downgrade(self);
                self.queue.submit_after(wait, move |on| {
                    // Forgotten meanwhile, nobody would drive its guest.
                    if let Some(machine) = machine.upgrade() {
                        machine.start(on, begin);
                    }
                });
            }
            None => self.over(on, [BackendEvent::StartFailed(Box::new(Report::from(error)))]),
        }
    }

    // --- Running ---

    /// The framework has no start that stands still: the guest's processors have run for a moment.
    fn stand_still_at_first(self: &Arc<Self>, on: &OnQueue<'_>) {
        let handler = self.handler(|machine, on, outcome| {
            let paused = outcome.is_ok();
            if let Err(link) = outcome {
                machine.incident(on, IncidentKind::Order, format!("it could not be paused: {link}"));
            }
            machine.tell(on, BackendEvent::Ready { paused });
            machine.cut_if_wanted(on);
        });
        // SAFETY: on the machine's queue. In a state that does not fit the handler gets an error.
        self.with_vm(on, |vm| unsafe { vm.pauseWithCompletionHandler(&handler) });
    }

    pub(super) fn pause(self: &Arc<Self>, on: &OnQueue<'_>) {
        let handler = self.tell_when_done("paused", BackendEvent::Paused);
        // SAFETY: as above.
        self.with_vm(on, |vm| unsafe { vm.pauseWithCompletionHandler(&handler) });
    }

    pub(super) fn resume(self: &Arc<Self>, on: &OnQueue<'_>) {
        let handler = self.tell_when_done("resumed", BackendEvent::Resumed);
        // SAFETY: as above.
        self.with_vm(on, |vm| unsafe { vm.resumeWithCompletionHandler(&handler) });
    }

    /// Presses the power button. A macOS guest shows a dialog for each time, so it is pressed once there.
    pub(super) fn power_down(self: &Arc<Self>, on: &OnQueue<'_>) {
        let again = self.state.with(on, |state| std::mem::replace(&mut state.power_pressed, true));
        if again && self.plan.is_macos() {
            return;
        }
        // SAFETY: on the machine's queue. In a state that does not fit there is an error.
        let pressed = self.with_vm(on, |vm| unsafe { vm.requestStopWithError() });
        if !matches!(pressed, Some(Ok(()))) {
            // A guest that is just being resumed cannot be asked yet; the life cycle presses again.
            self.state.with(on, |state| state.power_pressed = false);
        }
    }

    pub(super) fn save(self: &Arc<Self>, on: &OnQueue<'_>, to: PathBuf) {
        let failed = |report| self.tell(on, BackendEvent::SaveFailed(Box::new(report)));
        let saves = self.state.with(on, |state| match &state.stage {
            Stage::Up(objects) => objects.saves.clone(),
            Stage::Idle | Stage::Starting(_) | Stage::Over(_) => Err(no_guest().into()),
        });
        if let Err(report) = saves {
            return failed(report);
        }
        if to.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return failed(VzError::System { doing: "save the guest's state", source }.into());
        }
        let url = file_url(&to);
        let handler = self.handler(move |machine, on, outcome| machine.saved(on, &to, outcome));
        // SAFETY: on the machine's queue; that this macOS has the method was asked when the machine was made.
        self.with_vm(on, |vm| unsafe { vm.saveMachineStateToURL_completionHandler(&url, &handler) });
    }

    fn saved(self: &Arc<Self>, on: &OnQueue<'_>, to: &Path, outcome: Outcome) {
        let event = match outcome {
            Ok(()) => BackendEvent::Saved,
            Err(link) => {
                // Nothing was there before; what is there now is half a state.
                drop(std::fs::remove_file(to));
                BackendEvent::SaveFailed(Box::new(VzError::failed("save the guest's state", link).into()))
            }
        };
        self.tell(on, event);
        self.cut_if_wanted(on);
    }

    // --- Ending ---

    /// Ends the machine. One whose end does not come is let go of when it is asked for again after [`GRACE`]: not sooner,
    /// because whoever is told the end may start the VM again.
    pub(super) fn switch_off(self: &Arc<Self>, on: &OnQueue<'_>) {
        let (is_idle, is_stuck) = self.state.with(on, |state| {
            let asked = state.end_asked.get_or_insert_with(Instant::now);
            (matches!(state.stage, Stage::Idle), asked.elapsed() >= STUCK)
        });
        if is_idle || is_stuck {
            // A machine whose objects are gone is ended by the framework, and at the latest by the end of this process.
            self.over(on, [BackendEvent::Exited(ExitStatus::Unknown)]);
        } else {
            self.cut_power(on);
        }
    }

    /// One that is still starting is cut off once it is up.
    fn cut_power(self: &Arc<Self>, on: &OnQueue<'_>) {
        let handler = self.handler(|machine, on, outcome| machine.switched_off(on, outcome));
        // Before the call, whose handler takes it back.
        self.state.with(on, |state| state.cutting = matches!(state.stage, Stage::Up(_)));
        // SAFETY: on the machine's queue. In a state that does not fit the handler gets an error.
        self.with_vm(on, |vm| unsafe { vm.stopWithCompletionHandler(&handler) });
    }

    /// The framework may have refused to switch it off while it was still pausing, resuming or saving.
    fn cut_if_wanted(self: &Arc<Self>, on: &OnQueue<'_>) {
        if self.state.with(on, |state| state.end_asked.is_some() && !state.cutting) {
            self.cut_power(on);
        }
    }

    fn switched_off(self: &Arc<Self>, on: &OnQueue<'_>, outcome: Outcome) {
        match outcome {
            Ok(()) => self.over(on, [BackendEvent::Exited(ExitStatus::Code(0))]),
            Err(link) => {
                self.state.with(on, |state| state.cutting = false);
                self.incident(on, IncidentKind::Order, format!("it could not be switched off: {link}"));
            }
        }
    }

    /// The guest's machine ended by itself.
    pub(super) fn guest_stopped(self: &Arc<Self>, on: &OnQueue<'_>) {
        let events = [BackendEvent::ShutDown(Shutdown::ByGuest), BackendEvent::Exited(ExitStatus::Code(0))];
        self.over(on, events);
    }

    /// The framework, or its service for this machine, failed.
    pub(super) fn failed(self: &Arc<Self>, on: &OnQueue<'_>, link: Link) {
        let starting = self.state.with(on, |state| matches!(state.stage, Stage::Starting(_)));
        if starting {
            let report = Report::from(VzError::failed("start the guest", link));
            return self.over(on, [BackendEvent::StartFailed(Box::new(report))]);
        }
        let what = link.iter().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let incident = BackendEvent::Incident(Incident { kind: IncidentKind::Machine, what });
        self.over(on, [incident, BackendEvent::Exited(ExitStatus::Failed)]);
    }

    pub(super) fn network_lost(&self, on: &OnQueue<'_>, link: &Link) {
        self.incident(on, IncidentKind::Network, link.to_string());
    }

    // --- Shared ---

    /// Tells an event, unless the end was told: a handler that was under way then may come afterwards.
    fn tell(&self, on: &OnQueue<'_>, event: BackendEvent) {
        if !self.state.with(on, |state| matches!(state.stage, Stage::Over(_))) {
            self.bell.ring(event);
        }
    }

    fn incident(&self, on: &OnQueue<'_>, kind: IncidentKind, what: String) {
        self.tell(on, BackendEvent::Incident(Incident { kind, what }));
    }

    /// Lets go of the objects, and then tells the end, once: who is told may start the VM again at once.
    ///
    /// Both in work of its own. What ends a machine is mostly a callback that it makes itself, and the framework still uses
    /// it, and keeps it, until that returns.
    fn over(self: &Arc<Self>, on: &OnQueue<'_>, events: impl IntoIterator<Item = BackendEvent>) {
        let is_first = self.state.with(on, |state| {
            let left = match std::mem::take(&mut state.stage) {
                Stage::Over(left) => {
                    state.stage = Stage::Over(left);
                    return false;
                }
                Stage::Starting(objects) | Stage::Up(objects) => Some(objects),
                Stage::Idle => None,
            };
            state.stage = Stage::Over(left);
            true
        });
        if is_first {
            let events: Vec<BackendEvent> = events.into_iter().collect();
            self.submit(move |machine, on| {
                let left = machine.state.with(on, |state| match &mut state.stage {
                    Stage::Over(left) => left.take(),
                    Stage::Idle | Stage::Starting(_) | Stage::Up(_) => None,
                });
                drop(left);
                events.into_iter().for_each(|event| machine.bell.ring(event));
            });
        }
    }

    /// Touches the machine, if it is up.
    fn with_vm<R>(&self, on: &OnQueue<'_>, work: impl FnOnce(&VZVirtualMachine) -> R) -> Option<R> {
        let vm = self.state.with(on, |state| match &state.stage {
            Stage::Up(objects) => Some(objects.vm.clone()),
            Stage::Idle | Stage::Starting(_) | Stage::Over(_) => None,
        })?;
        Some(work(&vm))
    }

    /// A completion handler that owns everything it needs. The framework calls it once, on the machine's queue.
    ///
    /// What it owns goes with the block, which the framework may let go of on any thread: so it can be sent.
    fn handler(
        self: &Arc<Self>,
        then: impl FnOnce(&Arc<Self>, &OnQueue<'_>, Outcome) + Send + 'static,
    ) -> Handler {
        let machine = Arc::clone(self);
        let then = Cell::new(Some(then));
        RcBlock::new(move |error: *mut NSError| {
            machine.queue.callback(|on| {
                let Some(then) = then.take() else { return };
                // SAFETY: nil, or an error that lives for this call.
                let outcome = unsafe { error.as_ref() }.map_or(Ok(()), |error| Err(link_of(error)));
                then(&machine, on, outcome);
            });
        })
    }

    fn tell_when_done(self: &Arc<Self>, participle: &'static str, event: BackendEvent) -> Handler {
        self.handler(move |machine, on, outcome| {
            match outcome {
                Ok(()) => machine.tell(on, event),
                Err(link) => {
                    machine.incident(
                        on,
                        IncidentKind::Order,
                        format!("it could not be {participle}: {link}"),
                    );
                }
            }
            machine.cut_if_wanted(on);
        })
    }
}

fn no_guest() -> VzError {
    let source = std::io::Error::other("no guest runs");
    VzError::System { doing: "save the guest's state", source }
}

/// Whether a machine of this configuration can be saved on this macOS; why not.
fn saves(configuration: &VZVirtualMachineConfiguration) -> Result<(), Report> {
    if !configuration.respondsToSelector(sel!(validateSaveRestoreSupportWithError:)) {
        return Err(VzError::Unsupported(Unsupported::SavedState).into());
    }
    // SAFETY: this macOS has the method; it reads the configuration.
    unsafe { configuration.validateSaveRestoreSupportWithError() }
        .map_err(|error| VzError::failed("save such a guest", link_of(&error)).into())
}
