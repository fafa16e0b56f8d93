//! What a VM is doing now, asked of the living and never guessed from what was written down.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use selfsame_machine::identity::Digest;
use selfsame_machine::problem::Report;

use crate::context::Context;
use crate::files::FileError;
use crate::lock::{Asker, Attempt, Claim, FolderKey, FolderLock, Note, Subject};
use crate::state::Summary;
use crate::supervisor::{Client, ClientError, PATIENCE, RunNames, RunRecord, Status};

/// A VM's state, as far as anybody can tell from outside.
#[derive(Debug)]
pub enum VmState {
    /// Nothing of it runs.
    Stopped,
    /// Nothing of it runs, and its next start goes on from where it was.
    Suspended(Summary),
    /// A supervisor drives it.
    Supervised(Box<Status>),
    /// Its guest runs and its supervisor is gone: the next `run` takes over.
    Orphaned {
        /// The process that runs the guest, where it is known.
        pid: Option<u32>,
    },
    /// A supervisor holds it and does not answer.
    Silent(Box<ClientError>),
    /// Another user's supervisor drives it, or one of another home.
    Foreign,
}

/// How long a guest's process that was just killed may hold the folder: it gives back its memory first and its locks last.
const ENDING: Duration = Duration::from_secs(2);

/// Holds a VM of which nothing runs, so that nothing of it can start; `None` when something runs or is starting.
///
/// # Errors
/// When the folder or the locks cannot be used.
pub(super) fn hold_stopped(context: &Context, folder: &Path) -> Result<Option<(FolderLock, Claim)>, Report> {
    let failed = |error| FileError::failed("lock", folder)(error);
    let lock = FolderLock::open(folder).map_err(failed)?;
    let note = Note { pid: std::process::id(), folder: folder.to_string_lossy().into_owned() };
    let Attempt::Taken(claim) = Claim::attempt(&context.locks()?, &Subject::Supervisor(lock.key()), &note)?
    else {
        return Ok(None);
    };
    // Nothing can start any more, so whoever has the folder is ending, or runs without a supervisor.
    let began = Instant::now();
    while !lock.try_lock().map_err(failed)? {
        if began.elapsed() > ENDING {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Some((lock, claim)))
}

impl VmState {
    /// Asks. Takes nothing, locks nothing.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn ask(context: &Context, key: FolderKey, digest: Option<&Digest>) -> io::Result<Self> {
        Self::ask_with(&Asker::new(context.lock_path())?, &context.home.run(), key, || digest.copied(), true)
    }

    /// The same for one of many VMs, with what all the questions share. `recorded` says whether a record of a run of it
    /// may lie in `run`; looking for each costs as much as reading the names of all.
    pub(super) fn ask_with(
        asker: &Asker,
        run: &Path,
        key: FolderKey,
        digest: impl FnOnce() -> Option<Digest>,
        recorded: bool,
    ) -> io::Result<Self> {
        let names = RunNames(key);
        let supervised = Subject::Supervisor(key);
        if asker.is_claimed(&supervised)? {
            let connected = Client::connect(run, names, PATIENCE);
            let asked = connected.and_then(|client| client.map(|mut client| client.status()).transpose());
            match asked {
                Ok(Some(status)) => return Ok(Self::Supervised(Box::new(status))),
                // It ended while it was asked: what is left is looked at as if it had not been there.
                Err(error) if error.is_gone() && !asker.is_claimed(&supervised)? => {}
                Ok(None) if !asker.is_claimed(&supervised)? => {}
                Ok(None) => return Ok(Self::Foreign),
                Err(error) => return Ok(Self::Silent(Box::new(error))),
            }
        }
        let record = recorded.then(|| RunRecord::read(run, names)).flatten();
        let Some(record) = record.filter(RunRecord::is_of_this_boot) else {
            return Ok(Self::Stopped);
        };
        let alive = match record.qemu {
            Some(qemu) => qemu.lives(),
            // No guest of QEMU's: it ended with its supervisor, and whoever has the identity is a twin.
            None if record.qemu_uuid.is_empty() => false,
            // Killed between the start of QEMU and the second writing of the record: the locks tell.
            None => match digest() {
                Some(digest) => asker.is_claimed(&Subject::Identity(digest))?,
                None => false,
            },
        };
        Ok(if alive { Self::Orphaned { pid: record.qemu.map(|qemu| qemu.pid) } } else { Self::Stopped })
    }

    /// The same of a VM in this folder, where a state lies if nothing of it runs and it is suspended.
    #[must_use]
    pub fn in_folder(self, folder: &Path) -> Self {
        match self {
            Self::Stopped => crate::state::summary(folder).map_or(Self::Stopped, Self::Suspended),
            other @ (Self::Suspended(_)
            | Self::Supervised(_)
            | Self::Orphaned { .. }
            | Self::Silent(_)
            | Self::Foreign) => other,
        }
    }

    /// Since when it is suspended and how large its state is, if it is.
    #[must_use]
    pub const fn suspended(&self) -> Option<&Summary> {
        match self {
            Self::Suspended(summary) => Some(summary),
            Self::Stopped | Self::Supervised(_) | Self::Orphaned { .. } | Self::Silent(_) | Self::Foreign => {
                None
            }
        }
    }

    /// The word for it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Stopped => "stopped",
            Self::Suspended(_) => "suspended",
            Self::Supervised(status) => &status.phase,
            Self::Orphaned { .. } => "orphaned",
            Self::Silent(_) => "silent",
            Self::Foreign => "foreign",
        }
    }

    /// Whether something of the VM may be running.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self, Self::Stopped | Self::Suspended(_))
    }
}
