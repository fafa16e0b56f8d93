//! The back ends of this host behind one type: what a supervisor drives.

use std::fs::File;
use std::os::fd::BorrowedFd;

use selfsame_machine::backend::Backend;
use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::{BackendEvent, Order};
use selfsame_machine::problem::{Hint, Problem, Report};

use crate::qemu::guest::{OrderError, Qemu};
use crate::sim::{Sim, SimError};

/// A guest, whatever runs it.
#[derive(Debug)]
pub enum AnyBackend {
    /// A process of QEMU.
    Qemu(Box<Qemu>),
    /// A guest that is played in this process.
    Sim(Sim),
    /// A guest of Virtualization.framework in this process.
    #[cfg(target_os = "macos")]
    Vz(Hosted),
}

/// An order could not be handed over.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum AnyError {
    /// To QEMU.
    Qemu(OrderError),
    /// To a guest that is played.
    Sim(SimError),
    /// To the framework.
    #[cfg(target_os = "macos")]
    Vz(selfsame_vz::VzError),
}

impl Problem for AnyError {
    fn code(&self) -> Code {
        match self {
            Self::Qemu(error) => error.code(),
            Self::Sim(error) => error.code(),
            #[cfg(target_os = "macos")]
            Self::Vz(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Qemu(error) => error.hints(),
            Self::Sim(error) => error.hints(),
            #[cfg(target_os = "macos")]
            Self::Vz(error) => error.hints(),
        }
    }
}

impl AnyBackend {
    /// Has `events` told again, before anything else.
    pub fn tell_again(&mut self, events: Vec<BackendEvent>) {
        match self {
            Self::Qemu(qemu) => qemu.tell_again(events),
            Self::Sim(sim) => sim.tell_again(events),
            #[cfg(target_os = "macos")]
            Self::Vz(hosted) => drop(hosted.first.splice(0..0, events)),
        }
    }
}

impl Backend for AnyBackend {
    type Error = AnyError;

    fn order(&mut self, order: Order) -> Result<(), AnyError> {
        match self {
            Self::Qemu(qemu) => qemu.order(order).map_err(AnyError::Qemu),
            Self::Sim(sim) => sim.order(order).map_err(AnyError::Sim),
            #[cfg(target_os = "macos")]
            Self::Vz(hosted) => hosted.vz.order(order).map_err(AnyError::Vz),
        }
    }

    fn take_events(&mut self) -> Vec<BackendEvent> {
        match self {
            Self::Qemu(qemu) => qemu.take_events(),
            Self::Sim(sim) => sim.take_events(),
            #[cfg(target_os = "macos")]
            Self::Vz(hosted) => {
                let mut events = std::mem::take(&mut hosted.first);
                events.extend(hosted.vz.take_events());
                events
            }
        }
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Qemu(qemu) => qemu.descriptors(),
            Self::Sim(sim) => sim.descriptors(),
            #[cfg(target_os = "macos")]
            Self::Vz(hosted) => hosted.vz.descriptors(),
        }
    }

    fn picture(&mut self, into: &File) -> Result<Option<u64>, AnyError> {
        match self {
            Self::Qemu(qemu) => qemu.picture(into).map_err(AnyError::Qemu),
            Self::Sim(sim) => sim.picture(into).map_err(AnyError::Sim),
            #[cfg(target_os = "macos")]
            Self::Vz(hosted) => hosted.vz.picture(into).map_err(AnyError::Vz),
        }
    }

    fn take_pictures(&mut self) -> Vec<(u64, Result<(), Report>)> {
        match self {
            Self::Qemu(qemu) => qemu.take_pictures(),
            Self::Sim(sim) => sim.take_pictures(),
            #[cfg(target_os = "macos")]
            Self::Vz(hosted) => hosted.vz.take_pictures(),
        }
    }
}

/// A guest of the framework that came up, with what happened since.
#[cfg(target_os = "macos")]
#[derive(Debug)]
pub struct Hosted {
    vz: selfsame_vz::Vz,
    first: Vec<BackendEvent>,
}

#[cfg(target_os = "macos")]
impl Hosted {
    /// `first` is told at the first look, before anything else.
    #[must_use]
    pub const fn new(vz: selfsame_vz::Vz, first: Vec<BackendEvent>) -> Self {
        Self { vz, first }
    }
}
