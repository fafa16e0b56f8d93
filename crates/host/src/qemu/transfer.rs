//! The writing and reading of a guest's state through its monitor.
//!
//! QEMU gets the file as a descriptor over its monitor: the sandbox stays closed, and no name can be misread. From 8.2 on
//! it is a file in a descriptor set (`file:/dev/fdset/N`), before that a named descriptor (`fd:`). How far it has come
//! QEMU tells by events; only why it failed has to be asked for. Tried with QEMU 7.2.22 and 10.0.2.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::BackendEvent;
use selfsame_machine::problem::{Hint, Problem, Report};
use serde_json::Value;

use super::qmp::{Command, Id, Message, MigrationStatus, Monitor, Passed, QmpError, QmpEvent, RunState};
use super::version::Version;

/// The first version that reads and writes states as files.
const FILES: Version = Version { major: 8, minor: 2, micro: 0 };

/// A state could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file cannot be made or opened.
    #[error("cannot open the state's file `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// QEMU does not take an order that goes before.
    #[error("QEMU does not take the state's file")]
    Monitor(#[source] QmpError),
    /// QEMU began, and did not come to the end.
    #[error("QEMU could not {verb} the guest's state: {why}")]
    Failed {
        /// `write` or `read`.
        verb: &'static str,
        /// QEMU's words.
        why: String,
    },
}

impl Problem for TransferError {
    fn code(&self) -> Code {
        match self {
            Self::File { .. } => Code::FileFailed,
            Self::Monitor(_) => Code::QemuProtocol,
            Self::Failed { .. } => Code::QemuFailed,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Monitor(error) => error.hints(),
            Self::File { .. } | Self::Failed { .. } => {
                vec![Hint::say(
                    "the state takes up to as much room as the guest has memory: see that the volume has it",
                )]
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Write,
    Read,
}

/// A state on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    direction: Direction,
    /// The command that began it, not answered yet.
    command: Option<Id>,
    /// Our question what became of it, not answered yet.
    question: Option<Id>,
    /// Our question whether it was this writing that is told of, not answered yet.
    proof: Option<Id>,
    /// Begun by an earlier supervisor, or by none.
    adopted: bool,
    passed: Option<Passed>,
    /// The file that is removed when the writing fails.
    file: Option<PathBuf>,
}

impl Transfer {
    /// Begins to write the state of a guest that stands still into a new file.
    pub(super) fn write(monitor: &mut Monitor, to: &Path, limit: Duration) -> Result<Self, TransferError> {
        let failed = |source| TransferError::File { path: to.to_owned(), source };
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.write(true).create_new(true).open(to).map_err(failed)?;
        let mut begun =
            Self::begin(monitor, Direction::Write, &file, limit).inspect_err(|_| discard_file(to))?;
        begun.file = Some(to.to_owned());
        Ok(begun)
    }

    /// Begins to read a state into a QEMU that waits for one.
    pub(super) fn read(monitor: &mut Monitor, from: &Path, limit: Duration) -> Result<Self, TransferError> {
        let failed = |source| TransferError::File { path: from.to_owned(), source };
        let file = File::open(from).map_err(failed)?;
        Self::begin(monitor, Direction::Read, &file, limit)
    }

    /// Takes over a writing that an earlier supervisor began: its end may have been told to nobody. Or the earlier one made
    /// the file and began nothing: a QEMU that once went on from a state calls that very reading completed (QEMU 7.2,
    /// `migration/migration.c`, `fill_destination_migration_info`), and only where its guest stands tells the two apart.
    pub(super) fn adopt(monitor: &mut Monitor, file: PathBuf, limit: Duration) -> Result<Self, QmpError> {
        let question = monitor.send(Command::QueryMigrate, limit)?;
        let file = Some(file);
        Ok(Self {
            direction: Direction::Write,
            command: None,
            question: Some(question),
            proof: None,
            adopted: true,
            passed: None,
            file,
        })
    }

    fn begin(
        monitor: &mut Monitor,
        direction: Direction,
        file: &File,
        limit: Duration,
    ) -> Result<Self, TransferError> {
        let told = |error| TransferError::Monitor(error);
        monitor.call(Command::MigrationEvents, limit).map_err(told)?;
        if direction == Direction::Write {
            monitor.call(Command::MigrationSpeed, limit).map_err(told)?;
        }
        let passed = if monitor.greeting().version >= FILES {
            let answer = monitor.call_with(Command::AddFd, file.as_fd(), limit).map_err(told)?;
            let set = answer.get("fdset-id").and_then(Value::as_u64);
            Passed::Set(set.and_then(|set| u32::try_from(set).ok()).unwrap_or_default())
        } else {
            monitor.call_with(Command::GetFd, file.as_fd(), limit).map_err(told)?;
            Passed::Named
        };
        let command = match direction {
            Direction::Write => Command::Migrate(passed),
            Direction::Read => Command::MigrateIncoming(passed),
        };
        let command = Some(monitor.send(command, limit).map_err(told)?);
        Ok(Self {
            direction,
            command,
            question: None,
            proof: None,
            adopted: false,
            passed: Some(passed),
            file: None,
        })
    }

    /// Looks at one message. Gives what became of the transfer, once that is decided: then it is over.
    pub(super) fn look(
        &mut self,
        mut monitor: Option<&mut Monitor>,
        message: &Message,
        limit: Duration,
    ) -> Option<BackendEvent> {
        match message {
            Message::Reply { id: Some(id), outcome } if self.command == Some(*id) => {
                self.command = None;
                outcome.as_ref().err().map(|fault| self.failed(monitor, fault.to_string(), limit))
            }
            Message::Reply { id: Some(id), outcome } if self.question == Some(*id) => {
                self.question = None;
                match outcome {
                    Ok(value)
                        if self.adopted && MigrationStatus::of_reply(value) == MigrationStatus::Completed =>
                    {
                        let asked = monitor
                            .as_mut()
                            .and_then(|monitor| monitor.send(Command::QueryStatus, limit).ok());
                        self.proof = asked;
                        let unasked = "whether it was written cannot be asked";
                        asked.is_none().then(|| self.failed(monitor, unasked.to_owned(), limit))
                    }
                    Ok(value) => self.judge(monitor, value, limit),
                    Err(fault) => Some(self.failed(monitor, fault.to_string(), limit)),
                }
            }
            Message::Reply { id: Some(id), outcome } if self.proof == Some(*id) => {
                self.proof = None;
                if outcome.as_ref().ok().and_then(RunState::of_reply).is_some_and(|state| has_written(&state))
                {
                    Some(self.done())
                } else {
                    Some(self.failed(monitor, "nobody had begun to write it".to_owned(), limit))
                }
            }
            Message::Event(event) => match event.read() {
                QmpEvent::Migration(MigrationStatus::Completed) => {
                    if let (Some(monitor), Some(Passed::Set(set)), Direction::Read) =
                        (monitor, self.passed, self.direction)
                    {
                        // A state that is read keeps its room on the disk as long as QEMU has it open.
                        drop(monitor.send(Command::RemoveFd { set }, limit));
                    }
                    Some(self.done())
                }
                QmpEvent::Migration(MigrationStatus::Failed | MigrationStatus::Cancelled) => {
                    // A QEMU that cannot read its state ends, and has said why in its log.
                    if self.direction == Direction::Write {
                        let asked =
                            monitor.and_then(|monitor| monitor.send(Command::QueryMigrate, limit).ok());
                        self.question = asked;
                    }
                    None
                }
                QmpEvent::Migration(MigrationStatus::None | MigrationStatus::Other(_))
                | QmpEvent::Stop
                | QmpEvent::Resume
                | QmpEvent::Powerdown
                | QmpEvent::Shutdown { .. }
                | QmpEvent::Reset { .. }
                | QmpEvent::GuestPanicked { .. }
                | QmpEvent::BlockIoError { .. }
                | QmpEvent::PortChange { .. }
                | QmpEvent::Other { .. } => None,
            },
            Message::Greeting(_) | Message::Reply { .. } | Message::Other(_) => None,
        }
    }

    fn judge(&self, monitor: Option<&mut Monitor>, value: &Value, limit: Duration) -> Option<BackendEvent> {
        match MigrationStatus::of_reply(value) {
            MigrationStatus::Completed => Some(self.done()),
            status @ (MigrationStatus::None | MigrationStatus::Failed | MigrationStatus::Cancelled) => {
                let why = value.get("error-desc").and_then(Value::as_str).unwrap_or(status.text());
                Some(self.failed(monitor, why.to_owned(), limit))
            }
            // It goes on, and its end will be told.
            MigrationStatus::Other(_) => None,
        }
    }

    const fn done(&self) -> BackendEvent {
        match self.direction {
            Direction::Write => BackendEvent::Saved,
            Direction::Read => BackendEvent::Ready { paused: true },
        }
    }

    fn failed(&self, monitor: Option<&mut Monitor>, why: String, limit: Duration) -> BackendEvent {
        if let Some(file) = &self.file {
            discard_file(file);
        }
        if let (Some(monitor), Some(Passed::Set(set))) = (monitor, self.passed) {
            // A set that stays costs a descriptor, no more: each writing has one of its own.
            drop(monitor.send(Command::RemoveFd { set }, limit));
        }
        match self.direction {
            Direction::Write => {
                BackendEvent::SaveFailed(Box::new(Report::of(&TransferError::Failed { verb: "write", why })))
            }
            Direction::Read => {
                BackendEvent::StartFailed(Box::new(Report::of(&TransferError::Failed { verb: "read", why })))
            }
        }
    }
}

/// Whether a guest in this state was written out: it stands so afterwards, and on the last steps of it
/// (`finish-migrate`).
const fn has_written(state: &RunState) -> bool {
    match state {
        RunState::PostMigrate | RunState::Other(_) => true,
        RunState::Running
        | RunState::Paused
        | RunState::InMigrate
        | RunState::Prelaunch
        | RunState::GuestPanicked
        | RunState::Shutdown
        | RunState::IoError
        | RunState::InternalError
        | RunState::Suspended => false,
    }
}

/// Removes a half file; whoever made its folder removes that, so a failure here leaves nothing for long.
fn discard_file(path: &Path) {
    drop(std::fs::remove_file(path));
}
