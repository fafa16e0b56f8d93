//! Being attached to a guest's console until it ends, or until somebody leaves: what `run` and `console` have in common.
//!
//! Two connections lead to the supervisor. One carries the console's bytes, and closes when the VM has ended or the
//! supervisor is gone; the other tells which of the two it was.
//!
//! Where the console is no more than a log (a Mac, a guest of an older selfsame), `run` follows the log instead.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use selfsame_host::bundle::{CONSOLE_LOG, LOGS, Named};
use selfsame_host::context::Context;
use selfsame_host::supervisor::{
    Client, ClientError, PATIENCE, RunNames, SupervisorError, endings, interrupts,
};
use selfsame_host::watch::Watch;
use selfsame_machine::code::{Code, Exit};
use selfsame_machine::lifecycle::Request;
use selfsame_machine::problem::Report;

use super::Outcome;
use super::logs::Follower;
use super::run::told;
use crate::output::note;
use crate::terminal::{self, Raw};

/// The key that leaves: Ctrl-].
const LEAVE: u8 = 0x1d;
/// So much of what was typed or shown waits on our side.
const WAITING: usize = 64 * 1024;
/// So much is written to a terminal or a pipe at a time: as much as surely fits when it says that there is room.
const PIECE: usize = 4096;
/// How long the end of a VM may take to be told after its console has closed.
const LAST_WORD: Duration = Duration::from_secs(30);

/// What of the caller's input reaches the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyboard {
    /// Nothing.
    None,
    /// Every key, one by one, but for the one that leaves.
    Terminal,
    /// Every byte until the end of the input, and the output so long after it; `None`: until the VM ends.
    Pipe { linger: Option<Duration> },
}

impl Keyboard {
    /// What standard input is.
    pub(super) fn found(linger: Option<Duration>) -> Self {
        if terminal::is_there() { Self::Terminal } else { Self::Pipe { linger } }
    }
}

/// What a signal to this command means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signals {
    /// An interrupt stops the guest, a second one kills it.
    Stop,
    /// Whatever would end the command leaves the console.
    Leave,
}

/// How somebody wants to be attached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) keyboard: Keyboard,
    pub(super) signals: Signals,
    /// So many of the last bytes are shown first.
    pub(super) tail: u32,
}

/// The VM.
pub(super) struct Subject<'c> {
    pub(super) context: &'c Context,
    pub(super) name: &'c Named,
    pub(super) names: RunNames,
}

impl Subject<'_> {
    fn connect(&self) -> Result<Option<Client>, Report> {
        Ok(Client::connect(&self.context.home.run(), self.names, PATIENCE)?)
    }

    /// Attaches to a VM until it ends, or until its console is left. `log` is followed where there is nothing else.
    ///
    /// `Ok(None)` when nothing runs: it has ended by now, or never ran.
    pub(super) fn attend(&self, manner: Manner, log: Option<Follower>) -> Result<Option<Exit>, Report> {
        let Some(mut client) = self.connect()? else { return Ok(None) };
        match client.ask_end() {
            Err(error) if error.is_gone() => return Ok(None),
            asked => asked?,
        }
        let Some(second) = self.connect()? else { return self.finish(client).map(Some) };
        let read_only = manner.keyboard == Keyboard::None;
        match second.console(manner.tail, read_only) {
            Ok((stream, first)) => {
                let mut session = Session::new(self, manner, stream, first)?;
                let outcome = session.run()?;
                drop(session);
                match outcome {
                    Left::Closed => self.finish(client).map(Some),
                    Left::Leaving => {
                        note(&format!("left the console of {}; it goes on", self.name));
                        Ok(Some(Exit::Ok))
                    }
                }
            }
            // It is a log alone, too many are attached, or the supervisor is older and knows nothing of consoles.
            Err(ClientError::Refused(report))
                if read_only
                    && matches!(report.code, Code::RequestDenied | Code::SupervisorProtocol)
                    && log.is_some() =>
            {
                self.follow(client, manner, log.unwrap_or_default()).map(Some)
            }
            Err(error) if error.is_gone() => self.finish(client).map(Some),
            Err(error) => Err(error.into()),
        }
    }

    /// Says how the VM ended, or that its supervisor did.
    fn finish(&self, mut client: Client) -> Outcome {
        match client.wait_end(Some(LAST_WORD))? {
            Some(ended) => told(self.name, &ended),
            None => Err(SupervisorError::Lost { name: self.name.clone() }.into()),
        }
    }

    /// Shows the console's log as it grows, until the VM ends.
    fn follow(&self, client: Client, manner: Manner, mut log: Follower) -> Outcome {
        let watch = Watch::of(&log.path.parent().map(std::path::Path::to_owned).unwrap_or_default());
        let mut signals = Interrupts::of(manner.signals)?;
        let mut show = |bytes: &[u8]| write_out(bytes);
        loop {
            log.show(&mut show)?;
            let polled = vec![
                PollFd::new(client.as_stream(), PollFlags::IN),
                PollFd::new(&signals.stream, PollFlags::IN),
            ];
            let happened = watch.wait(polled, None).also;
            if happened.first() == Some(&true) {
                log.show(&mut show)?;
                return self.finish(client);
            }
            if signals.taken() && !self.signalled(manner.signals, &mut signals.asked)? {
                return Ok(Exit::Ok);
            }
        }
    }

    /// Does what a signal means; `false` when that is to leave.
    fn signalled(&self, meaning: Signals, asked: &mut bool) -> Result<bool, Report> {
        if meaning == Signals::Leave {
            return Ok(false);
        }
        let request = if *asked { Request::Kill } else { super::request::stop_request(self.context, None) };
        note(if *asked { "killing it" } else { "asking the guest to power down; Ctrl-C again kills it" });
        *asked = true;
        if let Some(mut client) = self.connect()? {
            match client.request(request) {
                Err(error) if error.is_gone() => {}
                answer => drop(answer?),
            }
        }
        Ok(true)
    }
}

/// Where the log of a VM is followed from now on.
pub(super) fn from_now(folder: &std::path::Path) -> Follower {
    debug_assert!(CONSOLE_LOG.starts_with(LOGS));
    Follower::after_now(folder.join(CONSOLE_LOG))
}

/// Signals, heard on a stream.
struct Interrupts {
    stream: UnixStream,
    asked: bool,
}

impl Interrupts {
    fn of(meaning: Signals) -> Result<Self, Report> {
        let stream = match meaning {
            Signals::Stop => interrupts(),
            Signals::Leave => endings(),
        };
        let stream = stream.map_err(SupervisorError::Launch)?;
        Ok(Self { stream, asked: false })
    }

    fn taken(&mut self) -> bool {
        matches!((&self.stream).read(&mut [0; 16]), Ok(1..))
    }
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The console closed.
    Closed,
    /// Somebody wanted to leave.
    Leaving,
}

/// Bytes on their way between a console and the caller's streams.
struct Session<'s> {
    subject: &'s Subject<'s>,
    manner: Manner,
    console: UnixStream,
    signals: Interrupts,
    /// For the guest.
    typed: Vec<u8>,
    /// For standard output.
    shown: Vec<u8>,
    /// Standard input has not ended.
    reads: bool,
    /// Whoever read standard output is gone.
    unseen: bool,
    /// When to leave after the end of the input.
    leave_at: Option<Instant>,
    /// Last, so that it is dropped after all else.
    raw: Option<Raw>,
}

impl<'s> Session<'s> {
    fn new(
        subject: &'s Subject<'s>,
        manner: Manner,
        console: UnixStream,
        first: Vec<u8>,
    ) -> Result<Self, Report> {
        let signals = Interrupts::of(manner.signals)?;
        console.set_nonblocking(true).map_err(SupervisorError::Launch)?;
        // Only now: whatever fails before leaves the terminal alone.
        let raw = match manner.keyboard {
            Keyboard::Terminal => Some(Raw::enter().map_err(SupervisorError::Launch)?),
            Keyboard::None | Keyboard::Pipe { .. } => None,
        };
        let reads = manner.keyboard != Keyboard::None;
        let (typed, unseen, leave_at) = (Vec::new(), false, None);
        Ok(Self { subject, manner, console, signals, typed, shown: first, reads, unseen, leave_at, raw })
    }

    fn run(&mut self) -> Result<Left, Report> {
        loop {
            let ready = self.wait();
            if self.signals.taken() {
                let mut asked = self.signals.asked;
                if !self.subject.signalled(self.manner.signals, &mut asked)? {
                    return Ok(self.leaving());
                }
                self.signals.asked = asked;
            }
            if self.leave_at.is_some_and(|at| at <= Instant::now()) {
                return Ok(self.leaving());
            }
            if ready.input && self.take_input() {
                return Ok(self.leaving());
            }
            let open = self.exchange();
            if ready.output || self.unseen {
                self.write_some();
            }
            if self.unseen && self.manner.signals == Signals::Leave {
                return Ok(self.leaving());
            }
            if !open {
                write_out(&std::mem::take(&mut self.shown));
                self.raw = None;
                return Ok(Left::Closed);
            }
        }
    }

    /// Puts the terminal back, on a line of its own.
    fn leaving(&mut self) -> Left {
        if self.raw.take().is_some() {
            note("");
        }
        Left::Leaving
    }

    /// Sleeps until something can be carried.
    fn wait(&self) -> Ready {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let mut console = PollFlags::empty();
        if self.shown.is_empty() {
            console |= PollFlags::IN;
        }
        if !self.typed.is_empty() {
            console |= PollFlags::OUT;
        }
        // Asked for nothing, it still tells that nobody reads it any more.
        let output = if self.shown.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut polled =
            vec![PollFd::new(&self.signals.stream, PollFlags::IN), PollFd::new(&self.console, console)];
        let output_at = (!self.unseen).then(|| {
            polled.push(PollFd::new(&stdout, output));
            polled.len() - 1
        });
        let input_at = self.wants_input().then(|| {
            polled.push(PollFd::new(&stdin, PollFlags::IN));
            polled.len() - 1
        });
        let left = self.leave_at.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // An interruption is a look at everything.
        let outcome = poll(&mut polled, timeout.as_ref());
        let happened = |at: Option<usize>| {
            let entry = at.and_then(|at| polled.get(at));
            outcome.is_ok() && entry.is_some_and(|entry| !entry.revents().is_empty())
        };
        Ready { input: happened(input_at), output: happened(output_at) }
    }

    /// A terminal is always read, since the key that leaves may come. What the guest does not take of a pipe stays there.
    fn wants_input(&self) -> bool {
        self.reads && (self.manner.keyboard == Keyboard::Terminal || self.typed.is_empty())
    }

    /// Reads what was typed; `true` when that was to leave.
    fn take_input(&mut self) -> bool {
        let mut chunk = [0; PIECE];
        let count = match rustix::io::read(io::stdin(), &mut chunk) {
            Ok(0) => 0,
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return false,
            // A terminal that hung up.
            Err(_) => 0,
        };
        let mut keys = chunk.get(..count).unwrap_or_default();
        if count == 0 {
            self.reads = false;
            if let Keyboard::Pipe { linger: Some(linger) } = self.manner.keyboard {
                self.leave_at = Some(Instant::now() + linger);
            }
            return self.manner.keyboard == Keyboard::Terminal;
        }
        let leaves = match keys.iter().position(|key| *key == LEAVE) {
            Some(at) if self.manner.keyboard == Keyboard::Terminal => {
                keys = keys.get(..at).unwrap_or_default();
                true
            }
            Some(_) | None => false,
        };
        // What a guest does not take for so long it does not take at all.
        let room = WAITING.saturating_sub(self.typed.len());
        self.typed.extend(keys.iter().take(room));
        if leaves {
            self.exchange();
        }
        leaves
    }

    /// Carries what has come between us and the console; `false` when it closed.
    fn exchange(&mut self) -> bool {
        while !self.typed.is_empty() {
            match self.console.write(&self.typed) {
                Ok(count @ 1..) => drop(self.typed.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Closed, or full: reading tells which.
                Ok(0) | Err(_) => break,
            }
        }
        let mut chunk = [0; PIECE];
        while self.shown.len() < WAITING {
            match self.console.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => self.shown.extend(chunk.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn write_some(&mut self) {
        if self.unseen {
            self.shown.clear();
            return;
        }
        let piece = self.shown.get(..PIECE.min(self.shown.len())).unwrap_or_default();
        match rustix::io::write(io::stdout(), piece) {
            Ok(count) if count > 0 || piece.is_empty() => drop(self.shown.drain(..count)),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Ok(_) | Err(_) => self.unseen = true,
        }
    }
}

/// What `poll` said about the caller's streams.
struct Ready {
    input: bool,
    output: bool,
}

/// Writes all of it. The guest's own bytes: its terminal control is what a console is for.
fn write_out(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    drop(out.write_all(bytes).and_then(|()| out.flush()));
}
