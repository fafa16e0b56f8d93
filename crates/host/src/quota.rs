//! How many guests of a kind may run on this host: slots, each a lock of its own.
//!
//! With `quota.linux = 2` there are `slot-linux-0` and `slot-linux-1` beside the locks of identities. A start takes the
//! first that is free, as the last step of the gate, and QEMU inherits it: a slot is taken exactly as long as anything of
//! the VM lives. **Invariant:** nobody counts. A limit holds because a lock is held, so two starts at once cannot both
//! have the last slot, and nothing is left over when a process is killed.
//!
//! Whoever wants to wait stands in [`line`]. A start that does not wait never takes a slot that somebody waits for.
//!
//! Without a limit no slot is taken. Whoever has a lower limit than the system's takes none but the first slots, which
//! all others try first, too.

pub mod line;

use std::path::{Path, PathBuf};

use selfsame_machine::spec::Guest;

use crate::config::Source;
use crate::context::Context;
use crate::evidence::{Observer, Use};
use crate::lock::{Living, LockError, LockPlace, Note, SlotLock, Ticket, TicketName, noted};

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
    /// Those that wait, in their order, by the VM's folder and the pid of the command, as far as they wrote them down.
    pub waiting: Vec<Option<(PathBuf, u32)>>,
}

impl Quota {
    /// Looks at the slots of one kind, as far as the kernel shows locks to this process. Takes none.
    #[must_use]
    pub fn look(context: &Context, guest: Guest) -> Self {
        let (limit, source) = context.config.quota(guest);
        let waiting = waiting(context.lock_path(), guest);
        Self { guest, limit, source, taken: Self::slots(context, guest), waiting }
    }

    /// The slots that are taken.
    pub(crate) fn slots(context: &Context, guest: Guest) -> Vec<Taken> {
        let (limit, _) = context.config.quota(guest);
        let look = |slot| {
            let note = SlotLock::look(context.lock_path(), guest, slot)?;
            Some(Taken { slot, holder: note.map(|note| (PathBuf::from(note.folder), note.pid)) })
        };
        (0..limit.unwrap_or(0)).filter_map(look).collect()
    }
}

/// Those that wait, as far as the kernel shows locks to this process. Opens no lock, and takes none.
fn waiting(place: &Path, guest: Guest) -> Vec<Option<(PathBuf, u32)>> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<TicketName>().ok();
    let mut names: Vec<_> = entries.filter_map(name).filter(|name| name.is_for(guest)).collect();
    names.sort_unstable();
    let mut observer = Observer::default();
    let paths = names.into_iter().map(|name| place.join(name.to_string()));
    let living = paths.filter(|path| matches!(observer.locked(path, &[]), Use::InUse(_)));
    living.map(|path| noted(&path).map(|note| (PathBuf::from(note.folder), note.pid))).collect()
}

/// The slots below this number, of `limit`, are claimed by these tickets.
fn spoken_for(earlier: impl IntoIterator<Item = TicketName>, limit: u32) -> u32 {
    earlier.into_iter().map(|name| name.limit.min(limit)).max().unwrap_or(0)
}

/// The first slot that may be taken: no ticket that counts, or that comes before `own`, has a claim on it.
fn first_to_take(
    place: &LockPlace,
    guest: Guest,
    limit: u32,
    own: Option<TicketName>,
) -> Result<u32, LockError> {
    if own.is_none() && !Ticket::may_be_any(place, guest) {
        return Ok(0);
    }
    let earlier = Ticket::all(place, guest)?.into_iter();
    let earlier = earlier.filter(|name| own.is_none_or(|own| name.number < own.number));
    Ok(spoken_for(earlier.filter(|name| Living::open(place, *name).is_some()), limit))
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

/// Takes the first free slot for a guest of this kind that nobody waits for who comes before. `ticket` is whose turn it is.
///
/// # Errors
/// When a lock cannot be tried at all; then a start must not go on.
pub fn claim(
    context: &Context,
    place: &LockPlace,
    guest: Guest,
    note: &Note,
    ticket: Option<&Ticket>,
) -> Result<Slot, LockError> {
    let (Some(limit), _) = context.config.quota(guest) else { return Ok(Slot::Unlimited) };
    let first = first_to_take(place, guest, limit, ticket.map(Ticket::name))?;
    for slot in first..limit {
        if let Some(lock) = SlotLock::attempt(place, guest, slot, note)? {
            return Ok(Slot::Taken(lock));
        }
    }
    Ok(Slot::Full(limit))
}
