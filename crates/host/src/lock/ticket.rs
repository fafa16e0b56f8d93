//! Tickets: who waits for a slot, in which order. One file each, locked by whoever waits.
//!
//! `ticket-linux-000000000000007-2` is the seventh for a Linux guest, of somebody for whom two guests may run.
//!
//! **Invariants.**
//! - A ticket counts as long as its lock is held; the file alone says nothing. So a waiter that is killed has left, and its
//!   file is harmless until the next who may removes it. Not everybody may: the folder is sticky.
//! - Numbers are given under a short lock (`queue-linux`) and are greater than those of all files that are there. So below a
//!   ticket that counts no other ever appears: those before it only grow fewer.
//! - Dead files are removed under that lock only, since a name may be made anew by nobody else meanwhile.
//! - Whether a ticket counts is asked by a shared lock that is not waited for. Nobody is hindered by that: its owner has
//!   locked it from the beginning, and whoever gives out numbers passes over a file that somebody holds.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use selfsame_machine::spec::Guest;

use super::claim::Note;
use super::folder::NoKey;
use super::{LockError, LockFile, LockPlace};
use crate::files::device_and_inode;

/// Digits of a number, so that names sort as numbers do.
const DIGITS: usize = 15;
/// So many may wait.
const MOST: usize = 16_384;
/// How long the lock under which numbers are given may be held by others. It is held for milliseconds.
const SHORT: Duration = Duration::from_secs(20);

/// A place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketName {
    /// Its number: lower ones come first.
    pub number: u64,
    /// How many guests may run as its owner sees it: the slots up to this are waited for.
    pub limit: u32,
    /// The kind of guest.
    guest: GuestWord,
}

/// The kind of guest, in an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum GuestWord {
    Linux,
    Macos,
}

impl GuestWord {
    const fn of(guest: Guest) -> Self {
        match guest {
            Guest::Linux => Self::Linux,
            Guest::Macos => Self::Macos,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Linux => Guest::Linux.text(),
            Self::Macos => Guest::Macos.text(),
        }
    }
}

impl TicketName {
    /// Whether it is one for a guest of this kind.
    #[must_use]
    pub fn is_for(self, guest: Guest) -> bool {
        self.guest == GuestWord::of(guest)
    }
}

/// As the file is called.
impl fmt::Display for TicketName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ticket-{}-{:0DIGITS$}-{}", self.guest.text(), self.number, self.limit)
    }
}

impl FromStr for TicketName {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let mut words = text.strip_prefix("ticket-").ok_or(NoKey)?.split('-');
        let mut word = || words.next().ok_or(NoKey);
        let (guest, number, limit) = (word()?, word()?, word()?);
        let guest = [GuestWord::Linux, GuestWord::Macos].into_iter().find(|known| known.text() == guest);
        let number = Some(number).filter(|digits| digits.len() == DIGITS).ok_or(NoKey)?;
        let name = Self {
            guest: guest.ok_or(NoKey)?,
            number: number.parse().map_err(|_| NoKey)?,
            limit: limit.parse().map_err(|_| NoKey)?,
        };
        // What is not written as it would be shown is no ticket: `+7`, a further word, zeros in front of a limit.
        if name.to_string() == text { Ok(name) } else { Err(NoKey) }
    }
}

/// A ticket of this process, or one that it was given.
#[derive(Debug)]
pub struct Ticket {
    name: TicketName,
    file: LockFile,
}

impl Ticket {
    /// Takes the next number.
    ///
    /// # Errors
    /// When the folder of locks cannot be used, or too many wait.
    pub fn take(place: &LockPlace, guest: Guest, limit: u32, note: &Note) -> Result<Self, LockError> {
        let gate = format!("queue-{}", guest.text());
        let _given = short(place, &gate)?;
        let tickets = Self::all(place, guest)?;
        if tickets.len() >= MOST {
            return Err(LockError::File { path: place.path().join(gate), what: "has too long a line" });
        }
        let mut number = tickets.last().map_or(0, |last| last.number);
        for dead in tickets.into_iter().filter(|name| Living::open(place, *name).is_none()) {
            // Another user's stays.
            let _ignored = rustix::fs::unlinkat(place, dead.to_string(), AtFlags::empty());
        }
        for _ in 0..16 {
            number += 1;
            let name = TicketName { number, limit, guest: GuestWord::of(guest) };
            if name.to_string().parse() != Ok(name) {
                break;
            }
            // Somebody may have opened and locked the new file before we did: then it stays behind.
            if let Some(file) = LockFile::try_lock(place, &name.to_string())? {
                if let Ok(text) = serde_json::to_string(note) {
                    file.note(&text);
                }
                return Ok(Self { name, file });
            }
        }
        Err(LockError::Replaced { path: place.path().join(gate) })
    }

    /// The tickets for guests of a kind, those that count and those that do not, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(place: &LockPlace, guest: Guest) -> Result<Vec<TicketName>, LockError> {
        let failed =
            |error: Errno| LockError::PlaceFailed { path: place.path().to_owned(), source: error.into() };
        let mut names = Vec::new();
        for entry in Dir::read_from(place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            names.extend(read_name(entry.file_name()).filter(|name| name.is_for(guest)));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether anybody ever waited for such a guest, as long as the folder of locks is there: one question instead of
    /// reading the folder.
    #[must_use]
    pub fn may_be_any(place: &LockPlace, guest: Guest) -> bool {
        let gate = format!("queue-{}", guest.text());
        !matches!(rustix::fs::statat(place, gate, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> TicketName {
        self.name
    }

    /// Whether its name still leads to it: the folder may have been emptied, or the file replaced.
    #[must_use]
    pub fn stands(&self, place: &LockPlace) -> bool {
        let found = rustix::fs::statat(place, self.name.to_string(), AtFlags::SYMLINK_NOFOLLOW);
        let ours = rustix::fs::fstat(&self.file);
        matches!((found, ours), (Ok(found), Ok(ours)) if device_and_inode(&found) == device_and_inode(&ours))
    }

    /// The same place in the line for another limit.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn change(&mut self, place: &LockPlace, limit: u32) -> io::Result<()> {
        let name = TicketName { limit, ..self.name };
        rustix::fs::renameat(place, self.name.to_string(), place, name.to_string())?;
        self.name = name;
        Ok(())
    }

    /// Gives up the place in the line.
    pub fn leave(self, place: &LockPlace) {
        if self.stands(place) {
            // Closing it is what counts. The name goes first, so that nobody meets it without its lock.
            let _ignored = rustix::fs::unlinkat(place, self.name.to_string(), AtFlags::empty());
        }
    }

    /// A ticket that another process handed over as its open file. It is believed for its lock alone: the file must be the
    /// one of that name, somebody must hold its lock, and that somebody must be this very open file.
    #[must_use]
    pub fn proven(place: &LockPlace, name: TicketName, descriptor: OwnedFd) -> Option<Self> {
        let ticket = Self { name, file: LockFile::given(descriptor) };
        let is_held = ticket.stands(place) && Living::open(place, name).is_some();
        let ours = rustix::fs::flock(&ticket.file, FlockOperation::NonBlockingLockExclusive).is_ok();
        (is_held && ours).then_some(ticket)
    }
}

impl AsFd for Ticket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Another's ticket that counted when it was opened.
#[derive(Debug)]
pub struct Living(OwnedFd);

impl Living {
    /// Opens a ticket; `None` when nobody holds it, or it is no plain file that can be opened.
    #[must_use]
    pub fn open(place: &LockPlace, name: TicketName) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let descriptor = rustix::fs::openat(place, name.to_string(), flags, Mode::empty()).ok()?;
        match rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => Some(Self(descriptor)),
            Ok(()) | Err(_) => None,
        }
    }

    /// Sleeps in the kernel until its owner has left, however that came about.
    pub fn await_end(self) {
        while rustix::fs::flock(&self.0, FlockOperation::LockShared) == Err(Errno::INTR) {}
    }
}

/// Takes a lock that others hold only shortly.
fn short(place: &LockPlace, name: &str) -> Result<LockFile, LockError> {
    let began = Instant::now();
    loop {
        if let Some(file) = LockFile::try_lock(place, name)? {
            return Ok(file);
        }
        if began.elapsed() > SHORT {
            return Err(LockError::File {
                path: place.path().join(name),
                what: "is held by somebody for too long",
            });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read_name(name: &CStr) -> Option<TicketName> {
    name.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::PlaceSource;

    fn place() -> (tempfile::TempDir, LockPlace) {
        let folder = tempfile::tempdir().unwrap();
        let place = LockPlace::open(folder.path().join("locks"), PlaceSource::Environment).unwrap();
        (folder, place)
    }

    fn take(place: &LockPlace, limit: u32) -> Ticket {
        let note = Note { pid: std::process::id(), folder: "/a".to_owned() };
        Ticket::take(place, Guest::Linux, limit, &note).unwrap()
    }

    #[test]
    fn a_name_reads_back_and_others_are_none() {
        let name: TicketName = "ticket-linux-000000000000007-2".parse().unwrap();
        assert_eq!((name.number, name.limit), (7, 2));
        assert!(name.is_for(Guest::Linux) && !name.is_for(Guest::Macos));
        for text in [
            "ticket-linux-7-2",
            "ticket-linux-000000000000007",
            "ticket-linux-000000000000007-02",
            "ticket-linux-000000000000007-2-3",
            "ticket-linux-+00000000000007-2",
            "ticket-bsd-000000000000007-2",
            "ticket-linux-000000000000007-4294967296",
            "slot-linux-0",
            "",
        ] {
            assert!(text.parse::<TicketName>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_grow_over_the_dead_and_the_dead_are_removed() {
        let (_folder, place) = place();
        let (first, second) = (take(&place, 1), take(&place, 2));
        assert!(first.name().number < second.name().number);
        // Killed: the lock is gone, and the file is not.
        let dead = second.name();
        drop(second);
        assert!(Living::open(&place, dead).is_none() && Living::open(&place, first.name()).is_some());
        let third = take(&place, 2);
        assert!(third.name().number > dead.number);
        assert_eq!(Ticket::all(&place, Guest::Linux).unwrap(), [first.name(), third.name()]);
        third.leave(&place);
        first.leave(&place);
        assert_eq!(Ticket::all(&place, Guest::Linux).unwrap(), []);
    }

    #[test]
    fn a_ticket_is_believed_for_its_own_lock_only() {
        let (_folder, place) = place();
        let ticket = take(&place, 1);
        let name = ticket.name();
        let given = ticket.as_fd().try_clone_to_owned().unwrap();
        assert!(Ticket::proven(&place, name, given).is_some());
        let path = place.path().join(name.to_string());
        // Opened by oneself, it is not what holds the lock.
        assert!(Ticket::proven(&place, name, std::fs::File::open(&path).unwrap().into()).is_none());
        let other = TicketName { number: name.number + 1, ..name };
        let given = ticket.as_fd().try_clone_to_owned().unwrap();
        assert!(Ticket::proven(&place, other, given).is_none());
        let given = ticket.as_fd().try_clone_to_owned().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Ticket::proven(&place, name, given).is_none(), "the name leads elsewhere");
        // A dead one's file cannot be taken up again.
        drop(std::fs::write(&path, ""));
        assert!(Ticket::proven(&place, name, std::fs::File::open(&path).unwrap().into()).is_none());
    }

    #[test]
    fn links_and_folders_are_no_tickets() {
        let (_folder, place) = place();
        let ticket = take(&place, 1);
        let name = |number| TicketName { number, ..ticket.name() };
        let path = |number| place.path().join(name(number).to_string());
        std::os::unix::fs::symlink(path(ticket.name().number), path(8)).unwrap();
        std::fs::create_dir(path(9)).unwrap();
        assert!(Living::open(&place, name(8)).is_none() && Living::open(&place, name(9)).is_none());
        let next = take(&place, 1);
        assert!(next.name().number > 9);
    }
}
