//! Deleting a VM: only one of which nothing runs, and so that a killed command leaves a whole VM or none.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};
use selfsame_machine::spec::says_protected;

use super::find::find_unlinked;
use super::state::hold_stopped;
use crate::bundle::{Bundle, EXTENSION, IDENTIFIER, Named, PARTS, SPEC, name_of};
use crate::context::Context;
use crate::evidence::{Observer, Sign};
use crate::files::{FileError, is_draft, read_bounded};
use crate::lock::FolderLock;
use crate::store::NewEvent;
use crate::time::Time;

/// A deleted VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// What it was called.
    pub name: String,
    /// Where it was.
    pub folder: PathBuf,
}

/// It runs.
#[derive(Debug, thiserror::Error)]
#[error("{name} is in use and cannot be deleted")]
struct InUse {
    name: String,
}

impl Problem for InUse {
    fn code(&self) -> Code {
        Code::RequestDenied
    }

    fn hints(&self) -> Vec<Hint> {
        vec![
            Hint::run("stop it first", format!("selfsame stop {}", shell_word(&self.name))),
            Hint::run("or see who uses it", format!("selfsame why {}", shell_word(&self.name))),
        ]
    }
}

/// Another VM's disk counts on its disk.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be deleted: {sign}")]
struct IsBase {
    name: String,
    sign: Sign,
}

impl Problem for IsBase {
    fn code(&self) -> Code {
        Code::DiskInUse
    }

    fn hints(&self) -> Vec<Hint> {
        vec![Hint::run("wait for the end of what runs over it, or end that", "selfsame list")]
    }
}

/// Its `vm.toml` says that it stays.
#[derive(Debug, thiserror::Error)]
#[error("{name} is protected")]
pub(super) struct Protected {
    pub(super) name: Named,
}

impl Problem for Protected {
    fn code(&self) -> Code {
        Code::VmProtected
    }

    fn hints(&self) -> Vec<Hint> {
        vec![Hint::run(
            "lift the protection, if it is to be deleted",
            format!("selfsame protect --off {}", self.name.word),
        )]
    }
}

/// Whether a VM is kept from being deleted. A mistake in its `vm.toml` lifts nothing; without the file nothing protects.
///
/// # Errors
/// When the file is there and cannot be read: then nobody knows.
pub(crate) fn is_protected(folder: &Path) -> Result<bool, FileError> {
    let path = folder.join(SPEC);
    match read_bounded(&path, 64 * 1024) {
        Ok(bytes) => Ok(says_protected(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::failed("read", &path)(error)),
    }
}

/// The folder holds something else than a VM.
#[derive(Debug, thiserror::Error)]
enum NotOurs {
    #[error("`{}` is no VM: it has neither `{IDENTIFIER}` nor `{SPEC}`", folder.display())]
    NoVm { folder: PathBuf },
    #[error("`{}` holds `{}`, which is no part of a VM", folder.display(), other.display())]
    Stranger { folder: PathBuf, other: PathBuf },
}

impl Problem for NotOurs {
    fn code(&self) -> Code {
        match self {
            Self::NoVm { .. } => Code::VmNotFound,
            Self::Stranger { .. } => Code::RequestDenied,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let look = |folder: &Path| {
            Hint::run("look at it", format!("ls -la {}", shell_word(&folder.to_string_lossy())))
        };
        match self {
            Self::NoVm { folder } => vec![look(folder)],
            Self::Stranger { folder, .. } => {
                vec![Hint::say("move away what is yours, and delete the VM again"), look(folder)]
            }
        }
    }
}

/// Refuses a folder that is no VM and, outside of the home, one that holds files of somebody else: a path is quickly
/// mistyped, and what is deleted is gone.
fn check_ours(context: &Context, folder: &Path) -> Result<(), Report> {
    let at_home = folder.parent() == Some(&context.home.vms());
    let named = at_home && folder.extension().is_some_and(|extension| extension == EXTENSION);
    if !named && !folder.join(IDENTIFIER).exists() && !folder.join(SPEC).exists() {
        return Err(NotOurs::NoVm { folder: folder.to_owned() }.into());
    }
    if at_home {
        return Ok(());
    }
    let disks = Bundle::read(folder).map(|bundle| bundle.disks()).unwrap_or_default();
    let entries = std::fs::read_dir(folder).map_err(FileError::failed("read", folder))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let known = is_draft(&name)
            || PARTS.iter().any(|part| name == *part)
            || disks.iter().any(|disk| name == *disk.file);
        if !known {
            return Err(NotOurs::Stranger { folder: folder.to_owned(), other: PathBuf::from(name) }.into());
        }
    }
    Ok(())
}

/// Finds the folder that deleting `argument` would delete: as [`find`], but never through a link.
///
/// # Errors
/// When there is none, the argument is a link to it, or it holds something else than a VM.
pub fn find_deletable(context: &Context, argument: &OsStr) -> Result<PathBuf, Report> {
    let found = find_unlinked(context, argument, "delete", |folder| format!("selfsame delete {folder}"));
    // Whoever's command was killed types it again, and then there is no such VM any more: only what is left of it.
    let folder = found.inspect_err(|_| remove_leftovers(&context.home.vms(), Path::new("")))?;
    check_ours(context, &folder)?;
    Ok(folder)
}

/// Deletes a VM's folder with all that is in it. Its identity stays in the library.
///
/// The folder is first renamed to a hidden name beside it, which is one step; what a killed command leaves under that
/// name is removed by the next one that deletes there, even one that finds nothing else to delete.
///
/// # Errors
/// When something of it runs, it is protected, or a step fails.
pub fn delete(context: &Context, folder: &Path, now: Time) -> Result<Deleted, Report> {
    let name = name_of(folder);
    let failed = |path: &Path| FileError::failed("delete", path);
    let Some((lock, _claim)) = hold_stopped(context, folder)? else { return Err(InUse { name }.into()) };
    if let Ok(bundle) = Bundle::read(folder)
        && let Some(sign) = bundle.written_files().iter().find_map(|file| Observer::is_base(file))
    {
        return Err(IsBase { name, sign }.into());
    }
    if is_protected(folder)? {
        return Err(Protected { name: context.named(folder) }.into());
    }
    let parent = folder.parent().unwrap_or(folder);
    let doomed = parent.join(format!(".selfsame-deleted-{}", lock.key()));
    std::fs::rename(folder, &doomed).map_err(failed(folder))?;
    // The path may have been given to another folder since ours was locked: that one goes back.
    if FolderLock::open(&doomed).map(|moved| moved.key()).ok() != Some(lock.key()) {
        let back = rustix::fs::renameat_with(CWD, &doomed, CWD, folder, RenameFlags::NOREPLACE);
        back.map_err(|error| failed(&doomed)(error.into()))?;
        return Err(InUse { name }.into());
    }
    remove_leftovers(parent, &doomed);
    let removed = std::fs::remove_dir_all(&doomed).map_err(failed(&doomed));
    let store = context.store()?;
    store.vms().forget(folder)?;
    store.events().append(&NewEvent {
        at: now,
        folder: Some(folder.to_owned()),
        name: Some(name.clone()),
        digest: None,
        kind: "vm.deleted".to_owned(),
        message: format!("{name} was deleted"),
        data: serde_json::Value::Null,
    })?;
    removed?;
    Ok(Deleted { name, folder: folder.to_owned() })
}

/// Removes what killed commands left: renamed folders that nobody has locked.
fn remove_leftovers(parent: &Path, own: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let doomed = entry.file_name().to_string_lossy().starts_with(".selfsame-deleted-");
        if doomed
            && entry.path() != own
            && let Ok(lock) = FolderLock::open(&entry.path())
            && matches!(lock.try_lock(), Ok(true))
        {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}
