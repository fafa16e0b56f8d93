//! A claim: the file and the name together.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use selfsame_machine::identity::{Digest, MacAddress};
use serde::{Deserialize, Serialize};

use super::file::LockFile;
use super::name;
use super::{FolderKey, LockError, LockPlace};

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The right to drive the VM in this folder.
    Supervisor(FolderKey),
    /// The right to run this identity.
    Identity(Digest),
    /// The right to use this MAC address.
    Mac(MacAddress),
}

impl Subject {
    /// The name of the lock file, and, after `selfsame/`, the abstract name.
    #[must_use]
    pub fn key(&self) -> String {
        self.prefixed("")
    }

    fn abstract_name(&self) -> String {
        self.prefixed("selfsame/")
    }

    fn prefixed(&self, prefix: &str) -> String {
        match self {
            Self::Supervisor(folder) => format!("{prefix}supervisor-{folder}"),
            Self::Identity(digest) => format!("{prefix}{digest}"),
            Self::Mac(mac) => format!("{prefix}mac-{}", mac.to_string().replace(':', "")),
        }
    }
}

/// What a holder writes about itself into the lock file, for `why` to read. Anybody can write there: it informs, and
/// no decision is taken from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The supervisor's process id.
    pub pid: u32,
    /// The VM's folder, as text.
    pub folder: String,
}

/// How a try ended.
#[derive(Debug)]
#[must_use]
pub enum Attempt {
    /// It is ours as long as the claim, or a descriptor inherited from it, lives.
    Taken(Claim),
    /// Somebody holds it.
    Held,
}

/// A held claim.
#[derive(Debug)]
pub struct Claim {
    file: LockFile,
    name: Option<OwnedFd>,
}

impl Claim {
    /// Takes the claim if nobody holds either of its two lines. Never waits.
    ///
    /// # Errors
    /// When a line cannot be tried at all; then nothing is claimed and a start must not go on.
    pub fn attempt(place: &LockPlace, subject: &Subject, note: &Note) -> Result<Attempt, LockError> {
        let key = subject.key();
        let Some(file) = LockFile::try_lock(place, &key)? else { return Ok(Attempt::Held) };
        let name = if cfg!(target_os = "linux") {
            let bound = name::try_bind(&subject.abstract_name()).map_err(|source| LockError::FileFailed {
                path: PathBuf::from(format!("@selfsame/{key}")),
                source,
            })?;
            match bound {
                Some(socket) => Some(socket),
                None => return Ok(Attempt::Held),
            }
        } else {
            None
        };
        if let Ok(text) = serde_json::to_string(note) {
            file.note(&text);
        }
        Ok(Attempt::Taken(Self { file, name }))
    }

    /// The descriptors that must stay open for the claim to stand: what QEMU inherits.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.file.as_fd()).chain(self.name.iter().map(AsFd::as_fd))
    }
}

/// Asks about any number of claims with one socket, whose making costs more than the question.
#[derive(Debug)]
pub struct Asker(name::Asker);

impl Asker {
    /// Makes the socket.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn new() -> std::io::Result<Self> {
        name::Asker::new().map(Self)
    }

    /// Whether somebody holds the claim, asked without taking or opening anything.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn is_claimed(&self, subject: &Subject) -> std::io::Result<bool> {
        self.0.is_bound(&subject.abstract_name())
    }
}

/// One question of an [`Asker`].
///
/// # Errors
/// When the kernel cannot be asked.
pub fn is_claimed(subject: &Subject) -> std::io::Result<bool> {
    Asker::new()?.is_claimed(subject)
}

/// What the last holder wrote about itself, if its lock file can be read.
#[must_use]
pub fn noted_holder(place: &std::path::Path, subject: &Subject) -> Option<Note> {
    let text = crate::files::read_bounded(&place.join(subject.key()), 8 * 1024).ok()?;
    serde_json::from_slice(&text).ok()
}
