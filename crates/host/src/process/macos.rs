//! Processes as the Darwin kernel tells them: `proc_pidinfo` and a kqueue. Experimental: no Mac has run it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Signal;
use selfsame_darwin::ask;

use super::{OpenFile, ProcessId};

/// Microseconds since 1970; `None` for a zombie, and, unless this is root, for another user's process.
pub(super) fn start_of(pid: u32) -> Option<u64> {
    ask::process(pid).ok().filter(|process| !process.is_zombie).map(|process| process.start)
}

/// A kqueue that waits for the end of one process.
#[derive(Debug)]
pub(super) struct Handle {
    queue: OwnedFd,
    process: ProcessId,
}

impl Handle {
    pub(super) fn open(process: ProcessId) -> io::Result<Self> {
        Ok(Self { queue: ask::exit_queue(process.pid)?, process })
    }

    /// macOS has no signal to a handle. Between the look and the signal the process could end, be collected by its
    /// parent, and its pid be given away: microseconds, against a kernel that goes through all pids before it gives one
    /// again (XNU, `bsd/kern/kern_fork.c`).
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = super::raw(self.process.pid).filter(|_| self.process.lives()).ok_or_else(super::gone)?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

pub(super) fn boot_id() -> Option<String> {
    ask::boot_session()
}

pub(super) fn name_of(pid: u32) -> Option<String> {
    ask::sketch(pid).ok().map(|sketch| sketch.name)
}

pub(super) fn all() -> impl Iterator<Item = u32> {
    ask::pids().unwrap_or_default().into_iter()
}

/// One question per descriptor that leads to a file, of this user's processes; of all for root.
pub(super) fn openers(device: u64, inode: u64) -> Vec<OpenFile> {
    let mut found = Vec::new();
    for pid in all() {
        let descriptors = ask::descriptors(pid).unwrap_or_default();
        for descriptor in descriptors.into_iter().filter(|descriptor| descriptor.is_vnode) {
            // It may have been closed meanwhile.
            let Ok(vnode) = ask::vnode(pid, descriptor) else { continue };
            if (vnode.device, vnode.inode) == (device, inode) {
                found.push(OpenFile { pid, writable: vnode.is_writable, locked: None });
            }
        }
    }
    found
}
