//! Whether another process uses a file, found out without touching it.
//!
//! **Invariant: passive.** No lock is taken and no descriptor stays open. A lock taken for an instant could make
//! somebody's start fail, and closing a file drops the caller's own POSIX locks on it: this process takes none.
//!
//! Linux has three sources, because none sees everything (fcntl(2), flock(2), proc_locks(5); measured on Linux 6.18 with
//! QEMU 7.2 and 10.0):
//! - `F_GETLK` sees POSIX and OFD locks, QEMU's among them, in every pid namespace; it does not see `flock`;
//! - `/proc/locks` shows `flock` too. Its device is the file system's, which on btrfs and its like is not `stat`'s;
//!   its pid is that of the process that took the lock, which may have ended;
//! - descriptors open for writing show a user that locks nothing, where this user may look.
//!
//! On macOS `F_GETLK` sees every kind of lock: POSIX, `flock`, `O_EXLOCK` and OFD locks of a file are one list, and the
//! access mode of the asking descriptor does not matter. It names a process for POSIX locks only (XNU,
//! `bsd/kern/kern_lockf.c` and `kern_descrip.c`; confidence high, but no Mac has run this). Virtualization.framework locks
//! a VM's auxiliary storage so. Descriptors open for writing are the second source there, too.
//!
//! QEMU marks what it does by single bytes: 101 (write) and 103 (resize) mean that the image is being written; 100, 201
//! and 203 alone mean that a VM reads it, which is what every base under a running overlay shows (QEMU,
//! `block/file-posix.c`: permissions from byte 100, what is not shared from byte 200).

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "macos")]
use macos as system;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Flock, FlockOffsetType, FlockType};

use crate::files::device_and_inode;
use crate::process;

/// The bytes of QEMU's own protocol: permissions 100 to 163, what is not shared 200 to 263.
const QEMU_BYTES: std::ops::RangeInclusive<u64> = 100..=263;
/// QEMU's bytes for "I write" and "I resize".
const QEMU_WRITES: [u64; 2] = [101, 103];

/// One sign that a file is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// The file.
    pub file: PathBuf,
    /// What was seen, a clause such as `is being written by a VM (QEMU's lock)`.
    pub what: &'static str,
    /// Who, as far as it can be told.
    pub pid: Option<u32>,
}

impl std::fmt::Display for Sign {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "`{}` {}", self.file.display(), self.what)?;
        match self.pid {
            Some(pid) => write!(formatter, ": {}", process::describe(pid)),
            None => Ok(()),
        }
    }
}

/// What the signs say together. A disagreement between sources counts as in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// No source shows a user.
    Free,
    /// At least one source shows a user.
    InUse(Sign),
    /// The file cannot be asked about: never taken for free.
    Unknown {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// There is no such file.
    Absent,
}

/// Asks about files one after the other, reading the kernel's table of locks (Linux) at most once.
#[derive(Debug, Default)]
pub struct Observer {
    flocks: system::Flocks,
}

impl Observer {
    /// Whether a lock shows that somebody uses this file. `own` names processes whose use does not count.
    ///
    /// Cheap: its cost does not grow with the number of processes unless a user is found.
    pub fn locked(&mut self, path: &Path, own: &[u32]) -> Use {
        self.ask(path, own).0
    }

    /// As [`Observer::locked`], and whether somebody has the file open for writing without any lock: looks through the
    /// descriptors of all processes.
    pub fn used(&mut self, path: &Path, own: &[u32]) -> Use {
        match self.ask(path, own) {
            (Use::Free, Some((device, inode))) => match writer(device, inode, own) {
                Some(pid) => {
                    Use::InUse(Sign { file: path.to_owned(), what: "is open for writing", pid: Some(pid) })
                }
                None => Use::Free,
            },
            (answer, _) => answer,
        }
    }

    /// Whether a VM reads this file, as the base of its disk. Whoever wrote it would change that disk under the guest.
    pub fn is_base(path: &Path) -> Option<Sign> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let (first, last) = (*QEMU_BYTES.start(), *QEMU_BYTES.end());
        conflict(&descriptor, first, last + 1 - first).ok()??;
        Some(Sign {
            file: path.to_owned(),
            what: "is read by a VM (QEMU's lock), as the base of its disk",
            pid: None,
        })
    }

    fn ask(&mut self, path: &Path, own: &[u32]) -> (Use, Option<(u64, u64)>) {
        match self.ask_locks(path, own) {
            Ok(answer) => answer,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => (Use::Absent, None),
            Err(error) => {
                let reason = io::Error::from(error).to_string();
                (Use::Unknown { file: path.to_owned(), reason }, None)
            }
        }
    }

    fn ask_locks(&mut self, path: &Path, own: &[u32]) -> rustix::io::Result<(Use, Option<(u64, u64)>)> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&descriptor)?;
        let ranges = range_locks(&descriptor)?;
        drop(descriptor);
        let file = device_and_inode(&stat);
        let in_use = |what, named: Option<u32>| {
            let pid = writer(file.0, file.1, own).or(named);
            (Use::InUse(Sign { file: path.to_owned(), what, pid }), Some(file))
        };
        if let Some((what, named)) = ranges {
            return Ok(in_use(what, named));
        }
        match self.flocks.foreign(file, own) {
            Some(pid) => Ok(in_use("is locked (flock)", pid)),
            None => Ok((Use::Free, Some(file))),
        }
    }
}

/// What `F_GETLK` says of the file, and whom it names; `None` when nothing stands in the way.
fn range_locks(descriptor: &OwnedFd) -> rustix::io::Result<Option<(&'static str, Option<u32>)>> {
    let Some(first) = conflict(descriptor, 0, 0)? else { return Ok(None) };
    let named = system::named(&first);
    let conflicts =
        |start, length| conflict(descriptor, start, length).map(|lock: Option<Flock>| lock.is_some());
    what_ranges_say((first.start, first.length), conflicts).map(|what| what.map(|what| (what, named)))
}

/// What a file's locks mean, by the place (start and length) of the first, and by whether a range has any. A length of 0
/// reaches to the end of the file and beyond.
fn what_ranges_say<E>(
    first: (u64, u64),
    conflicts: impl Fn(u64, u64) -> Result<bool, E>,
) -> Result<Option<&'static str>, E> {
    // QEMU locks single bytes: who locks the whole file is somebody else.
    if first == (0, 0) {
        return Ok(Some("is locked"));
    }
    for byte in QEMU_WRITES {
        if conflicts(byte, 1)? {
            return Ok(Some("is being written by a VM (QEMU's lock)"));
        }
    }
    let (first, last) = (*QEMU_BYTES.start(), *QEMU_BYTES.end());
    if conflicts(0, first)? || conflicts(last + 1, 0)? {
        return Ok(Some("is locked"));
    }
    Ok(None)
}

/// A lock that somebody else has in this range, by `F_GETLK`, which takes nothing.
pub(crate) fn conflict(descriptor: &OwnedFd, start: u64, length: u64) -> rustix::io::Result<Option<Flock>> {
    let wanted =
        Flock { start, length, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    rustix::process::fcntl_getlk(descriptor, &wanted)
}

/// A process that has the file open for writing, where this user may look.
fn writer(device: u64, inode: u64, own: &[u32]) -> Option<u32> {
    process::openers(device, inode)
        .into_iter()
        .find(|opener| opener.writable && !own.contains(&opener.pid))
        .map(|opener| opener.pid)
}

/// Whether somebody holds an `flock` on a file or folder, asked without taking it. What cannot be asked about is not held.
#[must_use]
pub fn is_flocked(path: &Path) -> bool {
    system::is_flocked(path)
}

/// The living processes that took an `flock` on the file. Only where the kernel shows none, those that have it open with a
/// lock: they inherited it. Cheaper than [`flock_holders`] as a rule, and blind for further ones.
#[must_use]
pub fn flock_takers((device, inode): (u64, u64)) -> Vec<u32> {
    let takers: Vec<u32> = system::flockers((device, inode)).collect();
    if takers.is_empty() { flock_holders(device, inode) } else { takers }
}

/// Who holds the `flock` on a file or folder that is locked: the processes that have it open with a lock, and, where those
/// cannot be looked into, the living process that the kernel names.
///
/// macOS does not tell which descriptor carries a lock: there it is whoever else has it open, as far as this user may
/// look.
#[must_use]
pub fn flock_holders(device: u64, inode: u64) -> Vec<u32> {
    let own = std::process::id();
    let mut holders: Vec<u32> = process::openers(device, inode)
        .into_iter()
        .filter(|opener| opener.locked.unwrap_or(opener.pid != own))
        .map(|opener| opener.pid)
        .collect();
    if holders.is_empty() {
        holders.extend(system::flockers((device, inode)));
    }
    holders.sort_unstable();
    holders.dedup();
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_nobody_uses_is_free_and_a_missing_one_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        assert_eq!(Observer::default().used(&path, &[]), Use::Absent);
        std::fs::write(&path, b"x").unwrap();
        assert_eq!(Observer::default().used(&path, &[]), Use::Free);
    }

    #[test]
    fn an_flock_and_a_writer_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, b"x").unwrap();
        let reader = std::fs::File::open(&path).unwrap();
        assert_eq!(Observer::default().used(&path, &[]), Use::Free, "a reader is no user");
        rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(
            matches!(Observer::default().used(&path, &[]), Use::InUse(sign) if sign.what.contains("is locked"))
        );
        drop(reader);
        let writer = std::fs::File::options().append(true).open(&path).unwrap();
        let seen = Observer::default().used(&path, &[]);
        assert!(matches!(seen, Use::InUse(sign) if sign.pid == Some(std::process::id())), "{writer:?}");
        assert_eq!(Observer::default().used(&path, &[std::process::id()]), Use::Free);
    }

    #[test]
    fn what_a_lock_means_is_told_by_its_place() {
        let say = |locks: &[(u64, u64)]| {
            let end = |(start, length): (u64, u64)| if length == 0 { u64::MAX } else { start + length };
            let conflicts = |start, length| -> Result<bool, ()> {
                Ok(locks.iter().any(|lock| lock.0 < end((start, length)) && start < end(*lock)))
            };
            what_ranges_say(locks[0], conflicts).unwrap()
        };
        assert_eq!(say(&[(0, 0)]), Some("is locked"), "an flock on macOS, or somebody else's");
        assert_eq!(say(&[(100, 1), (201, 1), (203, 1)]), None, "a base that a VM reads");
        for byte in [101, 103] {
            assert!(say(&[(100, 1), (byte, 1)]).is_some_and(|what| what.contains("QEMU")));
        }
        assert_eq!(say(&[(100, 1), (5, 1)]), Some("is locked"));
        assert_eq!(say(&[(264, 0)]), Some("is locked"));
    }
}
