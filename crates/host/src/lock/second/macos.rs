//! The second line on macOS: the arguments of running supervisors, which name the folders that they drive.
//! Experimental: no Mac has run it.
//!
//! Nothing is taken or left: a supervisor is seen because it runs. Whoever has the lock file waits a moment for an older
//! supervisor of the same identity to go away, because one that has told that its VM ended takes some milliseconds to end
//! itself, and so does one that was refused.

use std::cell::OnceCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use selfsame_darwin::ask;

use super::super::Subject;
use super::title::{Driven, is_rival, supervised_folder};
use crate::process::ProcessId;

/// How long an older supervisor may take to go away.
const PATIENCE: Duration = Duration::from_secs(1);

/// The line holds by itself.
#[derive(Debug)]
pub(in crate::lock) struct Second;

impl Second {
    /// Nothing need stay open, and nothing can be inherited: of an orphaned guest only the lock files tell.
    #[expect(clippy::unused_self, reason = "the interface is Linux's, too")]
    pub(in crate::lock) const fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A running supervisor that this user may see.
#[derive(Debug)]
struct Supervisor {
    process: ProcessId,
    driven: Driven,
}

/// Asks for lock files and supervisors; looks through the processes at most once.
#[derive(Debug)]
pub(in crate::lock) struct Asker {
    place: PathBuf,
    supervisors: OnceCell<Vec<Supervisor>>,
}

impl Asker {
    pub(in crate::lock) fn new(place: &Path) -> io::Result<Self> {
        Ok(Self { place: place.to_owned(), supervisors: OnceCell::new() })
    }

    /// Whether somebody holds the lock file, or a supervisor of the subject still runs. Takes nothing.
    pub(in crate::lock) fn is_claimed(&self, subject: &Subject) -> io::Result<bool> {
        if is_locked(&self.place.join(subject.key()))? {
            return Ok(true);
        }
        let supervisors = match self.supervisors.get() {
            Some(supervisors) => supervisors,
            None => {
                let found = supervisors()?;
                self.supervisors.get_or_init(|| found)
            }
        };
        Ok(supervisors.iter().any(|supervisor| supervisor.driven.is(subject) && supervisor.process.lives()))
    }
}

/// Waits for older supervisors of the subject to go away; `None` when one stays. Only whoever holds the lock file may
/// call.
pub(in crate::lock) fn take(subject: &Subject) -> io::Result<Option<Second>> {
    let own = ProcessId::own().ok_or(Errno::SRCH)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
    let rivals: Vec<ProcessId> = supervisors()?
        .into_iter()
        .filter(|other| other.driven.is(subject) && is_rival(own.start, other.process.start, now))
        .map(|other| other.process)
        .collect();
    let began = Instant::now();
    while rivals.iter().any(ProcessId::lives) {
        if began.elapsed() > PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Some(Second))
}

/// The other supervisors that run now. What the kernel does not show to this user is not among them.
fn supervisors() -> io::Result<Vec<Supervisor>> {
    let own = std::process::id();
    let look = |pid: u32| {
        let arguments = ask::arguments(pid).ok()?;
        let driven = Driven::of(supervised_folder(&arguments.list)?);
        Some(Supervisor { process: ProcessId::of(pid)?, driven })
    };
    Ok(ask::pids()?.into_iter().filter(|pid| *pid != own).filter_map(look).collect())
}

/// Whether somebody has locked this lock file. A file that is not there is not locked, and none is made.
fn is_locked(path: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => Ok(crate::evidence::conflict(&descriptor, 0, 0)?.is_some()),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
