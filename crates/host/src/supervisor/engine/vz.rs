//! Starting a guest of Virtualization.framework.
//!
//! It lives in this process. The locks of the start are this process's own, and the framework ends the guest with it.

use std::time::Duration;

use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::{GRACE, Order};
use selfsame_machine::network::{Connection, Network};
use selfsame_machine::problem::{Problem, Report};
use selfsame_machine::spec::Display;
use selfsame_vz::{Parts, Plan, Retry, Vz, VzError};

use super::settle::{self, Settled};
use super::{Started, Words};
use crate::backend::{AnyBackend, Hosted};
use crate::bundle::Bundle;
use crate::files::FileError;
use crate::gate::Passage;
use crate::state::Saved;
use crate::supervisor::record::RunRecord;
use crate::supervisor::{Hold, Link};

/// How long a start may take: the tries while another process lets go of the VM, and a framework that is slow.
const STARTING: Duration = Retry::TOTAL.saturating_add(Duration::from_secs(60));

/// A guest that is ready to be started.
pub(in crate::supervisor) struct Prepared(Plan);

/// The guest ended, or nothing was heard of it, before it was up.
#[derive(Debug, thiserror::Error)]
enum NotUp {
    #[error("the guest ended before it was up")]
    Gone,
    #[error("Virtualization.framework did not start the guest within {} s", STARTING.as_secs())]
    Silent,
}

impl Problem for NotUp {
    fn code(&self) -> Code {
        Code::VzFailed
    }
}

impl Prepared {
    /// Turns the VM's description into what the framework wants.
    pub(super) fn new(
        bundle: &Bundle,
        connection: &Connection,
        passage: &mut Passage,
    ) -> Result<Self, Report> {
        let plan = Plan::of(&Parts {
            folder: &bundle.folder,
            spec: &bundle.spec,
            identifier: &bundle.identifier,
            hardware_model: bundle.hardware_model.as_deref(),
            disks: &bundle.disks(),
            connection,
        })
        .map_err(VzError::Plan)?;
        passage.notes.push(selfsame_vz::EXPERIMENTAL.to_owned());
        Ok(Self(plan))
    }

    pub(super) fn words() -> Words {
        Words {
            qemu_uuid: String::new(),
            accelerator: "vz".to_owned(),
            accelerator_reason: "Virtualization.framework runs guests on a Mac".to_owned(),
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
        mut record: RunRecord,
        paused: bool,
        saved: Option<&Saved>,
    ) -> Result<Started, Report> {
        let order = saved.map_or(Order::Start { paused }, |saved| Order::Restore { from: saved.memory() });
        let run = hold.context.home.run();
        // Its guests have addresses of their own, which the system gives them later.
        record.link = Some(Link { network: Network::Nat, forwards: Vec::new(), login: None });
        record.write(&run, hold.names).map_err(FileError::failed("write", &run))?;
        let launched = self.start(order);
        if launched.is_err() {
            // What was written down of a start that never was would make the VM look like an orphan.
            drop(std::fs::remove_file(run.join(hold.names.record())));
        }
        let (guest, report, is_paused) = launched?;
        Ok(Started { guest: AnyBackend::Vz(guest), report, console: None, record, is_paused })
    }

    fn start(self, order: Order) -> Result<(Hosted, Option<std::os::unix::net::UnixStream>, bool), Report> {
        let mut vz = Vz::new(self.0)?;
        let report = vz.take_report();
        match settle::start(&mut vz, order, STARTING, GRACE)? {
            Settled::Up { paused, since } => Ok((Hosted::new(vz, since), report, paused)),
            Settled::Failed(report) => Err(*report),
            Settled::Gone => Err(NotUp::Gone.into()),
            Settled::Silent => Err(NotUp::Silent.into()),
        }
    }
}
