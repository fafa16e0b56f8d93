//! `selfsame suspend`.

use std::ffi::OsString;

use selfsame_host::bundle::name_of;
use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::state::discard;
use selfsame_host::time::Time;
use selfsame_machine::code::Exit;

use super::delete::{Destruction, confirmed};
use super::{Global, Outcome, request};
use crate::output::{Format, data, json, note};

/// Put guests to sleep on the disk, to go on at their next start
///
/// Memory and devices are written into the VM's folder, QEMU ends, and everything that it held is free: a twin may run
/// meanwhile. `run` and `start` go on from there, if the VM and its disks are still what they were. A guest whose state
/// cannot be written goes on as before.
///
/// Example: selfsame suspend web1
///
/// Example: selfsame suspend --discard --yes web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VMs: names or paths
    #[arg(required = true, value_name = "NAME")]
    vms: Vec<OsString>,
    /// Throw the state of suspended VMs away: their next start is one after a power cut. Asks first, unless `--yes`
    #[arg(long)]
    discard: bool,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    if arguments.discard {
        return discard_all(context, global, &arguments.vms);
    }
    request::suspend(context, global, &arguments.vms)
}

fn discard_all(context: &Context, global: &Global, vms: &[OsString]) -> Outcome {
    // All names first: a typing mistake in the last one throws nothing away.
    let folders = vms.iter().map(|vm| find(context, vm)).collect::<Result<Vec<_>, _>>()?;
    if !global.yes {
        let names: Vec<String> = folders.iter().map(|folder| name_of(folder)).collect();
        let names = names.join(", ");
        confirmed(&Destruction {
            question: format!("Throw away what {names} had in memory?"),
            unasked: format!("what {names} had in memory would be lost, and nobody is there to be asked"),
            declined: "nothing was thrown away",
            verb: "throw it away",
        })?;
    }
    for folder in folders {
        let gone = discard(context, &folder, Time::now())?;
        match global.format {
            Format::Json => json(&serde_json::json!({
                "schema": "discarded/1", "name": gone.name.name, "since": gone.state.since, "size": gone.state.size,
            })),
            Format::Text if global.quiet => data(&format!("{}\n", gone.name)),
            Format::Text => {
                note(&format!("the state of {} was thrown away; its next start is a new one", gone.name))
            }
        }
    }
    Ok(Exit::Ok)
}
