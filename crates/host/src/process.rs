//! Processes of this computer, named so that a pid that was given away again is never taken for the old one.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// A process, by its pid and the moment it started (clock ticks since boot, field 22 of `/proc/PID/stat`, proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// When it started.
    pub start: u64,
}

impl ProcessId {
    /// The process that has this pid now; `None` when there is none, or it has ended and waits for its parent.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in brackets and may hold anything, brackets and spaces included.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        Some(Self { pid, start: fields.nth(18)?.parse().ok()? })
    }

    /// This process.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether this very process still lives.
    #[must_use]
    pub fn lives(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }
}

/// A handle that stays with one process, whatever becomes of its pid.
#[derive(Debug)]
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Opens a handle on a living process.
    ///
    /// # Errors
    /// When that very process has ended, or the kernel refuses.
    pub fn open(process: ProcessId) -> io::Result<Self> {
        let gone = || io::Error::from(rustix::io::Errno::SRCH);
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let handle = Self(rustix::process::pidfd_open(pid, PidfdFlags::empty())?);
        // Opened first, compared afterwards: from here on the pid cannot be given away unnoticed.
        if process.lives() { Ok(handle) } else { Err(gone()) }
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// When it has ended, or is another user's.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.0, signal)?)
    }
}

/// Readable once the process has ended.
impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The running kernel's boot, a random UUID as text: what was true in another boot says nothing about processes now.
#[must_use]
pub fn boot_id() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|text| text.trim().to_owned())
}

/// What a process calls itself: `name (pid N)`, or `pid N` alone when it cannot be seen.
#[must_use]
pub fn describe(pid: u32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{} (pid {pid})", name.trim().escape_debug()),
        Err(_) => format!("pid {pid}"),
    }
}

/// All processes that `/proc` shows, in no order.
pub fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// A descriptor that some process has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// The process.
    pub pid: u32,
    /// Whether it may write through it.
    pub writable: bool,
    /// Whether the descriptor carries a lock of any kind.
    pub locked: bool,
}

/// Which processes have the file with this device and inode open, as far as this user may look (`/proc/PID/fd`,
/// `/proc/PID/fdinfo`): one row per descriptor. Opens nothing of the file itself.
#[must_use]
pub fn openers(device: u64, inode: u64) -> Vec<OpenFile> {
    let mut found = Vec::new();
    for pid in all() {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let matches = rustix::fs::stat(descriptor.path())
                .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (device, inode));
            if matches {
                let number = PathBuf::from(descriptor.file_name());
                let (writable, locked) = fdinfo(pid, &number).unwrap_or((false, false));
                found.push(OpenFile { pid, writable, locked });
            }
        }
    }
    found
}

fn fdinfo(pid: u32, descriptor: &Path) -> Option<(bool, bool)> {
    let text = fs::read_to_string(Path::new(&format!("/proc/{pid}/fdinfo")).join(descriptor)).ok()?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    let locked = text.lines().any(|line| line.starts_with("lock:"));
    Some((flags & 0b11 != 0, locked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_another_start_is_another_process() {
        let own = ProcessId::own().unwrap();
        assert!(own.lives());
        let imposter = ProcessId { start: own.start + 1, ..own };
        assert!(!imposter.lives());
        assert!(ProcessHandle::open(own).is_ok());
        assert!(ProcessHandle::open(imposter).is_err());
    }

    #[test]
    fn an_ended_child_lives_no_more_even_before_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = ProcessId::of(child.id());
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(ProcessId::of(child.id()), None);
        assert!(id.is_none_or(|id| !id.lives()));
        child.wait().unwrap();
    }

    #[test]
    fn open_descriptors_are_found_with_their_locks() {
        let file = tempfile::tempfile().unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let own = |locked| OpenFile { pid: std::process::id(), writable: true, locked };
        assert_eq!(openers(stat.st_dev, stat.st_ino), [own(false)]);
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(openers(stat.st_dev, stat.st_ino), [own(true)]);
    }
}
