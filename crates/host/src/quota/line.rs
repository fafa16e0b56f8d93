//! Standing in line for a slot.
//!
//! ```text
//!  join ─▶ ticket ─▶ look ──▶ nobody before me has a claim on a free slot ──▶ turn: a supervisor is started with the ticket
//!                     ▲  │                                                         │ its gate takes the slot, and then
//!                     │  ▼ sleep                                                   ▼ the ticket is given up
//!                     └── one before me has left, a holder has ended, a limit of time, an interrupt
//! ```
//!
//! **Who may have which slot.** One order for all users and all limits. A ticket has a claim on the slots below its owner's
//! limit. Whoever comes later, or without a ticket, may have the slots above all those claims only. So who is allowed one
//! guest holds up nobody who waits for the eighth slot, and is not passed by at the first.
//!
//! **Nothing is polled.** A waiter sleeps on
//! - one ticket before it, by an `flock` on a thread of its own: the nearest of those whose going can change anything;
//! - where a slot could be its own, the processes that hold those slots, by their handles.
//!
//! **No wake-up is lost.** The ticket that is waited for was found locked by the very descriptor that waits for it. A slot
//! is looked at again after the handles on its holders were opened: had it been freed before, it is seen then; if it is freed
//! after, a holder ends, and a holder that gives up a slot ends, always. Between a slot's becoming free and its being taken
//! stands the ticket: it is held until the supervisor has the slot, and while it is, no one else may.
//!
//! **Who holds a slot** the kernel tells (`/proc/locks`, descriptors). What the holder wrote into the slot's file can be a
//! lie, and is asked only where the kernel does not show it, such as a guest of another user whose supervisor is gone. It
//! decides nothing but how long is slept: then, and where nothing explains a held slot, it is looked again each second.
//!
//! **A ticket that is gone** (the folder was emptied, the file replaced) is noticed when the waiter wakes; it takes another,
//! at the end. **A limit that is changed** counts from the next time that the waiter wakes.

use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use selfsame_machine::problem::Report;
use selfsame_machine::spec::Guest;

use super::{Quota, spoken_for};
use crate::context::Context;
use crate::lock::{Living, LockError, LockPlace, Note, SlotLock, Ticket, TicketName};
use crate::process::{ProcessHandle, ProcessId};

/// How often it is looked at a slot that is held and that nothing explains, and how soon again after a turn that came to
/// nothing.
const COARSE: Duration = Duration::from_secs(1);

/// Where somebody stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// 1 for the next.
    pub place: usize,
    /// How many guests of the kind may run.
    pub limit: u32,
    /// The folders of those that hold the slots, as far as they are known.
    pub holders: Vec<PathBuf>,
}

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There is a slot: start.
    Come,
    /// There is nothing to wait for any more, because there is no limit or none may run: try to start without a ticket.
    Moot,
    /// Time is up.
    Late,
    /// Somebody interrupted it.
    Interrupted,
}

/// A thread that sleeps until a ticket's owner has left.
#[derive(Debug)]
struct Ahead {
    name: TicketName,
    /// Readable, because closed at its other end, once that is so.
    gone: UnixStream,
}

/// A place in the line, kept as long as this is.
#[derive(Debug)]
pub struct Line {
    place: LockPlace,
    guest: Guest,
    note: Note,
    limit: u32,
    ticket: Ticket,
    ahead: Option<Ahead>,
    standing: Option<Standing>,
    not_before: Option<Instant>,
}

impl Line {
    /// Joins at the end; `None` where there is no limit, or none may run, so that there is nothing to wait for.
    ///
    /// # Errors
    /// When the folder of locks cannot be used.
    pub fn join(context: &Context, guest: Guest, folder: &Path) -> Result<Option<Self>, Report> {
        let (Some(limit @ 1..), _) = context.config.quota(guest) else { return Ok(None) };
        let place = context.locks()?;
        let note = Note { pid: std::process::id(), folder: folder.to_string_lossy().into_owned() };
        let ticket = Ticket::take(&place, guest, limit, &note)?;
        let (ahead, standing, not_before) = (None, None, None);
        Ok(Some(Self { place, guest, note, limit, ticket, ahead, standing, not_before }))
    }

    /// Where it stood when it was last looked.
    #[must_use]
    pub const fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// The ticket, for the supervisor that is started when the turn has come.
    #[must_use]
    pub const fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// The turn came to nothing: somebody without a ticket was faster, or sees another limit.
    pub fn missed(&mut self) {
        self.not_before = Some(Instant::now() + COARSE);
    }

    /// Leaves.
    pub fn leave(self) {
        self.ticket.leave(&self.place);
    }

    /// Sleeps until the turn has come, at most until `until`. `interrupt` is a descriptor that is readable when it is to
    /// end. `told` hears of the place, at first and whenever it has changed.
    ///
    /// # Errors
    /// When the folder of locks or the configuration cannot be used any more.
    pub fn await_turn(
        &mut self,
        until: Option<Instant>,
        interrupt: BorrowedFd<'_>,
        told: &mut impl FnMut(&Standing),
    ) -> Result<Turn, Report> {
        loop {
            let context = Context::from_environment()?;
            let (limit, _) = context.config.quota(self.guest);
            let Some(limit @ 1..) = limit else { return Ok(Turn::Moot) };
            self.keep_ticket(&context, limit)?;
            let earlier = self.earlier()?;
            self.tell(&context, &earlier, told);
            self.watch_ahead(&earlier)?;
            let first = spoken_for(earlier.iter().map(|(name, _)| *name), limit);
            let (free, watched) = self.look_at_slots(first, limit);
            let now = Instant::now();
            let early = self.not_before.filter(|at| *at > now);
            if free && early.is_none() {
                self.not_before = None;
                return Ok(Turn::Come);
            }
            if until.is_some_and(|until| until <= now) {
                return Ok(Turn::Late);
            }
            let again =
                (free || watched.iter().any(|slot| !slot.explained)).then(|| early.unwrap_or(now + COARSE));
            let wake = [until, again].into_iter().flatten().min();
            if self.sleep(&watched, interrupt, wake) {
                return Ok(Turn::Interrupted);
            }
        }
    }

    /// Makes sure of the ticket, with the limit that holds now.
    fn keep_ticket(&mut self, context: &Context, limit: u32) -> Result<(), LockError> {
        let kept = self.ticket.stands(&self.place)
            && (limit == self.limit || self.ticket.change(&self.place, limit).is_ok());
        self.limit = limit;
        if !kept {
            // The folder itself may be another one.
            self.place = context.locks()?;
            self.ticket = Ticket::take(&self.place, self.guest, limit, &self.note)?;
            self.ahead = None;
        }
        Ok(())
    }

    /// The tickets before ours that count.
    fn earlier(&self) -> Result<Vec<(TicketName, Living)>, LockError> {
        let own = self.ticket.name();
        let before =
            Ticket::all(&self.place, self.guest)?.into_iter().filter(|name| name.number < own.number);
        Ok(before.filter_map(|name| Some((name, Living::open(&self.place, name)?))).collect())
    }

    fn tell(
        &mut self,
        context: &Context,
        earlier: &[(TicketName, Living)],
        told: &mut impl FnMut(&Standing),
    ) {
        let place = earlier.len() + 1;
        if self.standing.as_ref().is_some_and(|told| (told.place, told.limit) == (place, self.limit)) {
            return;
        }
        let taken = Quota::slots(context, self.guest).into_iter().filter_map(|taken| taken.holder);
        let standing =
            Standing { place, limit: self.limit, holders: taken.map(|(folder, _)| folder).collect() };
        told(&standing);
        self.standing = Some(standing);
    }

    /// Has a thread sleep on the ticket whose going can change anything: the nearest with a claim on all of our slots, else
    /// the one that claims most of them.
    fn watch_ahead(&mut self, earlier: &[(TicketName, Living)]) -> Result<(), Report> {
        let weight = |name: &TicketName| (name.limit.min(self.limit), name.number);
        let Some((name, _)) = earlier.iter().max_by_key(|(name, _)| weight(name)) else {
            self.ahead = None;
            return Ok(());
        };
        if self.ahead.as_ref().is_some_and(|ahead| ahead.name.number == name.number) {
            return Ok(());
        }
        let failed =
            |source| LockError::FileFailed { path: self.place.path().join(name.to_string()), source };
        let (gone, mut ours) = UnixStream::pair().map_err(failed)?;
        let living = Living::open(&self.place, *name);
        let wait = move || {
            // One that has left meanwhile is no reason to wait.
            if let Some(living) = living {
                living.await_end();
            }
            drop(ours.write_all(b"x"));
        };
        // Little is needed, and a thousand may wait.
        let thread = std::thread::Builder::new().name("line".to_owned()).stack_size(64 * 1024).spawn(wait);
        drop(thread.map_err(failed)?);
        self.ahead = Some(Ahead { name: *name, gone });
        Ok(())
    }

    /// Whether one of these slots is free, and whom to wait for if none is.
    fn look_at_slots(&self, first: u32, limit: u32) -> (bool, Vec<Watched>) {
        let mut watched = Vec::new();
        for slot in first..limit {
            if SlotLock::is_free(&self.place, self.guest, slot) {
                return (true, Vec::new());
            }
            watched.push(Watched::of(&self.place, self.guest, slot));
        }
        // Again: what was freed before its holder's handle was opened wakes nobody.
        let free = (first..limit).any(|slot| SlotLock::is_free(&self.place, self.guest, slot));
        (free, watched)
    }

    /// Sleeps until something has happened; `true` when that is an interrupt.
    fn sleep(&self, watched: &[Watched], interrupt: BorrowedFd<'_>, wake: Option<Instant>) -> bool {
        let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        // Rounded up: a time that is not quite over is not looked at again and again.
        let left = left.and_then(|left| Timespec::try_from(left + Duration::from_millis(1)).ok());
        let mut descriptors = vec![PollFd::from_borrowed_fd(interrupt, PollFlags::IN)];
        descriptors.extend(self.ahead.iter().map(|ahead| PollFd::new(&ahead.gone, PollFlags::IN)));
        let handles = watched.iter().flat_map(|slot| &slot.handles);
        descriptors.extend(handles.map(|handle| PollFd::new(handle, PollFlags::IN)));
        // An interruption is a look at everything.
        let outcome = poll(&mut descriptors, left.as_ref());
        outcome.is_ok() && descriptors.first().is_some_and(|first| !first.revents().is_empty())
    }
}

/// A slot that is held.
#[derive(Debug)]
struct Watched {
    /// Handles on its holders.
    handles: Vec<ProcessHandle>,
    /// Whether the kernel says that those hold it.
    explained: bool,
}

impl Watched {
    fn of(place: &LockPlace, guest: Guest, slot: u32) -> Self {
        let open = |id: ProcessId| ProcessHandle::open(id).ok();
        let seen = SlotLock::holders(place, guest, slot);
        let handles: Vec<_> = seen.into_iter().filter_map(ProcessId::of).filter_map(open).collect();
        if !handles.is_empty() {
            return Self { handles, explained: true };
        }
        let noted = SlotLock::noted(place, guest, slot);
        Self { handles: noted.into_iter().filter_map(open).collect(), explained: false }
    }
}
