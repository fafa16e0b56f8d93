//! What can go wrong around a supervisor, beside the refusals of the gate.

use std::io;

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem};

use crate::bundle::Named;

/// A supervisor could not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The VM runs, or is being started, under another one.
    #[error("{name} is running already{}", pid.map(|pid| format!(" (supervisor {pid})")).unwrap_or_default())]
    Running {
        /// The VM.
        name: Named,
        /// The supervisor's process, where it can be told.
        pid: Option<u32>,
    },
    /// There is nothing to take over.
    #[error("{name} is not running")]
    NotRunning {
        /// The VM.
        name: Named,
    },
    /// The folder is held by something that is not provably our guest.
    #[error("{name} is held by {holders}, which is not provably its guest: {reason}")]
    NotOurs {
        /// The VM.
        name: Named,
        /// The processes.
        holders: String,
        /// What did not fit.
        reason: String,
    },
    /// QEMU ended before it answered.
    #[error("QEMU did not start {name}: {}", output.last().map_or("it said nothing", String::as_str))]
    Qemu {
        /// The VM.
        name: Named,
        /// Whether a hypervisor was to run the guest, so that emulation may still do.
        accelerated: bool,
        /// The last lines that it wrote.
        output: Vec<String>,
        /// What was missed at its monitor.
        #[source]
        source: crate::qemu::qmp::QmpError,
    },
    /// This host has no back end for such a guest.
    #[error("{name} is a macOS guest, and those run on Apple silicon Macs only")]
    Unavailable {
        /// The VM.
        name: Named,
    },
    /// The supervisor could not be started.
    #[error("cannot start a supervisor")]
    Launch(#[source] io::Error),
    /// The supervisor went away while it was listened to.
    #[error("the supervisor of {name} is gone without a word; a guest of QEMU goes on without it")]
    Lost {
        /// The VM.
        name: Named,
    },
    /// The supervisor ended without a word.
    #[error("the supervisor of {name} ended before it could report")]
    Died {
        /// The VM.
        name: Named,
    },
}

impl Problem for SupervisorError {
    fn code(&self) -> Code {
        match self {
            Self::Running { .. } => Code::VmRunning,
            Self::NotRunning { .. } => Code::RequestDenied,
            Self::NotOurs { .. } => Code::BundleInUse,
            Self::Qemu { .. } => Code::VmStartFailed,
            Self::Unavailable { .. } => Code::BackendUnavailable,
            Self::Launch(_) | Self::Lost { .. } | Self::Died { .. } => Code::SupervisorDied,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let named = |verb: &str, name: &Named| format!("selfsame {verb} {}", name.word);
        match self {
            Self::Running { name, .. } => vec![Hint::run("see what it is doing", named("get", name))],
            Self::NotRunning { name } => vec![Hint::run("start it", named("run -d", name))],
            Self::NotOurs { name, .. } => vec![Hint::run("see who holds what", named("why", name))],
            Self::Qemu { name, accelerated, .. } => {
                let emulate = Hint::run("try emulation, which runs anywhere", named("run --accel tcg", name));
                let look = Hint::run("see all that is known of it", named("get", name));
                accelerated.then_some(emulate).into_iter().chain([look]).collect()
            }
            Self::Unavailable { .. } => Vec::new(),
            Self::Launch(_) => Vec::new(),
            Self::Lost { name } => {
                vec![Hint::run("take it over, and come back to its console", named("console", name))]
            }
            Self::Died { name } => vec![Hint::run("see what is left", named("why", name))],
        }
    }
}
