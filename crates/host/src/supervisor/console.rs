//! The guest's serial console, shared among all who are attached to it.
//!
//! ```text
//!  guest ◀─▶ QEMU ──▶ Logs/console.log       QEMU writes the log itself: it is whole while no supervisor lives
//!              ▲ one socket, one client: the supervisor
//!              │
//!           Console ── recent bytes, kept once ──▶ each viewer, as far as it takes them
//!              ▲────── input, bounded ──────────── each viewer, as far as there is room
//! ```
//!
//! **Invariants.**
//! - Nobody is waited for. A viewer that does not read misses bytes, and is told how many. A guest that does not read its
//!   port fills the input, and then what viewers type stays in their own sockets.
//! - What QEMU writes is always taken: a client that does not read would stop the guest's console, and its log with it.
//! - Memory does not grow with viewers: they read from one buffer.
//! - There is no timer. Beside a quiet guest and quiet viewers the supervisor sleeps.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem};

use crate::lock::FolderLock;
use crate::log;

/// So much of what the guest wrote is kept for those who attach or lag behind.
const RECENT: usize = 256 * 1024;
/// So much of what was typed waits for the guest.
const INPUT: usize = 64 * 1024;
/// So much is read at a time.
const CHUNK: usize = 16 * 1024;
/// So many chunks are read before the loop looks at its other duties.
const TURNS: usize = 16;
/// So many may be attached: the supervisor has to stay open to those who want something else.
const VIEWERS: usize = 64;
/// The log's length is looked at each time the guest has written so much.
const LOOK: u64 = 64 << 10;
/// So much of the log a successor shows of what was before it.
const BEFORE: u64 = 4096;
/// So long the last bytes of a guest may take to those who are attached.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why somebody is not attached.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    /// The guest's console leads nowhere but into its log.
    #[error("this guest's console is its log alone, and takes no input")]
    LogOnly,
    /// Too many are.
    #[error("{VIEWERS} are attached to this console already")]
    Full,
}

impl Problem for AttachError {
    fn code(&self) -> Code {
        match self {
            Self::LogOnly | Self::Full => Code::RequestDenied,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::LogOnly => vec![Hint::say("`selfsame logs -f` follows the log")],
            Self::Full => vec![Hint::say("let one of them leave, or follow the log with `selfsame logs -f`")],
        }
    }
}

/// The console of one guest.
#[derive(Debug)]
pub(super) struct Console {
    /// Where QEMU listens; `None` once it hung up.
    serial: Option<UnixStream>,
    recent: Recent,
    input: VecDeque<u8>,
    viewers: Vec<Viewer>,
    log: Log,
}

/// The log that QEMU writes.
#[derive(Debug)]
struct Log {
    /// The very file, whatever lies at its name by now.
    file: Option<File>,
    folder: FolderLock,
    /// So much was written since its length was looked at.
    unseen: u64,
}

impl Console {
    /// The console behind a connection to QEMU. A successor (`adopted`) shows a little of what was before it.
    pub(super) fn new(serial: UnixStream, folder: FolderLock, adopted: bool) -> io::Result<Self> {
        serial.set_nonblocking(true)?;
        let mut file = log::to_bound(&folder.pinned()).ok().flatten();
        let mut recent = Recent::default();
        if adopted && let Some(file) = &mut file {
            recent.add(&log::last_bytes(file, BEFORE).unwrap_or_default());
        }
        let log = Log { file, folder, unseen: LOOK };
        Ok(Self { serial: Some(serial), recent, input: VecDeque::new(), viewers: Vec::new(), log })
    }

    /// Whether one more may be attached.
    pub(super) fn admits(&self) -> Result<(), AttachError> {
        match &self.serial {
            None => Err(AttachError::LogOnly),
            Some(_) if self.viewers.len() >= VIEWERS => Err(AttachError::Full),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn attach(&mut self, mut viewer: Viewer, tail: u32) {
        let tail = u64::from(tail).min(self.recent.bytes.len() as u64);
        viewer.next = self.recent.end - tail;
        self.viewers.push(viewer);
    }

    /// What to poll, and for what.
    pub(super) fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        let waiting = if self.input.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let serial = self.serial.iter().map(move |serial| PollFd::new(serial, PollFlags::IN | waiting));
        let has_room = self.input.len() < INPUT;
        serial.chain(self.viewers.iter().map(move |viewer| {
            let reads = if viewer.typed.is_empty() && has_room { PollFlags::IN } else { PollFlags::empty() };
            let writes = if viewer.lags(&self.recent) { PollFlags::OUT } else { PollFlags::empty() };
            PollFd::new(&viewer.stream, reads | writes)
        }))
    }

    /// Carries what has come, as far as it is taken. Never waits.
    pub(super) fn carry(&mut self) {
        self.flush_input();
        for viewer in &mut self.viewers {
            let room = INPUT.saturating_sub(self.input.len());
            viewer.type_into(&mut self.input, room);
        }
        self.flush_input();
        for _ in 0..TURNS {
            if !self.take_output() {
                break;
            }
            self.show();
        }
        self.show();
        if self.input.len() >= INPUT {
            self.drop_hung_up();
        }
        self.viewers.retain(|viewer| !viewer.gone);
        self.log.bound();
    }

    /// Takes some of what the guest wrote; `false` when there is no more for now.
    fn take_output(&mut self) -> bool {
        let mut chunk = [0; CHUNK];
        let Some(serial) = &mut self.serial else { return false };
        match serial.read(&mut chunk) {
            Ok(0) => self.serial = None,
            Ok(count) => {
                self.recent.add(chunk.get(..count).unwrap_or_default());
                self.log.unseen += count as u64;
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => self.serial = None,
        }
        false
    }

    fn flush_input(&mut self) {
        while let Some(serial) = &mut self.serial {
            let (first, _) = self.input.as_slices();
            if first.is_empty() {
                return;
            }
            match serial.write(first) {
                Ok(0) => return,
                Ok(count) => drop(self.input.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A broken connection is told by reading, after what came before.
                Err(_) => return,
            }
        }
        self.input.clear();
    }

    fn show(&mut self) {
        for viewer in &mut self.viewers {
            viewer.show(&self.recent);
        }
    }

    /// Lets go of viewers that have hung up while nothing of what they typed can be taken: that their socket closed is
    /// told again and again by `poll`, and would keep the supervisor awake.
    fn drop_hung_up(&mut self) {
        let mut polled: Vec<_> =
            self.viewers.iter().map(|viewer| PollFd::new(&viewer.stream, PollFlags::empty())).collect();
        if poll(&mut polled, Some(&Timespec::default())).is_err() {
            return;
        }
        let hung_up: Vec<bool> = polled.iter().map(|entry| !entry.revents().is_empty()).collect();
        for (viewer, hung_up) in self.viewers.iter_mut().zip(hung_up) {
            viewer.gone |= hung_up;
        }
    }

    /// Takes all that an ended guest has left behind.
    pub(super) fn finish(&mut self) {
        while self.take_output() {
            self.show();
        }
        self.log.bound();
    }

    /// Gives those who are attached the last bytes, for a moment, and hangs up.
    pub(super) fn farewell(mut self) {
        let began = Instant::now();
        loop {
            self.show();
            self.viewers.retain(|viewer| !viewer.gone && viewer.lags(&self.recent));
            let left = FAREWELL.saturating_sub(began.elapsed());
            if self.viewers.is_empty() || left.is_zero() {
                return;
            }
            let mut polled: Vec<_> =
                self.viewers.iter().map(|viewer| PollFd::new(&viewer.stream, PollFlags::OUT)).collect();
            if poll(&mut polled, Timespec::try_from(left).ok().as_ref()).is_err() {
                return;
            }
        }
    }
}

impl Log {
    fn bound(&mut self) {
        if self.unseen < LOOK {
            return;
        }
        self.unseen = 0;
        if let Some(file) = &mut self.file {
            // What cannot be done now is tried again when as much was written once more.
            drop(log::bound(&self.folder.pinned(), file));
        }
    }
}

/// What the guest wrote last.
#[derive(Debug, Default)]
struct Recent {
    bytes: VecDeque<u8>,
    /// So much there was in all.
    end: u64,
}

impl Recent {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.end += bytes.len() as u64;
        let over = self.bytes.len().saturating_sub(RECENT);
        self.bytes.drain(..over);
    }

    fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// What can be written in one go from a position on.
    fn from(&self, position: u64) -> &[u8] {
        let skipped = usize::try_from(position.saturating_sub(self.start())).unwrap_or(usize::MAX);
        let (first, second) = self.bytes.as_slices();
        first
            .get(skipped..)
            .filter(|rest| !rest.is_empty())
            .or_else(|| second.get(skipped.saturating_sub(first.len())..))
            .unwrap_or_default()
    }
}

/// One who is attached.
#[derive(Debug)]
pub(super) struct Viewer {
    stream: UnixStream,
    /// Up to where it has what the guest wrote.
    next: u64,
    /// What goes out before that.
    notice: Vec<u8>,
    /// What it typed and the guest has no room for.
    typed: Vec<u8>,
    read_only: bool,
    gone: bool,
}

impl Viewer {
    /// `notice` goes out first; `typed` came along with the call.
    pub(super) const fn new(stream: UnixStream, notice: Vec<u8>, typed: Vec<u8>, read_only: bool) -> Self {
        Self { stream, next: 0, notice, typed, read_only, gone: false }
    }

    fn lags(&self, recent: &Recent) -> bool {
        !self.notice.is_empty() || self.next < recent.end
    }

    /// Moves what was typed into `input`, at most `room` bytes.
    fn type_into(&mut self, input: &mut VecDeque<u8>, room: usize) {
        if !self.typed.is_empty() && !self.read_only {
            let count = self.typed.len().min(room);
            input.extend(self.typed.drain(..count));
            return;
        }
        // Who only reads has nothing to say: a byte of it is a mistake.
        let mut chunk = [0; CHUNK];
        let Some(space) = chunk.get_mut(..room.min(CHUNK)).filter(|space| !space.is_empty()) else { return };
        match self.stream.read(space) {
            Ok(0) => self.gone = true,
            Ok(_) if self.read_only => self.gone = true,
            Ok(count) => input.extend(space.iter().take(count)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.gone = true,
        }
    }

    fn show(&mut self, recent: &Recent) {
        while !self.gone {
            if self.notice.is_empty() && self.next < recent.start() {
                // Half of what is kept, so that it does not lag again at once.
                let next = recent.end.saturating_sub(RECENT as u64 / 2);
                let skipped = next.saturating_sub(self.next);
                self.notice =
                    format!("\r\n[selfsame: {skipped} bytes skipped, they are in the log]\r\n").into();
                self.next = next;
            }
            let waiting = if self.notice.is_empty() { recent.from(self.next) } else { &self.notice };
            if waiting.is_empty() {
                return;
            }
            match self.stream.write(waiting) {
                Ok(0) => self.gone = true,
                Ok(count) if self.notice.is_empty() => self.next += count as u64,
                Ok(count) => drop(self.notice.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::CONSOLE_LOG;

    /// So much the guest of these tests writes: more than anything on the way holds.
    const FLOOD: usize = 64 << 20;

    fn console(folder: &std::path::Path) -> (Console, UnixStream) {
        let (ours, guest) = UnixStream::pair().unwrap();
        std::fs::create_dir_all(folder.join("Logs")).unwrap();
        (Console::new(ours, FolderLock::open(folder).unwrap(), false).unwrap(), guest)
    }

    fn viewer(console: &mut Console, tail: u32, read_only: bool) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        console.admits().unwrap();
        console.attach(Viewer::new(ours, Vec::new(), Vec::new(), read_only), tail);
        theirs
    }

    #[test]
    fn a_flood_passes_those_who_do_not_read_and_keeps_the_log_and_the_memory_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let (mut console, mut guest) = console(folder.path());
        let mut log = log::append(&folder.path().join(CONSOLE_LOG)).unwrap();
        console.log.file = log::to_bound(folder.path()).unwrap();
        let mut deaf = viewer(&mut console, 0, false);
        let mut reader = viewer(&mut console, 0, true);
        // QEMU: what it writes goes to its reader, and then to its log.
        let qemu = std::thread::spawn(move || {
            let chunk: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
            for _ in 0..FLOOD / chunk.len() {
                guest.write_all(&chunk).unwrap();
                log.write_all(&chunk).unwrap();
            }
        });
        let counted = std::thread::spawn(move || {
            let (mut chunk, mut count) = (vec![0; CHUNK], 0);
            while let Ok(read @ 1..) = reader.read(&mut chunk) {
                count += read;
            }
            count
        });
        let mut longest = 0;
        while console.serial.is_some() {
            console.carry();
            longest = longest.max(console.log.file.as_ref().unwrap().metadata().unwrap().len());
            assert!(console.recent.bytes.len() <= RECENT && console.input.is_empty());
        }
        qemu.join().unwrap();
        assert_eq!(console.recent.end, FLOOD as u64);
        // A megabyte may come between two looks, and more while it is copied.
        assert!(longest < log::LIMIT + (8 << 20), "{longest}");
        console.finish();
        console.farewell();
        assert!(counted.join().unwrap() > 1 << 20);
        let mut shown = String::new();
        let mut bytes = Vec::new();
        deaf.read_to_end(&mut bytes).unwrap();
        shown.push_str(&String::from_utf8_lossy(&bytes));
        assert!(bytes.len() < 4 << 20, "{}", bytes.len());
    }

    #[test]
    fn who_lags_behind_is_told_how_much_was_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (mut console, _guest) = console(folder.path());
        let mut slow = viewer(&mut console, 0, true);
        let chunk = vec![b'x'; RECENT];
        for _ in 0..8 {
            console.recent.add(&chunk);
            console.show();
        }
        // What it sees and what it is told of is all that there was.
        let (mut seen, mut chunk) = (String::new(), vec![0; CHUNK]);
        let told = |seen: &str| -> usize {
            let parts = seen.split("[selfsame: ").skip(1);
            parts.filter_map(|part| part.split_once(" bytes skipped")?.0.parse::<usize>().ok()).sum()
        };
        while seen.matches('x').count() + told(&seen) < 8 * RECENT {
            console.show();
            let count = slow.read(&mut chunk).unwrap();
            seen.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
        assert_eq!(seen.matches('x').count() + told(&seen), 8 * RECENT);
        assert!(told(&seen) > 4 * RECENT, "{}", told(&seen));
    }

    #[test]
    fn what_is_typed_waits_within_bounds_and_reaches_the_guest_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (mut console, mut guest) = console(folder.path());
        let mut typist = viewer(&mut console, 0, false);
        typist.set_nonblocking(true).unwrap();
        let typed: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
        let mut sent = 0;
        // Until nobody takes any more.
        for _ in 0..100 {
            sent += typist.write(&typed[sent..]).unwrap_or(0);
            console.carry();
            assert!(console.input.len() <= INPUT);
        }
        assert!(sent < typed.len(), "it goes on taking");
        let mut taken: Vec<u8> = Vec::new();
        let mut chunk = vec![0; CHUNK];
        while taken.len() < typed.len() {
            let count = guest.read(&mut chunk).unwrap();
            taken.extend(&chunk[..count]);
            sent += typist.write(&typed[sent..]).unwrap_or(0);
            console.carry();
        }
        assert!(taken == typed, "bytes are missing or out of order");
        // Who hangs up is let go of.
        drop(typist);
        console.carry();
        assert!(console.viewers.is_empty());
    }

    #[test]
    fn a_successor_shows_a_little_of_what_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut guest) = console(folder.path());
        drop(guest.write_all(b""));
        let mut log = log::append(&folder.path().join(CONSOLE_LOG)).unwrap();
        log.write_all(&[b'.'; 10_000]).unwrap();
        log.write_all(b"login: ").unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut console = Console::new(ours, FolderLock::open(folder.path()).unwrap(), true).unwrap();
        let mut viewer = viewer(&mut console, 10, true);
        console.carry();
        let mut shown = [0; 10];
        viewer.read_exact(&mut shown).unwrap();
        assert_eq!(&shown, b"...login: ");
    }
}
