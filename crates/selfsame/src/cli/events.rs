//! `selfsame events`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::store::{EventFilter, EventId};
use selfsame_machine::code::Exit;

use super::{Global, Outcome};
use crate::output::{Format, Table, data, note};

/// Show what happened
///
/// Oldest first. With `--format json`, one object a line.
///
/// Example: selfsame events -n 20 web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Of this VM only: its name, or a path; a deleted VM's name works too
    #[arg(value_name = "NAME")]
    vm: Option<OsString>,
    /// Only after the event with this number
    #[arg(long, value_name = "NUMBER")]
    since: Option<i64>,
    /// At most so many, the newest ones
    #[arg(short = 'n', long, value_name = "N", default_value = "50")]
    limit: u32,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let store = context.store_for_reading()?;
    let (folder, name) = match &arguments.vm {
        None => (None, None),
        Some(vm) => match find(context, vm) {
            Ok(folder) => (Some(folder), None),
            Err(_) => (None, Some(vm.to_string_lossy().into_owned())),
        },
    };
    let since = arguments.since.map(EventId);
    let events = store.events().list(&EventFilter { folder, name, since, limit: arguments.limit })?;
    if global.format == Format::Json {
        // One object a line: a program can follow along.
        for event in events {
            let line = serde_json::json!({
                "schema": "event/1",
                "id": event.id.0,
                "at": event.what.at,
                "kind": event.what.kind,
                "name": event.what.name,
                "path": event.what.folder.as_ref().map(|folder| folder.to_string_lossy()),
                "identity_digest": event.what.digest,
                "message": event.what.message,
                "data": event.what.data,
            });
            data(&format!("{line}\n"));
        }
        return Ok(Exit::Ok);
    }
    if global.quiet {
        data(&events.iter().map(|event| format!("{}\n", event.id.0)).collect::<String>());
        return Ok(Exit::Ok);
    }
    if events.is_empty() {
        note("no such events");
    }
    let mut table = Table::new(["ID", "WHEN", "KIND", "WHAT"]);
    for event in events {
        table.row([event.id.0.to_string(), event.what.at.to_seconds(), event.what.kind, event.what.message]);
    }
    data(&table.render());
    Ok(Exit::Ok)
}
