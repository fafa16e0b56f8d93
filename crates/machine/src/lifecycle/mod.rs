//! The life of one running VM, from the start of its supervisor to the end of its guest.
//!
//! ```text
//!             Start            Ready                     Stop                 guest off, or time is up
//!  Stopped ─────────▶ Starting ─────▶ Running ◀──▶ Paused ─────▶ Stopping ─────────▶ Ending ─────▶ Ended
//!                        │               │ monitor lost                     Kill        ▲  Exited
//!                        │               └───────▶ Detached ────────────────────────────┤
//!                        │        Running, Paused ── Suspend ──▶ Suspending ── Saved ──▶│
//!                        │               ▲                          │ SaveFailed        │
//!                        │               └──────────────────────────┘                   │
//!                        └──────────────────────── StartFailed, Exited ─────────────────┴────────▶ Ended
//! ```
//!
//! - **Stopped**: nothing was started yet.
//! - **Starting**: the back end was told to start and has not answered. A `Stop` is remembered.
//! - **Running**, **Paused**: the guest's processors run, or stand still with its memory kept.
//! - **Suspending**: from Running or Paused. The guest stands still, or was told to, and its state is written out. It comes
//!   to Ending with the cause `suspended`, or back to where it was when it could not be written.
//! - **Stopping**: the guest was asked to power down, through its agent first where one listens, and its power button is
//!   pressed again and again until it is off or its time is up. An agent that hangs costs one [`NUDGE`], no more.
//! - **Detached**: the back end's process lives and can be killed, but no longer told anything.
//! - **Ending**: the end is decided; the process has a few seconds to be gone before it is killed.
//! - **Ended**: the process is gone, and why is known as well as it ever will be.
//!
//! [`step`] is a pure function: no lock, no clock, no waiting. One driver per VM feeds it events, in the order "what
//! the guest did" before "what people ask", and carries out the effects. No arm of it is a wildcard over phases or
//! events, so a new one does not compile until every combination is decided; the whole table is one snapshot,
//! `tests/it/snapshots/it__lifecycle__matrix.snap`.

mod end;
mod step;

pub use end::{Cause, End, ExitStatus, Shutdown, ShutdownBy};
pub use step::step;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::problem::Report;

/// Where a state is written before it is whole, relative to the VM's folder.
pub const MEMORY: &str = "State.new/memory";

/// A moment on the driver's monotonic clock: the time since the driver began.
pub type Moment = Duration;

/// The guest is asked again to power down after this long: one that was still booting has lost the first request.
pub const NUDGE: Duration = Duration::from_secs(1);

/// How long a process whose end is decided may take before it is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// Where a VM stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was started.
    Stopped,
    /// The back end is starting; `stop` is a remembered request with its time limit.
    Starting {
        /// A stop that came meanwhile: how long the guest may take.
        stop: Option<Duration>,
    },
    /// The guest runs.
    Running,
    /// The guest's processors stand still.
    Paused,
    /// The guest is brought to stand still, and its state is written out.
    Suspending {
        /// Whether it ran before: then it goes on when the state cannot be written.
        ran: bool,
        /// Whether it stands still, and the writing has begun.
        saving: bool,
    },
    /// The guest was asked to power down.
    Stopping {
        /// When it is asked again.
        nudge_at: Moment,
        /// When its power is cut.
        force_at: Moment,
    },
    /// The back end can be told nothing any more, but its process lives.
    Detached,
    /// The end is decided, and the process is expected to go.
    Ending {
        /// Why.
        cause: Cause,
        /// When it is killed, if it has not gone.
        kill_at: Moment,
    },
    /// The process is gone.
    Ended(End),
}

impl Phase {
    /// Whether a process of it is there whose end is not decided yet.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        match self {
            Self::Starting { .. }
            | Self::Running
            | Self::Paused
            | Self::Suspending { .. }
            | Self::Stopping { .. }
            | Self::Detached => true,
            Self::Stopped | Self::Ending { .. } | Self::Ended(_) => false,
        }
    }

    /// The word that people and programs see.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting { .. } => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Suspending { .. } => "suspending",
            Self::Stopping { .. } => "stopping",
            Self::Detached => "detached",
            Self::Ending { .. } => "ending",
            Self::Ended(_) => "ended",
        }
    }
}

/// What people ask of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// Start the guest, its processors standing still if `paused`.
    Start {
        /// Whether to stand still at first.
        paused: bool,
    },
    /// Stand still, memory kept.
    Pause,
    /// Go on.
    Resume,
    /// Write memory and devices to the disk and end, so that a later start goes on from there.
    Suspend,
    /// Power down through the guest; cut its power when `timeout_ms` have passed.
    Stop {
        /// How long the guest may take, in milliseconds.
        timeout_ms: u64,
    },
    /// End at once, whatever the guest does.
    Kill,
}

/// Something that people should know of and that changes no phase by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// What kind of thing happened.
    pub kind: IncidentKind,
    /// What exactly, a clause for people.
    pub what: String,
}

/// The kinds of incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentKind {
    /// A disk failed to read or write. If the guest was paused for it, that is told too.
    Disk,
    /// A network card lost its network.
    Network,
    /// The back end says why the guest's machine ended; its [`BackendEvent::Exited`] follows.
    Machine,
    /// An order was handed over and came to nothing.
    Order,
}

/// What a back end tells of its guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendEvent {
    /// The start came to nothing, and nothing is left of it. The report's code tells a VM in use (`bundle.in_use`) and a
    /// full quota (`quota.full`) from other failures.
    StartFailed(Box<Report>),
    /// The start is done; the guest stands still if `paused`.
    Ready {
        /// Whether it stands still.
        paused: bool,
    },
    /// The guest stands still now.
    Paused,
    /// The guest goes on.
    Resumed,
    /// The guest was reset. Back ends tell it up to three times a reset: it is never counted.
    Reset,
    /// The guest's machine was switched off.
    ShutDown(Shutdown),
    /// The guest's kernel panicked.
    Panicked,
    /// Something happened that people should know of.
    Incident(Incident),
    /// An agent in the guest began to listen, or ceased to. A guest may tell so as often as it likes.
    Agent {
        /// Whether one listens now.
        listens: bool,
    },
    /// The agent has heard that its guest is to power down. Whether it does, only the guest's end tells.
    AgentHeard,
    /// The agent could not be told to power its guest down, or refuses.
    AgentRefused,
    /// The state of the guest was saved whole; it stands still.
    Saved,
    /// The state was not saved, and no half of it is left; the guest stands still as before.
    SaveFailed(Box<Report>),
    /// The back end met a state that it cannot run on from.
    InternalError,
    /// Nothing can be told to the back end any more.
    MonitorLost,
    /// The process is gone.
    Exited(ExitStatus),
}

/// Anything that moves a VM on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// From people.
    Request(Request),
    /// From the back end.
    Backend(BackendEvent),
    /// The time that an effect asked to be woken at has come.
    Tick,
}

/// A way to ask a guest to power down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By its agent, which does what the guest's own `shutdown` does.
    Agent,
    /// By its power button, which a guest may overhear or be set not to mind.
    Button,
}

/// What the back end is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Start the guest.
    Start {
        /// With its processors standing still.
        paused: bool,
    },
    /// Start the guest from a saved state; it stands still afterwards, as it did when it was saved.
    Restore {
        /// The file that [`Order::Save`] wrote, absolute.
        from: PathBuf,
    },
    /// Save the state of a guest that stands still, into a file that does not exist yet.
    Save {
        /// The file. The life cycle names it relative to the VM's folder ([`MEMORY`]), the driver makes it absolute.
        to: PathBuf,
    },
    /// Stand still.
    Pause,
    /// Go on.
    Resume,
    /// Ask the guest to power down.
    PowerDown(Way),
    /// Switch off.
    CutPower,
    /// End the process by force.
    Kill,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the back end.
    Order(Order),
    /// Send [`Event::Tick`] at this moment; replaces an earlier wish.
    WakeAt(Moment),
    /// All is over: record the end and give everything back.
    Release,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// It is being done.
    Accepted,
    /// Nothing to do: so it is, or so it is becoming.
    AlreadySo,
    /// It does not fit the state.
    Denied {
        /// Why, a clause about the VM such as `it is being stopped`.
        reason: String,
        /// What would make it possible, a clause such as `wait for its end`.
        unblock: String,
    },
}

/// What follows a pause that is under way. Whoever asks for something else meanwhile must not be stood still by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pausing {
    /// The guest is to stand still.
    Stay,
    /// It is to go on at once: somebody resumed it, or wants it to power down.
    GoOn,
}

/// How a guest was asked to power down, as far as it tells what brings it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It was not.
    No,
    /// Its agent was told, and nobody knows yet whether it heard.
    Agent,
    /// Its agent heard: what is pressed afterwards finds a guest that goes down already.
    AgentHeard,
    /// Its power button was pressed.
    Button,
}

/// A VM as the driver knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Where it stands.
    pub phase: Phase,
    /// What the back end said about a coming end.
    pub shutdown: Option<Shutdown>,
    /// Whether somebody asked for a stop, and how the guest was asked.
    pub asked: Asked,
    /// Whether an agent listens in the guest.
    pub agent: bool,
    /// A pause that was ordered and is not told yet.
    pub pausing: Option<Pausing>,
    /// Whether the guest uses folders of the host. What it has open there is on the host, and in no saved state.
    pub shares_folders: bool,
    /// Whether the VM was made for one run: there is no later one that could go on from a state.
    pub one_run: bool,
}

impl Life {
    /// A VM of which nothing was started.
    #[must_use]
    pub const fn new() -> Self {
        Self::at(Phase::Stopped)
    }

    /// A VM that a new supervisor found running.
    #[must_use]
    pub const fn adopted(paused: bool) -> Self {
        Self::at(if paused { Phase::Paused } else { Phase::Running })
    }

    /// A VM that a new supervisor found while its state was written out. What comes of that its back end tells.
    #[must_use]
    pub const fn suspending(ran: bool) -> Self {
        Self::at(Phase::Suspending { ran, saving: true })
    }

    /// The same VM, which uses folders of the host or does not.
    #[must_use]
    pub fn sharing_folders(self, shares_folders: bool) -> Self {
        Self { shares_folders, ..self }
    }

    /// The same VM, which was made for one run or was not.
    #[must_use]
    pub fn of_one_run(self, one_run: bool) -> Self {
        Self { one_run, ..self }
    }

    const fn at(phase: Phase) -> Self {
        Self {
            phase,
            shutdown: None,
            asked: Asked::No,
            agent: false,
            pausing: None,
            shares_folders: false,
            one_run: false,
        }
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

/// The outcome of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The VM afterwards.
    pub life: Life,
    /// What to do, in this order.
    pub effects: Vec<Effect>,
    /// The answer, if the event was a request.
    pub answer: Option<Answer>,
}
