//! `selfsame autostart`.

use selfsame_host::bundle::Bundle;
use selfsame_host::context::Context;
use selfsame_host::library::folders_in;
use selfsame_machine::code::{Code, Exit};
use selfsame_machine::problem::Report;

use super::run::StartArguments;
use super::{Global, Outcome, request, run};
use crate::output::{Format, json, note};

/// Start the VMs that are marked for it
///
/// Those for which `selfsame set NAME --autostart on` was said, one after the other; one that cannot start does not keep the
/// others from it. This is what the unit of `selfsame setup autostart` runs.
///
/// Example: selfsame autostart
///
/// Example: selfsame autostart --stop
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Stop them, as `stop` does
    #[arg(long)]
    stop: bool,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let mut first: Option<Report> = None;
    let mut done = Vec::new();
    for folder in folders_in(&context.home.vms()) {
        // One that cannot be read is not known to be marked; `doctor` tells of it.
        let Ok(bundle) = Bundle::read(&folder) else { continue };
        if !bundle.spec.autostart {
            continue;
        }
        let outcome = if arguments.stop {
            let stop = request::stop_request(context, None);
            request::ask(context, folder.as_os_str(), stop).map(|told| told.message().to_owned())
        } else {
            let name = context.named(&folder);
            match run::start(context, &StartArguments::of(folder)) {
                Ok(up) => Ok(run::up(&name, &up.status).trim_end().to_owned()),
                Err(report) if report.code == Code::VmRunning => Ok(report.message),
                Err(report) => Err(report),
            }
        };
        match outcome {
            Ok(message) => {
                if global.format == Format::Text && !global.quiet {
                    note(&message);
                }
                done.push(bundle.name);
            }
            Err(report) => {
                if first.is_some() {
                    // One problem ends the command; the others are told as they come.
                    drop(crate::report::write(&mut std::io::stderr().lock(), &report, global.format));
                }
                first.get_or_insert(report);
            }
        }
    }
    if global.format == Format::Text && done.is_empty() && first.is_none() {
        note("no VM is marked: `selfsame set NAME --autostart on` marks one");
    }
    if global.format == Format::Json {
        json(&serde_json::json!({ "schema": "autostarted/1", "stopped": arguments.stop, "names": done }));
    }
    first.map_or(Ok(Exit::Ok), Err)
}
