//! A VM, described to QEMU: [`Plan`] into an argument vector, without I/O.
//!
//! **Invariants.**
//! - Every file name reaches QEMU as it is. Disks and firmware go as JSON (`-blockdev`), where no character of a name
//!   has a meaning; kernels go as arguments of their own; the log and the sockets go as descriptors. What remains in
//!   `key=value` syntax is ours, or has its commas doubled.
//! - QEMU's working directory is the VM's folder, and relative names are meant so. A relative name that could be taken
//!   for an option or a protocol (`-x`, `nbd:x`) gets `./` before it.
//! - The same plan gives the same vector, and devices that all VMs have come before those that vary, so that a guest
//!   finds its network at the same place after a disk is added.
//! - Nothing is left to QEMU's defaults or to a user's configuration of QEMU: `-nodefaults -no-user-config`.
//!
//! Tried with QEMU 7.2.22 and, on PCs, 10.0.2. What differs between the machines is one table, [`Hardware`].

mod channels;
mod display;
mod drives;
mod folders;
mod line;
mod network;

use std::ffi::OsString;
use std::path::PathBuf;

use selfsame_machine::spec::{Display, Folder};
use uuid::Uuid;

pub use channels::{AGENT, AGENT_PORT, Descriptors, REPORT_PORT};
pub use drives::{Disk, DiskFormat};
pub use folders::Ownership;
pub use line::PlanError;
pub use network::{CARD, hostfwd};
use selfsame_machine::network::{Forward, Network};

use super::accelerator::Accelerator;
use super::architecture::{Architecture, Hardware};
use line::{Line, plain, printable, raw, value};

/// What every guest sees as the maker of its machine.
const MANUFACTURER: &str = "selfsame";
/// What every guest sees as its machine's name.
const PRODUCT: &str = "Virtual Machine";

/// The version of what guests find in their machine beside what is chosen for each. A guest's state can be read only with
/// the devices that it was written with, so it is raised with each device that is added, removed or moved.
pub const DEVICES: u32 = 2;

/// The system calls that QEMU gives up: old ones, gaining privileges, starting programs, changing priorities.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// All that QEMU is told about a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The VM's name, shown in the list of processes.
    pub name: String,
    /// The architecture of the guest, and of the QEMU that is told all this.
    pub architecture: Architecture,
    /// The versioned name of the machine, `pc-q35-…` or `virt-…`.
    pub machine: String,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Whether QEMU restricts its own system calls; see [`super::installation::Installation::sandbox`].
    pub sandbox: bool,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// The UUID for `-uuid`, in QEMU's order: the caller has reversed what must be reversed.
    pub uuid: Uuid,
    /// The serial number that the guest sees.
    pub serial: String,
    /// What starts the guest.
    pub boot: Boot,
    /// The disks, first one first.
    pub disks: Vec<Disk>,
    /// A CD in the drive.
    pub iso: Option<PathBuf>,
    /// Folders of the host that the guest can mount.
    pub folders: Vec<Folder>,
    /// What becomes of owners and modes in them.
    pub ownership: Ownership,
    /// To whom the network cards lead; all are in QEMU's user network.
    pub network: Network,
    /// One network card for each MAC address, in canonical text, where there is a network.
    pub mac_addresses: Vec<String>,
    /// Ports of the host that lead to the first card. None is 0: which one is free is found out later.
    pub forwards: Vec<Forward>,
    /// The guest's screen.
    pub display: Display,
    /// What QEMU inherits.
    pub descriptors: Descriptors,
    /// Whether the guest waits for `cont`.
    pub paused: bool,
    /// Whether it waits for a state to go on from, which its monitor will be told of.
    pub incoming: bool,
}

/// What starts the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// A Linux kernel, put into memory by QEMU.
    DirectKernel {
        /// The kernel.
        kernel: PathBuf,
        /// Its initial file system.
        initrd: Option<PathBuf>,
        /// Its command line.
        append: String,
        /// The firmware that starts it, where the machine's identity comes from there.
        firmware: Option<Flash>,
    },
    /// UEFI.
    Uefi(Flash),
    /// The BIOS that comes with QEMU.
    Bios,
}

/// UEFI firmware as the machine's two flash memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flash {
    /// The firmware's code, never written.
    pub code: PathBuf,
    /// This VM's own variables. QEMU takes **no lock** on them: whoever starts it must.
    pub variables: PathBuf,
}

impl Boot {
    const fn flash(&self) -> Option<&Flash> {
        match self {
            Self::DirectKernel { firmware, .. } => firmware.as_ref(),
            Self::Uefi(flash) => Some(flash),
            Self::Bios => None,
        }
    }
}

impl Plan {
    /// The arguments, without the program's own name.
    ///
    /// # Errors
    /// A name cannot be told to QEMU.
    pub fn arguments(&self) -> Result<Vec<OsString>, PlanError> {
        let mut line = Line::default();
        self.process(&mut line);
        self.machine(&mut line);
        self.boot(&mut line)?;
        self.channels(&mut line);
        self.network(&mut line);
        self.drives(&mut line)?;
        self.folders(&mut line);
        self.display(&mut line);
        line.finish()
    }

    fn process(&self, line: &mut Line) {
        line.word("-no-user-config").word("-nodefaults").option("-display", "none");
        if self.sandbox {
            line.option("-sandbox", SANDBOX);
        }
        // The times tell in QEMU's log which of several starts an error belongs to.
        line.option("-msg", "timestamp=on")
            .option("-name", format!("guest={}", value(&printable(&self.name))));
        if self.paused {
            line.word("-S");
        }
        if self.incoming {
            line.option("-incoming", "defer");
        }
    }

    fn machine(&self, line: &mut Line) {
        let hardware = Hardware::of(self.architecture);
        let flash = if self.boot.flash().is_some() { ",pflash0=code,pflash1=variables" } else { "" };
        let options = hardware.machine_options(self.accelerator);
        line.option("-machine", format!("{}{options}{flash}", value(&self.machine)))
            .option("-accel", self.accelerator.text())
            .option("-cpu", hardware.cpu(self.accelerator))
            .option("-smp", self.cpus.to_string())
            .option("-m", format!("size={}B", self.memory))
            .option("-uuid", self.uuid.hyphenated().to_string())
            .option(
                "-smbios",
                format!(
                    "type=1,manufacturer={MANUFACTURER},product={PRODUCT},serial={}",
                    value(&printable(&self.serial))
                ),
            );
        for device in hardware.devices {
            line.option("-device", device);
        }
    }

    fn boot(&self, line: &mut Line) -> Result<(), PlanError> {
        if let Some(Flash { code, variables }) = self.boot.flash() {
            line.option("-blockdev", raw("code", code, true)?);
            line.option("-blockdev", raw("variables", variables, false)?);
        }
        match &self.boot {
            Boot::DirectKernel { kernel, initrd, append, firmware: _ } => {
                line.option("-kernel", plain(kernel)?);
                if let Some(initrd) = initrd {
                    line.option("-initrd", plain(initrd)?);
                }
                line.option("-append", append);
            }
            Boot::Uefi(_) | Boot::Bios => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
