//! Telling the agent to power its guest down, without ever waiting: the part that a supervisor uses.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use selfsame_machine::agent::{Reader, Refusal, Reply, Request};

use super::AgentError;
use super::door::{Channel, Door};

/// So much of what was said to others is read through. More says that the agent floods, or that it does not matter: the
/// power button is pressed anyway.
const STALE: usize = 1 << 20;

/// The agent was told. Dropping it lets others talk to the agent.
#[derive(Debug)]
pub struct PowerDown {
    channel: Channel,
    reader: Reader,
}

/// What came of it since the last look.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// The agent has begun to read what it was told.
    It,
    /// It says no.
    Refusal(Refusal),
    /// Nothing more will come, or nothing of use.
    Over,
}

impl PowerDown {
    /// Tells it. The bytes go to QEMU, which hands them on when the guest reads.
    ///
    /// # Errors
    /// There is no agent's port, or it cannot be written now.
    pub fn begin(door: &Door) -> Result<Self, AgentError> {
        let id = door.draw()?;
        let mut channel = door.enter()?;
        let words = [Request::Sync(id).line(), Request::PowerDown.line()].concat();
        let sent = channel.stream.write(&words);
        let failed = |source| AgentError::Io { name: door.name.clone(), source };
        // It is far less than any socket takes at once.
        if sent.map_err(failed)? != words.len() {
            return Err(failed(ErrorKind::WriteZero.into()));
        }
        Ok(Self { channel, reader: Reader::new(id).with_stale_limit(STALE) })
    }

    /// Reads what has come, a little at a time, and never waits.
    pub fn hear(&mut self) -> Heard {
        let mut chunk = [0; 16 * 1024];
        let count = match self.channel.stream.read(&mut chunk) {
            Ok(0) => return Heard::Over,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Heard::Nothing;
            }
            Err(_) => return Heard::Over,
        };
        let Ok(replies) = self.reader.feed(chunk.get(..count).unwrap_or_default()) else {
            return Heard::Over;
        };
        let mut heard = Heard::Nothing;
        for reply in replies {
            match reply {
                Reply::Synced => heard = Heard::It,
                Reply::Refused(refusal) => return Heard::Refusal(refusal),
                // A success has no answer.
                Reply::Return(_) => return Heard::Over,
            }
        }
        heard
    }
}

impl AsFd for PowerDown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.stream.as_fd()
    }
}
