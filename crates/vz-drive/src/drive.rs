//! The VMs of this process, each with its life cycle, and the loop that drives them all.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use selfsame_machine::backend::Backend as _;
use selfsame_machine::identity::Blob;
use selfsame_machine::layout::{HARDWARE_MODEL, IDENTIFIER, RAW_DISK, SPEC};
use selfsame_machine::lifecycle::{
    Answer, BackendEvent, Effect, Event, Life, Moment, Order, Phase, Request, step,
};
use selfsame_machine::network::Wish;
use selfsame_machine::problem::Report;
use selfsame_machine::spec::{Disk, DiskFormat, Spec};
use selfsame_vz::{Parts, Plan, Vz};

/// One VM.
struct Vm {
    folder: PathBuf,
    life: Life,
    wake_at: Option<Moment>,
    guest: Vz,
    report: Option<UnixStream>,
}

/// All VMs of this process.
pub(crate) struct Drive {
    began: Instant,
    vms: BTreeMap<String, Vm>,
}

impl Drive {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), vms: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, name: &str, folder: &Path) -> Result<()> {
        let mut guest = Vz::new(plan(folder)?).map_err(said)?;
        let report = guest.take_report();
        let vm = Vm { folder: folder.to_owned(), life: Life::new(), wake_at: None, guest, report };
        self.vms.insert(name.to_owned(), vm);
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.vms.remove(name).map(drop).with_context(|| format!("there is no VM {name}"))
    }

    /// Hands an order over that no life cycle gives.
    pub(crate) fn order(&mut self, name: &str, order: Order) -> Result<()> {
        let vm = self.vm(name)?;
        if matches!(order, Order::Restore { .. }) {
            vm.life.phase = Phase::Starting { stop: None };
        }
        vm.guest.order(order).map_err(said)
    }

    pub(crate) fn request(&mut self, name: &str, request: Request) -> Result<()> {
        if matches!(request, Request::Start { .. }) && matches!(self.vm(name)?.life.phase, Phase::Ended(_)) {
            let folder = self.vm(name)?.folder.clone();
            self.add(name, &folder)?;
        }
        let now = self.began.elapsed();
        self.vm(name)?.advance(name, &Event::Request(request), now)
    }

    fn vm(&mut self, name: &str) -> Result<&mut Vm> {
        self.vms.get_mut(name).with_context(|| format!("there is no VM {name}"))
    }

    /// Drives all VMs until `done`, or for so long. Whether `done` came.
    pub(crate) fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Result<bool> {
        let end = self.began.elapsed().saturating_add(limit);
        loop {
            self.look()?;
            let now = self.began.elapsed();
            if done(self) {
                return Ok(true);
            }
            if now >= end {
                return Ok(false);
            }
            let wakes = self.vms.values().filter_map(|vm| vm.wake_at);
            let until = wakes.chain([end]).min().unwrap_or(end);
            self.sleep(until.saturating_sub(now))?;
        }
    }

    pub(crate) fn is_in(&self, name: &str, phase: &str) -> bool {
        self.vms.get(name).is_some_and(|vm| vm.life.phase.text() == phase)
    }

    pub(crate) fn phase(&self, name: &str) -> &'static str {
        self.vms.get(name).map_or("unknown", |vm| vm.life.phase.text())
    }

    /// Takes everything that happened.
    fn look(&mut self) -> Result<()> {
        let now = self.began.elapsed();
        for (name, vm) in &mut self.vms {
            vm.drain_report();
            for event in vm.guest.take_events() {
                tell(name, &event);
                vm.advance(name, &Event::Backend(event), now)?;
            }
            if vm.wake_at.is_some_and(|at| now >= at) {
                vm.wake_at = None;
                vm.advance(name, &Event::Tick, now)?;
            }
        }
        Ok(())
    }

    fn sleep(&self, limit: Duration) -> Result<()> {
        let own: Vec<_> = self.vms.values().flat_map(|vm| vm.guest.descriptors()).collect();
        let mut descriptors: Vec<PollFd<'_>> =
            own.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let reports = self.vms.values().filter_map(|vm| vm.report.as_ref());
        descriptors.extend(reports.map(|stream| PollFd::new(stream, PollFlags::IN)));
        let limit = Timespec::try_from(limit).context("no such time")?;
        match rustix::event::poll(&mut descriptors, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => bail!("poll: {error}"),
        }
    }
}

impl Vm {
    fn advance(&mut self, name: &str, event: &Event, now: Moment) -> Result<()> {
        let before = self.life.phase.text();
        let next = step(&self.life, event, now);
        self.life = next.life;
        match next.answer {
            Some(Answer::Accepted) => println!("{name} answer accepted"),
            Some(Answer::AlreadySo) => println!("{name} answer already so"),
            Some(Answer::Denied { reason, unblock }) => println!("{name} answer denied: {reason}; {unblock}"),
            None => {}
        }
        for effect in next.effects {
            match effect {
                Effect::Order(order) => self.guest.order(order).map_err(said)?,
                Effect::WakeAt(at) => self.wake_at = Some(at),
                Effect::Release => {}
            }
        }
        if self.life.phase.text() != before {
            if let Phase::Ended(end) = &self.life.phase {
                println!("{name} phase ended: {}: {end}", end.cause.text());
            } else {
                println!("{name} phase {}", self.life.phase.text());
            }
        }
        Ok(())
    }

    /// Reads what the guest reports: a port that nobody reads would stop it.
    fn drain_report(&mut self) {
        let mut chunk = [0; 4096];
        while let Some(stream) = &mut self.report {
            match stream.read(&mut chunk) {
                Ok(0) => self.report = None,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Prints an event.
fn tell(name: &str, event: &BackendEvent) {
    match event {
        BackendEvent::StartFailed(report) => println!("{name} event start failed: {}", told(report)),
        BackendEvent::SaveFailed(report) => println!("{name} event save failed: {}", told(report)),
        BackendEvent::Incident(incident) => {
            println!("{name} event incident: {:?}: {}", incident.kind, incident.what);
        }
        BackendEvent::Ready { paused } => println!("{name} event ready paused={paused}"),
        BackendEvent::Paused => println!("{name} event paused"),
        BackendEvent::Resumed => println!("{name} event resumed"),
        BackendEvent::Reset => println!("{name} event reset"),
        BackendEvent::ShutDown(by) => println!("{name} event shut down: {by:?}"),
        BackendEvent::Panicked => println!("{name} event panicked"),
        BackendEvent::Agent { listens } => println!("{name} event agent listens={listens}"),
        BackendEvent::AgentHeard => println!("{name} event agent heard"),
        BackendEvent::AgentRefused => println!("{name} event agent refused"),
        BackendEvent::Saved => println!("{name} event saved"),
        BackendEvent::InternalError => println!("{name} event internal error"),
        BackendEvent::MonitorLost => println!("{name} event monitor lost"),
        BackendEvent::Exited(status) => println!("{name} event exited: {status:?}"),
    }
}

fn told(report: &Report) -> String {
    let parts: Vec<String> = std::iter::once(format!("{} {}", report.code, report.message))
        .chain(report.causes.iter().map(|cause| format!("<- {cause}")))
        .chain(report.hints.iter().filter_map(|hint| Some(format!("hint: {}", hint.command.as_ref()?))))
        .collect();
    parts.join(" ")
}

/// A problem as this program ends with it.
pub(crate) fn said(problem: impl Into<Report>) -> anyhow::Error {
    anyhow::anyhow!("{}", told(&problem.into()))
}

/// Reads a VM's folder.
fn plan(folder: &Path) -> Result<Plan> {
    let folder = &std::path::absolute(folder)?;
    let file = |name: &str| folder.join(name);
    let identifier = std::fs::read(file(IDENTIFIER)).context(IDENTIFIER)?;
    let spec = match std::fs::read_to_string(file(SPEC)) {
        Ok(text) => Spec::read(&text).context(SPEC)?,
        Err(_) => Spec::default(),
    };
    let hardware_model = std::fs::read(file(HARDWARE_MODEL)).ok();
    let usual =
        || vec![Disk { file: RAW_DISK.to_owned(), format: DiskFormat::Raw, read_only: false, size: None }];
    let disks = spec.disks.clone().unwrap_or_else(usual);
    let identifier = Blob::read(&identifier);
    let connection = Wish::default().of(spec.network, &spec.ports).map_err(said)?;
    Plan::of(&Parts {
        folder,
        spec: &spec,
        identifier: &identifier,
        hardware_model: hardware_model.as_deref(),
        disks: &disks,
        connection: &connection,
    })
    .map_err(said)
}
