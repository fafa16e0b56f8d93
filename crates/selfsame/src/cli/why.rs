//! `selfsame why`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::diagnosis::{Finding, walk};
use selfsame_host::library::find;
use selfsame_host::time::Time;
use selfsame_machine::code::Exit;

use super::{Global, Outcome};
use crate::output::{Format, Table, data, hints, json};

/// Explain what stands in the way of a start
///
/// Walks the steps of a start in their order, and takes, locks and changes nothing. Ends with 10 when a start would be
/// refused.
///
/// Example: selfsame why web2
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, &arguments.vm)?;
    let walk = walk(context, &folder, Time::now())?;
    let exit = if walk.is_blocked() { Exit::Found } else { Exit::Ok };
    if global.format == Format::Json {
        json(&serde_json::json!({
            "schema": "why/1", "state": walk.state, "blocked": walk.is_blocked(), "steps": walk.rows, "hints": walk.hints,
        }));
        return Ok(exit);
    }
    if global.quiet {
        return Ok(exit);
    }
    let mut table = Table::new(["STEP", "ABOUT", "FINDING", "WHAT WAS FOUND"]);
    for row in &walk.rows {
        let mark = match row.finding {
            Finding::Free => "ok",
            Finding::Own => "its own",
            Finding::Blocked => "IN THE WAY",
            Finding::Unknown => "UNKNOWN",
        };
        table.row([row.step.to_string(), row.about.to_owned(), mark.to_owned(), row.text.clone()]);
    }
    data(&table.render());
    hints(&walk.hints);
    Ok(exit)
}
