//! How events get from the framework's queue to the driver's thread: a channel, and one byte in a socket for each event.
//!
//! The driver sleeps in `poll`, which knows descriptors only. The byte wakes it; what happened is in the channel.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use selfsame_machine::lifecycle::BackendEvent;

/// The framework's end. Each completion handler and the delegate own a clone of it.
#[derive(Debug)]
pub(crate) struct Bell {
    sender: Sender<BackendEvent>,
    stream: UnixStream,
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: Receiver<BackendEvent>,
    stream: UnixStream,
}

/// Makes both ends.
pub(crate) fn bell() -> io::Result<(Bell, Inbox)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let (sender, receiver) = channel();
    Ok((Bell { sender, stream: theirs }, Inbox { receiver, stream: ours }))
}

impl Bell {
    /// Tells an event. Never waits: a socket that is full wakes the driver as well as one more byte would.
    pub(crate) fn ring(&self, event: BackendEvent) {
        // The driver may be gone already; then nobody is left to be told.
        if self.sender.send(event).is_ok() {
            drop((&self.stream).write(&[1]));
        }
    }
}

impl Inbox {
    /// Takes what was told so far.
    pub(crate) fn take(&mut self) -> Vec<BackendEvent> {
        // The bytes first: an event that comes in between leaves its byte for the next look.
        let mut bytes = [0; 64];
        while matches!(self.stream.read(&mut bytes), Ok(count) if count == bytes.len()) {}
        self.receiver.try_iter().collect()
    }
}

/// Readable while something was told that was not taken.
impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn readable(inbox: &Inbox) -> bool {
        let mut descriptors = [PollFd::new(inbox, PollFlags::IN)];
        poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    #[test]
    fn what_was_told_wakes_once_and_is_taken_in_order() {
        let (bell, mut inbox) = bell().unwrap();
        assert!(!readable(&inbox));
        bell.ring(BackendEvent::Paused);
        bell.ring(BackendEvent::Resumed);
        assert!(readable(&inbox));
        assert_eq!(inbox.take(), [BackendEvent::Paused, BackendEvent::Resumed]);
        assert!(!readable(&inbox));
        assert_eq!(inbox.take(), []);
    }

    #[test]
    fn a_driver_that_sleeps_long_loses_nothing() {
        let (bell, mut inbox) = bell().unwrap();
        // Far more than the socket holds.
        let count = 1_000_000;
        for _ in 0..count {
            bell.ring(BackendEvent::Reset);
        }
        assert!(readable(&inbox));
        assert_eq!(inbox.take().len(), count);
        assert!(!readable(&inbox));
    }

    #[test]
    fn a_driver_that_is_gone_is_no_failure() {
        let (bell, inbox) = bell().unwrap();
        drop(inbox);
        bell.ring(BackendEvent::Reset);
    }
}
