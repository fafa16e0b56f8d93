//! What a supervisor writes into the library while it drives: opened for each writing and closed again.
//!
//! The library may be locked or its disk full. A guest is never held up for that: what could not be written is tried
//! again with the next thing that happens, and the end of a run, last of all, is kept in the record.

use std::path::Path;
use std::time::{Duration, Instant};

use selfsame_machine::identity::{Identity, MacAddress};
use selfsame_machine::lifecycle::{Cause, End, Incident, IncidentKind, Phase, Request};
use selfsame_machine::problem::{Problem, Report};
use selfsame_machine::report::GuestReport;

use super::driver::Chronicle;
use super::launch::tail;
use super::protocol::Ended;
use super::record::{RunNames, RunRecord};
use crate::bundle::{QEMU_LOG, name_of};
use crate::context::Context;
use crate::store::{NewEvent, NewObservation, Options, Recorded, RunId, Store};
use crate::time::Time;

/// A guest may report as often as it likes; so many are remembered of one run.
const REPORTS: usize = 100;
/// A failing disk fails at every turn; so many incidents are remembered of one run.
const INCIDENTS: usize = 20;
/// How long a library that could not be written is left alone.
const RETRY: Duration = Duration::from_secs(5);
/// So many writings wait for a locked library.
const WAITING: usize = 200;

enum Entry {
    Event(NewEvent),
    Observation(NewObservation),
}

/// Writes down one run.
pub(super) struct StoreChronicle<'c> {
    context: &'c Context,
    record: RunRecord,
    name: String,
    identity: Option<Identity>,
    mac: Option<MacAddress>,
    said_before: u64,
    reports: usize,
    incidents: usize,
    waiting: Vec<Entry>,
    retry_at: Option<Instant>,
}

impl<'c> StoreChronicle<'c> {
    pub(super) fn new(context: &'c Context, record: &RunRecord) -> Self {
        let log = record.folder().join(QEMU_LOG);
        Self {
            context,
            record: record.clone(),
            name: name_of(&record.folder()),
            identity: record.identity.parse().ok(),
            mac: record.mac_address.parse().ok(),
            said_before: std::fs::metadata(log).map_or(0, |metadata| metadata.len()),
            reports: 0,
            incidents: 0,
            waiting: Vec::new(),
            retry_at: None,
        }
    }

    fn event(&self, kind: &str, message: String, data: serde_json::Value) -> Entry {
        Entry::Event(NewEvent {
            at: Time::now(),
            folder: Some(self.record.folder()),
            name: Some(self.name.clone()),
            digest: self.identity.map(|identity| identity.digest().to_string()),
            kind: kind.to_owned(),
            message,
            data,
        })
    }

    fn write(&mut self, entry: Entry) {
        if self.waiting.len() < WAITING {
            self.waiting.push(entry);
        }
        if self.retry_at.is_none_or(|at| Instant::now() >= at) {
            self.write_waiting();
        }
    }

    /// Writes what waits, up to the first refusal; after one, the library is left alone for a while, so that a stalled
    /// writer somewhere holds up the guest's driver once and not with every event.
    fn write_waiting(&mut self) {
        let name = self.name.clone();
        let blocked = match open(self.context) {
            Err(_) => true,
            Ok(store) => {
                let mut blocked = false;
                self.waiting.retain(|entry| {
                    blocked = blocked || !write_one(&store, entry, &name);
                    blocked
                });
                blocked
            }
        };
        self.retry_at = blocked.then(|| Instant::now() + RETRY);
    }

    /// Writes down the end and says it as clients hear it.
    pub(super) fn ended(mut self, end: &End, run: &Path, names: RunNames) -> Ended {
        let explanation = end.to_string();
        let last_output = if end.cause.is_failure() {
            tail(&self.record.folder().join(QEMU_LOG), self.said_before, 10)
        } else {
            Vec::new()
        };
        let data = serde_json::json!({
            "cause": end.cause.text(), "shutdown_by": end.by, "last_output": last_output,
        });
        let entry = self.event("vm.ended", format!("{} ended: {explanation}", self.name), data);
        self.waiting.push(entry);
        self.write_waiting();
        let closed = open(self.context).and_then(|store| {
            let run = RunId(self.record.run);
            Ok(store.runs().end(run, Time::now(), end.cause.text(), Some(&explanation))?)
        });
        let record = run.join(names.record());
        if closed.is_ok() {
            drop(std::fs::remove_file(record));
        } else {
            // The next start of this VM closes the books.
            self.record.ended = Some((end.cause, explanation.clone()));
            drop(self.record.write(run, names));
        }
        Ended { cause: end.cause, shutdown_by: end.by, explanation, last_output }
    }
}

impl Chronicle for StoreChronicle<'_> {
    fn reported(&mut self, report: GuestReport) {
        let (Some(identity), Some(mac)) = (self.identity, self.mac) else { return };
        self.reports += 1;
        if self.reports > REPORTS {
            return;
        }
        let contradictions = report.contradictions(&identity, &mac);
        let entry = Entry::Observation(NewObservation {
            digest: identity.digest().to_string(),
            run: Some(RunId(self.record.run)),
            folder: self.record.folder(),
            at: Time::now(),
            source: "guest-report".to_owned(),
            facts: serde_json::to_value(&report).unwrap_or_default(),
            contradictions: serde_json::to_value(&contradictions).unwrap_or_default(),
        });
        self.write(entry);
    }

    fn changed(&mut self, phase: &Phase, request: Option<&Request>) {
        match (request, phase) {
            // The end has a story of its own.
            (None, Phase::Ended(_)) => {}
            (Some(request), _) => {
                let data = serde_json::to_value(request).unwrap_or_default();
                let message = format!("{} was asked to {}", self.name, verb(request));
                let entry = self.event("vm.requested", message, data);
                self.write(entry);
            }
            (None, phase) => {
                let data = serde_json::json!({ "phase": phase.text() });
                let entry = self.event("vm.changed", format!("{} is {}", self.name, phase.text()), data);
                self.write(entry);
            }
        }
    }

    fn happened(&mut self, incident: &Incident) {
        self.incidents += 1;
        if self.incidents > INCIDENTS {
            return;
        }
        let (name, what) = (&self.name, &incident.what);
        let (kind, message) = match incident.kind {
            IncidentKind::Disk => ("vm.disk_failed", format!("a disk of {name} failed: {what}")),
            IncidentKind::Network => ("vm.network_lost", format!("{name} lost its network: {what}")),
            IncidentKind::Machine => ("vm.machine_failed", format!("the machine of {name} failed: {what}")),
            IncidentKind::Order => ("vm.order_failed", format!("{name}: {what}")),
        };
        let entry = self.event(kind, message, serde_json::Value::Null);
        self.write(entry);
    }

    fn state_failed(&mut self, why: &Report) {
        let message = format!("{}: its state: {}", self.name, why.message);
        let entry = self.event("vm.state_failed", message, serde_json::to_value(why).unwrap_or_default());
        self.write(entry);
    }

    fn failed(&mut self, what: &dyn Problem) {
        let report = Report::of(what);
        let data = serde_json::to_value(&report).unwrap_or_default();
        let entry = self.event("vm.order_failed", report.message, data);
        self.write(entry);
    }
}

const fn verb(request: &Request) -> &'static str {
    match request {
        Request::Start { .. } => "start",
        Request::Pause => "pause",
        Request::Resume => "go on",
        Request::Suspend => "be suspended",
        Request::Stop { .. } => "stop",
        Request::Kill => "end at once",
    }
}

/// A supervisor waits for the library only shortly: its guest and its clients wait for it.
fn open(context: &Context) -> Result<Store, Report> {
    let options = Options { busy: Duration::from_millis(500) };
    Ok(Store::open(&context.home.library(), options)?)
}

fn write_one(store: &Store, entry: &Entry, name: &str) -> bool {
    match entry {
        Entry::Event(event) => store.events().append(event).is_ok(),
        Entry::Observation(observation) => match store.observations().record(observation) {
            Ok(Recorded::New(_)) => {
                let contradicted = observation.contradictions.as_array().is_some_and(|list| !list.is_empty());
                let (kind, message) = if contradicted {
                    ("identity.contradicted", format!("{name} shows another identity than was predicted"))
                } else {
                    ("identity.observed", format!("{name} shows the identity that was predicted"))
                };
                drop(store.events().append(&NewEvent {
                    at: observation.at,
                    folder: Some(observation.folder.clone()),
                    name: Some(name.to_owned()),
                    digest: Some(observation.digest.clone()),
                    kind: kind.to_owned(),
                    message,
                    data: serde_json::json!({
                        "facts": observation.facts,
                        "contradictions": observation.contradictions,
                    }),
                }));
                true
            }
            Ok(Recorded::Same(_)) => true,
            Err(_) => false,
        },
    }
}

/// Writes down that another supervisor took over.
pub(super) fn adopted(context: &Context, record: &RunRecord, name: &str) {
    let Ok(store) = open(context) else { return };
    drop(store.runs().adopted(RunId(record.run), std::process::id()));
    drop(store.events().append(&NewEvent {
        at: Time::now(),
        folder: Some(record.folder()),
        name: Some(name.to_owned()),
        digest: record.identity.parse::<Identity>().ok().map(|identity| identity.digest().to_string()),
        kind: "vm.adopted".to_owned(),
        message: format!("{name} was taken over by another supervisor"),
        data: serde_json::json!({ "qemu_pid": record.qemu.map(|qemu| qemu.pid) }),
    }));
}

/// Closes the books of a run that failed to start.
pub(super) fn close_failed(context: &Context, run: RunId, detail: &str) {
    let Ok(store) = open(context) else { return };
    drop(store.runs().end(run, Time::now(), Cause::StartFailed.text(), Some(detail)));
}

/// Closes the books of a run whose end no supervisor saw, or whose supervisor could not write it down.
///
/// # Errors
/// When the library cannot be written: what the record says must not be lost by a new run's.
pub(super) fn close_unwatched(
    store: &Store,
    record: &RunRecord,
    run: &Path,
    names: RunNames,
) -> Result<(), Report> {
    let unwatched = End::new(Cause::Unwatched, selfsame_machine::lifecycle::ExitStatus::Unknown);
    let (cause, explanation) =
        record.ended.clone().unwrap_or_else(|| (Cause::Unwatched, unwatched.to_string()));
    store.runs().end(RunId(record.run), Time::now(), cause.text(), Some(&explanation))?;
    drop(std::fs::remove_file(run.join(names.record())));
    Ok(())
}
