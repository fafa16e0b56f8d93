//! A claim: the lock file and the second line together.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use selfsame_machine::identity::{Digest, MacAddress};
use serde::{Deserialize, Serialize};

use super::file::LockFile;
use super::second::{self, Second};
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
    /// The name of the lock file, and, after `selfsame/`, the abstract name (Linux).
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Supervisor(folder) => format!("supervisor-{folder}"),
            Self::Identity(digest) => digest.to_string(),
            Self::Mac(mac) => format!("mac-{}", mac.to_string().replace(':', "")),
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
    second: Second,
}

impl Claim {
    /// Takes the claim if nobody holds either of its two lines. Does not wait for whoever holds it; on macOS, where the
    /// second line is the processes themselves, up to a second for one that is about to end.
    ///
    /// # Errors
    /// When a line cannot be tried at all; then nothing is claimed and a start must not go on.
    pub fn attempt(place: &LockPlace, subject: &Subject, note: &Note) -> Result<Attempt, LockError> {
        let key = subject.key();
        let Some(file) = LockFile::try_lock(place, &key)? else { return Ok(Attempt::Held) };
        let failed =
            |source| LockError::FileFailed { path: PathBuf::from(format!("@selfsame/{key}")), source };
        let Some(second) = second::take(subject).map_err(failed)? else { return Ok(Attempt::Held) };
        if let Ok(text) = serde_json::to_string(note) {
            file.note(&text);
        }
        Ok(Attempt::Taken(Self { file, second }))
    }

    /// The descriptors that must stay open for the claim to stand: what QEMU inherits.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.file.as_fd()).chain(self.second.descriptor())
    }
}

/// Asks about any number of claims with what all the questions share: on Linux a socket, on macOS a look through the
/// processes, either of which costs more than the question.
#[derive(Debug)]
pub struct Asker(second::Asker);

impl Asker {
    /// Prepares the questions. `place` is the folder of lock files; it need not exist, and is not made.
    ///
    /// # Errors
    /// When the kernel refuses a socket.
    pub fn new(place: &Path) -> std::io::Result<Self> {
        second::Asker::new(place).map(Self)
    }

    /// Whether somebody holds the claim, asked without taking anything. Linux asks for the name and opens nothing. macOS
    /// asks for a lock on the lock file, which is opened for reading if it exists, and for a running supervisor.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn is_claimed(&self, subject: &Subject) -> std::io::Result<bool> {
        self.0.is_claimed(subject)
    }
}

/// One question of an [`Asker`].
///
/// # Errors
/// When the kernel cannot be asked.
pub fn is_claimed(place: &Path, subject: &Subject) -> std::io::Result<bool> {
    Asker::new(place)?.is_claimed(subject)
}

/// What the last holder wrote about itself, if its lock file can be read.
#[must_use]
pub fn noted_holder(place: &Path, subject: &Subject) -> Option<Note> {
    Note::read(&place.join(subject.key()))
}

/// What the holder of a lock file wrote about itself, if it can be read.
#[must_use]
pub fn noted(path: &Path) -> Option<Note> {
    Note::read(path)
}

impl Note {
    /// Reads the note in a lock file, if there is one.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let text = crate::files::read_bounded(path, 8 * 1024).ok()?;
        serde_json::from_slice(&text).ok()
    }
}
