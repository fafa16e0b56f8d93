//! The state of a suspended VM: `State/` in its folder, which a start goes on from.
//!
//! ```text
//! prepare ─▶ State.new/memory (by the back end) ─▶ seal: synced, digest, state.toml ─▶ commit: renamed to State/
//! run ─▶ check: all that the state was made with, then every byte ─▶ the guest runs ─▶ consume: State/ removed
//! ```
//!
//! **Invariants.**
//! - `State/` is there whole or not at all: it appears by one rename, when all in it is on the disk, and goes by one.
//! - While `State/` is there, the guest has not run since. Whoever lets it go on removes the state; if that comes too
//!   late because everything was killed, its disks tell: one that changed is refused.
//! - What is not whole (`State.new`) is nothing that anybody goes on from; the next start removes it.
//!
//! **Who may call.** Looking is for all. What changes something is for the supervisor of the VM, and for a command that
//! holds its claim and its folder's lock.

mod check;
mod description;
mod discard;
mod problem;
#[cfg(test)]
mod tests;
mod vault;

pub use check::Saved;
pub use description::{FIRST_DEVICES, Made, host};
pub use discard::{Discarded, discard};
pub use problem::{Difference, StateError};
pub use vault::Vault;

use std::path::Path;

use crate::bundle::{STATE, STATE_DESCRIPTION, STATE_MEMORY, STATE_NEW, STATE_OLD};
use crate::files::read_bounded;

/// A description has a few hundred bytes, and some for each disk.
const DESCRIPTION_LIMIT: u64 = 256 * 1024;

/// In `State.new`: the guest ran before it was suspended, so it goes on when that comes to nothing.
const RAN: &str = "ran";

/// What is told of a suspended VM without checking anything.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Since when, RFC 3339; `None` when the description cannot be read.
    pub since: Option<String>,
    /// The size of the memory's file in bytes; `None` when it is missing.
    pub size: Option<u64>,
}

/// Whether a VM is suspended, and since when. A state that is damaged is told of as well: it stands in the way.
#[must_use]
pub fn summary(folder: &Path) -> Option<Summary> {
    let state = folder.join(STATE);
    if !state.is_dir() {
        return None;
    }
    let text = read_bounded(&state.join(STATE_DESCRIPTION), DESCRIPTION_LIMIT).ok();
    let since = text
        .and_then(|text| String::from_utf8(text).ok())
        .and_then(|text| description::Description::read(&text).ok())
        .map(|description| description.suspended);
    let size = std::fs::metadata(state.join(STATE_MEMORY)).ok().map(|metadata| metadata.len());
    Some(Summary { since, size })
}

/// Whether a suspend was begun and has not come to its end, and then whether the guest ran before it.
#[must_use]
pub fn unfinished(folder: &Path) -> Option<bool> {
    let new = folder.join(STATE_NEW);
    new.is_dir().then(|| new.join(RAN).exists())
}

/// Removes the state, because the guest runs now or somebody wishes it: by one rename, then piece by piece.
///
/// # Errors
/// When it cannot be renamed; then it is still there, whole.
pub fn consume(folder: &Path) -> std::io::Result<()> {
    let old = folder.join(STATE_OLD);
    remove(&old)?;
    match std::fs::rename(folder.join(STATE), &old) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    sync_folder(folder)?;
    // It is no state any more; what remains of it the next start removes.
    drop(remove(&old));
    Ok(())
}

/// Removes what was not finished: neither a state that is whole nor one in the making that somebody makes.
pub fn tidy(folder: &Path) {
    // What cannot be removed is in nobody's way: the next suspend says so if it is in its own.
    drop(remove(&folder.join(STATE_NEW)));
    drop(remove(&folder.join(STATE_OLD)));
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}
