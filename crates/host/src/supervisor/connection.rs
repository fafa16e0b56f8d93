//! One client at the supervisor's socket. It is never waited for: a client that does not read or talks nonsense is
//! dropped.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Report};

use super::WITHOUT;
use super::console::Viewer;
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
    /// It asked for a picture: the number of the back end's answer.
    pub(super) awaits_picture: Option<u64>,
    /// A file of which so many bytes go out behind what is waiting.
    sending: Option<(File, u64)>,
    attaches: Option<Attaches>,
    closed: bool,
}

/// How a connection becomes one to the guest's console.
#[derive(Debug, Clone, Copy)]
struct Attaches {
    tail: u32,
    read_only: bool,
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
            awaits_picture: None,
            sending: None,
            attaches: None,
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
        let writes = !self.outgoing.is_empty() || self.sending.is_some();
        if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
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
                Ok(want @ Want::Console { .. }) => {
                    // What comes behind it is no call.
                    wants.push(want);
                    break;
                }
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

    /// Sends a picture: its size in a line, then its bytes. They stay in their file until they are taken.
    pub(super) fn send_picture(&mut self, file: File, size: u64) {
        self.queue(&Reply::Picture { size });
        self.sending = Some((file, size));
        self.flush();
    }

    /// Lets this become a connection to the guest's console.
    pub(super) fn attach(&mut self, tail: u32, read_only: bool) {
        self.queue(&Reply::Attached);
        self.attaches = Some(Attaches { tail, read_only });
    }

    /// Whether it speaks this protocol no longer.
    pub(super) const fn is_console(&self) -> bool {
        self.attaches.is_some()
    }

    /// What it becomes, and of how many bytes it wants to know.
    pub(super) fn into_viewer(self) -> Option<(Viewer, u32)> {
        let Attaches { tail, read_only } = self.attaches?;
        Some((Viewer::new(self.stream, self.outgoing, self.incoming, read_only), tail))
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
        while !self.closed {
            if self.outgoing.is_empty() && !self.next_part() {
                return;
            }
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

impl Connection {
    /// Takes more of the file that is being sent; `false` when there is none.
    fn next_part(&mut self) -> bool {
        let Some((mut file, left)) = self.sending.take() else { return false };
        let mut chunk = [0; 16 * 1024];
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        match file.read(chunk.get_mut(..wanted).unwrap_or_default()) {
            // It is shorter than was said: what the client waits for cannot be sent.
            Ok(0) | Err(_) => self.closed = true,
            Ok(count) => {
                self.outgoing.extend(chunk.iter().take(count));
                let left = left.saturating_sub(count as u64);
                self.sending = (left > 0).then_some((file, left));
            }
        }
        !self.closed
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
