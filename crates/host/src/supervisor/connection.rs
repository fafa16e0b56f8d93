//! One client at the supervisor's socket. It is never waited for: a client that does not read or talks nonsense is
//! dropped.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Report};

use super::WITHOUT;
use super::protocol::{Call, Greeting, LINE_LIMIT, PROTOCOL, Reply, Want};

/// A connected client.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// It asked to be told of the end.
    pub(super) awaits_end: bool,
    /// It asked for a suspend, and is told when that comes to nothing.
    pub(super) awaits_save: bool,
    /// It asked to be told when an agent listens.
    pub(super) awaits_agent: bool,
    closed: bool,
}

impl Connection {
    /// Greets a client that has just connected.
    pub(super) fn greet(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut connection = Self {
            stream,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            awaits_end: false,
            awaits_save: false,
            awaits_agent: false,
            closed: false,
        };
        connection.queue(&Greeting {
            selfsame: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            pid: std::process::id(),
        });
        connection.flush();
        Ok(connection)
    }

    /// What to poll the client for.
    pub(super) fn interest(&self) -> PollFlags {
        if self.outgoing.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// Whether it is gone or was given up.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads what has come and gives the calls that are whole. A call of another protocol is refused here.
    pub(super) fn take_calls(&mut self) -> Vec<Want> {
        let mut chunk = [0; 4096];
        while !self.closed {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(count) => self.incoming.extend(chunk.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
            if self.incoming.len() > LINE_LIMIT {
                self.closed = true;
            }
        }
        let mut wants = Vec::new();
        while let Some(end) = self.incoming.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.incoming.drain(..=end).collect();
            match understand(&line) {
                Ok(want) => wants.push(want),
                Err(report) => self.reply(&Reply::Refused(report)),
            }
        }
        wants
    }

    /// Sends a reply, now as far as the client takes it and the rest when it does.
    pub(super) fn reply(&mut self, reply: &Reply) {
        self.queue(reply);
        self.flush();
    }

    fn queue(&mut self, message: &impl serde::Serialize) {
        if let Ok(text) = serde_json::to_vec(message) {
            self.outgoing.extend(text);
            self.outgoing.push(b'\n');
        }
        // A client that asks and never reads is not remembered for.
        if self.outgoing.len() > 4 * LINE_LIMIT {
            self.closed = true;
        }
    }

    /// Writes what is waiting.
    pub(super) fn flush(&mut self) {
        while !self.outgoing.is_empty() && !self.closed {
            match self.stream.write(&self.outgoing) {
                Ok(0) => self.closed = true,
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn understand(line: &[u8]) -> Result<Want, Report> {
    let refusal = |code, message: String| Report { code, message, causes: Vec::new(), hints: Vec::new() };
    // The version is looked at first and alone: the rest of a newer call need not be understandable.
    #[derive(serde::Deserialize)]
    struct Version {
        protocol: u32,
    }
    match serde_json::from_slice::<Version>(line) {
        Ok(Version { protocol: PROTOCOL }) => {}
        Ok(Version { protocol }) => {
            let mut report = refusal(
                Code::SupervisorProtocol,
                format!("the call speaks protocol {protocol}; this supervisor speaks {PROTOCOL}"),
            );
            report.hints.push(Hint::run(
                format!("end the supervisor: {WITHOUT}"),
                format!("kill -KILL {}", std::process::id()),
            ));
            return Err(report);
        }
        Err(error) => {
            return Err(refusal(Code::SupervisorProtocol, format!("the call is no call: {error}")));
        }
    }
    serde_json::from_slice::<Call>(line)
        .map(|call| call.want)
        .map_err(|error| refusal(Code::SupervisorProtocol, format!("the call is not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_protocol_is_refused_with_the_reason_before_anything_else() {
        let report = understand(br#"{"protocol":7,"want":{"fly":1}}"#).unwrap_err();
        assert_eq!(report.code, Code::SupervisorProtocol);
        assert_eq!(report.message, "the call speaks protocol 7; this supervisor speaks 1");
        assert!(understand(b"\xff\n").is_err());
        assert!(understand(br#"{"protocol":1,"want":"fly"}"#).is_err());
        assert_eq!(understand(br#"{"protocol":1,"want":"status"}"#), Ok(Want::Status));
    }

    #[test]
    fn a_client_that_never_reads_or_never_ends_its_line_is_dropped() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::greet(ours).unwrap();
        let sender = std::thread::spawn(move || {
            let mut theirs = theirs;
            // It fails once the connection is given up.
            drop(theirs.write_all(&vec![b'x'; 2 * LINE_LIMIT]));
            theirs
        });
        while !connection.is_closed() {
            assert_eq!(connection.take_calls(), []);
        }
        drop(connection);
        drop(sender.join().unwrap());
    }
}
