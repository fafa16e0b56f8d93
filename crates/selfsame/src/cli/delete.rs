//! `selfsame delete`.

use std::ffi::OsString;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use selfsame_host::bundle::name_of;
use selfsame_host::context::Context;
use selfsame_host::library::{delete, find_deletable};
use selfsame_host::time::Time;
use selfsame_machine::code::Exit;
use selfsame_machine::problem::{Hint, Report};

use super::{Global, Outcome, usage_problem};
use crate::output::{Format, data, json, note};

/// Delete VMs with their disks
///
/// Asks first, unless `--yes` is given. A VM that runs is not deleted. The identities stay in the library.
///
/// Example: selfsame delete --yes web2
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VMs: names or paths
    #[arg(required = true, value_name = "NAME")]
    vms: Vec<OsString>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    // All names first: a typing mistake in the last one deletes nothing.
    let mut folders = Vec::new();
    for vm in &arguments.vms {
        let folder = find_deletable(context, vm)?;
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    if !global.yes {
        let names: Vec<String> = folders.iter().map(|folder| name_of(folder)).collect();
        let names = names.join(", ");
        confirmed(&Destruction {
            question: format!("Delete {names} with its disks?"),
            unasked: format!("deleting {names} destroys its disks, and nobody is there to be asked"),
            declined: "nothing was deleted",
            verb: "delete",
        })?;
    }
    for folder in folders {
        let deleted = delete(context, &folder, Time::now())?;
        match global.format {
            Format::Json => json(&serde_json::json!({ "schema": "deleted/1", "name": deleted.name })),
            Format::Text if global.quiet => data(&format!("{}\n", deleted.name)),
            Format::Text => note(&format!("{} was deleted", deleted.name)),
        }
    }
    Ok(Exit::Ok)
}

/// Something that cannot be undone.
pub(super) struct Destruction {
    pub(super) question: String,
    /// What is said when nobody can be asked.
    pub(super) unasked: String,
    /// What is said when the answer is no.
    pub(super) declined: &'static str,
    pub(super) verb: &'static str,
}

/// Asks before something is destroyed; whoever cannot be asked has to have said `--yes`.
pub(super) fn confirmed(destruction: &Destruction) -> Result<(), Report> {
    let Destruction { question, unasked, declined, verb } = destruction;
    let refused = |message: &str| {
        let mut report = usage_problem(message);
        report.hints.push(Hint::say(format!("say `--yes` to {verb} without being asked")));
        report
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused(unasked));
    }
    let mut err = std::io::stderr().lock();
    drop(write!(err, "{} [y/N] ", crate::report::printable(question)).and_then(|()| err.flush()));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused(declined)) }
}
