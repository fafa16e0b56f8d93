//! `selfsame quota show`.

use selfsame_host::bundle::name_of;
use selfsame_host::context::Context;
use selfsame_host::quota::Quota;
use selfsame_machine::code::Exit;
use selfsame_machine::spec::Guest;

use crate::cli::{Global, Outcome};
use crate::output::{Format, Table, data, json};

/// Show the limits, where they come from, and who holds the slots
///
/// Limits are set by `quota.linux` and `quota.macos` of the configuration. Guests that started while there was no limit hold
/// no slot.
///
/// Example: selfsame quota show
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {}

pub(super) fn run(context: &Context, global: &Global, _arguments: &Arguments) -> Outcome {
    let quotas = [Guest::Linux, Guest::Macos].map(|guest| Quota::look(context, guest));
    if global.format == Format::Json {
        let classes: Vec<_> = quotas.iter().map(document).collect();
        json(&serde_json::json!({ "schema": "quota/1", "classes": classes }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["CLASS", "LIMIT", "TAKEN", "SOURCE", "HOLDERS"]);
    for quota in &quotas {
        let holders = quota.taken.iter().map(|taken| match &taken.holder {
            Some((folder, pid)) => format!("{} (supervisor {pid})", name_of(folder)),
            None => "another VM".to_owned(),
        });
        table.row([
            quota.guest.text().to_owned(),
            quota.limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
            quota.limit.map_or_else(|| "-".to_owned(), |_| quota.taken.len().to_string()),
            quota.source.to_string(),
            holders.collect::<Vec<_>>().join(", "),
        ]);
    }
    data(&table.render());
    Ok(Exit::Ok)
}

fn document(quota: &Quota) -> serde_json::Value {
    let holders = quota.taken.iter().map(|taken| {
        let path = taken.holder.as_ref().map(|(folder, _)| folder.to_string_lossy());
        serde_json::json!({
            "slot": taken.slot,
            "name": taken.holder.as_ref().map(|(folder, _)| name_of(folder)),
            "path": path,
            "supervisor_pid": taken.holder.as_ref().map(|(_, pid)| pid),
        })
    });
    serde_json::json!({
        "class": quota.guest.text(),
        "limit": quota.limit,
        "source": quota.source.to_string(),
        "taken": quota.taken.len(),
        "holders": holders.collect::<Vec<_>>(),
    })
}
