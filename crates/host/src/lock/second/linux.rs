//! The second line on Linux: an abstract unix name per claim.
//!
//! A datagram socket bound to a name without a file: visible to all users of the network namespace, held as long as
//! one process has the socket open, freed by the kernel. Nothing can wipe it. Nobody reads from the socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::super::Subject;

/// The bound name.
#[derive(Debug)]
pub(in crate::lock) struct Second(OwnedFd);

impl Second {
    /// What must stay open for the line to hold.
    pub(in crate::lock) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// Asks which names are bound, with one socket for any number of questions.
#[derive(Debug)]
pub(in crate::lock) struct Asker(OwnedFd);

impl Asker {
    /// The place of the lock files does not matter: a name says everything.
    pub(in crate::lock) fn new(_place: &Path) -> io::Result<Self> {
        socket().map(Self)
    }

    /// Whether a process holds the name. Takes nothing and leaves nothing.
    pub(in crate::lock) fn is_claimed(&self, subject: &Subject) -> io::Result<bool> {
        match rustix::net::connect(&self.0, &address(subject)?) {
            Ok(()) => Ok(true),
            // Bound but connected elsewhere (EPERM): somebody has it all the same.
            Err(Errno::PERM | Errno::PROTOTYPE) => Ok(true),
            Err(Errno::CONNREFUSED) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes the name, or tells with `None` that somebody has it.
pub(in crate::lock) fn take(subject: &Subject) -> io::Result<Option<Second>> {
    let socket = socket()?;
    match rustix::net::bind(&socket, &address(subject)?) {
        Ok(()) => Ok(Some(Second(socket))),
        Err(Errno::ADDRINUSE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn address(subject: &Subject) -> io::Result<SocketAddrUnix> {
    let name = format!("selfsame/{}", subject.key());
    Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}
