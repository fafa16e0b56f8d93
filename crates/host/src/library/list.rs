//! All VMs of the home, each with what it is doing now.

use std::collections::HashSet;

use selfsame_machine::identity::Digest;
use selfsame_machine::problem::Report;

use super::index::{read_facts, refresh};
use super::state::VmState;
use crate::bundle::EXTENSION;
use crate::context::Context;
use crate::files::FileError;
use crate::lock::{Asker, FolderKey, Subject};
use crate::store::{VmFacts, VmRow};
use crate::supervisor::{RunNames, RunRecord};
use crate::time::Time;

/// A VM in a list.
#[derive(Debug)]
pub struct Listed {
    /// What its folder holds.
    pub facts: VmFacts,
    /// What it is doing.
    pub state: VmState,
}

fn key_of(facts: &VmFacts) -> FolderKey {
    FolderKey { device: facts.device, inode: facts.inode }
}

/// Lists the VMs in the home, and those elsewhere that it runs, by name.
///
/// # Errors
/// When the library cannot be read or the kernel cannot be asked.
pub fn list(context: &Context, now: Time) -> Result<Vec<Listed>, Report> {
    let store = context.store_for_reading()?;
    let (vms, run) = (context.home.vms(), context.home.run());
    let asker = Asker::new(context.lock_path()).map_err(FileError::failed("ask about the VMs in", &vms))?;
    // Of a run that begins after this, the supervisor answers.
    let recorded = RunRecord::keys(&run);
    let mut rows = refresh(context, &store, &vms, now)?;
    let keys: HashSet<FolderKey> = rows.iter().map(|row| key_of(&row.facts)).collect();
    // VMs elsewhere that this home runs, or ran last: where they lie only their records tell.
    let elsewhere = recorded.iter().flatten().filter(|key| !keys.contains(key));
    let elsewhere = elsewhere.filter_map(|key| RunRecord::read(&run, RunNames(*key)));
    rows.extend(
        elsewhere
            .map(|record| record.folder())
            .filter(|folder| folder.is_dir())
            .map(|folder| VmRow { facts: read_facts(&folder, now, None), good: None }),
    );
    let listed = rows.into_iter().map(|row| {
        let facts = row.facts;
        let digest = || -> Option<Digest> { facts.digest.as_deref()?.parse().ok() };
        let key = key_of(&facts);
        // What cannot be read is looked for one by one.
        let recorded = recorded.as_ref().map_or(true, |recorded| recorded.contains(&key));
        let state = VmState::ask_with(&asker, &run, key, digest, recorded)
            .map_err(|error| FileError::failed("ask about", &facts.folder)(error))?;
        let state = state.in_folder(&facts.folder);
        Ok(Listed { facts, state })
    });
    let mut listed = listed.collect::<Result<Vec<Listed>, FileError>>()?;
    listed.sort_by(|one, other| one.facts.name.cmp(&other.facts.name));
    Ok(listed)
}

/// A VM at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glimpse {
    /// What a command takes for it: its name, or its path if it is not in the home. Not quoted.
    pub word: String,
    /// Whether something of it runs.
    pub activity: Activity,
}

/// Whether something of a VM runs, as far as that can be told without a word to its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Nothing.
    Stopped,
    /// A supervisor drives it, or another user's does.
    Supervised,
    /// Its guest runs and its supervisor is gone.
    Orphaned,
}

/// The VMs in the home and nothing that takes time: no supervisor is asked, so that one that does not answer holds nobody
/// up. A VM whose name is no text is left out.
///
/// # Errors
/// When the library cannot be read or the kernel cannot be asked.
pub fn glance(context: &Context, now: Time) -> Result<Vec<Glimpse>, Report> {
    let store = context.store_for_reading()?;
    let (vms, run) = (context.home.vms(), context.home.run());
    let asked = |error| FileError::failed("ask about the VMs in", &vms)(error);
    let asker = Asker::new(context.lock_path()).map_err(asked)?;
    let recorded = RunRecord::keys(&run).map_err(asked)?;
    let mut seen = Vec::new();
    for row in refresh(context, &store, &vms, now)? {
        let key = key_of(&row.facts);
        let runs_alone = || {
            let record = RunRecord::read(&run, RunNames(key)).filter(RunRecord::is_of_this_boot);
            record.and_then(|record| record.qemu).is_some_and(|qemu| qemu.lives())
        };
        let activity = if asker.is_claimed(&Subject::Supervisor(key)).map_err(asked)? {
            Activity::Supervised
        } else if recorded.contains(&key) && runs_alone() {
            Activity::Orphaned
        } else {
            Activity::Stopped
        };
        let Some(path) = row.facts.folder.to_str() else { continue };
        let at_home = vms.join(format!("{}.{EXTENSION}", row.facts.name)) == row.facts.folder;
        let word = if at_home { row.facts.name.clone() } else { path.to_owned() };
        seen.push(Glimpse { word, activity });
    }
    seen.sort_by(|one, other| one.word.cmp(&other.word));
    Ok(seen)
}
