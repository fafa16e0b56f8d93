//! Processes of this computer, named so that a pid that was given away again is never taken for the old one.
//!
//! What is asked is the same on all systems; how stands in the file of the system. What the kernel does not show to this
//! user is left out, and each function says so.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "macos")]
use macos as system;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// A process, by its pid and the moment it started.
///
/// The unit of the moment is the system's: on Linux clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)), on
/// macOS microseconds since 1970 by the clock of that moment (`pbi_start_tvsec` and `pbi_start_tvusec`). Such moments are
/// compared with each other on one host in one boot, and with nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// When it started.
    pub start: u64,
}

impl ProcessId {
    /// The process that has this pid now; `None` when there is none, or it has ended and waits for its parent. On macOS
    /// also `None` for another user's process, unless this is root.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start: system::start_of(pid)? })
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
pub struct ProcessHandle(system::Handle);

impl ProcessHandle {
    /// Opens a handle on a living process.
    ///
    /// # Errors
    /// When that very process has ended, or the kernel refuses.
    pub fn open(process: ProcessId) -> io::Result<Self> {
        let handle = Self(system::Handle::open(process)?);
        // Opened first, compared afterwards: from here on the pid cannot be given away unnoticed.
        if process.lives() { Ok(handle) } else { Err(gone()) }
    }

    /// Whether the process has ended within `limit`, with all its threads. Its first thread alone may be gone earlier (`Z`
    /// in `/proc`), while others still hold its files and locks.
    #[must_use]
    pub fn has_ended(&self, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).ok();
        matches!(poll(&mut [PollFd::new(self, PollFlags::IN)], limit.as_ref()), Ok(1..))
    }

    /// Sends a signal to the process. On Linux it reaches that process or none. On macOS the process is looked at and then
    /// signalled by its pid, which leaves a gap of microseconds in which the pid could be given away.
    ///
    /// # Errors
    /// When it has ended, or is another user's.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.0.signal(signal)
    }
}

/// Readable once the process has ended.
impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn gone() -> io::Error {
    rustix::io::Errno::SRCH.into()
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The running kernel's boot, a random UUID as text: what was true in another boot says nothing about processes now.
#[must_use]
pub fn boot_id() -> Option<String> {
    system::boot_id()
}

/// What a process calls itself: `name (pid N)`, or `pid N` alone when it cannot be seen.
#[must_use]
pub fn describe(pid: u32) -> String {
    match system::name_of(pid) {
        Some(name) => format!("{} (pid {pid})", name.escape_debug()),
        None => format!("pid {pid}"),
    }
}

/// All processes that the kernel shows, in no order.
pub fn all() -> impl Iterator<Item = u32> {
    system::all()
}

/// A descriptor that some process has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// The process.
    pub pid: u32,
    /// Whether it may write through it.
    pub writable: bool,
    /// Whether the descriptor carries a lock of any kind; `None` where the kernel does not tell of single descriptors
    /// (macOS).
    pub locked: Option<bool>,
}

/// Which processes have the file with this device and inode open, as far as this user may look: one row per descriptor.
/// Opens nothing of the file itself.
#[must_use]
pub fn openers(device: u64, inode: u64) -> Vec<OpenFile> {
    system::openers(device, inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::device_and_inode;

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
        let (device, inode) = device_and_inode(&stat);
        // macOS does not tell of single descriptors.
        let own = |locked| OpenFile {
            pid: std::process::id(),
            writable: true,
            locked: cfg!(target_os = "linux").then_some(locked),
        };
        assert_eq!(openers(device, inode), [own(false)]);
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(openers(device, inode), [own(true)]);
    }
}
