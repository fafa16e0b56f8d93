//! Waiting for a folder's files to change, without looking again and again.
//!
//! On Linux the kernel tells (inotify). Where it does not, somebody who waits looks again after [`PAUSE`].

use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};

/// How long is waited where the kernel does not tell of changes.
pub const PAUSE: Duration = Duration::from_secs(1);

/// A folder that is watched.
#[derive(Debug)]
pub struct Watch {
    #[cfg(target_os = "linux")]
    told: Option<std::os::fd::OwnedFd>,
}

/// Why a waiting is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Woken {
    /// The kernel told of a change.
    pub changed: bool,
    /// For each of those that were waited for, too, whether it has something to say.
    pub also: Vec<bool>,
}

impl Watch {
    /// Watches the files in a folder. What changes from here on is not missed.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        #[cfg(target_os = "linux")]
        return Self { told: inotify(folder).ok() };
        #[cfg(not(target_os = "linux"))]
        {
            let _ = folder;
            Self {}
        }
    }

    /// Waits until something in the folder has changed, one of `also` has something to say, or `limit` is over.
    #[must_use]
    pub fn wait(&self, also: Vec<PollFd<'_>>, limit: Option<Duration>) -> Woken {
        let mut polled = also;
        let count = polled.len();
        #[cfg(target_os = "linux")]
        polled.extend(self.told.as_ref().map(|told| PollFd::new(told, rustix::event::PollFlags::IN)));
        let is_told = polled.len() > count;
        let pause = if is_told { limit } else { Some(limit.map_or(PAUSE, |limit| limit.min(PAUSE))) };
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        // An interruption is a look at everything.
        let outcome = poll(&mut polled, pause.as_ref());
        let mut woken: Vec<bool> =
            polled.iter().map(|entry| outcome.is_ok() && !entry.revents().is_empty()).collect();
        let changed = woken.split_off(count).first().copied().unwrap_or(false);
        self.forget();
        Woken { changed, also: woken }
    }

    /// Takes what was told: that something changed is all that matters.
    fn forget(&self) {
        #[cfg(target_os = "linux")]
        if let Some(told) = &self.told {
            let mut events = [0_u8; 4096];
            while matches!(rustix::io::read(told, &mut events), Ok(1..)) {}
        }
    }
}

#[cfg(target_os = "linux")]
fn inotify(folder: &Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let told = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let changes = WatchFlags::MODIFY
        | WatchFlags::CREATE
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE
        | WatchFlags::ONLYDIR;
    add_watch(&told, folder, changes)?;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_change_ends_the_waiting_and_quiet_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::of(folder.path());
        let short = Duration::from_millis(50);
        let began = Instant::now();
        assert_eq!(watch.wait(Vec::new(), Some(short)), Woken { changed: false, also: Vec::new() });
        assert!(began.elapsed() >= short, "nothing changed");
        // Told although it was before the waiting.
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let began = Instant::now();
        drop(watch.wait(Vec::new(), Some(Duration::from_secs(20))));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_folder_that_is_not_there_is_looked_for_again() {
        let watch = Watch::of(Path::new("/nowhere/at/all"));
        let began = Instant::now();
        drop(watch.wait(Vec::new(), None));
        assert!(began.elapsed() >= PAUSE);
    }
}
