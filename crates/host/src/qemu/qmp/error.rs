//! What can go wrong between us and QEMU's monitor.

use std::fmt;
use std::io;
use std::time::Duration;

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem};

use super::codec::CodecError;
use super::command::Command;
use super::message::QmpFault;

/// What was expected of the monitor when something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The greeting.
    Greeting,
    /// Room to write a command.
    Writing(Command),
    /// The answer to a command.
    Reply(Command),
    /// Whatever comes.
    Anything,
}

impl fmt::Display for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting => formatter.write_str("the greeting"),
            Self::Writing(command) => write!(formatter, "room for `{}`", command.name()),
            Self::Reply(command) => write!(formatter, "the answer to `{}`", command.name()),
            Self::Anything => formatter.write_str("the next event"),
        }
    }
}

/// The monitor did not do as it should.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Nothing came in time.
    #[error("QEMU's monitor let {} ms pass while it was waited for {waiting}", limit.as_millis())]
    TimedOut {
        /// For what.
        waiting: Waiting,
        /// How long.
        limit: Duration,
    },
    /// QEMU hung up, most likely because it has ended. A killed QEMU resets the connection, or just ends it.
    #[error("QEMU's monitor hung up while it was waited for {waiting}")]
    Closed {
        /// For what.
        waiting: Waiting,
        /// How the line begins that was never ended, made printable; mostly empty.
        unfinished: String,
    },
    /// What came is not QMP.
    #[error("QEMU's monitor sent something unreadable instead of {waiting}")]
    Garbled {
        /// Instead of what.
        waiting: Waiting,
        /// Why it is unreadable.
        #[source]
        source: CodecError,
    },
    /// What came is QMP, but not this.
    #[error("QEMU's monitor sent something else than {waiting}: `{got}`")]
    Unexpected {
        /// Than what.
        waiting: Waiting,
        /// How it begins, made printable.
        got: String,
    },
    /// QEMU refused the command.
    #[error("QEMU refused `{}`", command.name())]
    Refused {
        /// Which command.
        command: Command,
        /// Why.
        #[source]
        fault: QmpFault,
    },
    /// The system failed to carry the bytes.
    #[error("cannot talk to QEMU's monitor while it is waited for {waiting}")]
    Io {
        /// For what.
        waiting: Waiting,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl QmpError {
    /// QEMU was gone before it could greet.
    #[must_use]
    pub const fn gone() -> Self {
        Self::Closed { waiting: Waiting::Greeting, unfinished: String::new() }
    }

    /// Whether the connection is over: nothing more will ever come from it.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::TimedOut { .. }
            | Self::Garbled { .. }
            | Self::Unexpected { .. }
            | Self::Refused { .. }
            | Self::Io { .. } => false,
        }
    }
}

impl Problem for QmpError {
    fn code(&self) -> Code {
        Code::QemuProtocol
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::TimedOut { waiting: Waiting::Greeting, .. } => vec![Hint::say(
                "QEMU's monitor talks to one program at a time: end the other one, or wait if the host is busy",
            )],
            Self::TimedOut { .. } => {
                vec![Hint::say(
                    "the host may be overloaded, or QEMU stopped by a signal: try again when it runs",
                )]
            }
            Self::Closed { .. } => {
                vec![Hint::say("QEMU has probably ended: its last words are in the log file of its errors")]
            }
            Self::Garbled { .. } | Self::Unexpected { .. } => {
                vec![Hint::run("see whether this is a QEMU that selfsame knows", "selfsame doctor")]
            }
            Self::Refused { .. } | Self::Io { .. } => Vec::new(),
        }
    }
}
