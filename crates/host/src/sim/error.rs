//! What goes wrong with a guest that is played, on purpose or not.

use std::io;
use std::path::PathBuf;

use selfsame_machine::code::Code;
use selfsame_machine::problem::Problem;

/// Why a simulated guest did not do something.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The kernel refused a socket.
    #[error("cannot make the sockets of a simulated guest")]
    Socket(#[source] io::Error),
    /// The kernel refused a thread.
    #[error("cannot let a simulated guest wait")]
    Thread(#[source] io::Error),
    /// It was told to fail.
    #[error("the simulated guest failed, as it was told to")]
    Told,
    /// It ended before it was up.
    #[error("the simulated guest ended before it was up")]
    Gone,
    /// Nothing was heard of it.
    #[error("the simulated guest did not start within {seconds} s")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// Its state cannot be read or written.
    #[error("cannot use the state `{}`", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is no state of such a guest.
    #[error("`{}` is no state of a simulated guest", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Problem for SimError {
    fn code(&self) -> Code {
        match self {
            Self::Socket(_) | Self::Thread(_) | Self::Told | Self::Gone | Self::Silent { .. } => {
                Code::VmStartFailed
            }
            Self::State { .. } => Code::FileFailed,
            Self::Damaged { .. } => Code::StateDamaged,
        }
    }
}
