//! What connects a guest with its supervisor: the monitor, the serial console, the port on which it reports.

use std::os::fd::RawFd;

pub use selfsame_machine::report::PORT as REPORT_PORT;

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
    /// A listening unix socket for the guest's serial console; the same holds.
    pub console: RawFd,
    /// A file for the guest's serial output, open for writing **only**, and appending.
    pub log: RawFd,
}

impl Plan {
    pub(super) fn channels(&self, line: &mut Line) {
        let Descriptors { qmp, report, console, log } = self.descriptors;
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
            .option("-device", "virtio-rng-pci");
    }
}
