//! Throwing a state away on somebody's wish.

use std::path::Path;

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, Report};

use super::{Summary, consume, summary, tidy};
use crate::bundle::Named;
use crate::context::Context;
use crate::files::FileError;
use crate::lock::{Attempt, Claim, FolderLock, Note, Subject};
use crate::store::NewEvent;
use crate::time::Time;

/// A state that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarded {
    /// The VM.
    pub name: Named,
    /// What it was.
    pub state: Summary,
}

/// There is nothing to throw away, or it is in use.
#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error("{0} is not suspended")]
    NotSuspended(Named),
    #[error("{0} is in use, and its state with it")]
    InUse(Named),
}

impl Problem for Kept {
    fn code(&self) -> Code {
        Code::RequestDenied
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::NotSuspended(name) | Self::InUse(name) => {
                vec![Hint::run("see what it is doing", format!("selfsame get {}", name.word))]
            }
        }
    }
}

/// Removes the state of a suspended VM: its next start is one after a power cut.
///
/// # Errors
/// When it is not suspended, something of it runs, or the state cannot be removed; then it is still there, whole.
pub fn discard(context: &Context, folder: &Path, now: Time) -> Result<Discarded, Report> {
    let name = context.named(folder);
    let failed = || FileError::failed("throw away the state in", folder);
    let lock = FolderLock::open(folder).map_err(failed())?;
    let note = Note { pid: std::process::id(), folder: folder.to_string_lossy().into_owned() };
    let claim = Claim::attempt(&context.locks()?, &Subject::Supervisor(lock.key()), &note)?;
    let Attempt::Taken(_claim) = claim else { return Err(Kept::InUse(name).into()) };
    if !lock.try_lock().map_err(failed())? {
        return Err(Kept::InUse(name).into());
    }
    let folder_now = lock.pinned();
    let Some(state) = summary(&folder_now) else { return Err(Kept::NotSuspended(name).into()) };
    consume(&folder_now).map_err(failed())?;
    tidy(&folder_now);
    context.store()?.events().append(&NewEvent {
        at: now,
        folder: Some(folder.to_owned()),
        name: Some(name.name.clone()),
        digest: None,
        kind: "vm.discarded".to_owned(),
        message: format!("the saved state of {name} was thrown away"),
        data: serde_json::json!({ "since": state.since, "size": state.size }),
    })?;
    Ok(Discarded { name, state })
}
