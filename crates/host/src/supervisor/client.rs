//! The other end of a supervisor's socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::{Answer, Request};
use selfsame_machine::problem::{Hint, Problem, Report};

use super::WITHOUT;
use super::protocol::{Call, Ended, Greeting, LINE_LIMIT, PROTOCOL, Reply, Status, Want};
use super::record::RunNames;
use crate::socket::SocketFolder;

/// How long a supervisor may take to answer: it never waits for anything itself.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// No picture of a guest's screen is larger: 4 bytes for each point of 4096 by 4096, and PNG packs them.
pub(super) const PICTURE_LIMIT: u64 = 64 << 20;

/// Why a supervisor could not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It does not answer.
    #[error("the supervisor{} does not answer", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Unresponsive {
        /// Its process id, where it is known.
        pid: Option<u32>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It speaks another version of the protocol.
    #[error(
        "the supervisor (pid {pid}, selfsame {version}) speaks protocol {theirs}; this selfsame speaks {PROTOCOL}"
    )]
    Protocol {
        /// Its process id.
        pid: u32,
        /// Its version of selfsame.
        version: String,
        /// Its protocol.
        theirs: u32,
    },
    /// It said something that makes no sense.
    #[error("the supervisor answered what was not asked")]
    Nonsense,
    /// What it took up came to nothing.
    #[error("{}", .0.message)]
    Failed(Report),
    /// The VM ended before what was waited for came.
    #[error("the VM ended meanwhile: {}", .0.explanation)]
    Ended(Ended),
    /// It refused the call.
    #[error("the supervisor refused: {}", .0.message)]
    Refused(Report),
}

impl Problem for ClientError {
    fn code(&self) -> Code {
        match self {
            Self::Unresponsive { .. } | Self::Nonsense => Code::SupervisorUnresponsive,
            Self::Ended(_) => Code::RequestDenied,
            Self::Protocol { .. } => Code::SupervisorProtocol,
            Self::Failed(report) | Self::Refused(report) => report.code,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Unresponsive { pid: Some(pid), .. } => vec![
                Hint::run("if it was stopped, let it go on", format!("kill -CONT {pid}")),
                Hint::run(format!("or end it: {WITHOUT}"), format!("kill -KILL {pid}")),
            ],
            Self::Unresponsive { pid: None, .. } | Self::Nonsense => {
                vec![Hint::run("see who holds what", "selfsame doctor host")]
            }
            Self::Protocol { pid, .. } => {
                vec![Hint::run(format!("end it: {WITHOUT}"), format!("kill -KILL {pid}"))]
            }
            Self::Ended(_) => Vec::new(),
            Self::Failed(report) | Self::Refused(report) => report.hints.clone(),
        }
    }
}

impl ClientError {
    /// Whether nothing came in the time given, and the supervisor may still speak.
    #[must_use]
    pub fn is_time_out(&self) -> bool {
        match self {
            Self::Unresponsive { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                )
            }
            Self::Protocol { .. } | Self::Nonsense | Self::Ended(_) | Self::Failed(_) | Self::Refused(_) => {
                false
            }
        }
    }

    /// Whether the supervisor ended, or was killed, while it was talked to.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Unresponsive { source, .. } => is_closed(source),
            Self::Protocol { .. } | Self::Nonsense | Self::Ended(_) | Self::Failed(_) | Self::Refused(_) => {
                false
            }
        }
    }
}

/// A connection to one VM's supervisor.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    pid: u32,
    /// The end, told before it was waited for.
    ended: Option<Ended>,
}

impl Client {
    /// Connects; `None` when the VM has no supervisor.
    ///
    /// # Errors
    /// When there is one, and it does not answer in time or speaks another protocol.
    pub fn connect(run: &Path, names: RunNames, patience: Duration) -> Result<Option<Self>, ClientError> {
        let noted = || {
            let record = super::record::RunRecord::read(run, names)?;
            // A pid of another boot, or of an ended process, may be anybody's now.
            (record.is_of_this_boot() && record.supervisor.lives()).then_some(record.supervisor.pid)
        };
        let unresponsive = |source| ClientError::Unresponsive { pid: noted(), source };
        let folder = match SocketFolder::open(run) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unresponsive(error)),
        };
        let Some(stream) = folder.connect(&names.control()).map_err(unresponsive)? else { return Ok(None) };
        stream.set_read_timeout(Some(patience)).map_err(unresponsive)?;
        stream.set_write_timeout(Some(patience)).map_err(unresponsive)?;
        let mut reader = BufReader::new(stream);
        let greeting: Greeting = match read_line(&mut reader) {
            Ok(greeting) => greeting,
            // It ended between our connecting and its greeting.
            Err(error) if is_closed(&error) => return Ok(None),
            Err(error) => return Err(unresponsive(error)),
        };
        if greeting.protocol != PROTOCOL {
            return Err(ClientError::Protocol {
                pid: greeting.pid,
                version: greeting.selfsame,
                theirs: greeting.protocol,
            });
        }
        Ok(Some(Self { reader, pid: greeting.pid, ended: None }))
    }

    /// The supervisor's process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks for the state.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.call(Want::Status)? {
            Reply::Status(status) => Ok(*status),
            Reply::Refused(report) => Err(ClientError::Refused(report)),
            Reply::Failed(report) => Err(ClientError::Failed(report)),
            Reply::Answer(_) | Reply::Ended(_) | Reply::Attached | Reply::Picture { .. } => {
                Err(ClientError::Nonsense)
            }
        }
    }

    /// Waits until an agent listens in the guest, at most `patience`; `Ok(None)` when the supervisor went without a word.
    ///
    /// # Errors
    /// When none listens in time; [`ClientError::Ended`] when the VM ends first.
    pub fn wait_agent(&mut self, patience: Option<Duration>) -> Result<Option<Status>, ClientError> {
        self.send(Want::Agent)?;
        let set = self.reader.get_ref().set_read_timeout(patience);
        set.map_err(|source| ClientError::Unresponsive { pid: Some(self.pid), source })?;
        match read_line(&mut self.reader) {
            Ok(Reply::Status(status)) => Ok(Some(*status)),
            Ok(Reply::Ended(ended)) => Err(ClientError::Ended(ended)),
            Ok(Reply::Failed(report)) => Err(ClientError::Failed(report)),
            Ok(Reply::Refused(report)) => Err(ClientError::Refused(report)),
            Ok(Reply::Answer(_) | Reply::Attached | Reply::Picture { .. }) => Err(ClientError::Nonsense),
            Err(error) if is_closed(&error) => Ok(None),
            Err(source) => Err(ClientError::Unresponsive { pid: Some(self.pid), source }),
        }
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// When the supervisor does not answer; a denial is an answer.
    pub fn request(&mut self, request: Request) -> Result<Answer, ClientError> {
        match self.call(Want::Request(request))? {
            Reply::Answer(answer) => Ok(answer),
            // It ended before the request was read.
            Reply::Ended(ended) => {
                self.ended = Some(ended);
                Ok(Answer::AlreadySo)
            }
            Reply::Failed(report) => Err(ClientError::Failed(report)),
            Reply::Refused(report) => Err(ClientError::Refused(report)),
            Reply::Status(_) | Reply::Attached | Reply::Picture { .. } => Err(ClientError::Nonsense),
        }
    }

    /// Asks to be told of the VM's end; [`Client::wait_end`] then waits. Who asks for the end itself asks this first: a
    /// guest may be gone at once, and who has not asked by then is not told.
    ///
    /// # Errors
    /// When the supervisor cannot be told.
    pub fn ask_end(&mut self) -> Result<(), ClientError> {
        self.send(Want::End)
    }

    /// Waits for the VM's end after [`Client::ask_end`], at most `patience`; `Ok(None)` when the supervisor went without
    /// a word, which says that it was killed.
    ///
    /// # Errors
    /// When it did not end in time, or what would have led to the end came to nothing.
    pub fn wait_end(&mut self, patience: Option<Duration>) -> Result<Option<Ended>, ClientError> {
        if let Some(ended) = self.ended.take() {
            return Ok(Some(ended));
        }
        let set = self.reader.get_ref().set_read_timeout(patience);
        set.map_err(|source| ClientError::Unresponsive { pid: Some(self.pid), source })?;
        match read_line(&mut self.reader) {
            Ok(Reply::Ended(ended)) => Ok(Some(ended)),
            Ok(Reply::Failed(report)) => Err(ClientError::Failed(report)),
            Ok(Reply::Refused(report)) => Err(ClientError::Refused(report)),
            Ok(Reply::Status(_) | Reply::Answer(_) | Reply::Attached | Reply::Picture { .. }) => {
                Err(ClientError::Nonsense)
            }
            Err(error) if is_closed(&error) => Ok(None),
            Err(source) => Err(ClientError::Unresponsive { pid: Some(self.pid), source }),
        }
    }

    /// Becomes a connection to the guest's console, which begins with at most `tail` of the last bytes. Gives the stream,
    /// and what has come over it already.
    ///
    /// # Errors
    /// When the supervisor does not answer, or attaches nobody.
    pub fn console(mut self, tail: u32, read_only: bool) -> Result<(UnixStream, Vec<u8>), ClientError> {
        match self.call(Want::Console { tail, read_only })? {
            Reply::Attached => {}
            Reply::Refused(report) | Reply::Failed(report) => return Err(ClientError::Refused(report)),
            Reply::Status(_) | Reply::Answer(_) | Reply::Ended(_) | Reply::Picture { .. } => {
                return Err(ClientError::Nonsense);
            }
        }
        let first = self.reader.buffer().to_vec();
        let stream = self.reader.into_inner();
        let unlimited = stream.set_read_timeout(None).and_then(|()| stream.set_write_timeout(None));
        unlimited.map_err(|source| ClientError::Unresponsive { pid: Some(self.pid), source })?;
        Ok((stream, first))
    }

    /// Asks for a picture of the guest's screen, in PNG, and waits for it at most `patience` at a time.
    ///
    /// # Errors
    /// When the supervisor does not answer, or there is no picture.
    pub fn screenshot(&mut self, patience: Duration) -> Result<Vec<u8>, ClientError> {
        let pid = Some(self.pid);
        let unresponsive = |source| ClientError::Unresponsive { pid, source };
        self.reader.get_ref().set_read_timeout(Some(patience)).map_err(unresponsive)?;
        match self.call(Want::Screenshot)? {
            Reply::Picture { size } if size <= PICTURE_LIMIT => {
                let mut picture = Vec::new();
                (&mut self.reader).take(size).read_to_end(&mut picture).map_err(unresponsive)?;
                if picture.len() as u64 == size {
                    Ok(picture)
                } else {
                    Err(unresponsive(io::ErrorKind::UnexpectedEof.into()))
                }
            }
            Reply::Refused(report) | Reply::Failed(report) => Err(ClientError::Refused(report)),
            Reply::Picture { .. }
            | Reply::Attached
            | Reply::Status(_)
            | Reply::Answer(_)
            | Reply::Ended(_) => Err(ClientError::Nonsense),
        }
    }

    /// What becomes readable when something is told.
    #[must_use]
    pub fn as_stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    fn send(&mut self, want: Want) -> Result<(), ClientError> {
        let unresponsive = |source| ClientError::Unresponsive { pid: Some(self.pid), source };
        let mut line = serde_json::to_vec(&Call { protocol: PROTOCOL, want })
            .map_err(|error| unresponsive(error.into()))?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).map_err(unresponsive)
    }

    fn call(&mut self, want: Want) -> Result<Reply, ClientError> {
        self.send(want)?;
        read_line(&mut self.reader)
            .map_err(|source| ClientError::Unresponsive { pid: Some(self.pid), source })
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Reads one bounded line.
pub(super) fn read_line<T: serde::de::DeserializeOwned>(reader: &mut impl BufRead) -> io::Result<T> {
    let mut line = Vec::new();
    reader.take(u64::try_from(LINE_LIMIT).unwrap_or(u64::MAX)).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
