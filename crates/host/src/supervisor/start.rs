//! Starting the guest: the gate, QEMU, and what is written down on the way.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use selfsame_machine::identity::Identity;
use selfsame_machine::lifecycle::Life;
use selfsame_machine::problem::Report;
use selfsame_machine::spec::{Boot, Guest, Spec};

use super::chronicle;
use super::launch::{Options, tail};
use super::problem::SupervisorError;
use super::protocol::Status;
use super::record::RunRecord;
use super::{Hold, Up};
use crate::bundle::{Bundle, CONSOLE_LOG, LOGS, NVRAM, QEMU_LOG, SPEC};
use crate::context::Context;
use crate::files::{FileError, read_bounded, write_new};
use crate::gate::{self, Passage};
use crate::lock::{FolderLock, PlaceSource};
use crate::process::{ProcessHandle, ProcessId, boot_id};
use crate::qemu::accelerator::Accelerator;
use crate::qemu::arguments::{self, Descriptors, Plan};
use crate::qemu::guest::Qemu;
use crate::qemu::installation::Installation;
use crate::qemu::qmp::{Monitor, QmpError, RunState};
use crate::store::{GoodStart, NewEvent, NewRun};
use crate::time::Time;

/// How long QEMU may take from its start to its monitor's greeting: 30 ms as a rule, more on a loaded host.
const GREETING: Duration = Duration::from_secs(15);
/// No template of UEFI variables is larger: 528 KiB for PCs, 64 MiB for ARM.
const VARIABLES_LIMIT: u64 = 64 << 20;
/// How long QEMU may take to end after its monitor closed.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Hold {
    pub(super) fn start(
        &mut self,
        options: &Options,
        folder: FolderLock,
        paused: bool,
    ) -> Result<Up, Report> {
        let now = Time::now();
        let bundle = Bundle::read(&options.folder)?;
        // What is locked must be what was read: the folder may have been exchanged in between.
        if bundle.key != folder.key() {
            let source = std::io::Error::other("another folder took its place meanwhile");
            return Err(crate::bundle::BundleError::Folder { folder: bundle.folder, source }.into());
        }
        if !bundle.described && bundle.disks().is_empty() {
            return Err(crate::bundle::BundleError::Empty { folder: bundle.folder }.into());
        }
        let Identity::Generic(id) = bundle.identity else {
            return Err(SupervisorError::Unavailable { name: self.context.named(&bundle.folder) }.into());
        };
        if bundle.guest() == Guest::Macos {
            return Err(SupervisorError::Unavailable { name: self.context.named(&bundle.folder) }.into());
        }
        let store = self.context.store()?;
        self.heal(&store)?;
        let mut passage =
            gate::pass(&self.context, &self.place, &store, &bundle, folder, &options.overrides, now)?;
        let installation = self.context.installation()?;
        let choice = self.context.accelerator(options.accelerator);
        let boot = boot(&self.context, &bundle, &mut passage)?;
        let machine = bundle.spec.machine.clone().unwrap_or_else(|| installation.machine.clone());
        let run = store.runs().begin(&NewRun {
            folder: bundle.folder.clone(),
            name: bundle.name.clone(),
            digest: Some(bundle.identity.digest().to_string()),
            supervisor_pid: std::process::id(),
            boot_id: boot_id().unwrap_or_default(),
            started: now,
        })?;
        // Not kept open across the start of QEMU.
        drop(store);
        let record = RunRecord {
            folder: RunRecord::folder_bytes(&bundle.folder),
            identity: bundle.identity.canonical(),
            mac_address: bundle.mac_address().to_string(),
            qemu_uuid: id.product_uuid().to_string(),
            boot_id: boot_id().unwrap_or_default(),
            supervisor: ProcessId::own().unwrap_or(ProcessId { pid: std::process::id(), start: 0 }),
            qemu: None,
            run: run.0,
            started: now.to_string(),
            accelerator: choice.accelerator.text().to_owned(),
            accelerator_reason: choice.reason.to_string(),
            machine: machine.clone(),
            ended: None,
        };
        let plan = |descriptors| Plan {
            name: bundle.name.clone(),
            machine: machine.clone(),
            accelerator: choice.accelerator,
            sandbox: installation.sandbox,
            cpus: bundle.spec.cpus,
            memory: bundle.spec.memory.count(),
            // The framework stores the UUID big-endian, QEMU little-endian: reversed, guests read the same text on both.
            uuid: id.product_uuid(),
            serial: id.smbios_serial(),
            boot,
            disks: disks(&bundle),
            iso: bundle.spec.iso.as_ref().map(PathBuf::from),
            mac_addresses: vec![bundle.mac_address().to_string()],
            forwards: Vec::new(),
            descriptors,
            paused,
        };
        let started = self.spawn(&bundle, &installation, plan, &passage, record);
        let (guest, report, record, is_paused) = match started {
            Ok(started) => started,
            Err(report) => {
                let detail = std::iter::once(report.message.clone()).chain(report.causes.clone());
                chronicle::close_failed(&self.context, run, &detail.collect::<Vec<_>>().join(": "));
                return Err(report);
            }
        };
        self.write_down(&bundle, &record, &mut passage, options, &machine);
        let status = status(&record, false, guest.id().pid);
        let mut notes = passage.notes.clone();
        if self.place.source() == PlaceSource::Environment {
            notes.push(format!(
                "SELFSAME_LOCK_DIR moves the locks to `{}`: VMs started without it are not seen",
                self.place.path().display()
            ));
        }
        let life = Life::adopted(is_paused);
        Ok(Up { life, guest, report, status, record, notes, passage: Some(passage) })
    }

    /// Starts QEMU and waits for its monitor. When it fails, QEMU is gone and so is what lay in `run/`.
    fn spawn(
        &self,
        bundle: &Bundle,
        installation: &Installation,
        plan: impl FnOnce(Descriptors) -> Plan,
        passage: &Passage,
        mut record: RunRecord,
    ) -> Result<(Qemu, Option<UnixStream>, RunRecord, bool), Report> {
        let run = self.context.home.run();
        let run_failed = |path: &Path| FileError::failed("write", path);
        let logs = bundle.folder.join(LOGS);
        if let Err(error) = std::fs::create_dir(&logs)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(FileError::failed("make", &logs)(error).into());
        }
        let append = |file: &str| {
            let path = bundle.folder.join(file);
            File::options().append(true).create(true).open(&path).map_err(FileError::failed("write", &path))
        };
        let (log, console) = (append(QEMU_LOG)?, append(CONSOLE_LOG)?);
        let said_before = log.metadata().map_or(0, |metadata| metadata.len());
        let monitor = self.sockets.listen(&self.names.monitor()).map_err(run_failed(&run))?;
        let report = self.sockets.listen(&self.names.report()).map_err(run_failed(&run))?;
        let plan = plan(Descriptors {
            qmp: monitor.as_raw_fd(),
            report: report.as_raw_fd(),
            console: console.as_raw_fd(),
        });
        let arguments = plan.arguments()?;
        let own: [BorrowedFd<'_>; 3] = [monitor.as_fd(), report.as_fd(), console.as_fd()];
        let inherited: Vec<BorrowedFd<'_>> = own.into_iter().chain(passage.descriptors()).collect();
        record.write(&run, self.names).map_err(run_failed(&run))?;
        let mut child = crate::qemu::process::spawn(
            &installation.binary,
            &arguments,
            &passage.locked_folder(),
            &log,
            &inherited,
        )
        // What was written down of a start that never was would make the VM look like an orphan.
        .inspect_err(|_| drop(std::fs::remove_file(run.join(self.names.record()))))?;
        let id = ProcessId::of(child.id());
        record.qemu = id;
        let up = id.ok_or_else(QmpError::gone).and_then(|id| {
            // Losing this writing loses nothing: an adoption finds the process by its locks.
            drop(record.write(&run, self.names));
            let connection = self.connect(&self.names.monitor(), monitor)?;
            let mut monitor = Monitor::handshake(connection, GREETING)?;
            let state = monitor.run_state(GREETING)?;
            Ok((id, monitor, state))
        });
        let outcome = match up {
            Ok((id, monitor, state)) => ProcessHandle::open(id)
                .map(|handle| (id, handle, monitor, state))
                .map_err(|_| QmpError::gone()),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((id, handle, monitor, state)) => {
                let report = self.connect_report(report);
                let paused = state != RunState::Running;
                Ok((Qemu::started(id, handle, child, monitor), report, record, paused))
            }
            Err(source) => {
                end(&mut child);
                drop(std::fs::remove_file(run.join(self.names.record())));
                let output = tail(&bundle.folder.join(QEMU_LOG), said_before, 5);
                let accelerated = plan.accelerator != Accelerator::Tcg;
                let name = self.context.named(&bundle.folder);
                Err(SupervisorError::Qemu { name, accelerated, output, source }.into())
            }
        }
    }

    /// Connects to a socket that QEMU listens at, and gives up our end of the listening, so that it closes with QEMU.
    fn connect(&self, name: &str, listener: UnixListener) -> Result<UnixStream, QmpError> {
        let connected = self.sockets.connect(name);
        drop(listener);
        connected.ok().flatten().ok_or_else(QmpError::gone)
    }

    fn connect_report(&self, listener: UnixListener) -> Option<UnixStream> {
        let stream = self.sockets.connect(&self.names.report()).ok().flatten();
        drop(listener);
        stream.filter(|stream| stream.set_nonblocking(true).is_ok())
    }

    /// What a good start leaves in the library and in the bundle.
    fn write_down(
        &self,
        bundle: &Bundle,
        record: &RunRecord,
        passage: &mut Passage,
        options: &Options,
        machine: &str,
    ) {
        let now = Time::now();
        // The guest is up: from here on a failure to write is a note, not a failed start.
        let written = self.context.store().and_then(|store| {
            let run = crate::store::RunId(record.run);
            store.runs().ready(run, record.qemu.map_or(0, |qemu| qemu.pid), now)?;
            store.vms().record_good_start(
                &bundle.folder,
                &GoodStart {
                    identifier: bundle.identifier_digest(),
                    model: Some(bundle.model_digest()).filter(|model| !model.is_empty()),
                    at: now,
                },
            )?;
            store.events().append(&NewEvent {
                at: now,
                folder: Some(bundle.folder.clone()),
                name: Some(bundle.name.clone()),
                digest: Some(bundle.identity.digest().to_string()),
                kind: "vm.started".to_owned(),
                message: format!("{} was started with {}", bundle.name, bundle.identity),
                data: serde_json::json!({
                    "identity": bundle.identity.canonical(),
                    "accelerator": record.accelerator,
                    "machine": machine,
                    "despite": options.overrides.despite.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
                    "accepted_identity": options.overrides.accept_identity,
                    "notes": passage.notes,
                }),
            })?;
            Ok(())
        });
        if let Err(report) = written {
            passage.notes.push(format!("the start is not in the library: {}", report.message));
        }
        if bundle.spec.machine.is_none()
            && let Err(report) = keep_machine(bundle, machine)
        {
            passage.notes.push(format!("the machine type {machine} is not in vm.toml: {}", report.message));
        }
    }
}

/// Writes the machine type into a `vm.toml` that is there, as one more line: what its author wrote stays as it is.
fn keep_machine(bundle: &Bundle, machine: &str) -> Result<(), Report> {
    let path = bundle.folder.join(SPEC);
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    let expected = Spec { machine: Some(machine.to_owned()), ..bundle.spec.clone() };
    let Some(text) = selfsame_machine::spec::with_machine(&text, &expected) else { return Ok(()) };
    Ok(crate::files::write_atomically(&path, text.as_bytes())?)
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

/// The state as a record tells it.
pub(super) fn status(record: &RunRecord, adopted: bool, pid: u32) -> Status {
    Status {
        phase: String::new(),
        supervisor_pid: std::process::id(),
        backend_pid: Some(pid),
        adopted,
        identity: record.identity.clone(),
        accelerator: record.accelerator.clone(),
        accelerator_reason: record.accelerator_reason.clone(),
        machine: record.machine.clone(),
        started: record.started.clone(),
    }
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

fn boot(context: &Context, bundle: &Bundle, passage: &mut Passage) -> Result<arguments::Boot, Report> {
    match &bundle.spec.boot {
        Boot::Bios => Ok(arguments::Boot::Bios),
        Boot::Kernel { kernel, initrd, append } => Ok(arguments::Boot::DirectKernel {
            kernel: kernel.into(),
            initrd: initrd.as_ref().map(PathBuf::from),
            append: append.clone(),
        }),
        Boot::Uefi => {
            let firmware = context.firmware()?;
            let variables = bundle.folder.join(NVRAM);
            // Whole or not at all: half a store of variables would keep the guest from booting ever after.
            if !variables.exists() {
                let template = read_bounded(&firmware.variables, VARIABLES_LIMIT)
                    .map_err(FileError::failed("read", &firmware.variables))?;
                match write_new(&variables, &template) {
                    Ok(()) | Err(FileError::Exists { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            passage.lock_nvram(context, bundle)?;
            Ok(arguments::Boot::Uefi { code: firmware.code, variables: PathBuf::from(NVRAM) })
        }
    }
}
