//! The connection to one QEMU.
//!
//! A caller with a poll loop sends, polls the descriptor for reading and drains; a caller without one uses
//! [`Monitor::call`]. Both may be mixed: what a call meets while it waits for its answer stays queued, and since the
//! descriptor does not become readable for it, **a drain has to follow every call before the next poll**.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::Value;

use super::codec::{Codec, excerpt};
use super::command::Command;
use super::error::{QmpError, Waiting};
use super::message::{Greeting, Id, Message};
use super::run_state::RunState;

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;

/// A connection over which the capabilities have been negotiated.
#[derive(Debug)]
pub struct Monitor {
    wire: Wire,
    greeting: Greeting,
    queued: VecDeque<Message>,
}

/// What a drain found.
#[derive(Debug)]
#[must_use]
pub struct Drained {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Why no more will come, once that is so.
    pub end: Option<QmpError>,
}

impl Monitor {
    /// Waits for the greeting and answers it, within the limit in all.
    ///
    /// # Errors
    /// QEMU did not greet in time (another client may hold the monitor), hung up, or is no QEMU.
    pub fn handshake(stream: UnixStream, limit: Duration) -> Result<Self, QmpError> {
        let deadline = Deadline::after(limit);
        stream.set_nonblocking(true).map_err(|source| QmpError::Io { waiting: Waiting::Greeting, source })?;
        let mut wire = Wire { stream, codec: Codec::default(), unsent: Vec::new(), last_id: 0 };
        let greeting = match wire.receive(Waiting::Greeting, deadline)? {
            Message::Greeting(greeting) => greeting,
            other @ (Message::Reply { .. } | Message::Event(_) | Message::Other(_)) => {
                return Err(unexpected(Waiting::Greeting, &other));
            }
        };
        let mut monitor = Self { wire, greeting, queued: VecDeque::new() };
        monitor.call_until(Command::Capabilities, deadline)?;
        Ok(monitor)
    }

    /// The id of the last command.
    #[must_use]
    pub const fn last_id(&self) -> Id {
        Id(self.wire.last_id)
    }

    /// What QEMU said of itself.
    #[must_use]
    pub const fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Gives a command; its answer will be among the drained messages, with this id.
    ///
    /// A command that could not be written whole in time stays in line and goes out before the next one.
    ///
    /// # Errors
    /// QEMU does not take it in time, or has hung up.
    pub fn send(&mut self, command: Command, limit: Duration) -> Result<Id, QmpError> {
        self.wire.send(command, Deadline::after(limit))
    }

    /// The same with a descriptor that QEMU gets along with the command.
    ///
    /// # Errors
    /// As [`Monitor::send`].
    pub fn send_with(
        &mut self,
        command: Command,
        passed: BorrowedFd<'_>,
        limit: Duration,
    ) -> Result<Id, QmpError> {
        self.wire.send_with(command, passed, Deadline::after(limit))
    }

    /// Takes what has come, without waiting.
    pub fn drain(&mut self) -> Drained {
        let mut messages: Vec<Message> = self.queued.drain(..).collect();
        let end = loop {
            match self.wire.next(Waiting::Anything) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        Drained { messages, end }
    }

    /// Gives a command and waits for its answer. All else that comes meanwhile is kept for the next drain.
    ///
    /// # Errors
    /// QEMU refuses the command, does not answer in time, or hangs up.
    pub fn call(&mut self, command: Command, limit: Duration) -> Result<Value, QmpError> {
        self.call_until(command, Deadline::after(limit))
    }

    /// The same with a descriptor that QEMU gets along with the command.
    ///
    /// # Errors
    /// As [`Monitor::call`].
    pub fn call_with(
        &mut self,
        command: Command,
        passed: BorrowedFd<'_>,
        limit: Duration,
    ) -> Result<Value, QmpError> {
        let deadline = Deadline::after(limit);
        let wanted = self.wire.send_with(command, passed, deadline)?;
        self.reply_to(command, wanted, deadline)
    }

    /// Asks what the guest is doing.
    ///
    /// # Errors
    /// As [`Monitor::call`], and when the answer has another shape.
    pub fn run_state(&mut self, limit: Duration) -> Result<RunState, QmpError> {
        let value = self.call(Command::QueryStatus, limit)?;
        RunState::of_reply(&value).ok_or_else(|| misshapen(Command::QueryStatus, &value))
    }

    /// Asks for the UUID that QEMU was started with, in its canonical text.
    ///
    /// # Errors
    /// As [`Monitor::call`], and when the answer has another shape.
    pub fn uuid(&mut self, limit: Duration) -> Result<String, QmpError> {
        let value = self.call(Command::QueryUuid, limit)?;
        let text = value.get("UUID").and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| misshapen(Command::QueryUuid, &value))
    }

    /// Asks whether a program in the guest has the port open whose connection has this id.
    ///
    /// # Errors
    /// As [`Monitor::call`]; an id that QEMU does not know is not open.
    pub fn is_port_open(&mut self, id: &str, limit: Duration) -> Result<bool, QmpError> {
        let value = self.call(Command::QueryChardev, limit)?;
        let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = all.iter().find(|one| one.get("label").and_then(Value::as_str) == Some(id));
        Ok(found.and_then(|one| one.get("frontend-open")?.as_bool()).unwrap_or(false))
    }

    fn call_until(&mut self, command: Command, deadline: Deadline) -> Result<Value, QmpError> {
        let wanted = self.wire.send(command, deadline)?;
        self.reply_to(command, wanted, deadline)
    }

    fn reply_to(&mut self, command: Command, wanted: Id, deadline: Deadline) -> Result<Value, QmpError> {
        loop {
            match self.wire.receive(Waiting::Reply(command), deadline)? {
                Message::Reply { id: Some(id), outcome } if id == wanted => {
                    return outcome.map_err(|fault| QmpError::Refused { command, fault });
                }
                other @ (Message::Greeting(_)
                | Message::Reply { .. }
                | Message::Event(_)
                | Message::Other(_)) => self.queued.push_back(other),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.stream.as_fd()
    }
}

/// The stream with its two buffers.
#[derive(Debug)]
struct Wire {
    stream: UnixStream,
    codec: Codec,
    unsent: Vec<u8>,
    last_id: u64,
}

impl Wire {
    fn send(&mut self, command: Command, deadline: Deadline) -> Result<Id, QmpError> {
        let waiting = Waiting::Writing(command);
        self.last_id += 1;
        let id = Id(self.last_id);
        self.unsent.extend_from_slice(command.line(id).as_bytes());
        self.flush(waiting, deadline)?;
        Ok(id)
    }

    /// The descriptor goes with the first byte of its command: QEMU keeps it for the command that it reads next.
    fn send_with(
        &mut self,
        command: Command,
        passed: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<Id, QmpError> {
        let waiting = Waiting::Writing(command);
        self.flush(waiting, deadline)?;
        self.last_id += 1;
        let id = Id(self.last_id);
        let line = command.line(id);
        let descriptors = [passed];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let sent = loop {
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            let parts = [IoSlice::new(line.as_bytes())];
            match sendmsg(&self.stream, &parts, &mut ancillary, SendFlags::empty()) {
                Ok(sent) => break sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => deadline.wait(&self.stream, PollFlags::OUT, waiting)?,
                Err(error) => return Err(self.broken(waiting, error.into())),
            }
        };
        self.unsent.extend(line.as_bytes().iter().skip(sent));
        self.flush(waiting, deadline)?;
        Ok(id)
    }

    fn flush(&mut self, waiting: Waiting, deadline: Deadline) -> Result<(), QmpError> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(self.closed(waiting)),
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    deadline.wait(&self.stream, PollFlags::OUT, waiting)?;
                }
                Err(error) => return Err(self.broken(waiting, error)),
            }
        }
        Ok(())
    }

    /// The next message, waited for.
    fn receive(&mut self, waiting: Waiting, deadline: Deadline) -> Result<Message, QmpError> {
        loop {
            if let Some(message) = self.next(waiting)? {
                return Ok(message);
            }
            deadline.wait(&self.stream, PollFlags::IN, waiting)?;
        }
    }

    /// The next message that is there already. The end of the stream is told only after everything before it.
    fn next(&mut self, waiting: Waiting) -> Result<Option<Message>, QmpError> {
        let mut chunk = [0; CHUNK];
        loop {
            match self.codec.next_message() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(source) => return Err(QmpError::Garbled { waiting, source }),
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(self.closed(waiting)),
                Ok(count) => self.codec.feed(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(self.broken(waiting, error)),
            }
        }
    }

    fn closed(&self, waiting: Waiting) -> QmpError {
        QmpError::Closed { waiting, unfinished: self.codec.unfinished() }
    }

    fn broken(&self, waiting: Waiting, source: io::Error) -> QmpError {
        if matches!(source.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
            self.closed(waiting)
        } else {
            QmpError::Io { waiting, source }
        }
    }
}

/// A moment that must not be passed, with the wish it came from.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    from: Instant,
    limit: Duration,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self { from: Instant::now(), limit }
    }

    fn wait(self, stream: &UnixStream, wanted: PollFlags, waiting: Waiting) -> Result<(), QmpError> {
        loop {
            let Some(left) = self.limit.checked_sub(self.from.elapsed()).filter(|left| !left.is_zero())
            else {
                return Err(QmpError::TimedOut { waiting, limit: self.limit });
            };
            // A limit too long for the system's clock is no limit.
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(stream, wanted)], timeout.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(QmpError::Io { waiting, source: error.into() }),
            }
        }
    }
}

fn unexpected(waiting: Waiting, message: &Message) -> QmpError {
    QmpError::Unexpected { waiting, got: excerpt(format!("{message:?}").as_bytes()) }
}

fn misshapen(command: Command, value: &Value) -> QmpError {
    QmpError::Unexpected { waiting: Waiting::Reply(command), got: excerpt(value.to_string().as_bytes()) }
}
