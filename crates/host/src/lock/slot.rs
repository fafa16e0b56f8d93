//! The lock on a slot: one file, and no second line.
//!
//! An abstract name would be one for the whole host, whatever folder of locks is in use, and a slot guards no identity:
//! whoever wipes the folder lets more guests run than may, and no twin.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use selfsame_machine::spec::Guest;
use serde::{Deserialize, Serialize};

use super::claim::Note;
use super::{LockError, LockFile, LockPlace};
use crate::files::device_and_inode;
use crate::process::ProcessId;

/// The note in a slot's file: a [`Note`], and the processes.
#[derive(Serialize, Deserialize)]
struct SlotNote {
    #[serde(flatten)]
    note: Note,
    #[serde(default)]
    processes: Vec<ProcessId>,
}

/// A slot for a guest of a kind, taken. It is so as long as this, or a descriptor inherited from it, is open.
#[derive(Debug)]
pub struct SlotLock(LockFile);

impl SlotLock {
    /// Takes the slot if nobody has it; `None` when somebody has. Never waits.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub fn attempt(
        place: &LockPlace,
        guest: Guest,
        number: u32,
        note: &Note,
    ) -> Result<Option<Self>, LockError> {
        let Some(file) = LockFile::try_lock(place, &name(guest, number))? else { return Ok(None) };
        let lock = Self(file);
        lock.note(note, None);
        Ok(Some(lock))
    }

    /// Writes down who holds it: this process, and the guest's once it is known, which inherits the lock.
    pub fn note(&self, note: &Note, guest: Option<ProcessId>) {
        let processes = ProcessId::own().into_iter().chain(guest).collect();
        if let Ok(text) = serde_json::to_string(&SlotNote { note: note.clone(), processes }) {
            self.0.note(&text);
        }
    }

    /// Whether nobody holds the slot. For whoever is next in line: a shared lock is tried, and closed again.
    #[must_use]
    pub fn is_free(place: &LockPlace, guest: Guest, number: u32) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        match rustix::fs::openat(place, name(guest, number), flags, Mode::empty()) {
            Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok(),
            Err(error) => error == Errno::NOENT,
        }
    }

    /// The processes that hold the slot, as far as the kernel shows them: whoever took it, or, when that one is gone, those
    /// who inherited it.
    #[must_use]
    pub fn holders(place: &LockPlace, guest: Guest, number: u32) -> Vec<u32> {
        match rustix::fs::statat(place, name(guest, number), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => crate::evidence::flock_takers(device_and_inode(&stat)),
            Err(_) => Vec::new(),
        }
    }

    /// The processes that its holder wrote down. It may be a lie.
    #[must_use]
    pub fn noted(place: &LockPlace, guest: Guest, number: u32) -> Vec<ProcessId> {
        let text = crate::files::read_bounded(&place.path().join(name(guest, number)), 8 * 1024);
        let note = text.ok().and_then(|text| serde_json::from_slice::<SlotNote>(&text).ok());
        note.map(|note| note.processes).unwrap_or_default()
    }

    /// Whether the slot is taken and, as far as its holder wrote that down, by whom. Takes nothing and makes no file.
    #[must_use]
    pub fn look(place: &Path, guest: Guest, number: u32) -> Option<Option<Note>> {
        let path = place.join(name(guest, number));
        crate::evidence::is_flocked(&path).then(|| Note::read(&path))
    }
}

impl AsFd for SlotLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn name(guest: Guest, number: u32) -> String {
    format!("slot-{}-{number}", guest.text())
}
