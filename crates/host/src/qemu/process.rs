//! Starting QEMU.
//!
//! QEMU outlives whoever starts it, so it is given nothing that ties it to them: no pipe, no terminal, files for what
//! it says. What it is given on purpose, it is given as open descriptors: the sockets it listens on, the serial log,
//! and the locks that must live exactly as long as it does.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

/// QEMU could not be started at all.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A descriptor could not be prepared.
    #[error("cannot pass descriptor {fd} on to QEMU")]
    Descriptor {
        /// Its number.
        fd: i32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file for QEMU's errors could not be shared.
    #[error("cannot share the log file with QEMU")]
    Log {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program did not start.
    #[error("cannot start `{}` in `{}`", program.display(), folder.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// The folder it was to run in.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Problem for SpawnError {
    fn code(&self) -> Code {
        Code::QemuFailed
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Descriptor { .. } | Self::Log { .. } => Vec::new(),
            Self::Program { program, folder, .. } => vec![Hint::run(
                "look whether both exist and may be used",
                format!(
                    "ls -ld {} {}",
                    shell_word(&program.to_string_lossy()),
                    shell_word(&folder.to_string_lossy())
                ),
            )],
        }
    }
}

/// Starts a program in a folder, with both its outputs appended to a file and no input.
///
/// The descriptors in `inherit` reach the program under the numbers they have here. All others that this process opened
/// stay closed to it, as the standard library opens everything close-on-exec; what this process itself was given without
/// that flag, it passes on. This is the only place that clears that flag, and sets it again
/// before it returns. In between, **no other thread of this process may spawn**, or its child would hold our locks.
///
/// The program must be absolute, because a relative one would be looked up in `folder` on some systems.
///
/// # Errors
/// A descriptor is not open, or the program cannot be started. Nothing is left behind.
pub fn spawn(
    program: &Path,
    arguments: &[OsString],
    folder: &Path,
    log: &File,
    inherit: &[BorrowedFd<'_>],
) -> Result<Child, SpawnError> {
    let share = || log.try_clone().map_err(|source| SpawnError::Log { source });
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(share()?).stderr(share()?);
    let passed = inherit.iter().map(|fd| Passed::new(*fd)).collect::<Result<Vec<_>, _>>()?;
    let child = command.spawn().map_err(|source| SpawnError::Program {
        program: program.to_owned(),
        folder: folder.to_owned(),
        source,
    });
    drop(passed);
    child
}

/// A descriptor without its close-on-exec flag, until dropped.
struct Passed<'fd>(BorrowedFd<'fd>);

impl<'fd> Passed<'fd> {
    fn new(fd: BorrowedFd<'fd>) -> Result<Self, SpawnError> {
        let kept = fcntl_getfd(fd).and_then(|flags| fcntl_setfd(fd, flags.difference(FdFlags::CLOEXEC)));
        match kept {
            Ok(()) => Ok(Self(fd)),
            Err(error) => {
                Err(SpawnError::Descriptor { fd: std::os::fd::AsRawFd::as_raw_fd(&fd), source: error.into() })
            }
        }
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        // It fails only for a descriptor that is not open, and this one is borrowed.
        let _ignored: Result<(), _> = fcntl_setfd(self.0, FdFlags::CLOEXEC);
    }
}
