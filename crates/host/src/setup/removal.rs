//! Taking selfsame's home away: what would go, whether it may, and the going.
//!
//! The plan is made, shown and confirmed before anything is touched; it refuses as a whole. What is removed is named one by
//! one: a file in the home that is not selfsame's stays, and with it the home.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, Report};
use selfsame_machine::size::Bytes;

use super::status::room;
use super::unit;
use crate::bundle::{Named, name_of};
use crate::context::Context;
use crate::files::FileError;
use crate::library::{delete, folders_in, is_protected, list};
use crate::time::Time;

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{} of the VMs in `{}` run or may run: {}", names.len(), vms.display(), names.join(", "))]
    Running { vms: PathBuf, names: Vec<String> },
    #[error("{} is protected", name.name)]
    Protected { name: Named },
}

impl Problem for Refused {
    fn code(&self) -> Code {
        match self {
            Self::Running { .. } => Code::RequestDenied,
            Self::Protected { .. } => Code::VmProtected,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Running { names, .. } => {
                vec![Hint::run("stop what runs", format!("selfsame stop {}", names.join(" ")))]
            }
            Self::Protected { name } => vec![
                Hint::run("lift the protection", format!("selfsame protect --off {}", name.word)),
                Hint::run("or keep the VMs", "selfsame setup uninstall --keep-vms"),
            ],
        }
    }
}

/// What would be removed.
#[derive(Debug)]
pub struct Removal {
    /// VMs, by folder; empty where they are kept.
    pub vms: Vec<PathBuf>,
    /// Files and folders of the home.
    pub paths: Vec<PathBuf>,
    /// The unit that starts VMs with the session, where it is ours.
    pub unit: Option<PathBuf>,
    /// What stays on purpose.
    pub kept: Vec<PathBuf>,
    /// The room that goes free.
    pub room: Bytes,
}

/// Says what an uninstallation would remove.
///
/// # Errors
/// When something of a VM runs, or a protected VM would go.
pub fn plan(context: &Context, keep_vms: bool) -> Result<Removal, Report> {
    let home = &context.home;
    let live: Vec<String> = list(context, Time::now())?
        .into_iter()
        .filter(|listed| listed.state.is_live())
        .map(|listed| context.named(&listed.facts.folder).word)
        .collect();
    if !live.is_empty() {
        return Err(Refused::Running { vms: home.vms(), names: live }.into());
    }
    let vms = if keep_vms { Vec::new() } else { folders_in(&home.vms()) };
    for folder in &vms {
        if is_protected(folder)? {
            return Err(Refused::Protected { name: context.named(folder) }.into());
        }
    }
    let library = ["", "-wal", "-shm"].map(|end| {
        let mut path = home.library().into_os_string();
        path.push(end);
        PathBuf::from(path)
    });
    let mut paths = vec![home.run(), home.cache(), home.images()];
    let mut kept = vec![context.lock_path().to_owned()];
    if keep_vms {
        kept.extend([home.vms(), home.library(), home.config(), home.known_hosts()]);
    } else {
        paths.extend(library);
        paths.extend([home.config(), home.known_hosts()]);
    }
    let unit = unit::find().ok().filter(|unit| unit.is_installed);
    paths.retain(|path| path.symlink_metadata().is_ok());
    kept.retain(|path| path.symlink_metadata().is_ok());
    let all = vms.iter().chain(&paths).map(|path| room(path).count());
    let room = Bytes::new(all.fold(0, u64::saturating_add));
    Ok(Removal { vms, paths, unit: unit.map(|unit| unit.file), kept, room })
}

impl Removal {
    /// Removes it, and says what is left of the home because it is not selfsame's.
    ///
    /// # Errors
    /// The first thing that cannot be removed; what comes after it is there still, and the same command goes on.
    pub fn carry_out(&self, context: &Context) -> Result<Vec<PathBuf>, Report> {
        for folder in &self.vms {
            let linked = folder.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
            if linked {
                // What a link leads to is not in the home.
                fs::remove_file(folder).map_err(FileError::failed("remove", folder))?;
            } else {
                delete(context, folder, Time::now())?;
            }
        }
        if self.unit.is_some() {
            unit::disable()?;
        }
        for path in &self.paths {
            remove(path).map_err(FileError::failed("remove", path))?;
        }
        let home = &context.home;
        // Only where nothing is in them any more.
        drop(fs::remove_dir(home.vms()));
        drop(fs::remove_dir(home.root()));
        let left = fs::read_dir(home.root()).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut left: Vec<PathBuf> = left.filter(|path| !self.kept.contains(path)).collect();
        left.sort();
        Ok(left)
    }

    /// The names of the VMs that would go.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.vms.iter().map(|folder| name_of(folder)).collect()
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
