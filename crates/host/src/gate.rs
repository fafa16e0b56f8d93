//! What stands between a VM and its start: steps 1 to 5 of a run.
//!
//! ```text
//! 1 bundle lock → 2 identity claim → 3 MAC claim → 4 twins that others run, own disks, what changed since last time
//! → 5 a slot, where the configuration limits how many guests run
//! ```
//!
//! **Who may call.** A supervisor that holds its own claim (step 0), alone, with the bundle just read. It keeps the
//! [`Passage`] for as long as the guest lives and lets QEMU inherit its descriptors. A refused start has taken nothing:
//! what was claimed on the way is closed again.

mod refusal;
mod twins;

pub use refusal::Refusal;
pub use twins::{Twin, TwinState, look_at, own_disks, twins_of};

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use selfsame_machine::problem::Report;

use crate::bundle::{Bundle, NVRAM};
use crate::context::Context;
use crate::evidence::{Observer, Use, flock_holders, is_flocked};
use crate::lock::{Attempt, Claim, FolderLock, LockPlace, Note, SlotLock, Subject, Ticket, noted_holder};
use crate::process::ProcessId;
use crate::quota::{self, Quota, Slot};
use crate::store::Store;
use crate::time::Time;

/// How long the VM's own files may still be held before that is a refusal. On macOS the framework's service of a guest that
/// has just ended holds them for up to about 8 s (reports in the issues of public tools; confidence: medium), so that a
/// start waits for it here as long as it tries the framework itself. QEMU's locks go with its process.
const LETTING_GO: Duration = if cfg!(target_os = "macos") { Duration::from_secs(15) } else { Duration::ZERO };
/// How often it is looked meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// What a start may pass over, each on somebody's explicit word.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Twins whose state is unknown, by folder.
    pub despite: Vec<PathBuf>,
    /// An identifier that is not that of the last good start.
    pub accept_identity: bool,
}

/// On what terms a start comes.
#[derive(Debug)]
pub struct Terms<'o> {
    /// What it may pass over.
    pub overrides: &'o Overrides,
    /// Its place in the line for a slot, given up when it has one.
    pub ticket: Option<Ticket>,
}

/// The right to run, held as open descriptors.
#[derive(Debug)]
pub struct Passage {
    folder: FolderLock,
    identity: Claim,
    mac: Claim,
    /// Where a limit is set.
    slot: Option<SlotLock>,
    note: Note,
    nvram: Option<OwnedFd>,
    /// What a running guest writes.
    files: Vec<PathBuf>,
    /// What people should know although it may start.
    pub notes: Vec<String>,
}

impl Passage {
    /// The descriptors that keep the claims alive: what QEMU inherits.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.folder.as_fd())
            .chain(self.identity.descriptors())
            .chain(self.mac.descriptors())
            .chain(self.slot.iter().map(AsFd::as_fd))
            .chain(self.nvram.iter().map(AsFd::as_fd))
    }

    /// Writes down the process of the guest where those who wait for its slot look for it.
    pub fn note_guest(&self, guest: ProcessId) {
        if let Some(slot) = &self.slot {
            slot.note(&self.note, Some(guest));
        }
    }

    /// A path that leads to the locked folder and to no other, whatever becomes of its name.
    #[must_use]
    pub fn locked_folder(&self) -> PathBuf {
        self.folder.pinned()
    }

    /// Waits until whatever ran the guest has let go of its files, so that the claims outlive it. The framework tells the
    /// end of a guest before its service has gone; QEMU, for which the UEFI variables are locked here, is gone by then.
    pub fn await_release(&self) {
        if self.nvram.is_none() {
            let _still_held: Option<String> = held_after_all(&self.files);
        }
    }

    /// Locks the UEFI variables, which QEMU itself does not.
    ///
    /// # Errors
    /// When the file cannot be opened, or somebody holds it: it may be linked into another bundle.
    pub fn lock_nvram(&mut self, context: &Context, bundle: &Bundle) -> Result<(), Report> {
        let path = bundle.folder.join(NVRAM);
        let failed = |error: rustix::io::Errno| crate::files::FileError::failed("lock", &path)(error.into());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let descriptor = rustix::fs::openat(&self.folder, NVRAM, flags, Mode::empty()).map_err(failed)?;
        match rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.nvram = Some(descriptor);
                Ok(())
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let sign = Observer::default().locked(&path, &[std::process::id()]);
                Err(Refusal::Disk {
                    name: context.named(&bundle.folder),
                    sign: refusal::sign_of(sign, &path),
                }
                .into())
            }
            Err(error) => Err(failed(error).into()),
        }
    }
}

/// Passes the gate, or says what stands in the way.
///
/// `folder` is locked by the caller (step 1): only it can tell a stranger from an orphan of ours.
///
/// # Errors
/// A [`Refusal`], or that something could not be asked: then nothing may start either.
pub fn pass(
    context: &Context,
    place: &LockPlace,
    store: &Store,
    bundle: &Bundle,
    folder: FolderLock,
    terms: Terms<'_>,
    now: Time,
) -> Result<Passage, Report> {
    let Terms { overrides, ticket } = terms;
    let note = Note { pid: std::process::id(), folder: bundle.folder.to_string_lossy().into_owned() };
    let identity = match Claim::attempt(place, &Subject::Identity(bundle.identity.digest()), &note)? {
        Attempt::Taken(claim) => claim,
        Attempt::Held => return Err(held_identity(context, place.path(), bundle).into()),
    };
    let mac_address = bundle.mac_address();
    let mac = match Claim::attempt(place, &Subject::Mac(mac_address), &note)? {
        Attempt::Taken(claim) => claim,
        Attempt::Held => return Err(held_mac(context, place.path(), bundle).into()),
    };
    let mut notes = changed_since_last_start(context, store, bundle, overrides)?;
    let (twins, unreadable) = twins_of(context, store, bundle, now)?;
    if unreadable > 0 {
        notes.push(format!(
            "{unreadable} VM(s) could not be read; whether they are twins of {} is not known",
            bundle.name
        ));
    }
    for twin in twins {
        match twin.state {
            TwinState::Free | TwinState::Absent => {}
            TwinState::InUse(sign) => {
                return Err(
                    Refusal::Twin { name: context.named(&bundle.folder), twin: twin.folder, sign }.into()
                );
            }
            TwinState::Unknown(reason) => {
                if !overrides.despite.iter().any(|path| same_path(path, &twin.folder)) {
                    let refusal =
                        Refusal::Unknown { name: context.named(&bundle.folder), twin: twin.folder, reason };
                    return Err(refusal.into());
                }
                notes.push(format!(
                    "started despite the twin `{}`, of which nobody can tell whether it runs",
                    twin.folder.display()
                ));
            }
        }
    }
    let files = bundle.written_files();
    if let Some(sign) = held_after_all(&files) {
        return Err(Refusal::Disk { name: context.named(&bundle.folder), sign }.into());
    }
    let guest = bundle.guest();
    let slot = match quota::claim(context, place, guest, &note, ticket.as_ref())? {
        Slot::Taken(lock) => Some(lock),
        Slot::Unlimited => None,
        Slot::Full(limit) => return Err(full(context, bundle, limit).into()),
    };
    // The slot is ours: whoever comes next may look for another.
    drop(ticket);
    Ok(Passage { folder, identity, mac, slot, note, nvram: None, files, notes })
}

/// What holds the VM's own files, even after it had its time to let go of them.
fn held_after_all(files: &[PathBuf]) -> Option<String> {
    let began = Instant::now();
    loop {
        let sign = own_disks(files)?;
        if began.elapsed() >= LETTING_GO {
            return Some(sign);
        }
        std::thread::sleep(LOOK);
    }
}

fn same_path(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Who holds the identity, as well as it can be told.
fn held_identity(context: &Context, place: &Path, bundle: &Bundle) -> Refusal {
    let holder = noted_holder(place, &Subject::Identity(bundle.identity.digest()));
    Refusal::Identity {
        name: context.named(&bundle.folder),
        identity: bundle.identity.to_string(),
        other: holder
            .map(|note| PathBuf::from(note.folder))
            .filter(|folder| *folder != bundle.folder)
            .map(|folder| context.named(&folder)),
    }
}

fn held_mac(context: &Context, place: &Path, bundle: &Bundle) -> Refusal {
    let holder = noted_holder(place, &Subject::Mac(bundle.mac_address()));
    Refusal::Mac {
        name: context.named(&bundle.folder),
        mac: bundle.mac_address().to_string(),
        other: holder.map(|note| context.named(Path::new(&note.folder))),
    }
}

/// Who holds the slots, as well as it can be told.
fn full(context: &Context, bundle: &Bundle, limit: u32) -> Refusal {
    let guest = bundle.guest();
    let quota = Quota::look(context, guest);
    let holders = quota.taken.into_iter().filter_map(|taken| taken.holder);
    let waiting =
        quota.waiting.into_iter().map(|waiter| waiter.map(|(folder, _)| context.named(&folder).name));
    Refusal::Quota {
        name: context.named(&bundle.folder),
        guest,
        limit,
        holders: holders.map(|(folder, _)| context.named(&folder)).collect(),
        waiting: waiting.map(|name| name.unwrap_or_else(|| "another VM".to_owned())).collect(),
    }
}

/// Refuses a start whose identifier is not that of the last good start of this very folder.
fn changed_since_last_start(
    context: &Context,
    store: &Store,
    bundle: &Bundle,
    overrides: &Overrides,
) -> Result<Vec<String>, Report> {
    let Some(row) = store.vms().get(&bundle.folder)? else { return Ok(Vec::new()) };
    let Some(good) = row.good else { return Ok(Vec::new()) };
    // Another folder at this path, copied or made anew: its past is not this one's.
    if (row.facts.device, row.facts.inode) != (bundle.key.device, bundle.key.inode) {
        return Ok(Vec::new());
    }
    let what = if good.identifier != bundle.identifier_digest() {
        "MachineIdentifier"
    } else if good.model.unwrap_or_default() != bundle.model_digest() {
        "HardwareModel"
    } else {
        return Ok(Vec::new());
    };
    if overrides.accept_identity {
        return Ok(vec![format!("`{what}` is not that of the last good start, and was accepted")]);
    }
    Err(Refusal::Changed { name: context.named(&bundle.folder), what, last: good.at.to_string() }.into())
}

/// The refusal for a folder that a stranger has locked.
#[must_use]
pub fn held_folder(bundle_folder: &Path, folder: &FolderLock) -> Refusal {
    let key = folder.key();
    Refusal::Folder {
        folder: bundle_folder.to_owned(),
        holders: flock_holders(key.device, key.inode).into_iter().map(crate::process::describe).collect(),
    }
}

/// Whether somebody holds the lock on a bundle's folder, asked without taking it.
#[must_use]
pub fn is_held(folder: &Path) -> bool {
    is_flocked(folder)
}

/// The answer about one file, as a sign that stands in the way.
pub(crate) fn in_the_way(answer: Use) -> Option<String> {
    match answer {
        Use::InUse(sign) => Some(sign.to_string()),
        Use::Unknown { file, reason } => {
            Some(format!("`{}` cannot be asked about: {reason}", file.display()))
        }
        Use::Free | Use::Absent => None,
    }
}
