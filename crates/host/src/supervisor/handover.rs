//! How a command that stood in line hands its ticket to the supervisor that it starts.
//!
//! The supervisor's standard output is then one end of a socket pair, and the ticket's open file waits in it. A descriptor
//! that is sent is the same open file, so the lock goes over without a moment in which nobody has it; and no descriptor of
//! the command ever becomes inheritable.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// Makes the pair, with the ticket in it: the command's end, and the supervisor's.
pub(super) fn offer(ticket: BorrowedFd<'_>) -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let tickets = [ticket];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    if !message.push(SendAncillaryMessage::ScmRights(&tickets)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(&ours, &[IoSlice::new(b"t")], &mut message, SendFlags::empty())?;
    Ok((ours, theirs))
}

/// Takes the ticket out of the standard output that this process was given.
pub(super) fn accept() -> io::Result<Option<OwnedFd>> {
    accept_from(rustix::stdio::stdout())
}

fn accept_from(socket: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut message, RecvFlags::DONTWAIT)?;
    let descriptors = message.drain().filter_map(|message| {
        let RecvAncillaryMessage::ScmRights(descriptors) = message else { return None };
        Some(descriptors)
    });
    let ticket = descriptors.flatten().next();
    if let Some(ticket) = &ticket {
        // No guest's process inherits it.
        fcntl_setfd(ticket, FdFlags::CLOEXEC)?;
    }
    Ok(ticket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::device_and_inode;

    #[test]
    fn the_very_file_goes_over_and_nothing_where_nothing_was_offered() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = named.reopen().unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let (_ours, theirs) = offer(file.as_fd()).unwrap();
        let given = accept_from(&theirs).unwrap().unwrap();
        let key = |fd: BorrowedFd<'_>| device_and_inode(&rustix::fs::fstat(fd).unwrap());
        assert_eq!(key(given.as_fd()), key(file.as_fd()));
        drop(file);
        // The lock is held on by what was given.
        let locked = rustix::fs::flock(&named, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        assert_eq!(locked, Err(rustix::io::Errno::WOULDBLOCK));
        let (_one, other) = UnixStream::pair().unwrap();
        assert!(accept_from(&other).is_err(), "it does not wait");
    }
}
