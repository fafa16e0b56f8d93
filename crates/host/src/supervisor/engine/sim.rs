//! Starting a guest that is played. It lives in this process, as the framework's does, and ends with it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use selfsame_machine::lifecycle::{GRACE, Order};
use selfsame_machine::problem::Report;
use selfsame_machine::sim::Behaviour;
use selfsame_machine::spec::Display;

use super::settle::{self, Settled};
use super::{Started, Words};
use crate::backend::AnyBackend;
use crate::files::FileError;
use crate::sim::{Sim, SimError};
use crate::state::Saved;
use crate::supervisor::Hold;
use crate::supervisor::record::RunRecord;

/// How long a start may take: time for somebody to poke it.
const STARTING: Duration = Duration::from_secs(10);

/// A guest that is ready to be started.
pub(in crate::supervisor) struct Prepared(Behaviour);

impl Prepared {
    pub(super) const fn new(behaviour: Behaviour) -> Self {
        Self(behaviour)
    }

    pub(super) fn words() -> Words {
        Words {
            qemu_uuid: String::new(),
            accelerator: "sim".to_owned(),
            accelerator_reason: "a guest that is played, as `--backend sim` asks for".to_owned(),
            machine: String::new(),
            display: Display::None,
            version: None,
            devices: crate::state::FIRST_DEVICES,
        }
    }

    /// Starts the guest in this process.
    pub(super) fn launch(
        self,
        hold: &Hold,
        record: RunRecord,
        paused: bool,
        saved: Option<&Saved>,
    ) -> Result<Started, Report> {
        let order = saved.map_or(Order::Start { paused }, |saved| Order::Restore { from: saved.memory() });
        let run = hold.context.home.run();
        let failed = |error| FileError::failed("write", &run)(error);
        let record = RunRecord { sim: Some(self.0.to_string()), ..record };
        let door = hold.sockets.receive(&hold.names.sim()).map_err(failed)?;
        record.write(&run, hold.names).map_err(failed)?;
        let started = start(self.0, door, order);
        if started.is_err() {
            // What was written down of a start that never was would make the VM look like an orphan.
            drop(std::fs::remove_file(run.join(hold.names.record())));
        }
        let (sim, is_paused) = started?;
        Ok(Started { guest: AnyBackend::Sim(sim), report: None, console: None, record, is_paused })
    }
}

fn start(behaviour: Behaviour, door: UnixDatagram, order: Order) -> Result<(Sim, bool), Report> {
    let mut sim = Sim::new(behaviour, Some(door))?;
    match settle::start(&mut sim, order, STARTING, GRACE)? {
        Settled::Up { paused, since } => {
            sim.tell_again(since);
            Ok((sim, paused))
        }
        Settled::Failed(report) => Err(*report),
        Settled::Gone => Err(SimError::Gone.into()),
        Settled::Silent => Err(SimError::Silent { seconds: STARTING.as_secs() }.into()),
    }
}
