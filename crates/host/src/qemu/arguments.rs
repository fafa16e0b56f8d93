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
//! Tried with QEMU 7.2.22 and 10.0.2. The machine is `q35`; other machines need other devices (no vmgenid, another
//! panic device) and get a plan of their own.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};
pub use selfsame_machine::report::PORT as REPORT_PORT;
pub use selfsame_machine::spec::DiskFormat;
use serde_json::{Value, json};
use uuid::Uuid;

use super::accelerator::Accelerator;

/// What every guest sees as the maker of its machine.
const MANUFACTURER: &str = "selfsame";
/// What every guest sees as its machine's name.
const PRODUCT: &str = "Virtual Machine";

/// The system calls that QEMU gives up: old ones, gaining privileges, starting programs, changing priorities.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// All that QEMU is told about a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The VM's name, shown in the list of processes.
    pub name: String,
    /// The versioned name of the machine, `pc-q35-…`.
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
    /// One network card for each MAC address, in canonical text, all in QEMU's user network.
    pub mac_addresses: Vec<String>,
    /// Ports of the host that lead to the first card.
    pub forwards: Vec<Forward>,
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
    },
    /// UEFI.
    Uefi {
        /// The firmware's code, never written.
        code: PathBuf,
        /// This VM's own variables. QEMU takes **no lock** on them: whoever starts it must.
        variables: PathBuf,
    },
    /// The BIOS that comes with QEMU.
    Bios,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The image or block device.
    pub file: PathBuf,
    /// The format, told and never guessed: a guest could write another format's header into a raw disk.
    pub format: DiskFormat,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The protocol.
    pub transport: Transport,
    /// The host's address to listen on.
    pub address: Ipv4Addr,
    /// The host's port.
    pub port: u16,
    /// The guest's port.
    pub guest_port: u16,
}

impl fmt::Display for Forward {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(formatter, "{transport}:{}:{}-:{}", self.address, self.port, self.guest_port)
    }
}

/// Open descriptors that QEMU finds under these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// A listening unix socket for the monitor. When QEMU ends orderly it **removes the name** that the socket was
    /// bound to, literally: bind it to an absolute path where that is short enough for a socket.
    pub qmp: RawFd,
    /// A listening unix socket for the guest's report; the same holds.
    pub report: RawFd,
    /// A file for the guest's serial output, open for writing **only**, and appending.
    pub console: RawFd,
}

/// A plan that cannot be told to QEMU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// QEMU's JSON has no place for such a name.
    #[error("the name of `{}` is not UTF-8, and QEMU takes no other names for disks and firmware", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// No file has such a name.
    #[error("`{}` is not a file name", path.as_os_str().to_string_lossy().escape_debug())]
    NotAName {
        /// The file.
        path: PathBuf,
    },
    /// No argument can hold such a text.
    #[error("`{}` holds a zero byte", text.escape_debug())]
    ZeroByte {
        /// The text.
        text: String,
    },
}

impl Problem for PlanError {
    fn code(&self) -> Code {
        Code::BundleInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::NotUtf8 { path } => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.and_then(Path::to_str).unwrap_or(".");
                vec![
                    Hint::run(
                        "rename the file; this shows its odd bytes",
                        format!("ls -b {}", shell_word(folder)),
                    ),
                    Hint::say(
                        "or put it into the VM's folder: of a file there, only its own name must be UTF-8",
                    ),
                ]
            }
            Self::NotAName { .. } | Self::ZeroByte { .. } => {
                vec![Hint::say("correct the name in the VM's vm.toml")]
            }
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
        let flash = match self.boot {
            Boot::Uefi { .. } => ",pflash0=code,pflash1=variables",
            Boot::DirectKernel { .. } | Boot::Bios => "",
        };
        // `max` is all that the translator knows; a hypervisor passes the host's processor through.
        let cpu = match self.accelerator {
            Accelerator::Tcg => "max",
            Accelerator::Kvm | Accelerator::Hvf => "host",
        };
        line.option("-machine", format!("{}{flash}", value(&self.machine)))
            .option("-accel", self.accelerator.text())
            .option("-cpu", cpu)
            .option("-smp", self.cpus.to_string())
            .option("-m", format!("size={}B", self.memory))
            .option("-uuid", self.uuid.hyphenated().to_string())
            .option(
                "-smbios",
                format!(
                    "type=1,manufacturer={MANUFACTURER},product={PRODUCT},serial={}",
                    value(&printable(&self.serial))
                ),
            )
            // Tells the guest when it goes on from a copied state. QEMU draws a new one at each start.
            .option("-device", "vmgenid,guid=auto")
            .option("-device", "pvpanic");
    }

    fn boot(&self, line: &mut Line) -> Result<(), PlanError> {
        match &self.boot {
            Boot::DirectKernel { kernel, initrd, append } => {
                line.option("-kernel", plain(kernel)?);
                if let Some(initrd) = initrd {
                    line.option("-initrd", plain(initrd)?);
                }
                line.option("-append", append);
            }
            Boot::Uefi { code, variables } => {
                line.option("-blockdev", raw("code", code, true)?);
                line.option("-blockdev", raw("variables", variables, false)?);
            }
            Boot::Bios => {}
        }
        Ok(())
    }

    fn channels(&self, line: &mut Line) {
        let Descriptors { qmp, report, console } = self.descriptors;
        line.option("-chardev", format!("socket,id=qmp,fd={qmp},server=on,wait=off"))
            .option("-mon", "chardev=qmp,mode=control")
            // A descriptor set lets QEMU "open" the log without a name, and so without a way to be misled by one.
            .option("-add-fd", format!("fd={console},set=1"))
            .option("-chardev", "file,id=console,path=/dev/fdset/1,append=on")
            .option("-serial", "chardev:console")
            .option("-device", "virtio-serial-pci")
            .option("-chardev", format!("socket,id=report,fd={report},server=on,wait=off"))
            .option("-device", format!("virtserialport,chardev=report,name={REPORT_PORT}"))
            .option("-device", "virtio-rng-pci");
    }

    fn network(&self, line: &mut Line) {
        for (index, mac) in self.mac_addresses.iter().enumerate() {
            let mut netdev = format!("user,id=net{index}");
            if index == 0 {
                for forward in &self.forwards {
                    netdev.push_str(&format!(",hostfwd={forward}"));
                }
            }
            // Without a ROM there is no network boot, and no file of another package that may be missing.
            line.option("-netdev", netdev)
                .option("-device", format!("virtio-net-pci,netdev=net{index},mac={},romfile=", value(mac)));
        }
    }

    /// Disks start before the CD: an empty disk falls through to the installer, an installed one does not.
    ///
    /// The order begins at 1, because QEMU gives 0 to a kernel of its own loading and refuses the same number twice.
    fn drives(&self, line: &mut Line) -> Result<(), PlanError> {
        for (index, disk) in self.disks.iter().enumerate() {
            let node = json!({
                "node-name": format!("disk{index}"),
                "driver": disk.format.text(),
                "read-only": disk.read_only,
                "discard": "unmap",
                "file": {
                    "driver": "file",
                    "filename": utf8(&disk.file)?,
                    "read-only": disk.read_only,
                    "discard": "unmap",
                    "locking": "on",
                },
            });
            let order = index + 1;
            line.option("-blockdev", node.to_string())
                .option("-device", format!("virtio-blk-pci,drive=disk{index},bootindex={order}"));
        }
        if let Some(iso) = &self.iso {
            // A drive on the machine's own SATA: every installer's kernel and both firmwares know it.
            let order = self.disks.len() + 1;
            line.option("-blockdev", raw("iso", iso, true)?)
                .option("-device", format!("ide-cd,bus=ide.0,drive=iso,bootindex={order}"));
        }
        Ok(())
    }
}

/// Arguments in the making.
#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn word(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(word.as_ref().to_owned());
        self
    }

    fn option(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.word(name).word(value)
    }

    fn finish(self) -> Result<Vec<OsString>, PlanError> {
        match self.0.iter().find(|word| word.as_bytes().contains(&0)) {
            Some(word) => Err(PlanError::ZeroByte { text: word.to_string_lossy().into_owned() }),
            None => Ok(self.0),
        }
    }
}

/// A raw image that is neither a disk nor locked by QEMU.
fn raw(node: &str, file: &Path, read_only: bool) -> Result<String, PlanError> {
    let node: Value = json!({
        "node-name": node,
        "driver": "raw",
        "read-only": read_only,
        "file": { "driver": "file", "filename": utf8(file)?, "read-only": read_only },
    });
    Ok(node.to_string())
}

/// A file's name for JSON.
fn utf8(path: &Path) -> Result<String, PlanError> {
    let not_utf8 = |_| PlanError::NotUtf8 { path: path.to_owned() };
    plain(path)?.into_string().map_err(not_utf8)
}

/// A file's name that QEMU takes for nothing else.
fn plain(path: &Path) -> Result<OsString, PlanError> {
    let name = path.as_os_str();
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(PlanError::NotAName { path: path.to_owned() });
    }
    let prefix = if bytes.starts_with(b"-") || (path.is_relative() && bytes.contains(&b':')) {
        "./"
    } else if bytes.starts_with(b"/dev/fdset/") {
        // QEMU would take it for one of its descriptor sets.
        "/."
    } else {
        ""
    };
    let mut plain = OsString::from(prefix);
    plain.push(name);
    Ok(plain)
}

/// Text for a place where a comma ends it.
fn value(text: &str) -> String {
    text.replace(',', ",,")
}

/// Text without characters that would spoil a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests;
