//! The locks that macOS shows: all kinds, through `F_GETLK`. Experimental: no Mac has run it.

use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::Flock;

/// Nothing: `F_GETLK` has said it.
#[derive(Debug, Default)]
pub(super) struct Flocks;

impl Flocks {
    #[expect(clippy::unused_self, reason = "the interface is Linux's, too")]
    pub(super) const fn foreign(&mut self, _file: (u64, u64), _own: &[u32]) -> Option<Option<u32>> {
        None
    }
}

/// The process that has a POSIX lock. Of the other kinds the kernel says -1.
pub(super) fn named(lock: &Flock) -> Option<u32> {
    lock.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok())
}

pub(super) fn is_flocked(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let lock = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|descriptor| super::conflict(&descriptor, 0, 0));
    matches!(lock, Ok(Some(_)))
}

/// Nobody: the kernel does not say who holds an `flock`.
pub(super) fn flockers(_file: (u64, u64)) -> impl Iterator<Item = u32> {
    std::iter::empty()
}
