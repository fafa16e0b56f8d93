//! Where a driver puts its guest's state: made, sealed, committed or abandoned.
//!
//! Sealing reads every byte of the state and waits for the disk. It has a thread of its own, which only reads and writes
//! files of `State.new`: the driver goes on answering, and learns of the end on a descriptor.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags};
use selfsame_machine::lifecycle::MEMORY;
use selfsame_machine::problem::Report;

use super::description::{Description, DiskSeen, Memory, SCHEMA, digest};
use super::{Made, RAN, StateError, consume, remove, sync_folder};
use crate::bundle::{STATE, STATE_DESCRIPTION, STATE_MEMORY, STATE_NEW};
use crate::files::write_new;
use crate::lock::FolderLock;
use crate::time::Time;

/// The place of one VM's state.
#[derive(Debug)]
pub struct Vault {
    /// Open, and not locked by this: it leads to the VM's folder after a rename as well.
    folder: FolderLock,
    made: Option<Made>,
    sealing: Option<Sealing>,
}

/// The thread that seals.
#[derive(Debug)]
struct Sealing {
    thread: JoinHandle<Result<(), StateError>>,
    /// Readable, because closed at its other end, once the thread is done.
    done: UnixStream,
    stop: Arc<AtomicBool>,
}

impl Vault {
    /// `made` is what the guest was started with, where it was written down.
    #[must_use]
    pub const fn new(folder: FolderLock, made: Option<Made>) -> Self {
        Self { folder, made, sealing: None }
    }

    fn path(&self) -> PathBuf {
        self.folder.pinned()
    }

    /// Makes the folder into which the state is written, and gives the name of its file of memory.
    ///
    /// # Errors
    /// When it cannot be made, or a state could not be described.
    pub fn prepare(&self, ran: bool) -> Result<PathBuf, Report> {
        if self.made.is_none() {
            return Err(StateError::NotDescribed.into());
        }
        let new = self.path().join(STATE_NEW);
        let made = remove(&new)
            .and_then(|()| DirBuilder::new().mode(0o700).create(&new))
            .and_then(|()| if ran { File::create_new(new.join(RAN)).map(drop) } else { Ok(()) });
        made.map_err(|source| Report::from(StateError::File { path: STATE_NEW.into(), source }))?;
        Ok(self.path().join(MEMORY))
    }

    /// Begins to seal the state that the back end has written.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn seal(&mut self) -> Result<(), Report> {
        let failed = |source| Report::from(StateError::File { path: STATE_NEW.into(), source });
        let made = self.made.clone().ok_or_else(|| Report::from(StateError::NotDescribed))?;
        let (done, theirs) = UnixStream::pair().map_err(failed)?;
        let (folder, stop) = (self.path(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let seal = move || {
            let sealed = seal(&folder, made, &stopped);
            drop(theirs);
            sealed
        };
        let thread = std::thread::Builder::new().name("seal".to_owned()).spawn(seal).map_err(failed)?;
        self.sealing = Some(Sealing { thread, done, stop });
        Ok(())
    }

    /// Whether the state is being sealed.
    #[must_use]
    pub const fn is_sealing(&self) -> bool {
        self.sealing.is_some()
    }

    /// What to sleep on while it is sealed.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.sealing.as_ref().map(|sealing| sealing.done.as_fd())
    }

    /// What became of the sealing, once that is known. A state that was sealed is committed here: from then on it is what
    /// the VM goes on from. Never waits for the disk for long.
    pub fn sealed(&mut self) -> Option<Result<(), Report>> {
        let sealing = self.sealing.take_if(|sealing| sealing.thread.is_finished())?;
        Some(join(sealing).and_then(|()| self.commit()).map_err(Report::from))
    }

    fn commit(&self) -> Result<(), StateError> {
        let folder = self.path();
        let (new, state) = (folder.join(STATE_NEW), folder.join(STATE));
        let failed = |source: io::Error| StateError::File { path: STATE.into(), source };
        if state.exists() {
            // A guest that went on from a state and never ran has that one still: it gives way in the same step.
            let exchanged = rustix::fs::renameat_with(CWD, &new, CWD, &state, RenameFlags::EXCHANGE);
            exchanged.map_err(|error| failed(error.into()))?;
        } else {
            std::fs::rename(&new, &state).map_err(failed)?;
        }
        sync_folder(&folder).map_err(failed)?;
        // Neither is part of the state; a later start removes what stays.
        drop(remove(&new));
        drop(std::fs::remove_file(state.join(RAN)));
        Ok(())
    }

    /// Gives up a state that is not committed, and leaves nothing of it.
    pub fn abandon(&mut self) {
        if let Some(sealing) = self.sealing.take() {
            sealing.stop.store(true, Ordering::Relaxed);
            // Whatever it says, nobody goes on from it.
            drop(join(sealing));
        }
        drop(remove(&self.path().join(STATE_NEW)));
    }

    /// Removes the state, because the guest runs.
    ///
    /// # Errors
    /// When it stays: then the disks alone keep the VM from going on from it.
    pub fn consume(&self) -> Result<(), Report> {
        consume(&self.path()).map_err(|source| StateError::File { path: STATE.into(), source }.into())
    }
}

fn join(sealing: Sealing) -> Result<(), StateError> {
    sealing.thread.join().unwrap_or_else(|_| {
        let source = io::Error::other("the thread that seals it panicked");
        Err(StateError::File { path: STATE_NEW.into(), source })
    })
}

/// Brings the state to the disk, whole and described.
fn seal(folder: &Path, made: Made, stop: &AtomicBool) -> Result<(), StateError> {
    let new = folder.join(STATE_NEW);
    let failed = |name: &'static str| move |source| StateError::File { path: name.into(), source };
    let mut file = File::open(new.join(STATE_MEMORY)).map_err(failed(STATE_MEMORY))?;
    file.sync_all().map_err(failed(STATE_MEMORY))?;
    let (sha256, size) = digest(&mut file, stop).map_err(failed(STATE_MEMORY))?;
    let seen = |disk: &String| {
        DiskSeen::of(folder, disk).map_err(|source| StateError::File { path: disk.into(), source })
    };
    let description = Description {
        schema: SCHEMA,
        suspended: Time::now().to_string(),
        memory: Memory { size, sha256 },
        disks: made.disks.iter().map(seen).collect::<Result<_, _>>()?,
        made,
    };
    let text = toml::to_string(&description)
        .map_err(|error| failed(STATE_DESCRIPTION)(io::Error::other(error.to_string())))?;
    let path = new.join(STATE_DESCRIPTION);
    // An earlier supervisor may have come as far as this.
    drop(std::fs::remove_file(&path));
    // It syncs the folder as well.
    write_new(&path, text.as_bytes()).map_err(|error| failed(STATE_DESCRIPTION)(io::Error::other(error)))
}
