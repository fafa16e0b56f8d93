//! Whether another process uses a file, found out without touching it.
//!
//! **Invariant: passive.** No lock is taken and no descriptor stays open. A lock taken for an instant could make
//! somebody's start fail, and closing a file drops the caller's own POSIX locks on it: this process takes none.
//!
//! Three sources, because none sees everything (fcntl(2), flock(2), proc_locks(5); measured on Linux 6.18 with QEMU 7.2
//! and 10.0):
//! - `F_GETLK` sees POSIX and OFD locks, QEMU's among them, in every pid namespace; it does not see `flock`;
//! - `/proc/locks` shows `flock` too. Its device is the file system's, which on btrfs and its like is not `stat`'s;
//!   its pid is that of the process that took the lock, which may have ended;
//! - descriptors open for writing show a user that locks nothing, where this user may look.
//!
//! QEMU marks what it does by single bytes: 101 (write) and 103 (resize) mean that the image is being written; 100, 201
//! and 203 alone mean that a VM reads it, which is what every base under a running overlay shows (QEMU,
//! `block/file-posix.c`: permissions from byte 100, what is not shared from byte 200).

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Flock, FlockOffsetType, FlockType};

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

/// Asks about files one after the other, reading `/proc/locks` at most once.
#[derive(Debug, Default)]
pub struct Observer {
    locks: Option<Vec<KernelLock>>,
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
        let file = (stat.st_dev, stat.st_ino);
        let in_use = |what, named: Option<u32>| {
            let pid = writer(file.0, file.1, own).or(named);
            (Use::InUse(Sign { file: path.to_owned(), what, pid }), Some(file))
        };
        if let Some(what) = ranges {
            return Ok(in_use(what, None));
        }
        let foreign = |lock: &&KernelLock| !lock.pid.is_some_and(|pid| own.contains(&pid));
        let holder = self.locks().iter().filter(|lock| lock.is_flock_on(file.0, file.1)).find(foreign);
        match holder.map(|lock| lock.pid) {
            Some(pid) => Ok(in_use("is locked (flock)", pid)),
            None => Ok((Use::Free, Some(file))),
        }
    }

    fn locks(&mut self) -> &[KernelLock] {
        self.locks.get_or_insert_with(kernel_locks)
    }
}

/// What the file's POSIX and OFD locks say, or `None` when none stands in the way.
fn range_locks(descriptor: &rustix::fd::OwnedFd) -> rustix::io::Result<Option<&'static str>> {
    let conflict = |start, length| {
        let wanted =
            Flock { start, length, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
        rustix::process::fcntl_getlk(descriptor, &wanted).map(|lock| lock.is_some())
    };
    if !conflict(0, 0)? {
        return Ok(None);
    }
    for byte in QEMU_WRITES {
        if conflict(byte, 1)? {
            return Ok(Some("is being written by a VM (QEMU's lock)"));
        }
    }
    let (first, last) = (*QEMU_BYTES.start(), *QEMU_BYTES.end());
    if conflict(0, first)? || conflict(last + 1, 0)? {
        return Ok(Some("is locked"));
    }
    Ok(None)
}

/// A process that has the file open for writing, where this user may look.
fn writer(device: u64, inode: u64, own: &[u32]) -> Option<u32> {
    process::openers(device, inode)
        .into_iter()
        .find(|opener| opener.writable && !own.contains(&opener.pid))
        .map(|opener| opener.pid)
}

/// A row of `/proc/locks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLock {
    /// `POSIX`, `OFDLCK`, `FLOCK`, `LEASE`, …
    pub kind: String,
    /// The process that took it, if the lock is a process's; it may have ended.
    pub pid: Option<u32>,
    /// The file system's device: major and minor number.
    pub device: (u32, u32),
    /// The file's inode.
    pub inode: u64,
}

impl KernelLock {
    /// Whether this is an `flock` on the file that `stat` calls so. On file systems without a device of their own (btrfs
    /// among them) the kernel's number is not `stat`'s: there, any such number may be it.
    #[must_use]
    pub fn is_flock_on(&self, device: u64, inode: u64) -> bool {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let same_device = self.device == (major, minor) || (self.device.0 == 0 && major == 0);
        self.kind == "FLOCK" && self.inode == inode && same_device
    }
}

/// Reads `/proc/locks`; nothing when it cannot be read.
#[must_use]
pub fn kernel_locks() -> Vec<KernelLock> {
    std::fs::read_to_string("/proc/locks").map(|text| parse_kernel_locks(&text)).unwrap_or_default()
}

/// Rows such as `1: FLOCK  ADVISORY  WRITE 708 fd:00:1234 0 EOF`; a row that only waits has `->` before the kind.
fn parse_kernel_locks(text: &str) -> Vec<KernelLock> {
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let kind = fields.next().filter(|kind| *kind != "->")?.to_owned();
        let pid = fields.nth(2)?.parse().ok();
        let mut file = fields.next()?.split(':');
        let mut number = || u32::from_str_radix(file.next()?, 16).ok();
        let device = (number()?, number()?);
        let inode = file.next()?.parse().ok()?;
        Some(KernelLock { kind, pid, device, inode })
    };
    text.lines().filter_map(row).collect()
}

/// Who holds the `flock` on a file or folder: the processes that have it open with a lock, and, where those cannot be
/// looked into, the living process that the kernel names.
#[must_use]
pub fn flock_holders(device: u64, inode: u64) -> Vec<u32> {
    let mut holders: Vec<u32> = process::openers(device, inode)
        .into_iter()
        .filter(|opener| opener.locked)
        .map(|opener| opener.pid)
        .collect();
    if holders.is_empty() {
        let named = kernel_locks().into_iter().filter(|lock| lock.is_flock_on(device, inode));
        holders
            .extend(named.filter_map(|lock| lock.pid).filter(|pid| process::ProcessId::of(*pid).is_some()));
    }
    holders.sort_unstable();
    holders.dedup();
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_kernel_are_read() {
        let text = "1: POSIX  ADVISORY  WRITE 708 fd:00:1234 0 EOF\n2: FLOCK  ADVISORY  WRITE 9 00:1b:77 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 10 00:1b:77 0 EOF\n3: OFDLCK ADVISORY  READ -1 fe:00:5 100 101\nx\n";
        let lock = |kind: &str, pid, device, inode| KernelLock { kind: kind.into(), pid, device, inode };
        assert_eq!(
            parse_kernel_locks(text),
            [
                lock("POSIX", Some(708), (0xfd, 0), 1234),
                lock("FLOCK", Some(9), (0, 0x1b), 77),
                lock("OFDLCK", None, (0xfe, 0), 5)
            ]
        );
    }

    #[test]
    fn a_lock_on_another_file_system_is_none_on_this_file() {
        let lock = KernelLock { kind: "FLOCK".into(), pid: None, device: (0xfd, 1), inode: 77 };
        let on = |major, minor, inode| lock.is_flock_on(rustix::fs::makedev(major, minor), inode);
        assert!(on(0xfd, 1, 77));
        assert!(!on(0xfd, 2, 77) && !on(0xfd, 1, 78) && !on(0, 1, 77));
        // Where both numbers are made up by the kernel, they need not be the same.
        let made_up = KernelLock { device: (0, 0x1b), ..lock.clone() };
        assert!(made_up.is_flock_on(rustix::fs::makedev(0, 0x2c), 77));
        let posix = KernelLock { kind: "POSIX".into(), ..lock.clone() };
        assert!(!posix.is_flock_on(rustix::fs::makedev(0xfd, 1), 77));
    }

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
            matches!(Observer::default().used(&path, &[]), Use::InUse(sign) if sign.what.contains("flock"))
        );
        drop(reader);
        let writer = std::fs::File::options().append(true).open(&path).unwrap();
        let seen = Observer::default().used(&path, &[]);
        assert!(matches!(seen, Use::InUse(sign) if sign.pid == Some(std::process::id())), "{writer:?}");
        assert_eq!(Observer::default().used(&path, &[std::process::id()]), Use::Free);
    }
}
