//! The [`Backend`] on the driver's thread.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use selfsame_machine::backend::Backend;
use selfsame_machine::lifecycle::{BackendEvent, Order, Way};

use super::entitlement::entitled;
use super::machine::{Begin, Machine};
use crate::bell::{Inbox, bell};
use crate::error::VzError;
use crate::plan::Plan;

/// A guest of Virtualization.framework. It lives in this process: with it, and at the latest with the process, it ends.
#[derive(Debug)]
pub struct Vz {
    machine: Arc<Machine>,
    inbox: Inbox,
    report: Option<UnixStream>,
}

impl Vz {
    /// Makes ready to run a plan. Nothing is started, and no file of the VM is touched.
    ///
    /// # Errors
    /// When this program lacks the entitlement, or the system refuses a socket.
    pub fn new(plan: Plan) -> Result<Self, VzError> {
        if entitled() == Some(false) {
            let program = std::env::current_exe().unwrap_or_else(|_| "selfsame".into());
            return Err(VzError::Unentitled { program });
        }
        let system = |source| VzError::System { doing: "make the sockets of a guest", source };
        let (bell, inbox) = bell().map_err(system)?;
        let (report, port) = UnixStream::pair().map_err(system)?;
        report.set_nonblocking(true).map_err(system)?;
        let machine = Machine::new(plan, bell, Some(port.into()));
        Ok(Self { machine, inbox, report: Some(report) })
    }

    /// Our end of the port on which a Linux guest reports; it must be read for as long as the guest runs.
    pub fn take_report(&mut self) -> Option<UnixStream> {
        self.report.take()
    }
}

impl Backend for Vz {
    type Error = VzError;

    fn order(&mut self, order: Order) -> Result<(), VzError> {
        self.machine.submit(move |machine, on| match order {
            Order::Start { paused } => machine.start(on, Begin::Boot { paused }),
            Order::Restore { from } => machine.start(on, Begin::Restore { from }),
            Order::Save { to } => machine.save(on, to),
            Order::Pause => machine.pause(on),
            Order::Resume => machine.resume(on),
            // The framework has no port for an agent, so none is ever told of. What it has is the button.
            Order::PowerDown(Way::Agent | Way::Button) => machine.power_down(on),
            Order::CutPower | Order::Kill => machine.switch_off(on),
        });
        Ok(())
    }

    fn take_events(&mut self) -> Vec<BackendEvent> {
        self.inbox.take()
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.inbox.as_fd()]
    }
}
