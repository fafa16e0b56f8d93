//! `selfsame quota show`.

use selfsame_host::bundle::name_of;
use selfsame_host::context::Context;
use selfsame_host::quota::Quota;
use selfsame_machine::code::Exit;
use selfsame_machine::spec::Guest;

use crate::cli::{Global, Outcome};
use crate::output::{Format, Table, data, json};

/// Show the limits, where they come from, who holds the slots and who waits for one
///
/// Limits are set by `quota.linux` and `quota.macos` of the configuration. Guests that started while there was no limit hold
/// no slot. Those that wait (`run --wait`) stand in the order in which they get one.
///
/// Example: selfsame quota show
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {}

/// So many of those that wait are named in the table.
const SHOWN: usize = 8;

pub(super) fn run(context: &Context, global: &Global, _arguments: &Arguments) -> Outcome {
    let quotas = [Guest::Linux, Guest::Macos].map(|guest| Quota::look(context, guest));
    if global.format == Format::Json {
        let classes: Vec<_> = quotas.iter().map(document).collect();
        json(&serde_json::json!({ "schema": "quota/1", "classes": classes }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["CLASS", "LIMIT", "TAKEN", "SOURCE", "HOLDERS", "WAITING"]);
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
            waiting(quota),
        ]);
    }
    data(&table.render());
    Ok(Exit::Ok)
}

/// Who waits, in order. A line may be long: the first of it, and how many there are.
fn waiting(quota: &Quota) -> String {
    let name = |waiter: &Option<(std::path::PathBuf, u32)>| match waiter {
        Some((folder, _)) => name_of(folder),
        None => "another VM".to_owned(),
    };
    let names: Vec<String> = quota.waiting.iter().take(SHOWN).map(name).collect();
    match quota.waiting.len() {
        count if count > SHOWN => format!("{}, … ({count})", names.join(", ")),
        _ => names.join(", "),
    }
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
    let waiting = quota.waiting.iter().enumerate().map(|(index, waiter)| {
        serde_json::json!({
            "place": index + 1,
            "name": waiter.as_ref().map(|(folder, _)| name_of(folder)),
            "path": waiter.as_ref().map(|(folder, _)| folder.to_string_lossy()),
            "pid": waiter.as_ref().map(|(_, pid)| pid),
        })
    });
    serde_json::json!({
        "class": quota.guest.text(),
        "limit": quota.limit,
        "source": quota.source.to_string(),
        "taken": quota.taken.len(),
        "holders": holders.collect::<Vec<_>>(),
        "waiting": waiting.collect::<Vec<_>>(),
    })
}
