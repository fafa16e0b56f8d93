//! The way to one guest's agent: a socket that QEMU listens at, and the lock of whoever talks through it.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use selfsame_machine::agent::SyncId;

use super::AgentError;
use crate::bundle::Named;
use crate::socket::SocketFolder;
use crate::supervisor::RunNames;

/// Where a guest's agent is reached. Opening it connects to nothing.
#[derive(Debug)]
pub struct Door {
    pub(super) name: Named,
    folder: SocketFolder,
    socket: String,
    lock: PathBuf,
}

/// A connection that nobody else has. Its end is the end of the lock.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) stream: UnixStream,
    _lock: File,
}

impl Door {
    /// The door of the VM with these names in `run`.
    ///
    /// # Errors
    /// When `run` cannot be opened.
    pub fn open(run: &Path, names: RunNames, name: Named) -> Result<Self, AgentError> {
        match SocketFolder::open(run) {
            Ok(folder) => {
                Ok(Self { name, folder, socket: names.agent(), lock: run.join(names.agent_lock()) })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(AgentError::None { name }),
            Err(source) => Err(AgentError::Io { name, source }),
        }
    }

    /// Takes the lock and connects, without waiting for anything.
    pub(super) fn enter(&self) -> Result<Channel, AgentError> {
        let failed = |source: io::Error| AgentError::Io { name: self.name.clone(), source };
        let none = || AgentError::None { name: self.name.clone() };
        // Never made here: where there is none, there is no guest with a port for an agent.
        let lock = match File::open(&self.lock) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
            Err(error) => return Err(failed(error)),
        };
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(AgentError::Busy { name: self.name.clone() }),
            Err(error) => return Err(failed(error.into())),
        }
        match self.folder.connect_now(&self.socket) {
            Ok(Some(stream)) => Ok(Channel { stream, _lock: lock }),
            Ok(None) => Err(none()),
            // A QEMU that stands still lets connections pile up.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(AgentError::Busy { name: self.name.clone() })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Draws a number for an exchange.
    pub(super) fn draw(&self) -> Result<SyncId, AgentError> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| AgentError::Io {
            name: self.name.clone(),
            source: io::Error::other(error.to_string()),
        })?;
        Ok(SyncId::new(u64::from_le_bytes(bytes)))
    }
}
