//! Locks that all users and all selfsames of one host see alike.
//!
//! Who may hold what:
//!
//! | claim | lock file | abstract name (Linux) | inherited by QEMU |
//! |---|---|---|---|
//! | supervisor of a bundle | `supervisor-<device>-<inode>` | `selfsame/supervisor-…` | never: its holder alone drives and cleans up |
//! | the bundle | the folder's own descriptor | none: nothing to replace, holds through a rename | yes |
//! | an identity | `<digest>` | `selfsame/<digest>` | yes |
//! | a MAC address | `mac-<12 hex digits>` | `selfsame/mac-…` | yes |
//! | a slot for a guest | `slot-linux-<number>`, `slot-macos-…` | none: it limits load and guards no identity | yes |
//! | a place in the line for a slot | `ticket-linux-<number>-<limit>`, … | none | never: given up when the slot is taken |
//!
//! **Invariant: locks are closed, never unlocked.** `LOCK_UN` acts on the open file description, which a living QEMU
//! shares: it would free the lock under a running guest. Dropping a [`Claim`] only closes this process's descriptors.
//!
//! **Invariant: two lines.** On Linux a claim of an identity, an address or a supervisor needs the lock on the file *and* the abstract name. The file can be wiped by
//! whoever may write its folder; the name cannot, and the kernel frees it with its last descriptor. The name is bound
//! per network namespace, the file is seen per mount namespace: a container that has its own of both is another host.
//! macOS has no abstract names. There the second line is that no older supervisor with the same identity, address or
//! folder runs, as far as this user may look (see `second`): it holds as long as the supervisor lives, not as long as an
//! orphaned guest does.
//!
//! Asking is passive: an [`Asker`] takes nothing, and makes no file. Only a start tries a lock.

mod claim;
mod file;
mod folder;
mod place;
mod second;
mod slot;
mod ticket;

pub use claim::{Asker, Attempt, Claim, Note, Subject, is_claimed, noted, noted_holder};
pub use file::LockFile;
pub use folder::{FolderKey, FolderLock};
pub use place::{LockPlace, PlaceSource};
pub use second::supervised_folder;
pub use slot::SlotLock;
pub use ticket::{Living, Ticket, TicketName};

use std::io;
use std::path::PathBuf;

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

/// Why a lock could not even be tried. A lock that somebody else holds is no error: see [`Attempt`].
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The folder of locks is a link, a file, or has modes under which users could lock each other out.
    #[error("the folder of locks `{}` {what}", path.display())]
    Place {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, a verb phrase.
        what: &'static str,
    },
    /// The folder of locks cannot be opened or made.
    #[error("cannot use the folder of locks `{}`", path.display())]
    PlaceFailed {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A lock file is no plain file.
    #[error("the lock file `{}` {what}", path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// What is wrong with it, a verb phrase.
        what: &'static str,
    },
    /// A lock file cannot be opened, made or locked.
    #[error("cannot use the lock file `{}`", path.display())]
    FileFailed {
        /// The lock file, or the name that stands for it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file kept being replaced while it was locked.
    #[error("the lock file `{}` is being replaced again and again", path.display())]
    Replaced {
        /// The lock file.
        path: PathBuf,
    },
}

impl Problem for LockError {
    fn code(&self) -> Code {
        match self {
            Self::Place { .. } | Self::PlaceFailed { .. } => Code::LockPlace,
            Self::File { .. } | Self::FileFailed { .. } | Self::Replaced { .. } => Code::LockFile,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Place { path, .. } | Self::PlaceFailed { path, .. } => vec![Hint::run(
                "look at who made it; once no VM runs, its owner or root can move it away, and the next start makes it anew",
                format!("ls -ld {}", shell_word(&path.to_string_lossy())),
            )],
            Self::File { path, .. } | Self::FileFailed { path, .. } | Self::Replaced { path } => {
                vec![Hint::run(
                    "look at who made it; once no VM runs, its owner or root can remove it, and the next start makes it anew",
                    format!("ls -l {}", shell_word(&path.to_string_lossy())),
                )]
            }
        }
    }
}

#[cfg(test)]
mod tests;
