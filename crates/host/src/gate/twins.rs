//! The bundles that have a VM's identity, and whether one of them runs where our locks do not reach.
//!
//! Known bundles are those that the store remembers with the identity, and those that lie beside the VM or in the home
//! now, whether anybody has told us of them or not.

use std::path::{Path, PathBuf};

use selfsame_machine::problem::Report;

use super::in_the_way;
use crate::bundle::{Bundle, BundleError};
use crate::context::Context;
use crate::evidence::{Observer, Use};
use crate::library::refresh;
use crate::store::{Store, VmRow};
use crate::time::Time;

/// A bundle with the identity of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it runs.
    pub state: TwinState,
}

/// Whether a twin runs, as far as it can be told without touching it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TwinState {
    /// Nothing uses it.
    Free,
    /// Something uses it; how one can tell.
    InUse(String),
    /// It cannot be asked about: never taken for free.
    Unknown(String),
    /// Its folder or volume is gone.
    Absent,
}

/// The twins of a bundle, each with its state, and how many bundles could not be read.
///
/// # Errors
/// When the store cannot be read.
pub fn twins_of(
    context: &Context,
    store: &Store,
    bundle: &Bundle,
    now: Time,
) -> Result<(Vec<Twin>, usize), Report> {
    let digest = bundle.identity.digest().to_string();
    let mut rows: Vec<VmRow> = store.vms().by_digest(&digest)?;
    let home = context.home.vms();
    let beside = bundle.folder.parent().unwrap_or(&home);
    let mut unreadable = 0;
    for parent in [Some(home.as_path()), (beside != home).then_some(beside)].into_iter().flatten() {
        for row in refresh(context, store, parent, now)? {
            unreadable += usize::from(row.facts.error.is_some());
            let is_twin = row.facts.digest.as_ref() == Some(&digest);
            if is_twin && !rows.iter().any(|known| known.facts.folder == row.facts.folder) {
                rows.push(row);
            }
        }
    }
    let mut observer = Observer::default();
    let own = bundle.folder.canonicalize().unwrap_or_else(|_| bundle.folder.clone());
    let twins = rows
        .into_iter()
        .map(|row| row.facts.folder)
        .filter(|folder| *folder != bundle.folder && folder.canonicalize().ok().as_ref() != Some(&own))
        .filter_map(|folder| {
            let state = look_at(&folder, &digest, &mut observer)?;
            Some(Twin { folder, state })
        })
        .collect();
    Ok((twins, unreadable))
}

/// What a remembered twin is doing; `None` when it is a twin no more.
#[must_use]
pub fn look_at(folder: &Path, digest: &str, observer: &mut Observer) -> Option<TwinState> {
    let bundle = match Bundle::read(folder) {
        Ok(bundle) if bundle.identity.digest().to_string() != digest => return None,
        Ok(bundle) => bundle,
        Err(BundleError::Folder { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Some(TwinState::Absent);
        }
        // It has no identity any more, so it is nobody's twin.
        Err(BundleError::NoIdentifier { .. } | BundleError::Identifier { .. }) => return None,
        Err(error) => return Some(TwinState::Unknown(error.to_string())),
    };
    let mut unknown = None;
    // Not the folder: a supervisor of the twin that is about to be refused holds that for a moment, and two that start at
    // once would refuse each other. One that runs holds the identity, which is asked for first.
    for file in bundle.written_files() {
        match observer.used(&file, &[]) {
            Use::Free | Use::Absent => {}
            Use::InUse(sign) => return Some(TwinState::InUse(sign.to_string())),
            answer @ Use::Unknown { .. } => unknown = in_the_way(answer),
        }
    }
    Some(unknown.map_or(TwinState::Free, TwinState::Unknown))
}

/// What uses the VM's own disks, or keeps it from being known.
#[must_use]
pub fn own_disks(files: &[PathBuf]) -> Option<String> {
    let mut observer = Observer::default();
    let own = [std::process::id()];
    let read = |file: &PathBuf| Observer::is_base(file).map(|sign| sign.to_string());
    files.iter().find_map(|file| in_the_way(observer.locked(file, &own)).or_else(|| read(file)))
}
