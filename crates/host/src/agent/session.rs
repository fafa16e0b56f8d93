//! One exchange with the agent, for callers that may wait. Each wait has an end.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use selfsame_machine::agent::{LINE_LIMIT, Reader, Reply, Request};
use serde_json::Value;

use super::AgentError;
use super::door::{Channel, Door};

/// How long others may talk to the agent before it is our turn.
const TURN: Duration = Duration::from_secs(30);
/// How long nothing may be heard of an agent that was asked. The guest may be emulated, and busy.
const QUIET: Duration = Duration::from_secs(20);
/// How long one answer may take in all, for an agent that says a byte now and then; and one that carries a command's
/// output, which an emulated guest hands over at 200 KiB a second.
const WHOLE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(600));
/// The pause before the first look whether it is our turn, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

/// An exchange that has begun. Nobody else talks to the agent until it is dropped.
#[derive(Debug)]
pub struct Session<'door> {
    door: &'door Door,
    channel: Channel,
    reader: Reader,
    ready: VecDeque<Reply>,
    /// When the caller's time is over.
    deadline: Option<Instant>,
    /// When the answer's time is over.
    end: Option<Instant>,
    /// How long silence may last.
    quiet: Duration,
}

impl<'door> Session<'door> {
    /// Waits for its turn, and begins. The whole exchange takes no longer than `limit`.
    ///
    /// # Errors
    /// There is no agent, or it does not begin.
    pub fn begin(door: &'door Door, limit: Option<Duration>) -> Result<Self, AgentError> {
        let began = Instant::now();
        let left = |most: Duration| limit.map_or(most, |limit| most.min(limit));
        let mut pause = PAUSES.0;
        let channel = loop {
            match door.enter() {
                Err(AgentError::Busy { .. }) if began.elapsed() + pause < left(TURN) => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSES.1);
                }
                entered => break entered?,
            }
        };
        let id = door.draw()?;
        let mut session = Self {
            door,
            channel,
            reader: Reader::new(id),
            ready: VecDeque::new(),
            deadline: limit.and_then(|limit| began.checked_add(limit)),
            end: Instant::now().checked_add(WHOLE.0),
            quiet: left(QUIET),
        };
        let sync = Request::Sync(id);
        session.tell(&sync)?;
        match session.hear(sync.name())? {
            Reply::Synced => Ok(session),
            // A reader tells of nothing before.
            Reply::Return(_) | Reply::Refused(_) => Err(session.closed(sync.name())),
        }
    }

    /// Asks, and waits for the answer, which is no longer than `longest`.
    ///
    /// # Errors
    /// It refuses, talks nonsense, or lets the time pass.
    pub fn ask(&mut self, request: &Request, longest: usize) -> Result<Value, AgentError> {
        self.reader.allow(longest);
        let whole = if longest > LINE_LIMIT { WHOLE.1 } else { WHOLE.0 };
        self.end = Instant::now().checked_add(whole);
        self.tell(request)?;
        let asked = request.name();
        match self.hear(asked)? {
            Reply::Return(value) => Ok(value),
            Reply::Refused(source) => {
                Err(AgentError::Refused { name: self.door.name.clone(), asked, source })
            }
            Reply::Synced => Err(self.closed(asked)),
        }
    }

    fn tell(&mut self, request: &Request) -> Result<(), AgentError> {
        let line = request.line();
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match self.channel.stream.write(rest) {
                Ok(0) => return Err(self.closed(request.name())),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT, request.name())?;
                }
                Err(error) => return Err(self.broken(request.name(), error)),
            }
        }
        Ok(())
    }

    fn hear(&mut self, asked: &'static str) -> Result<Reply, AgentError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            if let Some(reply) = self.ready.pop_front() {
                return Ok(reply);
            }
            match self.channel.stream.read(&mut chunk) {
                Ok(0) => return Err(self.closed(asked)),
                Ok(count) => {
                    let replies = self.reader.feed(chunk.get(..count).unwrap_or_default());
                    let nonsense = |source| AgentError::Nonsense { name: self.door.name.clone(), source };
                    self.ready.extend(replies.map_err(nonsense)?);
                    // One that never falls silent does not pass the time for us.
                    self.left(asked)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::IN, asked)?,
                Err(error) => return Err(self.broken(asked, error)),
            }
        }
    }

    /// Waits until the stream is ready, at most for as long as silence may last.
    fn wait(&self, wanted: PollFlags, asked: &'static str) -> Result<(), AgentError> {
        let until = Instant::now().checked_add(self.quiet.min(self.left(asked)?));
        loop {
            let left = until.map_or(self.quiet, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(self.silent(asked));
            }
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.channel.stream, wanted)], timeout.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(self.broken(asked, error.into())),
            }
        }
    }

    fn left(&self, asked: &'static str) -> Result<Duration, AgentError> {
        let ends = self.end.into_iter().chain(self.deadline).min();
        let left = ends.map_or(WHOLE.0, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() { Err(self.silent(asked)) } else { Ok(left) }
    }

    fn silent(&self, asked: &'static str) -> AgentError {
        AgentError::Silent { name: self.door.name.clone(), asked, limit: self.quiet }
    }

    fn closed(&self, asked: &'static str) -> AgentError {
        AgentError::Closed { name: self.door.name.clone(), asked }
    }

    fn broken(&self, asked: &'static str, source: std::io::Error) -> AgentError {
        if matches!(source.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) {
            return self.closed(asked);
        }
        AgentError::Io { name: self.door.name.clone(), source }
    }
}
