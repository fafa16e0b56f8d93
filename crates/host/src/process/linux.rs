//! Processes as Linux tells them: `/proc` (proc(5)) and pidfds (pidfd_open(2)).

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{PidfdFlags, Signal};

use super::{OpenFile, ProcessId};
use crate::files::device_and_inode;

/// Field 22 of `/proc/PID/stat`, in clock ticks since boot; `None` for a zombie.
pub(super) fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets and may hold anything, brackets and spaces included.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A pidfd.
#[derive(Debug)]
pub(super) struct Handle(OwnedFd);

impl Handle {
    pub(super) fn open(process: ProcessId) -> io::Result<Self> {
        let pid = super::raw(process.pid).ok_or_else(super::gone)?;
        Ok(Self(rustix::process::pidfd_open(pid, PidfdFlags::empty())?))
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.0, signal)?)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub(super) fn boot_id() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|text| text.trim().to_owned())
}

pub(super) fn name_of(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

pub(super) fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// `/proc/PID/fd`, and `/proc/PID/fdinfo` of those that match.
pub(super) fn openers(device: u64, inode: u64) -> Vec<OpenFile> {
    let mut found = Vec::new();
    for pid in all() {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let matches = rustix::fs::stat(descriptor.path())
                .is_ok_and(|stat| device_and_inode(&stat) == (device, inode));
            if matches {
                let number = PathBuf::from(descriptor.file_name());
                let (writable, locked) = fdinfo(pid, &number).unwrap_or((false, false));
                found.push(OpenFile { pid, writable, locked: Some(locked) });
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
