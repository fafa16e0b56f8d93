//! What runs guests: the one interface that QEMU and Virtualization.framework stand behind.
//!
//! The rules are those of the strictest of them, the framework, so that no back end needs an exception:
//! - an order returns when it was handed over, not when it was done: what came of it arrives as an event. The framework
//!   does its work on a queue of its own, and only its completion handlers know;
//! - events are the truth, and the driver never asks for a state it was not told about;
//! - all calls come from one thread, and events are taken there too; between two looks the driver sleeps on
//!   [`Backend::descriptors`], so that nobody polls;
//! - a start that fails is an event as well ([`BackendEvent::StartFailed`]): the framework may need many seconds to know;
//! - dropping a back end ends nothing that is not its own. A guest in a process of its own goes on; one that lives in this
//!   process ends with it.

use std::fs::File;
use std::os::fd::BorrowedFd;

use crate::lifecycle::{BackendEvent, Order};
use crate::problem::{Problem, Report};

/// A back end that runs one guest.
pub trait Backend {
    /// Why an order could not be handed over.
    type Error: Problem;

    /// Hands over one order. Never waits for its outcome.
    ///
    /// # Errors
    /// When it could not be handed over; the guest is as it was.
    fn order(&mut self, order: Order) -> Result<(), Self::Error>;

    /// Takes what happened since the last call, oldest first. Never waits.
    fn take_events(&mut self) -> Vec<BackendEvent>;

    /// What to sleep on: as soon as one of them is readable, there are events to take.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// Begins to make a picture of the guest's screen, in PNG, into a file that is open for writing only. Gives a number by
    /// which [`Backend::take_pictures`] tells of it; `None` when this back end makes no pictures. Never waits.
    ///
    /// # Errors
    /// When the wish could not be handed over.
    fn picture(&mut self, into: &File) -> Result<Option<u64>, Self::Error> {
        let _ = into;
        Ok(None)
    }

    /// Takes the numbers of the pictures that are made, or why they are not. Never waits.
    fn take_pictures(&mut self) -> Vec<(u64, Result<(), Report>)> {
        Vec::new()
    }
}
