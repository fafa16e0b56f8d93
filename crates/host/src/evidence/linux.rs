//! The locks that Linux shows in `/proc/locks` (proc_locks(5)), `flock` among them.

use std::path::Path;

use rustix::process::Flock;

use crate::files::device_and_inode;
use crate::process::ProcessId;

/// The table, read at most once.
#[derive(Debug, Default)]
pub(super) struct Flocks(Option<Vec<KernelLock>>);

impl Flocks {
    /// An `flock` on the file by a process that is none of `own`, and its pid where it is told.
    pub(super) fn foreign(&mut self, (device, inode): (u64, u64), own: &[u32]) -> Option<Option<u32>> {
        let foreign = |lock: &&KernelLock| !lock.pid.is_some_and(|pid| own.contains(&pid));
        let table = self.0.get_or_insert_with(kernel_locks);
        table.iter().filter(|lock| lock.is_flock_on(device, inode)).find(foreign).map(|lock| lock.pid)
    }
}

/// Nobody: a pid of `F_GETLK` may be of another namespace.
pub(super) const fn named(_lock: &Flock) -> Option<u32> {
    None
}

pub(super) fn is_flocked(path: &Path) -> bool {
    let Ok(stat) = rustix::fs::stat(path) else { return false };
    let (device, inode) = device_and_inode(&stat);
    kernel_locks().iter().any(|lock| lock.is_flock_on(device, inode))
}

/// The living processes that took an `flock` on the file.
pub(super) fn flockers((device, inode): (u64, u64)) -> impl Iterator<Item = u32> {
    let locks = kernel_locks().into_iter().filter(move |lock| lock.is_flock_on(device, inode));
    locks.filter_map(|lock| lock.pid).filter(|pid| ProcessId::of(*pid).is_some())
}

/// A row of `/proc/locks`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KernelLock {
    /// `POSIX`, `OFDLCK`, `FLOCK`, `LEASE`, …
    kind: String,
    /// The process that took it, if the lock is a process's; it may have ended.
    pid: Option<u32>,
    /// The file system's device: major and minor number.
    device: (u32, u32),
    /// The file's inode.
    inode: u64,
}

impl KernelLock {
    /// Whether this is an `flock` on the file that `stat` calls so. On file systems without a device of their own (btrfs
    /// among them) the kernel's number is not `stat`'s: there, any such number may be it.
    fn is_flock_on(&self, device: u64, inode: u64) -> bool {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let same_device = self.device == (major, minor) || (self.device.0 == 0 && major == 0);
        self.kind == "FLOCK" && self.inode == inode && same_device
    }
}

/// Reads `/proc/locks`; nothing when it cannot be read.
fn kernel_locks() -> Vec<KernelLock> {
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
}
