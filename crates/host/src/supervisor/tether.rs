//! What binds a guest to the command that started it, for a VM that is made for one run (`run --rm`).
//!
//! The command holds one end of a pipe, and the supervisor has the other for its standard input. Nothing is ever written.
//! However the command ends, the kernel closes its end; the supervisor wakes, and ends the guest. No message can be lost on
//! that way and no moment of a start is without it, which a call over the supervisor's socket could not promise.
//!
//! A supervisor that adopts such a guest has no pipe: its own predecessor was killed, and with it the run. It finds the
//! tether cut from the beginning ([`Bond::cut`]).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ChildStdin;

/// The command's end. The guest ends when this is dropped.
#[derive(Debug)]
pub struct Tether(#[expect(dead_code, reason = "it is held, and closed by being dropped")] ChildStdin);

impl Tether {
    pub(super) const fn new(pipe: ChildStdin) -> Self {
        Self(pipe)
    }
}

/// The supervisor's end.
#[derive(Debug)]
pub(super) struct Bond(File);

impl Bond {
    /// The pipe that this process was given for its standard input.
    pub(super) fn of_standard_input() -> io::Result<Self> {
        Ok(Self(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    /// One that was cut already.
    pub(super) fn cut() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        drop(theirs);
        Ok(Self(File::from(std::os::fd::OwnedFd::from(ours))))
    }

    /// Whether it was cut. Called when `poll` says that there is something to see; never blocks then.
    pub(super) fn is_cut(&mut self) -> bool {
        match self.0.read(&mut [0; 64]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock),
        }
    }
}

impl AsFd for Bond {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
