//! Why an agent could not be asked, or its answer could not be used.

use std::io;
use std::time::Duration;

use selfsame_machine::agent::{Misshapen, ReadError, Refusal};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem};

use crate::bundle::Named;

/// Nothing came of a talk with an agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is none.
    #[error("no agent listens in {name}")]
    None {
        /// The VM.
        name: Named,
    },
    /// Another process talks to it.
    #[error("another process talks to the agent of {name}")]
    Busy {
        /// The VM.
        name: Named,
    },
    /// It lets time pass.
    #[error("the agent of {name} did not answer `{asked}` within {} s", limit.as_secs())]
    Silent {
        /// The VM.
        name: Named,
        /// What it was asked.
        asked: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The connection ended: QEMU is gone.
    #[error("the connection to the agent of {name} ended before it answered `{asked}`")]
    Closed {
        /// The VM.
        name: Named,
        /// What it was asked.
        asked: &'static str,
    },
    /// What it says cannot be read.
    #[error("the agent of {name} talks nonsense")]
    Nonsense {
        /// The VM.
        name: Named,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// It answered something else than was asked.
    #[error("the agent of {name} does not answer what it is asked")]
    Misshapen {
        /// The VM.
        name: Named,
        /// What is wrong with it.
        #[source]
        source: Misshapen,
    },
    /// It says no.
    #[error("the agent of {name} refused `{asked}`")]
    Refused {
        /// The VM.
        name: Named,
        /// What it was asked.
        asked: &'static str,
        /// Its words.
        #[source]
        source: Refusal,
    },
    /// It cannot be reached.
    #[error("cannot talk to the agent of {name}")]
    Io {
        /// The VM.
        name: Named,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Problem for AgentError {
    fn code(&self) -> Code {
        match self {
            Self::None { .. } => Code::AgentNone,
            Self::Busy { .. } => Code::AgentBusy,
            Self::Silent { .. } | Self::Closed { .. } | Self::Io { .. } => Code::AgentSilent,
            Self::Nonsense { .. } | Self::Misshapen { .. } => Code::AgentProtocol,
            Self::Refused { .. } => Code::AgentRefused,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let look = |name: &Named| Hint::run("see what it is doing", format!("selfsame get {}", name.word));
        match self {
            Self::None { name } => vec![
                Hint::run(
                    "wait for it while it boots",
                    format!("selfsame exec --wait {} -- true", name.word),
                ),
                Hint::say("or install `qemu-guest-agent` in the guest"),
            ],
            Self::Busy { .. } => vec![Hint::say("try again in a moment")],
            Self::Silent { name, .. } | Self::Closed { name, .. } | Self::Io { name, .. } => {
                vec![look(name)]
            }
            Self::Nonsense { .. } | Self::Misshapen { .. } => {
                vec![Hint::say("something else than `qemu-guest-agent` holds its port in the guest")]
            }
            Self::Refused { asked, .. } if *asked == "guest-exec" => vec![Hint::say(
                "the guest has no such program in the agent's `PATH`, or its agent is set not to run any",
            )],
            Self::Refused { .. } => Vec::new(),
        }
    }
}
