//! Starting QEMU.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use selfsame_machine::backend::Backend as _;
use selfsame_machine::identity::{GenericId, Identity};
use selfsame_machine::lifecycle::Order;
use selfsame_machine::network::Connection;
use selfsame_machine::problem::Report;
use selfsame_machine::spec::{Boot, Display, Guest};

use super::opened;
use super::settle::{self, Settled};
use super::{Started, Words};
use crate::backend::AnyBackend;
use crate::bundle::{Bundle, CONSOLE_LOG, LOGS, NVRAM, QEMU_LOG};
use crate::context::Context;
use crate::disk;
use crate::files::{FileError, read_bounded, write_new_sparse};
use crate::gate::Passage;
use crate::log;
use crate::process::{ProcessHandle, ProcessId};
use crate::qemu::accelerator::{Accelerator, Choice};
use crate::qemu::architecture::Hardware;
use crate::qemu::arguments::{self, Descriptors, Flash, Ownership, Plan, PlanError};
use crate::qemu::guest::Qemu;
use crate::qemu::installation::Installation;
use crate::qemu::qmp::{Command, Monitor, QmpError, RunState};
use crate::reach::ports::PortError;
use crate::state::{Saved, StateError};
use crate::supervisor::Hold;
use crate::supervisor::launch::{Options, tail};
use crate::supervisor::problem::SupervisorError;
use crate::supervisor::record::RunRecord;

/// How long QEMU may take from its start to its monitor's greeting: 30 ms as a rule, more on a loaded host.
const GREETING: Duration = Duration::from_secs(15);
/// No template of UEFI variables is larger: 528 KiB for PCs, 64 MiB for ARM.
const VARIABLES_LIMIT: u64 = 64 << 20;
/// How long QEMU may take to read a state, beside the time for its bytes.
const READING: Duration = Duration::from_secs(60);
/// How long QEMU may take to make a disk larger: it writes new tables, and no data.
const GROWING: Duration = Duration::from_secs(60);
/// So many bytes a second are read of a state on the slowest disk that is waited for.
const SLOWEST: u64 = 16 << 20;
/// How long QEMU may take to end after its monitor closed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The identity of a guest that QEMU can run.
///
/// # Errors
/// When it is a macOS guest.
pub(super) fn guest_id(context: &Context, bundle: &Bundle) -> Result<GenericId, Report> {
    match bundle.identity {
        Identity::Generic(id) if bundle.guest() == Guest::Linux => Ok(id),
        Identity::Generic(_) | Identity::Mac(_) => {
            Err(SupervisorError::Unavailable { name: context.named(&bundle.folder) }.into())
        }
    }
}

/// A QEMU that is ready to be started.
pub(in crate::supervisor) struct Prepared {
    id: GenericId,
    installation: Installation,
    choice: Choice,
    boot: arguments::Boot,
    machine: String,
    connection: Connection,
    display: Display,
}

impl Prepared {
    /// Finds QEMU and the firmware, and locks the UEFI variables, which QEMU itself does not.
    pub(super) fn new(
        context: &Context,
        bundle: &Bundle,
        options: &Options,
        connection: Connection,
        passage: &mut Passage,
    ) -> Result<Self, Report> {
        let id = guest_id(context, bundle)?;
        let architecture = bundle.architecture();
        let installation = context.installation(architecture)?;
        let choice = context.accelerator(architecture, options.accelerator);
        let boot = boot(context, bundle, passage)?;
        let machine = bundle.spec.machine.clone().unwrap_or_else(|| installation.machine.clone());
        let display = bundle.spec.display;
        Ok(Self { id, installation, choice, boot, machine, connection, display })
    }

    pub(super) fn words(&self) -> Words {
        Words {
            qemu_uuid: self.id.product_uuid().to_string(),
            accelerator: self.choice.accelerator.text().to_owned(),
            accelerator_reason: self.choice.reason.to_string(),
            machine: self.machine.clone(),
            display: self.display,
            version: Some(self.installation.version),
            devices: arguments::DEVICES,
        }
    }

    fn plan(self, bundle: &Bundle, descriptors: Descriptors, paused: bool, incoming: bool) -> Plan {
        Plan {
            name: bundle.name.clone(),
            architecture: self.installation.architecture,
            machine: self.machine,
            accelerator: self.choice.accelerator,
            sandbox: self.installation.sandbox,
            cpus: bundle.spec.cpus,
            memory: bundle.spec.memory.count(),
            // The framework stores the UUID big-endian, QEMU little-endian: reversed, guests read the same text on both.
            uuid: self.id.product_uuid(),
            serial: self.id.smbios_serial(),
            boot: self.boot,
            disks: disks(bundle),
            iso: bundle.spec.iso.as_ref().map(PathBuf::from),
            folders: bundle.spec.folders.clone(),
            ownership: Ownership::of_this_process(),
            network: self.connection.network,
            mac_addresses: vec![bundle.mac_address().to_string()],
            forwards: opened::named(&self.connection),
            display: self.display,
            descriptors,
            paused: paused || incoming,
            incoming,
        }
    }

    /// Starts QEMU and waits for its monitor. When it fails, QEMU is gone and so is what lay in `run/`.
    pub(super) fn launch(
        self,
        hold: &Hold,
        bundle: &Bundle,
        passage: &Passage,
        mut record: RunRecord,
        paused: bool,
        saved: Option<&Saved>,
    ) -> Result<Started, Report> {
        let run = hold.context.home.run();
        let run_failed = |path: &Path| FileError::failed("write", path);
        let logs = bundle.folder.join(LOGS);
        if let Err(error) = std::fs::create_dir(&logs)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(FileError::failed("make", &logs)(error).into());
        }
        let append = |file: &str| {
            let path = bundle.folder.join(file);
            log::append(&path).map_err(FileError::failed("write", &path))
        };
        let (log, console_log) = (append(QEMU_LOG)?, append(CONSOLE_LOG)?);
        let said_before = log.metadata().map_or(0, |metadata| metadata.len());
        let monitor = hold.sockets.listen(&hold.names.monitor()).map_err(run_failed(&run))?;
        let report = hold.sockets.listen(&hold.names.report()).map_err(run_failed(&run))?;
        let agent = hold.sockets.listen(&hold.names.agent()).map_err(run_failed(&run))?;
        std::fs::write(run.join(hold.names.agent_lock()), b"").map_err(run_failed(&run))?;
        let console = hold.sockets.listen(&hold.names.console()).map_err(run_failed(&run))?;
        // Before QEMU is there to accept it: not a byte of the guest comes before us.
        let serial = hold.sockets.connect(&hold.names.console()).map_err(run_failed(&run))?;
        let descriptors = Descriptors {
            qmp: monitor.as_raw_fd(),
            report: report.as_raw_fd(),
            agent: agent.as_raw_fd(),
            console: console.as_raw_fd(),
            log: console_log.as_raw_fd(),
        };
        let accelerated = self.choice.accelerator != Accelerator::Tcg;
        let binary = self.installation.binary.clone();
        let connection = self.connection.clone();
        let name = hold.context.named(&bundle.folder);
        // A suspended guest goes on with the disks that it knows.
        let growths = if saved.is_none() { growths(bundle)? } else { Vec::new() };
        let stands = paused || !growths.is_empty();
        let arguments = self.plan(bundle, descriptors, stands, saved.is_some()).arguments()?;
        let own = [monitor.as_fd(), report.as_fd(), agent.as_fd(), console.as_fd(), console_log.as_fd()];
        let inherited: Vec<BorrowedFd<'_>> = own.into_iter().chain(passage.descriptors()).collect();
        record.write(&run, hold.names).map_err(run_failed(&run))?;
        let mut child =
            crate::qemu::process::spawn(&binary, &arguments, &passage.locked_folder(), &log, &inherited)
                // What was written down of a start that never was would make the VM look like an orphan.
                .inspect_err(|_| drop(std::fs::remove_file(run.join(hold.names.record()))))?;
        // From here on QEMU alone listens for those who talk to the agent.
        drop(agent);
        let id = ProcessId::of(child.id());
        record.qemu = id;
        let up = id.ok_or_else(QmpError::gone).and_then(|id| {
            // Losing this writing loses nothing: an adoption finds the process by its locks.
            drop(record.write(&run, hold.names));
            passage.note_guest(id);
            let stream = connect(hold, &hold.names.monitor(), monitor)?;
            let mut monitor = Monitor::handshake(stream, GREETING)?;
            for growth in &growths {
                monitor.call(*growth, GROWING)?;
            }
            if stands && !paused {
                monitor.call(Command::Cont, GREETING)?;
            }
            let state = monitor.run_state(GREETING)?;
            let handle = ProcessHandle::open(id).map_err(|_| QmpError::gone())?;
            let link = opened::open(&mut monitor, &connection, &bundle.identity.digest())?;
            Ok((id, handle, monitor, state, link))
        });
        match up {
            Ok((id, handle, monitor, state, link)) => {
                let link = match link {
                    Ok(link) => link,
                    Err(port) => {
                        drop(handle.signal(rustix::process::Signal::KILL));
                        end(&mut child);
                        drop(std::fs::remove_file(run.join(hold.names.record())));
                        return Err(PortError::NoneFree { name, port }.into());
                    }
                };
                record.link = Some(link);
                drop(record.write(&run, hold.names));
                drop(console);
                let report = connect_report(hold, report);
                let mut guest = Qemu::started(id, handle, child, monitor);
                guest.reach_agent(hold.agent(&bundle.folder));
                if let Some(saved) = saved {
                    restore(&mut guest, saved).map_err(|failure| {
                        drop(std::fs::remove_file(run.join(hold.names.record())));
                        let output = tail(&bundle.folder.join(QEMU_LOG), said_before, 5);
                        failure.unwrap_or_else(|| StateError::NotTaken { name, output }.into())
                    })?;
                }
                let is_paused = saved.is_some() || state != RunState::Running;
                Ok(Started {
                    guest: AnyBackend::Qemu(Box::new(guest)),
                    report,
                    console: serial,
                    record,
                    is_paused,
                })
            }
            Err(source) => {
                end(&mut child);
                drop(std::fs::remove_file(run.join(hold.names.record())));
                let output = tail(&bundle.folder.join(QEMU_LOG), said_before, 5);
                // A port that was free a moment ago, and is not any more, keeps QEMU from starting.
                if let Some(port) = opened::missed(&connection, &output) {
                    return Err(PortError::taken(&hold.context, name, port, &connection.ports).into());
                }
                Err(SupervisorError::Qemu { name, accelerated, output, source }.into())
            }
        }
    }
}

/// Has QEMU read a state. When it does not, it is gone; `None` says that only its log tells why.
fn restore(guest: &mut Qemu, saved: &Saved) -> Result<(), Option<Report>> {
    let limit = READING.saturating_add(Duration::from_secs(saved.size() / SLOWEST));
    let report = match settle::start(guest, Order::Restore { from: saved.memory() }, limit, LAST_WORDS) {
        Ok(Settled::Up { since, .. }) => {
            guest.tell_again(since);
            return Ok(());
        }
        Ok(Settled::Failed(report)) => Some(*report),
        Ok(Settled::Gone | Settled::Silent) => None,
        Err(error) => Some(Report::from(error)),
    };
    // It cannot be told to go on without its state, and must be gone before its locks are given up.
    drop(guest.order(Order::Kill));
    let began = Instant::now();
    while guest.id().lives() && began.elapsed() < LAST_WORDS {
        drop(guest.take_events());
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(report)
}

/// Connects to a socket that QEMU listens at, and gives up our end of the listening, so that it closes with QEMU.
fn connect(hold: &Hold, name: &str, listener: UnixListener) -> Result<UnixStream, QmpError> {
    let connected = hold.sockets.connect(name);
    drop(listener);
    connected.ok().flatten().ok_or_else(QmpError::gone)
}

fn connect_report(hold: &Hold, listener: UnixListener) -> Option<UnixStream> {
    let stream = hold.sockets.connect(&hold.names.report()).ok().flatten();
    drop(listener);
    stream.filter(|stream| stream.set_nonblocking(true).is_ok())
}

/// Ends a QEMU that did not come up.
fn end(child: &mut std::process::Child) {
    let began = Instant::now();
    while began.elapsed() < LAST_WORDS {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(child.kill());
    drop(child.wait());
}

fn disks(bundle: &Bundle) -> Vec<arguments::Disk> {
    let disks = bundle.disks().into_iter();
    disks
        .map(|disk| arguments::Disk {
            file: disk.file.into(),
            format: disk.format,
            read_only: disk.read_only,
        })
        .collect()
}

/// The disks that are smaller than `vm.toml` wants them. The guest stands still while they grow: it would see a disk
/// change under it, and cloud-init looks only once.
fn growths(bundle: &Bundle) -> Result<Vec<Command>, Report> {
    let mut growths = Vec::new();
    for (index, disk) in (0..).zip(bundle.disks()).filter(|(_, disk)| !disk.read_only) {
        let Some(wanted) = disk.size else { continue };
        let is = disk::virtual_size(&bundle.folder.join(&disk.file), disk.format)?;
        if is.is_some_and(|is| is < wanted) {
            growths.push(Command::BlockResize { disk: index, size: wanted.count() });
        }
    }
    Ok(growths)
}

fn boot(context: &Context, bundle: &Bundle, passage: &mut Passage) -> Result<arguments::Boot, Report> {
    let hardware = Hardware::of(bundle.architecture());
    match &bundle.spec.boot {
        Boot::Bios if !hardware.has_bios => {
            Err(PlanError::NoBios { architecture: bundle.architecture() }.into())
        }
        Boot::Bios => Ok(arguments::Boot::Bios),
        Boot::Kernel { kernel, initrd, append } => Ok(arguments::Boot::DirectKernel {
            kernel: kernel.into(),
            initrd: initrd.as_ref().map(PathBuf::from),
            append: append.clone(),
            firmware: match hardware.kernel_needs_firmware {
                true => Some(flash(context, bundle, passage)?),
                false => None,
            },
        }),
        Boot::Uefi => flash(context, bundle, passage).map(arguments::Boot::Uefi),
    }
}

/// The firmware, and variables of the VM's own, made from the template at the first start and locked.
fn flash(context: &Context, bundle: &Bundle, passage: &mut Passage) -> Result<Flash, Report> {
    let firmware = context.firmware(bundle.architecture())?;
    let variables = bundle.folder.join(NVRAM);
    // Whole or not at all: half a store of variables would keep the guest from booting ever after.
    if !variables.exists() {
        let template = read_bounded(&firmware.variables, VARIABLES_LIMIT)
            .map_err(FileError::failed("read", &firmware.variables))?;
        match write_new_sparse(&variables, &template) {
            Ok(()) | Err(FileError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    passage.lock_nvram(context, bundle)?;
    Ok(Flash { code: firmware.code, variables: PathBuf::from(NVRAM) })
}
