//! What connects a guest with its supervisor: the monitor, the serial console, the port on which it reports, the port of
//! its agent.

use std::os::fd::RawFd;

pub use selfsame_machine::report::PORT as REPORT_PORT;

pub use selfsame_machine::agent::PORT as AGENT_PORT;

use super::Plan;
use super::line::Line;

/// Open descriptors that QEMU finds under these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// A listening unix socket for the monitor. When QEMU ends orderly it **removes the name** that the socket was
    /// bound to, literally: bind it to an absolute path where that is short enough for a socket.
    pub qmp: RawFd,
    /// A listening unix socket for the guest's report; the same holds.
    pub report: RawFd,
    /// A listening unix socket for the guest's agent; the same holds.
    pub agent: RawFd,
    /// A listening unix socket for the guest's serial console; the same holds.
    pub console: RawFd,
    /// A file for the guest's serial output, open for writing **only**, and appending.
    pub log: RawFd,
}

/// What the agent's port and its connection are called in QEMU.
pub const AGENT: &str = "agent";

impl Plan {
    pub(super) fn channels(&self, line: &mut Line) {
        let Descriptors { qmp, report, agent, console, log } = self.descriptors;
        line.option("-chardev", format!("socket,id=qmp,fd={qmp},server=on,wait=off"))
            .option("-mon", "chardev=qmp,mode=control")
            // A descriptor set lets QEMU "open" the log without a name, and so without a way to be misled by one. QEMU
            // itself writes it: it is whole also while nobody is connected to the socket.
            .option("-add-fd", format!("fd={log},set=1"))
            .option(
                "-chardev",
                format!(
                    "socket,id=console,fd={console},server=on,wait=off,logfile=/dev/fdset/1,logappend=on"
                ),
            )
            .option("-serial", "chardev:console")
            .option("-device", "virtio-serial-pci")
            .option("-chardev", format!("socket,id=report,fd={report},server=on,wait=off"))
            .option("-device", format!("virtserialport,chardev=report,name={REPORT_PORT}"))
            .option("-chardev", format!("socket,id={AGENT},fd={agent},server=on,wait=off"))
            // Only of a port with an id QEMU tells when it is opened and closed.
            .option("-device", format!("virtserialport,id={AGENT},chardev={AGENT},name={AGENT_PORT}"))
            .option("-device", "virtio-rng-pci");
    }
}
