//! Who holds the library, as far as the kernel tells: the error of a waiting command names the one it waits for.
//!
//! In write-ahead mode a writer's lock is not on `library.db` but on a byte of `library.db-shm`. Everybody who has the
//! library open holds *read* locks on both, so only write locks count. Only inodes are compared: the device that
//! `/proc/locks` prints is the superblock's, which on btrfs is not the one that `stat` gives. Where there is no
//! `/proc/locks` nobody is named. The answer is a moment late: the holder may be gone already.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::beside;

/// A process that holds the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command, when it could be read.
    pub command: Option<String>,
}

pub(super) fn of(library: &Path) -> Vec<Holder> {
    let inode = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.ino());
    let inodes: Vec<u64> = [inode(library), inode(&beside(library, "-shm"))].into_iter().flatten().collect();
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let holder = |pid| Holder {
        pid,
        command: fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned()),
    };
    writers(&locks, &inodes).into_iter().map(holder).collect()
}

/// The processes with a write lock on one of the inodes. Lines look like
/// `12: POSIX  ADVISORY  WRITE 4711 fe:00:2883594 120 120`; waiting ones have `->` after the number.
fn writers(locks: &str, inodes: &[u64]) -> Vec<u32> {
    let mut pids: Vec<u32> = locks
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (_class, _advisory, kind) =
                (words.next().filter(|class| *class == "POSIX")?, words.next()?, words.next()?);
            let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
            let inode: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
            (kind == "WRITE" && inodes.contains(&inode)).then_some(pid)
        })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

pub(super) fn list(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "another process".to_owned();
    }
    let one = |holder: &Holder| match &holder.command {
        Some(command) => format!("process {} ({command})", holder.pid),
        None => format!("process {}", holder.pid),
    };
    holders.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_held_write_locks_on_the_file_count() {
        let locks = "1: POSIX  ADVISORY  WRITE 4711 fe:00:77 120 120\n\
                     2: POSIX  ADVISORY  READ  4712 fe:00:77 128 128\n\
                     2: -> POSIX  ADVISORY  WRITE 4713 fe:00:77 120 120\n\
                     3: FLOCK  ADVISORY  WRITE 4714 fe:00:77 0 EOF\n\
                     4: OFDLCK ADVISORY  WRITE -1 fe:00:77 0 EOF\n\
                     5: POSIX  ADVISORY  WRITE 4711 fe:00:78 1 1\n\
                     6: POSIX  ADVISORY  WRITE 4716 fe:00:99 1 1\n\
                     7: POSIX\nnonsense\n";
        assert_eq!(writers(locks, &[77, 78]), [4711]);
        assert_eq!(list(&[Holder { pid: 1, command: None }]), "process 1");
    }
}
