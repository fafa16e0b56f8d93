//! One lock file: found or made, locked, and proven to be the one that others will find.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::place::with_open_umask;
use super::{LockError, LockPlace};
use crate::files::device_and_inode;

/// How often a file that is replaced under our hands is tried again before somebody is told.
const ATTEMPTS: usize = 64;

/// An exclusive `flock` on a file of the lock place. Dropping it closes the descriptor and nothing else.
#[derive(Debug)]
pub struct LockFile {
    descriptor: OwnedFd,
    writable: bool,
}

impl LockFile {
    /// Takes the lock, or tells with `None` that somebody holds it. Never waits.
    ///
    /// An existing file is opened without `O_CREAT`: the kernel (`fs.protected_regular`) refuses that combination for
    /// another user's file in a sticky folder, to root as well. A lock counts only if the path still names the locked
    /// file afterwards.
    ///
    /// # Errors
    /// When the file cannot be opened, is a link or no plain file, or keeps being replaced.
    pub fn try_lock(place: &LockPlace, name: &str) -> Result<Option<Self>, LockError> {
        let path = || place.path().join(name);
        let failed = |error: Errno| LockError::FileFailed { path: path(), source: io::Error::from(error) };
        for _ in 0..ATTEMPTS {
            let Some(file) = Self::open(place, name).map_err(|error| refusal(error, path(), failed))? else {
                continue;
            };
            let locked = rustix::fs::fstat(&file.descriptor).map_err(failed)?;
            if FileType::from_raw_mode(locked.st_mode) != FileType::RegularFile {
                return Err(LockError::File { path: path(), what: "is no plain file" });
            }
            // Where the kernel lets anybody link anything, a note would be written into somebody's file.
            if locked.st_nlink > 1 {
                return Err(LockError::File { path: path(), what: "has other names (hard links)" });
            }
            match rustix::fs::flock(&file.descriptor, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed(error)),
            }
            match rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if device_and_inode(&found) == device_and_inode(&locked) => {
                    return Ok(Some(file));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(LockError::Replaced { path: path() })
    }

    /// A file that another process opened and locked, and handed over.
    pub(super) const fn given(descriptor: OwnedFd) -> Self {
        Self { descriptor, writable: false }
    }

    /// Opens the file or makes it; `None` when it appeared or went meanwhile.
    fn open(place: &LockPlace, name: &str) -> Result<Option<Self>, Errno> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let existing = |access| rustix::fs::openat(place, name, access | flags, Mode::empty());
        match existing(OFlags::RDWR) {
            Ok(descriptor) => return Ok(Some(Self { descriptor, writable: true })),
            Err(Errno::NOENT) => {}
            // A read-only descriptor can be locked just as well; only the note about the holder is lost.
            Err(Errno::ACCESS | Errno::ROFS | Errno::PERM) => {
                return existing(OFlags::RDONLY).map(|descriptor| Some(Self { descriptor, writable: false }));
            }
            Err(error) => return Err(error),
        }
        let mode = Mode::from_raw_mode(0o666);
        let create = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | flags;
        match with_open_umask(|| rustix::fs::openat(place, name, create, mode)) {
            Ok(descriptor) => {
                rustix::fs::fchmod(&descriptor, mode)?;
                Ok(Some(Self { descriptor, writable: true }))
            }
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leaves a note about the holder in the file. It informs people; no decision is taken from it.
    pub(super) fn note(&self, text: &str) {
        if !self.writable || rustix::io::pwrite(&self.descriptor, text.as_bytes(), 0).is_err() {
            // Losing the note loses nothing but a name in a message.
            return;
        }
        // What is left of a longer note goes. As a rule there is none: whoever starts here again writes the same length,
        // and cutting a file off costs more than the rest of the claim.
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if rustix::fs::fstat(&self.descriptor).is_ok_and(|stat| u64::try_from(stat.st_size) != Ok(length)) {
            let _ = rustix::fs::ftruncate(&self.descriptor, length);
        }
    }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn refusal(error: Errno, path: PathBuf, failed: impl Fn(Errno) -> LockError) -> LockError {
    match error {
        Errno::LOOP => LockError::File { path, what: "is a symbolic link" },
        Errno::ISDIR => LockError::File { path, what: "is a folder" },
        // A FIFO or a socket; of the latter macOS says the second.
        Errno::NXIO | Errno::OPNOTSUPP => LockError::File { path, what: "is no plain file" },
        error => failed(error),
    }
}
