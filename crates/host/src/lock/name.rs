//! The second line on Linux: an abstract unix name per claim.
//!
//! A datagram socket bound to a name without a file: visible to all users of the network namespace, held as long as
//! one process has the socket open, freed by the kernel. Nothing can wipe it. Nobody reads from the socket.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Asks which names are bound, with one socket for any number of questions.
#[derive(Debug)]
pub(super) struct Asker(OwnedFd);

impl Asker {
    pub(super) fn new() -> io::Result<Self> {
        socket().map(Self)
    }

    /// Whether a process holds the name. Takes nothing and leaves nothing.
    pub(super) fn is_bound(&self, name: &str) -> io::Result<bool> {
        match rustix::net::connect(&self.0, &SocketAddrUnix::new_abstract_name(name.as_bytes())?) {
            Ok(()) => Ok(true),
            // Bound but connected elsewhere (EPERM): somebody has it all the same.
            Err(Errno::PERM | Errno::PROTOTYPE) => Ok(true),
            Err(Errno::CONNREFUSED) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes the name, or tells with `None` that somebody has it.
pub(super) fn try_bind(name: &str) -> io::Result<Option<OwnedFd>> {
    let socket = socket()?;
    match rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::ADDRINUSE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}
