//! A running QEMU behind the [`Backend`] trait: orders become monitor commands, monitor events become the life cycle's.
//!
//! The process is either our child, or one that an earlier supervisor started and this one found. Only of a child does
//! the kernel tell how it ended.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rustix::process::Signal;
use selfsame_machine::backend::Backend;
use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::{BackendEvent, ExitStatus, Incident, IncidentKind, Order, Shutdown, Way};
use selfsame_machine::problem::{Hint, Problem, Report};

use super::arguments::AGENT;
use super::pictures::Pictures;
use super::qmp::{Cause, Command, Id, Message, Monitor, QmpError, QmpEvent, RunState};
use super::transfer::{Transfer, TransferError};
use crate::agent::{Door, Heard, PowerDown};
use crate::process::{ProcessHandle, ProcessId};

/// How long QEMU may take to take a command: it reads its monitor even while the guest runs.
const PATIENCE: Duration = Duration::from_secs(5);

/// An order could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The monitor does not take it.
    #[error("QEMU's monitor does not take the order")]
    Monitor(#[source] QmpError),
    /// There is no monitor any more.
    #[error("QEMU's monitor is gone")]
    NoMonitor,
    /// The guest's state can neither be written nor read.
    #[error(transparent)]
    Transfer(TransferError),
    /// The process cannot be signalled.
    #[error("cannot send a signal to QEMU (pid {pid})")]
    Signal {
        /// The process.
        pid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Problem for OrderError {
    fn code(&self) -> Code {
        match self {
            Self::Monitor(_) | Self::NoMonitor => Code::QemuProtocol,
            Self::Transfer(error) => error.code(),
            Self::Signal { .. } => Code::QemuFailed,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Monitor(error) => error.hints(),
            Self::Transfer(error) => error.hints(),
            Self::NoMonitor | Self::Signal { .. } => Vec::new(),
        }
    }
}

/// One running QEMU.
#[derive(Debug)]
pub struct Qemu {
    id: ProcessId,
    handle: ProcessHandle,
    child: Option<Child>,
    monitor: Option<Monitor>,
    /// Our question after an unexpected stop, not answered yet.
    asked_state: Option<Id>,
    /// A state that is written or read.
    transfer: Option<Transfer>,
    pictures: Pictures,
    told_exit: bool,
    /// The way to the guest's agent.
    agent: Option<Door>,
    /// The agent was told to power the guest down, and its answer is listened for.
    power_down: Option<PowerDown>,
    /// What is told at the first look.
    first: Vec<BackendEvent>,
}

impl Qemu {
    /// A QEMU that this process started.
    #[must_use]
    pub fn started(id: ProcessId, handle: ProcessHandle, child: Child, monitor: Monitor) -> Self {
        Self::new(id, handle, Some(child), monitor)
    }

    /// A QEMU that an earlier supervisor started, in this state.
    #[must_use]
    pub fn adopted(id: ProcessId, handle: ProcessHandle, monitor: Monitor, state: &RunState) -> Self {
        let mut qemu = Self::new(id, handle, None, monitor);
        if *state == RunState::InternalError {
            qemu.first.push(BackendEvent::InternalError);
        }
        qemu
    }

    fn new(id: ProcessId, handle: ProcessHandle, child: Option<Child>, monitor: Monitor) -> Self {
        Self {
            id,
            handle,
            child,
            monitor: Some(monitor),
            asked_state: None,
            transfer: None,
            pictures: Pictures::default(),
            told_exit: false,
            agent: None,
            power_down: None,
            first: Vec::new(),
        }
    }

    /// Tells the way to the guest's agent.
    pub fn reach_agent(&mut self, agent: Option<Door>) {
        self.agent = agent;
    }

    /// Has the agent power the guest down. That it cannot be told is an event like its refusal: neither may wait.
    fn tell_agent(&mut self) {
        // Given up first: it holds the lock, and a guest that was reset has forgotten what it was told.
        self.power_down = None;
        match self.agent.as_ref().map(PowerDown::begin) {
            Some(Ok(told)) => self.power_down = Some(told),
            Some(Err(error)) => {
                self.refused(&format!("its agent could not be told to power it down: {error}"))
            }
            None => self.first.push(BackendEvent::AgentRefused),
        }
    }

    fn refused(&mut self, what: &str) {
        let incident = Incident { kind: IncidentKind::Order, what: what.to_owned() };
        self.first.extend([BackendEvent::Incident(incident), BackendEvent::AgentRefused]);
    }

    fn hear_agent(&mut self) -> Option<BackendEvent> {
        match self.power_down.as_mut()?.hear() {
            Heard::Nothing => None,
            Heard::It => Some(BackendEvent::AgentHeard),
            Heard::Refusal(refusal) => {
                self.power_down = None;
                self.refused(&format!("its agent refuses to power it down: {refusal}"));
                None
            }
            Heard::Over => {
                self.power_down = None;
                None
            }
        }
    }

    /// Takes over the writing of the guest's state into `file`, which an earlier supervisor began.
    ///
    /// # Errors
    /// When the monitor cannot be asked what became of it.
    pub fn adopt_save(&mut self, file: PathBuf) -> Result<(), OrderError> {
        let monitor = self.monitor.as_mut().ok_or(OrderError::NoMonitor)?;
        self.transfer = Some(Transfer::adopt(monitor, file, PATIENCE).map_err(OrderError::Monitor)?);
        Ok(())
    }

    /// Has `events` told again, before anything else.
    pub fn tell_again(&mut self, events: Vec<BackendEvent>) {
        self.first.splice(0..0, events);
    }

    /// The process.
    #[must_use]
    pub const fn id(&self) -> ProcessId {
        self.id
    }

    fn send(&mut self, command: Command) -> Result<Id, OrderError> {
        let monitor = self.monitor.as_mut().ok_or(OrderError::NoMonitor)?;
        monitor.send(command, PATIENCE).map_err(OrderError::Monitor)
    }

    fn save(&mut self, to: &Path) -> Result<(), OrderError> {
        let monitor = self.monitor.as_mut().ok_or(OrderError::NoMonitor)?;
        self.transfer = Some(Transfer::write(monitor, to, PATIENCE).map_err(OrderError::Transfer)?);
        Ok(())
    }

    fn restore(&mut self, from: &Path) -> Result<(), OrderError> {
        let monitor = self.monitor.as_mut().ok_or(OrderError::NoMonitor)?;
        self.transfer = Some(Transfer::read(monitor, from, PATIENCE).map_err(OrderError::Transfer)?);
        Ok(())
    }

    fn kill(&self) -> Result<(), OrderError> {
        match self.handle.signal(Signal::KILL) {
            Err(source) if self.id.lives() => Err(OrderError::Signal { pid: self.id.pid, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn translate(&mut self, message: &Message) -> Option<BackendEvent> {
        if let Some(transfer) = &mut self.transfer
            && let Some(outcome) = transfer.look(self.monitor.as_mut(), message, PATIENCE)
        {
            self.transfer = None;
            return Some(outcome);
        }
        self.pictures.look(message);
        match message {
            Message::Event(event) => match event.read() {
                QmpEvent::Stop => {
                    // The event does not say whether somebody asked for it or the accelerator gave up.
                    self.asked_state = self.send(Command::QueryStatus).ok();
                    None
                }
                QmpEvent::Resume => Some(BackendEvent::Resumed),
                QmpEvent::Shutdown { guest: _, cause } => Some(BackendEvent::ShutDown(origin(&cause))),
                QmpEvent::Reset { .. } => Some(BackendEvent::Reset),
                QmpEvent::GuestPanicked { .. } => Some(BackendEvent::Panicked),
                QmpEvent::BlockIoError { node, operation, no_space, reason, .. } => {
                    let full = if no_space { "; the host's disk is full" } else { "" };
                    let what = format!("{operation} of {node} failed: {reason}{full}");
                    Some(BackendEvent::Incident(Incident { kind: IncidentKind::Disk, what }))
                }
                QmpEvent::PortChange { id, open } if id == AGENT => {
                    Some(BackendEvent::Agent { listens: open })
                }
                QmpEvent::Powerdown
                | QmpEvent::Migration(_)
                | QmpEvent::PortChange { .. }
                | QmpEvent::Other { .. } => None,
            },
            Message::Reply { id: Some(id), outcome: Ok(value) } if self.asked_state == Some(*id) => {
                self.asked_state = None;
                match RunState::of_reply(value) {
                    Some(RunState::InternalError) => Some(BackendEvent::InternalError),
                    Some(RunState::Running) | None => None,
                    Some(
                        RunState::Paused
                        | RunState::InMigrate
                        | RunState::Prelaunch
                        | RunState::GuestPanicked
                        | RunState::Shutdown
                        | RunState::PostMigrate
                        | RunState::IoError
                        | RunState::Suspended
                        | RunState::Other(_),
                    ) => Some(BackendEvent::Paused),
                }
            }
            Message::Greeting(_) | Message::Reply { .. } | Message::Other(_) => None,
        }
    }

    /// How the process ended, once it has.
    fn exit(&mut self) -> Option<ExitStatus> {
        if let Some(child) = &mut self.child {
            return match child.try_wait() {
                Ok(Some(status)) => Some(match (status.code(), status.signal()) {
                    (Some(code), _) => ExitStatus::Code(code),
                    (None, Some(signal)) => ExitStatus::Signal(signal),
                    (None, None) => ExitStatus::Unknown,
                }),
                Ok(None) => None,
                Err(_) => Some(ExitStatus::Unknown),
            };
        }
        self.handle.has_ended(Duration::ZERO).then_some(ExitStatus::Unknown)
    }
}

fn origin(cause: &Cause) -> Shutdown {
    match cause {
        Cause::GuestShutdown | Cause::GuestReset | Cause::SubsystemReset => Shutdown::ByGuest,
        Cause::GuestPanic => Shutdown::ByPanic,
        Cause::HostSignal => Shutdown::BySignal,
        Cause::HostQuit
        | Cause::HostReset
        | Cause::HostUi
        | Cause::HostError
        | Cause::SnapshotLoad
        | Cause::Other(_) => Shutdown::ByOther,
    }
}

impl Backend for Qemu {
    type Error = OrderError;

    fn order(&mut self, order: Order) -> Result<(), OrderError> {
        let command = match order {
            // A `Qemu` exists only once it was started.
            Order::Start { .. } => return Ok(()),
            Order::Pause => Command::Stop,
            Order::Resume => Command::Cont,
            Order::PowerDown(Way::Button) => Command::SystemPowerdown,
            Order::PowerDown(Way::Agent) => {
                self.tell_agent();
                return Ok(());
            }
            // A switch that cannot be reached is no reason to leave the machine on.
            Order::CutPower => return self.send(Command::Quit).map(drop).or_else(|_| self.kill()),
            Order::Kill => return self.kill(),
            Order::Save { to } => return self.save(&to),
            Order::Restore { from } => return self.restore(&from),
        };
        self.send(command).map(drop)
    }

    fn take_events(&mut self) -> Vec<BackendEvent> {
        // Before the monitor: a guest that powers off has heard its agent before.
        let heard = self.hear_agent();
        let mut events = std::mem::take(&mut self.first);
        events.extend(heard);
        let mut lost = false;
        while let Some(monitor) = &mut self.monitor {
            let drained = monitor.drain();
            for message in &drained.messages {
                events.extend(self.translate(message));
            }
            if drained.end.is_some() {
                self.monitor = None;
                self.pictures.give_up();
                lost = true;
            }
            if drained.messages.is_empty() {
                break;
            }
        }
        // The process goes on for a moment after its monitor closed: that is its end, not a loss.
        if lost && !self.handle.has_ended(Duration::from_secs(2)) {
            events.push(BackendEvent::MonitorLost);
        }
        if !self.told_exit
            && let Some(status) = self.exit()
        {
            self.told_exit = true;
            events.push(BackendEvent::Exited(status));
        }
        events
    }

    /// The process, which is readable once it has ended, its monitor, and the agent's port while it is listened to.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let monitor = self.monitor.as_ref().map(AsFd::as_fd);
        let agent = self.power_down.as_ref().map(AsFd::as_fd);
        std::iter::once(self.handle.as_fd()).chain(monitor).chain(agent).collect()
    }

    fn picture(&mut self, into: &File) -> Result<Option<u64>, OrderError> {
        let monitor = self.monitor.as_mut().ok_or(OrderError::NoMonitor)?;
        self.pictures.begin(monitor, into, PATIENCE).map(Some).map_err(OrderError::Monitor)
    }

    fn take_pictures(&mut self) -> Vec<(u64, Result<(), Report>)> {
        self.pictures.take()
    }
}

#[cfg(test)]
mod tests {
    //! What no QEMU here can be brought to do, played by a thread that speaks QMP; all else is tried with a real one.

    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    use std::process::Command as Program;

    use super::*;

    /// A guest whose monitor says `events` at once and answers `query-status` with `state`; its process is a `sleep`.
    fn played(events: &'static str, state: &'static str) -> (Qemu, std::thread::JoinHandle<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let player = std::thread::spawn(move || {
            let mut out = theirs.try_clone().unwrap();
            let version = r#"{"qemu":{"major":10,"minor":0,"micro":2},"package":""}"#;
            writeln!(out, r#"{{"QMP":{{"version":{version},"capabilities":[]}}}}"#).unwrap();
            for line in BufReader::new(theirs).lines() {
                let command: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
                let answer = match command["execute"].as_str().unwrap() {
                    "query-status" => serde_json::json!({ "status": state, "running": false }),
                    _ => serde_json::json!({}),
                };
                writeln!(out, "{}", serde_json::json!({ "return": answer, "id": command["id"] })).unwrap();
                if command["execute"] == "qmp_capabilities" {
                    write!(out, "{events}").unwrap();
                }
            }
        });
        let monitor = Monitor::handshake(ours, PATIENCE).unwrap();
        let child = Program::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        (Qemu::started(id, ProcessHandle::open(id).unwrap(), child, monitor), player)
    }

    /// Takes events until `wanted` is among them, or for five seconds.
    fn take_until(qemu: &mut Qemu, wanted: &BackendEvent) -> Vec<BackendEvent> {
        let began = std::time::Instant::now();
        let mut taken = Vec::new();
        while !taken.contains(wanted) && began.elapsed() < PATIENCE {
            taken.extend(qemu.take_events());
            std::thread::sleep(Duration::from_millis(5));
        }
        taken
    }

    fn end(mut qemu: Qemu, player: std::thread::JoinHandle<()>) -> Vec<BackendEvent> {
        qemu.order(Order::Kill).unwrap();
        let taken = take_until(&mut qemu, &BackendEvent::Exited(ExitStatus::Signal(9)));
        drop(qemu);
        player.join().unwrap();
        taken
    }

    const STOP: &str = "{\"event\":\"STOP\",\"timestamp\":{\"seconds\":1,\"microseconds\":2}}\n";

    #[test]
    fn a_stop_that_nobody_asked_for_is_looked_into() {
        for (state, told) in
            [("internal-error", BackendEvent::InternalError), ("io-error", BackendEvent::Paused)]
        {
            let (mut qemu, player) = played(STOP, state);
            assert_eq!(take_until(&mut qemu, &told), [told]);
            assert_eq!(end(qemu, player), [BackendEvent::Exited(ExitStatus::Signal(9))]);
        }
    }

    #[test]
    fn a_failing_disk_is_told_in_words() {
        let events = "{\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"device\":\"\",\"node-name\":\"disk0\",\"operation\":\"write\",\
                      \"action\":\"stop\",\"nospace\":true,\"reason\":\"No space left on device\"}}\n";
        let (mut qemu, player) = played(events, "io-error");
        let told = "write of disk0 failed: No space left on device; the host's disk is full";
        let told = BackendEvent::Incident(Incident { kind: IncidentKind::Disk, what: told.to_owned() });
        assert_eq!(take_until(&mut qemu, &told), [told]);
        end(qemu, player);
    }
}
