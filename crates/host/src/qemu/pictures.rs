//! Pictures of the guest's screen, made by the monitor's `screendump`.
//!
//! QEMU gets the file as a descriptor in a set of its own: no name can be misread, and none is left behind. The three
//! commands that one picture takes are sent at once; QEMU works them off in their order, and only the second is listened
//! for. Tried with QEMU 7.2.22.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::time::Duration;

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, Report};

use super::qmp::{Command, Id, Message, Monitor, QmpError, QmpFault};

/// The numbers of our sets begin here: the console's log has one, and `add-fd` without a number takes the lowest.
const SETS: u32 = 1 << 16;

/// A picture was not made.
#[derive(Debug, thiserror::Error)]
enum PictureError {
    #[error("QEMU made no picture of the screen")]
    Refused(#[source] QmpFault),
    #[error("QEMU made no picture of the screen: its monitor is gone")]
    Gone,
}

impl Problem for PictureError {
    fn code(&self) -> Code {
        Code::QemuFailed
    }

    fn hints(&self) -> Vec<Hint> {
        Vec::new()
    }
}

/// The pictures of one guest.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    begun: Vec<Id>,
    done: Vec<(u64, Result<(), Report>)>,
}

impl Pictures {
    /// Has a picture made. The number tells it from others.
    pub(super) fn begin(
        &mut self,
        monitor: &mut Monitor,
        into: &File,
        limit: Duration,
    ) -> Result<u64, QmpError> {
        // As many as there are commands: no two pictures on their way share one.
        let set = SETS + u32::try_from(monitor.last_id().0 % u64::from(SETS)).unwrap_or_default();
        monitor.send_with(Command::AddFdTo { set }, into.as_fd(), limit)?;
        let id = monitor.send(Command::Screendump { set }, limit)?;
        monitor.send(Command::RemoveFd { set }, limit)?;
        self.begun.push(id);
        Ok(id.0)
    }

    /// Looks at one message.
    pub(super) fn look(&mut self, message: &Message) {
        let Message::Reply { id: Some(id), outcome } = message else { return };
        let Some(index) = self.begun.iter().position(|begun| begun == id) else { return };
        self.begun.swap_remove(index);
        let outcome = outcome.as_ref().map(drop);
        let outcome = outcome.map_err(|fault| Report::of(&PictureError::Refused(fault.clone())));
        self.done.push((id.0, outcome));
    }

    /// There is no monitor any more.
    pub(super) fn give_up(&mut self) {
        let gone = self.begun.drain(..).map(|id| (id.0, Err(Report::of(&PictureError::Gone))));
        self.done.extend(gone);
    }

    pub(super) fn take(&mut self) -> Vec<(u64, Result<(), Report>)> {
        std::mem::take(&mut self.done)
    }
}
