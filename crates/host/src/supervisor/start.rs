//! Starting the guest: the gate, the back end, and what is written down on the way.

use std::time::Duration;

use selfsame_machine::lifecycle::Life;
use selfsame_machine::network::Network;
use selfsame_machine::problem::Report;
use selfsame_machine::spec::Change;

use super::chronicle;
use super::engine::{Engine, Started, Words, settle};
use super::launch::Options;
use super::protocol::Status;
use super::record::RunRecord;
use super::{Hold, Up};
use crate::backend::AnyBackend;
use crate::bundle::Bundle;
use crate::folders;
use crate::gate::{self, Passage, Terms};
use crate::lock::{FolderLock, PlaceSource};
use crate::process::{ProcessId, boot_id};
use crate::reach::ports;
use crate::state::{Made, Saved, consume};
use crate::store::{GoodStart, NewEvent, NewRun, Store};
use crate::time::Time;

/// How long a guest that was brought back may take to go on: milliseconds as a rule.
const GOING_ON: Duration = Duration::from_secs(10);

impl Hold {
    pub(super) fn start(
        &mut self,
        options: &Options,
        folder: FolderLock,
        paused: bool,
    ) -> Result<Up, Report> {
        let now = Time::now();
        let mut bundle = Bundle::read(&options.folder)?;
        // What is locked must be what was read: the folder may have been exchanged in between.
        if bundle.key != folder.key() {
            let source = std::io::Error::other("another folder took its place meanwhile");
            return Err(crate::bundle::BundleError::Folder { folder: bundle.folder, source }.into());
        }
        if !bundle.described && bundle.disks().is_empty() {
            return Err(crate::bundle::BundleError::Empty { folder: bundle.folder }.into());
        }
        // What this run is made of; the description on the disk stays.
        bundle.spec.folders = folders::of_run(&self.context.home, &bundle.spec.folders, &options.folders)?;
        Engine::expect(&self.context, &bundle, options)?;
        let connection = options.wish.of(bundle.spec.network, &bundle.spec.ports)?;
        ports::check(&self.context, &self.context.named(&bundle.folder), &connection.ports)?;
        let store = self.context.store()?;
        self.heal(&store)?;
        let terms = Terms { overrides: &options.overrides, ticket: self.ticket.take() };
        let mut passage = gate::pass(&self.context, &self.place, &store, &bundle, folder, terms, now)?;
        let network = connection.network;
        let engine = Engine::prepare(&self.context, &bundle, options, connection, &mut passage)?;
        let words = engine.words();
        let made = made(&bundle, &words, network);
        let saved = Saved::read(&bundle.folder, &self.context.named(&bundle.folder))?;
        if let Some(saved) = &saved {
            saved.check_folders(&bundle.spec.folders)?;
            saved.check(&made)?;
            passage.notes.extend(self.about(saved, &store, &bundle)?);
        }
        crate::state::tidy(&self.folder.pinned());
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
            qemu_uuid: words.qemu_uuid,
            boot_id: boot_id().unwrap_or_default(),
            supervisor: ProcessId::own().unwrap_or(ProcessId { pid: std::process::id(), start: 0 }),
            qemu: None,
            run: run.0,
            started: now.to_string(),
            accelerator: words.accelerator,
            accelerator_reason: words.accelerator_reason,
            machine: words.machine,
            folders: bundle.spec.folders.clone(),
            folders_of_run: options.folders.clone(),
            made: Some(made),
            link: None,
            wish: options.wish.clone(),
            ephemeral: bundle.spec.ephemeral,
            paused,
            sim: None,
            ended: None,
        };
        let Started { mut guest, report, console, record, mut is_paused } =
            match engine.launch(self, &bundle, &passage, record, paused, saved.as_ref()) {
                Ok(started) => started,
                Err(report) => {
                    let detail = std::iter::once(report.message.clone()).chain(report.causes.clone());
                    chronicle::close_failed(&self.context, run, &detail.collect::<Vec<_>>().join(": "));
                    return Err(report);
                }
            };
        if saved.is_some() && !paused {
            is_paused = !self.go_on(&mut guest, &mut passage);
        }
        self.write_down(&bundle, &record, &mut passage, options, saved.as_ref());
        let status = status(&record, false, false);
        let mut notes = passage.notes.clone();
        if self.place.source() == PlaceSource::Environment {
            notes.push(format!(
                "SELFSAME_LOCK_DIR moves the locks to `{}`: VMs started without it are not seen",
                self.place.path().display()
            ));
        }
        let life =
            Life::adopted(is_paused).sharing_folders(!record.folders.is_empty()).of_one_run(record.ephemeral);
        Ok(Up { life, guest, report, console, status, record, notes, passage: Some(passage) })
    }

    /// What people should know of a state that the VM goes on from.
    fn about(&self, saved: &Saved, store: &Store, bundle: &Bundle) -> Result<Vec<String>, Report> {
        let mut notes =
            vec![format!("{} goes on from where it was suspended, {}", bundle.name, saved.since())];
        let Ok(since) = saved.since().parse::<Time>() else { return Ok(notes) };
        let digest = bundle.identity.digest().to_string();
        let twins = store.runs().of_others_since(&digest, &bundle.folder, since)?;
        notes.extend(twins.iter().map(|run| {
            format!(
                "its twin {} ran while it was suspended, from {}: what others heard of this identity since then, {}                  does not remember",
                self.context.named(&run.begun.folder),
                run.begun.started.to_seconds(),
                bundle.name,
            )
        }));
        Ok(notes)
    }

    /// Lets a guest that was brought back go on, and removes its state as soon as it does. Says whether it does.
    fn go_on(&self, guest: &mut AnyBackend, passage: &mut Passage) -> bool {
        let (goes_on, since) = match settle::go_on(guest, GOING_ON) {
            Ok(outcome) => outcome,
            Err(error) => {
                passage.notes.push(format!("it was brought back and stands still: {error}"));
                return false;
            }
        };
        guest.tell_again(since);
        if !goes_on {
            // It does when the driver hears of it, which removes the state then.
            passage.notes.push("it was brought back and has not gone on yet".to_owned());
            return false;
        }
        if let Err(error) = consume(&self.folder.pinned()) {
            passage.notes.push(format!("its state could not be removed: {error}"));
        }
        true
    }

    /// What a good start leaves in the library and in the bundle.
    fn write_down(
        &self,
        bundle: &Bundle,
        record: &RunRecord,
        passage: &mut Passage,
        options: &Options,
        saved: Option<&Saved>,
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
                    "machine": record.machine,
                    "despite": options.overrides.despite.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
                    "network": record.link,
                    "accepted_identity": options.overrides.accept_identity,
                    "folders": record.folders,
                    "notes": passage.notes,
                    "continued_from": saved.map(Saved::since),
                }),
            })?;
            Ok(())
        });
        if let Err(report) = written {
            passage.notes.push(format!("the start is not in the library: {}", report.message));
        }
        // A machine type is QEMU's: a guest without a process of its own has none.
        if record.qemu.is_some()
            && bundle.spec.machine.is_none()
            && let Err(report) = keep_machine(bundle, &record.machine)
        {
            let note = format!("the machine type {} is not in vm.toml: {}", record.machine, report.message);
            passage.notes.push(note);
        }
    }
}

/// What a saved state of the guest would be made with.
fn made(bundle: &Bundle, words: &Words, network: Network) -> Made {
    Made {
        identity: bundle.identity.canonical(),
        folder: bundle.key.to_string(),
        host: crate::state::host(),
        machine: words.machine.clone(),
        mac_address: bundle.mac_address().to_string(),
        network,
        cpus: bundle.spec.cpus,
        memory: bundle.spec.memory.count(),
        display: words.display.text().to_owned(),
        accelerator: words.accelerator.clone(),
        qemu: words.version,
        disks: bundle.remembered_files(),
        devices: words.devices,
    }
}

/// Writes the machine type into a `vm.toml` that is there: what its author wrote stays as it is.
fn keep_machine(bundle: &Bundle, machine: &str) -> Result<(), Report> {
    if !bundle.described {
        return Ok(());
    }
    let change = Change { machine: Some(machine.to_owned()), ..Change::default() };
    crate::library::change::prepare(&bundle.folder, &change)?.write()
}

/// The state as a record tells it.
pub(super) fn status(record: &RunRecord, adopted: bool, agent: bool) -> Status {
    Status {
        phase: String::new(),
        supervisor_pid: std::process::id(),
        backend_pid: record.qemu.map(|qemu| qemu.pid),
        adopted,
        identity: record.identity.clone(),
        accelerator: record.accelerator.clone(),
        accelerator_reason: record.accelerator_reason.clone(),
        machine: record.machine.clone(),
        folders: record.folders.clone(),
        started: record.started.clone(),
        network: record.link.clone(),
        agent,
    }
}
