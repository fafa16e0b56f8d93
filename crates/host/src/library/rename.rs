//! Giving a VM another name: one rename of its folder, which is the VM. What the library remembers follows.
//!
//! A command that is killed in between has renamed the folder or not. The library's rows follow then at the next look
//! into that place ([`super::refresh`]), which knows the folder by its device and inode.
//!
//! A VM that runs keeps its name: its supervisor writes down what happens under the folder that it was started with, and
//! what is locked says so to others, so that another VM of the old name would be taken for it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use selfsame_machine::code::Code;
use selfsame_machine::name::VmName;
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};

use super::create::sync_folder;
use super::delete::{Protected, is_protected};
use super::find::find_unlinked;
use super::state::hold_stopped;
use crate::bundle::{Bundle, EXTENSION, IDENTIFIER, Named, SPEC, name_of};
use crate::context::Context;
use crate::files::FileError;
use crate::lock::FolderLock;
use crate::store::NewEvent;
use crate::time::Time;

/// A VM that has another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// What it was called.
    pub from: String,
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub folder: PathBuf,
}

/// Why it keeps its name.
#[derive(Debug, thiserror::Error)]
enum RenameError {
    #[error("there is a VM named `{}` already", name.name)]
    Exists { name: Named },
    #[error("`{}` is in the way", path.display())]
    Path { path: PathBuf },
    #[error("{name} is in use, and what its supervisor writes down goes under its name until it ends")]
    InUse { name: Named },
    #[error("`{}` is no VM: it has neither `{IDENTIFIER}` nor `{SPEC}`", folder.display())]
    NoVm { folder: PathBuf },
    #[error(
        "the vm.toml of {name} names `{file}`, a file of its own, by its whole path, which would lead nowhere"
    )]
    OwnPath { name: Named, file: String },
}

impl Problem for RenameError {
    fn code(&self) -> Code {
        match self {
            Self::Exists { .. } => Code::VmExists,
            Self::Path { .. } => Code::FileExists,
            Self::InUse { .. } | Self::OwnPath { .. } => Code::RequestDenied,
            Self::NoVm { .. } => Code::VmNotFound,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Exists { name } => vec![Hint::run("see it", format!("selfsame get {}", name.word))],
            Self::Path { path } => {
                let path = shell_word(&path.to_string_lossy()).into_owned();
                vec![Hint::run("look at it", format!("ls -ld {path}"))]
            }
            Self::InUse { name } => vec![
                Hint::run("stop it first", format!("selfsame stop {}", name.word)),
                Hint::run("or see who uses it", format!("selfsame why {}", name.word)),
            ],
            Self::NoVm { .. } => vec![Hint::run("see which VMs there are", "selfsame list")],
            Self::OwnPath { .. } => {
                vec![Hint::say("write it relative to the VM's folder: the file's name alone")]
            }
        }
    }
}

/// Renames the VM that `argument` names, in the place where it is. Nothing is ever replaced.
///
/// # Errors
/// When there is none or something of it runs, the name is taken, or a step fails.
pub fn rename(context: &Context, argument: &OsStr, new: &VmName, now: Time) -> Result<Renamed, Report> {
    let folder = find_unlinked(context, argument, "rename", |folder| {
        format!("selfsame rename {folder} {}", shell_word(new.as_ref()))
    })?;
    let named = context.named(&folder);
    let parent = folder.parent().unwrap_or(&folder).to_owned();
    let has_extension = folder.extension().is_some_and(|extension| extension == EXTENSION);
    let is_ours = has_extension || [IDENTIFIER, SPEC].iter().any(|file| folder.join(file).exists());
    if !is_ours {
        return Err(RenameError::NoVm { folder }.into());
    }
    // What lies elsewhere without the ending is named by its path, and keeps that form.
    let ending =
        if has_extension || parent == context.home.vms() { format!(".{EXTENSION}") } else { String::new() };
    let target = parent.join(format!("{new}{ending}"));
    let taken = |context: &Context| match (target.is_dir(), is_protected(&target)) {
        (false, _) => Report::from(RenameError::Path { path: target.clone() }),
        (true, Ok(true)) => Protected { name: context.named(&target) }.into(),
        (true, Ok(false) | Err(_)) => RenameError::Exists { name: context.named(&target) }.into(),
    };
    if target.symlink_metadata().is_ok() {
        return Err(taken(context));
    }
    if let Some(file) = own_path(&folder) {
        return Err(RenameError::OwnPath { name: named, file }.into());
    }
    let store = context.store()?;
    let Some((lock, _claim)) = hold_stopped(context, &folder)? else {
        return Err(RenameError::InUse { name: named }.into());
    };
    let failed = FileError::failed("rename", &folder);
    match rustix::fs::renameat_with(CWD, &folder, CWD, &target, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return Err(taken(context)),
        Err(error) => return Err(failed(error.into()).into()),
    }
    // The path may have been given to another folder since ours was locked: that one goes back.
    if FolderLock::open(&target).map(|moved| moved.key()).ok() != Some(lock.key()) {
        let back = rustix::fs::renameat_with(CWD, &target, CWD, &folder, RenameFlags::NOREPLACE);
        back.map_err(|error| FileError::failed("rename back", &target)(error.into()))?;
        return Err(RenameError::InUse { name: named }.into());
    }
    sync_folder(&parent)?;
    store.vms().rename(&folder, &target)?;
    let (from, name) = (name_of(&folder), name_of(&target));
    let digest = crate::bundle::read_identity(&target).ok().flatten();
    store.events().append(&NewEvent {
        at: now,
        folder: Some(target.clone()),
        name: Some(name.clone()),
        digest: digest.map(|identity| identity.digest().to_string()),
        kind: "vm.renamed".to_owned(),
        message: format!("{from} is called {name} now"),
        data: serde_json::json!({ "from": from, "to": name }),
    })?;
    Ok(Renamed { from, name, folder: target })
}

/// A file of the VM itself that its description names by its whole path.
fn own_path(folder: &Path) -> Option<String> {
    let spec = Bundle::read(folder).ok()?.spec;
    let disks = spec.disks.into_iter().flatten().map(|disk| disk.file);
    disks.chain(spec.iso).find(|file| Path::new(file).starts_with(folder))
}
