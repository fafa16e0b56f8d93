//! The lock on a slot: one file, and no second line.
//!
//! An abstract name would be one for the whole host, whatever folder of locks is in use, and a slot guards no identity:
//! whoever wipes the folder lets more guests run than may, and no twin.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use selfsame_machine::spec::Guest;

use super::claim::Note;
use super::{LockError, LockFile, LockPlace};

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
        if let Ok(text) = serde_json::to_string(note) {
            file.note(&text);
        }
        Ok(Some(Self(file)))
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
