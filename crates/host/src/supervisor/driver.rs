//! The one loop that owns a running VM.
//!
//! One thread sleeps in `poll` on everything at once: the guest's monitor, its process, the port on which it reports,
//! the signals, the clients. With nothing to do it never wakes: there is no timer unless the life cycle asked for one.
//!
//! What the guest did is handled before what people ask, so that no request is answered from a state that is over.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use selfsame_machine::backend::Backend;
use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::{
    Answer, BackendEvent, Effect, End, Event, Incident, Life, Moment, Order, Phase, Request, step,
};
use selfsame_machine::problem::Report;
use selfsame_machine::report::{GuestReport, ReportReader};

use super::connection::Connection;
use super::console::{AttachError, Console};
use super::pictures::Pictures;
use super::protocol::{Reply, Status, Want};
use super::tether::Bond;
use crate::state::Vault;

/// More clients than this wait in the kernel's queue until one has gone.
const CLIENTS: usize = 256;

/// What the loop needs to know of the world outside: everything that is slow or can fail is done there.
pub(super) trait Chronicle {
    /// The guest reported.
    fn reported(&mut self, report: GuestReport);
    /// A request was accepted, or the phase changed.
    fn changed(&mut self, phase: &Phase, request: Option<&Request>);
    /// Something happened that people should know of.
    fn happened(&mut self, incident: &Incident);
    /// A state could not be written, and the guest goes on as before; or it could not be removed when the guest ran.
    fn state_failed(&mut self, why: &Report);
    /// An order could not be handed over.
    fn failed(&mut self, what: &dyn selfsame_machine::problem::Problem);
}

/// Through what others reach the driver.
pub(super) struct Doors {
    /// Where clients connect.
    pub(super) listener: UnixListener,
    /// The port on which the guest reports.
    pub(super) report: Option<UnixStream>,
    /// The guest's serial console, where it is more than a log.
    pub(super) console: Option<Console>,
    /// Readable when this process is told to end.
    pub(super) signals: UnixStream,
    /// What binds the guest to the command that started it, if anything does.
    pub(super) bond: Option<Bond>,
}

/// What remains when the VM has ended.
pub(super) struct Finished {
    pub(super) end: End,
    /// The clients. Those that wait for the end are told once all is released.
    pub(super) waiting: Vec<Connection>,
    /// With those who are attached to it.
    pub(super) console: Option<Console>,
}

/// The running VM with everything that is polled for it.
pub(super) struct Driver<B> {
    pub(super) life: Life,
    pub(super) guest: B,
    pub(super) listener: UnixListener,
    pub(super) report: Option<UnixStream>,
    pub(super) signals: UnixStream,
    bond: Option<Bond>,
    /// The state as clients see it, but for the phase.
    pub(super) status: Status,
    /// What a signal to the supervisor asks the guest for.
    pub(super) on_signal: Request,
    /// Where the guest's state goes when it is suspended.
    pub(super) vault: Vault,
    clients: Vec<Connection>,
    console: Option<Console>,
    pictures: Pictures,
    /// What the guest did while its state was sealed: it is heard when it is clear what becomes of the state.
    held: Vec<BackendEvent>,
    /// Why a suspend came to nothing, not yet told.
    failure: Option<Report>,
    reader: ReportReader,
    began: Instant,
    wake_at: Option<Moment>,
}

impl<B: Backend> Driver<B> {
    pub(super) fn new(
        life: Life,
        guest: B,
        doors: Doors,
        status: Status,
        on_signal: Request,
        vault: Vault,
        pictures: Pictures,
    ) -> Self {
        let Doors { listener, report, console, signals, bond } = doors;
        Self {
            life,
            guest,
            listener,
            report,
            signals,
            bond,
            status,
            on_signal,
            vault,
            clients: Vec::new(),
            console,
            pictures,
            held: Vec::new(),
            failure: None,
            reader: ReportReader::default(),
            began: Instant::now(),
            wake_at: None,
        }
    }

    /// Drives the VM to its end.
    pub(super) fn run(mut self, chronicle: &mut impl Chronicle) -> Finished {
        loop {
            self.hear(chronicle);
            if let Phase::Ended(end) = self.life.phase {
                self.vault.abandon();
                self.read_report(chronicle);
                // Who asked while the guest was ending is answered, too.
                self.serve(chronicle);
                if let Some(console) = &mut self.console {
                    console.finish();
                }
                return Finished { end, waiting: self.clients, console: self.console };
            }
            let ready = self.wait();
            if self.wake_at.is_some_and(|at| self.began.elapsed() >= at) {
                self.wake_at = None;
                self.advance(&Event::Tick, chronicle);
            }
            if ready.report {
                self.read_report(chronicle);
            }
            if ready.signals {
                drop(self.signals.read(&mut [0; 64]));
                self.advance(&Event::Request(self.on_signal), chronicle);
            }
            if ready.bond && self.bond.as_mut().is_some_and(Bond::is_cut) {
                self.bond = None;
                self.advance(&Event::Request(Request::Kill), chronicle);
            }
            // Events of the guest that came with them go first.
            self.hear(chronicle);
            self.serve(chronicle);
            if let Some(console) = &mut self.console {
                console.carry();
            }
            if ready.listener && self.clients.len() < CLIENTS {
                self.clients.extend(
                    self.listener.accept().ok().and_then(|(stream, _)| Connection::greet(stream).ok()),
                );
            }
        }
    }

    /// Takes in what the guest did, and what became of its state.
    fn hear(&mut self, chronicle: &mut impl Chronicle) {
        for event in self.guest.take_events() {
            if self.vault.is_sealing() {
                self.held.push(event);
            } else {
                self.heard(event, chronicle);
            }
        }
        // Killed meanwhile: nobody waits for the state any more.
        if self.vault.is_sealing() && !matches!(self.life.phase, Phase::Suspending { .. }) {
            self.vault.abandon();
        }
        if let Some(sealed) = self.vault.sealed() {
            let outcome = match sealed {
                Ok(()) => BackendEvent::Saved,
                Err(report) => BackendEvent::SaveFailed(Box::new(report)),
            };
            self.decided(outcome, chronicle);
        }
        if !self.vault.is_sealing() {
            for event in std::mem::take(&mut self.held) {
                self.heard(event, chronicle);
            }
        }
        self.tell_failure();
        self.tell_agent();
    }

    /// Takes in one thing that the guest did.
    fn heard(&mut self, event: BackendEvent, chronicle: &mut impl Chronicle) {
        if event == BackendEvent::Saved {
            // The bytes are written. They are a state when they are on the disk and described.
            if matches!(self.life.phase, Phase::Suspending { .. })
                && let Err(report) = self.vault.seal()
            {
                self.decided(BackendEvent::SaveFailed(Box::new(report)), chronicle);
            }
            return;
        }
        if matches!(event, BackendEvent::SaveFailed(_)) {
            return self.decided(event, chronicle);
        }
        if event == BackendEvent::Resumed
            && let Err(report) = self.vault.consume()
        {
            chronicle.state_failed(&report);
        }
        self.advance(&Event::Backend(event), chronicle);
    }

    /// Takes in what became of a suspend, and tells those who wait for it.
    fn decided(&mut self, outcome: BackendEvent, chronicle: &mut impl Chronicle) {
        if let BackendEvent::SaveFailed(report) = &outcome {
            self.vault.abandon();
            if matches!(self.life.phase, Phase::Suspending { .. }) {
                self.fail_suspend(report, chronicle);
            }
        }
        self.advance(&Event::Backend(outcome), chronicle);
    }

    /// Remembers why a suspend came to nothing, until [`Self::tell_failure`] tells it to those who wait.
    fn fail_suspend(&mut self, report: &Report, chronicle: &mut impl Chronicle) {
        chronicle.state_failed(report);
        self.failure = Some(report.clone());
    }

    fn tell_failure(&mut self) {
        let Some(report) = self.failure.take() else { return };
        for client in self.clients.iter_mut().filter(|client| client.awaits_save) {
            client.awaits_save = false;
            client.reply(&Reply::Failed(report.clone()));
        }
    }

    /// Tells those who wait for an agent that there is one.
    fn tell_agent(&mut self) {
        if !self.life.agent {
            return;
        }
        let status = self.status();
        for client in self.clients.iter_mut().filter(|client| client.awaits_agent) {
            client.awaits_agent = false;
            client.reply(&status);
        }
    }

    /// Hands over one order. One that a suspend depends on and that cannot be handed over is the end of the suspend.
    fn order(&mut self, order: Order, chronicle: &mut impl Chronicle) {
        let suspends = match self.life.phase {
            Phase::Suspending { ran, .. } if matches!(order, Order::Pause | Order::Save { .. }) => Some(ran),
            Phase::Suspending { .. }
            | Phase::Stopped
            | Phase::Starting { .. }
            | Phase::Running
            | Phase::Paused
            | Phase::Stopping { .. }
            | Phase::Detached
            | Phase::Ending { .. }
            | Phase::Ended(_) => None,
        };
        let mut order = order;
        if let Some(ran) = suspends {
            // Before it stands still already: a successor has to know that it ran.
            match self.vault.prepare(ran) {
                Ok(to) if matches!(order, Order::Save { .. }) => order = Order::Save { to },
                Ok(_) => {}
                Err(report) => return self.decided(BackendEvent::SaveFailed(Box::new(report)), chronicle),
            }
        }
        if let Err(error) = self.guest.order(order) {
            chronicle.failed(&error);
            if suspends.is_some() {
                let report = Report::of(&error);
                self.decided(BackendEvent::SaveFailed(Box::new(report)), chronicle);
            }
        }
    }

    fn advance(&mut self, event: &Event, chronicle: &mut impl Chronicle) -> Option<Reply> {
        let before = self.life.phase.text();
        let suspended = matches!(self.life.phase, Phase::Suspending { .. });
        if let Event::Backend(BackendEvent::Incident(incident)) = event {
            chronicle.happened(incident);
        }
        let next = step(&self.life, event, self.began.elapsed());
        self.life = next.life;
        for effect in next.effects {
            match effect {
                Effect::Order(order) => self.order(order, chronicle),
                Effect::WakeAt(at) => self.wake_at = Some(at),
                Effect::Release => {}
            }
        }
        let request = match event {
            Event::Request(request) => Some(request),
            Event::Backend(_) | Event::Tick => None,
        };
        if before != self.life.phase.text() || request.is_some() {
            chronicle.changed(&self.life.phase, request);
        }
        if suspended && self.life.phase == Phase::Detached {
            let message = "its monitor was lost while its state was written".to_owned();
            let report = Report { code: Code::QemuProtocol, message, causes: Vec::new(), hints: Vec::new() };
            self.fail_suspend(&report, chronicle);
        }
        next.answer.map(Reply::Answer)
    }

    /// Sleeps until something has happened or the moment to wake has come.
    fn wait(&self) -> Ready {
        let timeout = self.wake_at.map(|at| at.saturating_sub(self.began.elapsed()));
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        let accepts = if self.clients.len() < CLIENTS { PollFlags::IN } else { PollFlags::empty() };
        let report = self.report_descriptor();
        let mut descriptors: Vec<PollFd<'_>> = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.listener, accepts),
            match report {
                Some(report) => PollFd::from_borrowed_fd(report, PollFlags::IN),
                None => PollFd::new(&self.signals, PollFlags::empty()),
            },
            match &self.bond {
                Some(bond) => PollFd::new(bond, PollFlags::IN),
                None => PollFd::new(&self.signals, PollFlags::empty()),
            },
        ];
        let guest = self.guest.descriptors();
        descriptors.extend(self.vault.descriptor().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        descriptors.extend(guest.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        descriptors.extend(self.console.iter().flat_map(Console::polled));
        descriptors.extend(self.clients.iter().map(|client| PollFd::new(client, client.interest())));
        // An interruption or a refusal of the kernel is a look at everything.
        let outcome = rustix::event::poll(&mut descriptors, timeout.as_ref());
        let happened = |index: usize| {
            outcome.is_ok() && descriptors.get(index).is_some_and(|entry| !entry.revents().is_empty())
        };
        Ready {
            signals: happened(0),
            listener: happened(1),
            report: self.report.is_some() && happened(2),
            bond: happened(3),
        }
    }

    fn report_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.report.as_ref().map(AsFd::as_fd)
    }

    fn read_report(&mut self, chronicle: &mut impl Chronicle) {
        let mut chunk = [0; 4096];
        // Bounded: a guest that floods its port cannot keep the loop from its other duties.
        for _ in 0..16 {
            let Some(stream) = &mut self.report else { return };
            match stream.read(&mut chunk) {
                Ok(0) => self.report = None,
                Ok(count) => {
                    for report in self.reader.feed(chunk.get(..count).unwrap_or_default()) {
                        chronicle.reported(report);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => self.report = None,
            }
        }
    }

    fn status(&self) -> Reply {
        let phase = self.life.phase.text().to_owned();
        Reply::Status(Box::new(Status { phase, agent: self.life.agent, ..self.status.clone() }))
    }

    fn serve(&mut self, chronicle: &mut impl Chronicle) {
        let mut clients = std::mem::take(&mut self.clients);
        for client in &mut clients {
            client.flush();
            for want in client.take_calls() {
                let reply = match want {
                    Want::Status => Some(self.status()),
                    Want::Agent => {
                        client.awaits_agent = true;
                        None
                    }
                    Want::Request(request) => {
                        // Before it is done: it may fail on the way.
                        client.awaits_save |= request == Request::Suspend;
                        let reply = self.advance(&Event::Request(request), chronicle);
                        client.awaits_save &= !matches!(reply, Some(Reply::Answer(Answer::Denied { .. })));
                        reply
                    }
                    Want::End => {
                        client.awaits_end = true;
                        None
                    }
                    Want::Console { tail, read_only } => match self.admits() {
                        Ok(()) => {
                            client.attach(tail, read_only);
                            None
                        }
                        Err(error) => Some(Reply::Refused(Report::of(&error))),
                    },
                    Want::Screenshot => match self.pictures.begin(&mut self.guest) {
                        Ok(number) => {
                            client.awaits_picture = Some(number);
                            None
                        }
                        Err(report) => Some(Reply::Refused(report)),
                    },
                };
                if let Some(reply) = reply {
                    client.reply(&reply);
                }
            }
        }
        clients.retain(|client| !client.is_closed());
        self.show_pictures(&mut clients);
        let (attached, clients) = clients.into_iter().partition::<Vec<_>, _>(Connection::is_console);
        self.clients = clients;
        for (viewer, tail) in attached.into_iter().filter_map(Connection::into_viewer) {
            if let Some(console) = &mut self.console {
                console.attach(viewer, tail);
            }
        }
        self.tell_failure();
        self.tell_agent();
    }

    fn admits(&self) -> Result<(), AttachError> {
        self.console.as_ref().map_or(Err(AttachError::LogOnly), Console::admits)
    }

    /// Sends the pictures that are made to those who asked for them.
    fn show_pictures(&mut self, clients: &mut [Connection]) {
        for (number, picture) in self.pictures.take(&mut self.guest) {
            let Some(client) = clients.iter_mut().find(|client| client.awaits_picture == Some(number)) else {
                continue;
            };
            client.awaits_picture = None;
            match picture {
                Ok((file, size)) => client.send_picture(file, size),
                Err(report) => client.reply(&Reply::Refused(report)),
            }
        }
    }
}

/// What `poll` said about those that are not simply looked at.
struct Ready {
    signals: bool,
    listener: bool,
    report: bool,
    bond: bool,
}

#[cfg(test)]
mod tests;
