//! `selfsame restart`.

use clap::ValueEnum as _;
use selfsame_host::bundle::Bundle;
use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::store::EventFilter;
use selfsame_host::supervisor::{Launched, RunNames, RunRecord};
use selfsame_machine::code::Exit;
use selfsame_machine::problem::{Hint, Report};

use super::run::{Accelerator, Before, StartArguments};
use super::{Global, Outcome, request, run};
use crate::output::{Format, data, json, note};

/// So many of the last events of a VM are looked through for its start.
const EVENTS: u32 = 1000;

/// Stop a VM and start it again
///
/// Asks the guest to power down as `stop` does, and starts it with the accelerator, the network, the ports,
/// the `--dir` and the `--despite` that it ran with. A VM
/// that does not run is started as `run -d` would. When it cannot be stopped, nothing is started.
///
/// Example: selfsame restart -t 60 web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    start: StartArguments,
    /// How long the guest may take, in seconds (`stop.timeout_seconds` of the configuration if not given)
    #[arg(short = 't', long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, arguments.start.vm())?;
    let name = context.named(&folder);
    // What would refuse the start is asked first, as far as it can be: a VM that runs is worth more than one that is to.
    let bundle = Bundle::read(&folder)?;
    let before = Before::ask(context, &bundle)?;
    if cfg!(target_os = "linux") && before.sim.is_none() {
        context.installation(bundle.architecture())?;
    }
    arguments.start.wish().of(bundle.spec.network, &bundle.spec.ports)?;
    let stopped =
        request::ask(context, folder.as_os_str(), request::stop_request(context, arguments.timeout))?;
    if global.format == Format::Text && !global.quiet && stopped.has_ended() {
        note(stopped.message());
    }
    // An override is somebody's word about one run: it holds for the run that goes on, and for no later one.
    let before = if stopped.has_ended() { before } else { Before::default() };
    let start = arguments.start.after(folder, before);
    let Launched { status, notes, tether: _ } =
        run::start_or_wait(context, global.format, &start).map_err(|mut report| {
            if stopped.has_ended() {
                report.hints.push(Hint::run(
                    "it was stopped and does not run; start it",
                    format!("selfsame run -d {}", name.word),
                ));
            }
            report
        })?;
    notes.iter().for_each(|text| note(&format!("note: {text}")));
    match global.format {
        Format::Json => json(&serde_json::json!({
            "schema": "restarted/1", "name": name.name, "ended": stopped.ended(), "status": status,
        })),
        Format::Text if global.quiet => data(&format!("{name}\n")),
        Format::Text => data(&run::up(&name, &status)),
    }
    Ok(Exit::Ok)
}

impl Before {
    fn ask(context: &Context, bundle: &Bundle) -> Result<Self, Report> {
        let record =
            RunRecord::read(&context.home.run(), RunNames(bundle.key)).filter(RunRecord::is_of_this_boot);
        let by_rule = context.accelerator(bundle.architecture(), None).accelerator;
        let sim = record.as_ref().and_then(|record| record.sim.as_ref()?.parse().ok());
        let accelerator = record
            .as_ref()
            .filter(|record| record.accelerator != by_rule.text())
            .and_then(|record| Accelerator::from_str(&record.accelerator, false).ok());
        let (folders, wish) = record.map(|record| (record.folders_of_run, record.wish)).unwrap_or_default();
        let filter =
            EventFilter { folder: Some(bundle.folder.clone()), name: None, since: None, limit: EVENTS };
        let events = context.store_for_reading()?.events().list(&filter)?;
        let started = events.into_iter().rev().find(|event| event.what.kind == "vm.started");
        let despite =
            started.and_then(|event| serde_json::from_value(event.what.data["despite"].clone()).ok());
        Ok(Self { sim, accelerator, wish, folders, despite: despite.unwrap_or_default() })
    }
}
