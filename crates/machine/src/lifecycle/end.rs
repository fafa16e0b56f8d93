//! How a VM came to its end, said so that the reader knows what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the back end's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was not our child: the kernel tells its parent only.
    Unknown,
    /// There was no process of its own: the machine failed within the back end, which has told why.
    Failed,
}

/// Who switched the guest's machine off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// The guest itself.
    ByGuest,
    /// A panic of the guest's kernel.
    ByPanic,
    /// A signal to the back end's process.
    BySignal,
    /// Somebody else who could talk to the back end.
    ByOther,
}

/// Why a VM ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The guest powered itself off.
    Guest,
    /// The guest powered off because it was asked to.
    Requested,
    /// The guest did not answer in time: its power was cut.
    Forced,
    /// `kill` was asked for.
    Killed,
    /// Its state was written out as asked; a start goes on from there.
    Suspended,
    /// The guest's kernel panicked.
    Panic,
    /// The back end could not run the guest any further.
    InternalError,
    /// A signal ended the back end's process.
    Signal,
    /// The back end ended by itself without saying why.
    Crashed,
    /// It never ran.
    StartFailed,
    /// Nobody watched: the supervisor was gone.
    Unwatched,
}

impl Cause {
    /// Whether this is an end that nobody wished for.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Guest
            | Self::Requested
            | Self::Forced
            | Self::Killed
            | Self::Suspended
            | Self::Unwatched => false,
            Self::Panic | Self::InternalError | Self::Signal | Self::Crashed | Self::StartFailed => true,
        }
    }

    /// The word that the store and JSON use.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Requested => "requested",
            Self::Forced => "forced",
            Self::Killed => "killed",
            Self::Suspended => "suspended",
            Self::Panic => "panic",
            Self::InternalError => "internal_error",
            Self::Signal => "signal",
            Self::Crashed => "crashed",
            Self::StartFailed => "start_failed",
            Self::Unwatched => "unwatched",
        }
    }
}

/// What brought a guest down that was asked to power off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownBy {
    /// Its agent was told, and heard it.
    Agent,
    /// Its power button was pressed.
    Button,
    /// Its power was cut.
    Force,
}

/// The whole story of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: Cause,
    /// How the process went.
    pub status: ExitStatus,
    /// What brought it down, where it was asked to power off.
    pub by: Option<ShutdownBy>,
}

impl End {
    /// An end that no stop led to.
    #[must_use]
    pub const fn new(cause: Cause, status: ExitStatus) -> Self {
        Self { cause, status, by: None }
    }
}

/// A clause about the VM, such as `its power was cut …`.
impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.cause {
            Cause::Guest => "the guest powered off by itself",
            Cause::Requested => match self.by {
                Some(ShutdownBy::Agent) => "the guest powered off as asked, through its agent",
                Some(ShutdownBy::Button) => "the guest powered off as asked, by its power button",
                Some(ShutdownBy::Force) | None => "the guest powered off as asked",
            },
            Cause::Forced => {
                "forced: unwritten data may be lost; the guest did not power off in time and its power was cut"
            }
            Cause::Killed => "it was killed as asked: unwritten data may be lost",
            Cause::Suspended => "it was suspended as asked, and goes on at its next start",
            Cause::Panic => "the guest's kernel panicked",
            Cause::InternalError => {
                "the back end met an internal error and could not run the guest any further"
            }
            Cause::Signal => "a signal from outside ended its process",
            Cause::Crashed if self.status == ExitStatus::Failed => "its machine failed",
            Cause::Crashed => "its process ended unexpectedly",
            Cause::StartFailed => "it did not start",
            Cause::Unwatched => "it ended while no supervisor watched",
        })?;
        match self.status {
            ExitStatus::Code(0) | ExitStatus::Unknown | ExitStatus::Failed => Ok(()),
            ExitStatus::Code(status) => write!(formatter, " (exit status {status})"),
            ExitStatus::Signal(signal) => write!(formatter, " (signal {signal})"),
        }
    }
}
