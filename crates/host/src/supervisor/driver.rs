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
use selfsame_machine::lifecycle::{
    BackendEvent, Effect, End, Event, Incident, Life, Moment, Phase, Request, step,
};
use selfsame_machine::report::{GuestReport, ReportReader};

use super::connection::Connection;
use super::protocol::{Reply, Status, Want};

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
    /// An order could not be handed over.
    fn failed(&mut self, what: &dyn selfsame_machine::problem::Problem);
}

/// The running VM with everything that is polled for it.
pub(super) struct Driver<B> {
    pub(super) life: Life,
    pub(super) guest: B,
    pub(super) listener: UnixListener,
    pub(super) report: Option<UnixStream>,
    pub(super) signals: UnixStream,
    /// The state as clients see it, but for the phase.
    pub(super) status: Status,
    /// What a signal to the supervisor asks the guest for.
    pub(super) on_signal: Request,
    clients: Vec<Connection>,
    reader: ReportReader,
    began: Instant,
    wake_at: Option<Moment>,
}

impl<B: Backend> Driver<B> {
    pub(super) fn new(
        life: Life,
        guest: B,
        listener: UnixListener,
        report: Option<UnixStream>,
        signals: UnixStream,
        status: Status,
        on_signal: Request,
    ) -> Self {
        Self {
            life,
            guest,
            listener,
            report,
            signals,
            status,
            on_signal,
            clients: Vec::new(),
            reader: ReportReader::default(),
            began: Instant::now(),
            wake_at: None,
        }
    }

    /// Drives the VM to its end. The clients that wait for the end are given back, to be told once all is released.
    pub(super) fn run(mut self, chronicle: &mut impl Chronicle) -> (End, Vec<Connection>) {
        loop {
            for event in self.guest.take_events() {
                self.advance(&Event::Backend(event), chronicle);
            }
            if let Phase::Ended(end) = self.life.phase {
                self.read_report(chronicle);
                // Who asked while the guest was ending is answered, too.
                self.serve(chronicle);
                return (end, self.clients);
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
            // Events of the guest that came with them go first.
            for event in self.guest.take_events() {
                self.advance(&Event::Backend(event), chronicle);
            }
            self.serve(chronicle);
            if ready.listener && self.clients.len() < CLIENTS {
                self.clients.extend(
                    self.listener.accept().ok().and_then(|(stream, _)| Connection::greet(stream).ok()),
                );
            }
        }
    }

    fn advance(&mut self, event: &Event, chronicle: &mut impl Chronicle) -> Option<Reply> {
        let before = self.life.phase.text();
        if let Event::Backend(BackendEvent::Incident(incident)) = event {
            chronicle.happened(incident);
        }
        let next = step(&self.life, event, self.began.elapsed());
        self.life = next.life;
        for effect in next.effects {
            match effect {
                Effect::Order(order) => {
                    if let Err(error) = self.guest.order(order) {
                        chronicle.failed(&error);
                    }
                }
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
        ];
        let guest = self.guest.descriptors();
        descriptors.extend(guest.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        descriptors.extend(self.clients.iter().map(|client| PollFd::new(client, client.interest())));
        // An interruption or a refusal of the kernel is a look at everything.
        let outcome = rustix::event::poll(&mut descriptors, timeout.as_ref());
        let happened = |index: usize| {
            outcome.is_ok() && descriptors.get(index).is_some_and(|entry| !entry.revents().is_empty())
        };
        Ready { signals: happened(0), listener: happened(1), report: self.report.is_some() && happened(2) }
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

    fn serve(&mut self, chronicle: &mut impl Chronicle) {
        let mut clients = std::mem::take(&mut self.clients);
        for client in &mut clients {
            client.flush();
            for want in client.take_calls() {
                let reply = match want {
                    Want::Status => Some(Reply::Status(Box::new(Status {
                        phase: self.life.phase.text().to_owned(),
                        ..self.status.clone()
                    }))),
                    Want::Request(request) => self.advance(&Event::Request(request), chronicle),
                    Want::End => {
                        client.awaits_end = true;
                        None
                    }
                };
                if let Some(reply) = reply {
                    client.reply(&reply);
                }
            }
        }
        clients.retain(|client| !client.is_closed());
        self.clients = clients;
    }
}

/// What `poll` said about those that are not simply looked at.
struct Ready {
    signals: bool,
    listener: bool,
    report: bool,
}
