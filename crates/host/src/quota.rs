//! How many guests of a kind may run on this host: slots, each a lock of its own.
//!
//! With `quota.linux = 2` there are `slot-linux-0` and `slot-linux-1` beside the locks of identities. A start takes the
//! first that is free, as the last step of the gate, and QEMU inherits it: a slot is taken exactly as long as anything of
//! the VM lives. **Invariant:** nobody counts. A limit holds because a lock is held, so two starts at once cannot both
//! have the last slot, and nothing is left over when a process is killed.
//!
//! Without a limit no slot is taken. Whoever has a lower limit than the system's takes none but the first slots, which
//! all others try first, too.

use std::path::PathBuf;

use selfsame_machine::spec::Guest;

use crate::config::Source;
use crate::context::Context;
use crate::lock::{LockError, LockPlace, Note, SlotLock};

/// A slot that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its number, from 0.
    pub slot: u32,
    /// The VM's folder and its supervisor's pid, as far as its holder wrote them down.
    pub holder: Option<(PathBuf, u32)>,
}

/// The slots of one kind of guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The kind.
    pub guest: Guest,
    /// How many may run; `None` for as many as there is room for.
    pub limit: Option<u32>,
    /// Who said so.
    pub source: Source,
    /// Those that are taken, by number. Without a limit none is.
    pub taken: Vec<Taken>,
}

impl Quota {
    /// Looks at the slots of one kind, as far as the kernel shows locks to this process. Takes none.
    #[must_use]
    pub fn look(context: &Context, guest: Guest) -> Self {
        let (limit, source) = context.config.quota(guest);
        let look = |slot| {
            let note = SlotLock::look(context.lock_path(), guest, slot)?;
            Some(Taken { slot, holder: note.map(|note| (PathBuf::from(note.folder), note.pid)) })
        };
        let taken = (0..limit.unwrap_or(0)).filter_map(look).collect();
        Self { guest, limit, source, taken }
    }
}

/// How a try for a slot ended.
#[derive(Debug)]
#[must_use]
pub enum Slot {
    /// It is ours.
    Taken(SlotLock),
    /// There is no limit, so there is none to take.
    Unlimited,
    /// All are taken; so many there are.
    Full(u32),
}

/// Takes the first free slot for a guest of this kind.
///
/// # Errors
/// When a lock cannot be tried at all; then a start must not go on.
pub fn claim(context: &Context, place: &LockPlace, guest: Guest, note: &Note) -> Result<Slot, LockError> {
    let (Some(limit), _) = context.config.quota(guest) else { return Ok(Slot::Unlimited) };
    for slot in 0..limit {
        if let Some(lock) = SlotLock::attempt(place, guest, slot, note)? {
            return Ok(Slot::Taken(lock));
        }
    }
    Ok(Slot::Full(limit))
}
