//! What runs a guest on this host, and how each of them is started.
//!
//! ```text
//! prepare: can it be run here, and with what? nothing is started   ──▶   launch: started, or gone without a trace
//! ```
//!
//! On Linux that is QEMU. On a Mac it is Virtualization.framework; an accelerator that was asked for on the command line
//! is QEMU's, and asks for QEMU. A guest that is played (`sim`) runs anywhere, whatever it is.

mod opened;
mod qemu;
pub(super) mod settle;
mod sim;
#[cfg(target_os = "macos")]
mod vz;

use std::os::unix::net::UnixStream;

use selfsame_machine::network::Connection;
use selfsame_machine::problem::Report;
use selfsame_machine::spec::Display;

use super::Hold;
use super::launch::Options;
use super::record::RunRecord;
use crate::backend::AnyBackend;
use crate::bundle::Bundle;
use crate::context::Context;
use crate::gate::Passage;
use crate::qemu::version::Version;
use crate::state::Saved;

/// A back end that is ready to start one guest.
pub(super) enum Engine {
    Qemu(Box<qemu::Prepared>),
    Sim(sim::Prepared),
    #[cfg(target_os = "macos")]
    Vz(vz::Prepared),
}

/// What is written down of it before it starts.
pub(super) struct Words {
    /// The UUID that QEMU is given; empty for others.
    pub(super) qemu_uuid: String,
    pub(super) accelerator: String,
    pub(super) accelerator_reason: String,
    pub(super) machine: String,
    /// The screen, as far as a state depends on it and pictures can be made of it.
    pub(super) display: Display,
    /// QEMU's version, where it is QEMU.
    pub(super) version: Option<Version>,
    /// Which devices the guest finds; see [`crate::qemu::arguments::DEVICES`].
    pub(super) devices: u32,
}

/// A guest that is up.
pub(super) struct Started {
    pub(super) guest: AnyBackend,
    pub(super) report: Option<UnixStream>,
    pub(super) console: Option<UnixStream>,
    pub(super) record: RunRecord,
    pub(super) is_paused: bool,
}

impl Engine {
    /// Refuses a guest that no back end of this host could ever run, before anything is claimed for it.
    pub(super) fn expect(context: &Context, bundle: &Bundle, options: &Options) -> Result<(), Report> {
        if cfg!(target_os = "macos") || options.sim.is_some() {
            Ok(())
        } else {
            qemu::guest_id(context, bundle).map(drop)
        }
    }

    /// Chooses the back end and looks for all that it needs.
    pub(super) fn prepare(
        context: &Context,
        bundle: &Bundle,
        options: &Options,
        connection: Connection,
        passage: &mut Passage,
    ) -> Result<Self, Report> {
        if let Some(behaviour) = &options.sim {
            return Ok(Self::Sim(sim::Prepared::new(behaviour.clone())));
        }
        #[cfg(target_os = "macos")]
        if options.accelerator.is_none() {
            return vz::Prepared::new(bundle, &connection, passage).map(Self::Vz);
        }
        qemu::Prepared::new(context, bundle, options, connection, passage)
            .map(|prepared| Self::Qemu(Box::new(prepared)))
    }

    pub(super) fn words(&self) -> Words {
        match self {
            Self::Qemu(prepared) => prepared.words(),
            Self::Sim(_) => sim::Prepared::words(),
            #[cfg(target_os = "macos")]
            Self::Vz(_) => vz::Prepared::words(),
        }
    }

    /// Starts the guest and waits until it is up; from a state it stands still afterwards, whatever `paused` says. When that fails, nothing of it is left.
    pub(super) fn launch(
        self,
        hold: &Hold,
        bundle: &Bundle,
        passage: &Passage,
        record: RunRecord,
        paused: bool,
        saved: Option<&Saved>,
    ) -> Result<Started, Report> {
        match self {
            Self::Qemu(prepared) => prepared.launch(hold, bundle, passage, record, paused, saved),
            Self::Sim(prepared) => prepared.launch(hold, record, paused, saved),
            #[cfg(target_os = "macos")]
            Self::Vz(prepared) => prepared.launch(hold, record, paused, saved),
        }
    }
}
