//! What runs guests: the one interface that QEMU, and later Virtualization.framework, stand behind.
//!
//! The rules are the strictest of them all, so that no back end needs an exception:
//! - an order returns when it was handed over, not when it was done: what came of it arrives as an event;
//! - events are the truth, and the driver never asks for a state it was not told about;
//! - all calls come from one thread, and events are taken there too.

use crate::lifecycle::{BackendEvent, Order};
use crate::problem::Problem;

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
}
