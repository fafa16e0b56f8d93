//! The lock on a bundle's folder itself, and the key by which processes agree on a folder.

use std::fmt;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(target_os = "macos")]
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// A folder's device and inode: the same for all users, through renames and however the path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderKey {
    /// The device, as `stat` gives it.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

impl FolderKey {
    /// The key of the folder that `stat` was asked about.
    #[must_use]
    pub const fn of(stat: &rustix::fs::Stat) -> Self {
        let (device, inode) = crate::files::device_and_inode(stat);
        Self { device, inode }
    }
}

impl fmt::Display for FolderKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}-{:x}", self.device, self.inode)
    }
}

impl FromStr for FolderKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let (device, inode) = text.split_once('-').ok_or(NoKey)?;
        let number = |digits| u64::from_str_radix(digits, 16).map_err(|_| NoKey);
        Ok(Self { device: number(device)?, inode: number(inode)? })
    }
}

/// The text is no key of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of a folder")]
pub struct NoKey;

/// A bundle's folder, opened, with an exclusive `flock` once [`FolderLock::try_lock`] said so.
#[derive(Debug)]
pub struct FolderLock {
    descriptor: OwnedFd,
    #[cfg(target_os = "macos")]
    path: PathBuf,
    key: FolderKey,
}

impl FolderLock {
    /// Opens the folder without locking it.
    ///
    /// # Errors
    /// What the system says when there is no such folder or it cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(folder, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&descriptor)?;
        Ok(Self {
            descriptor,
            #[cfg(target_os = "macos")]
            path: folder.to_owned(),
            key: FolderKey::of(&stat),
        })
    }

    /// The folder's key.
    #[must_use]
    pub const fn key(&self) -> FolderKey {
        self.key
    }

    /// A path that leads to this very folder: on Linux as long as this is open, in this process and, before it runs
    /// another program, in a child; on macOS until the folder is renamed again.
    #[must_use]
    pub fn pinned(&self) -> PathBuf {
        #[cfg(target_os = "linux")]
        return PathBuf::from(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()));
        #[cfg(target_os = "macos")]
        return self.path_now().unwrap_or_else(|| self.path.clone());
    }

    /// Where the folder is now, whatever it was called when it was opened (`F_GETPATH`).
    #[cfg(target_os = "macos")]
    fn path_now(&self) -> Option<PathBuf> {
        let path = rustix::fs::getpath(&self.descriptor).ok()?;
        Some(std::ffi::OsString::from_vec(path.into_bytes()).into())
    }

    /// Takes the lock; `false` when somebody holds it. Never waits.
    ///
    /// # Errors
    /// When the file system knows no locks.
    pub fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for FolderLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
