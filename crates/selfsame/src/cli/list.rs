//! `selfsame list`.

use std::collections::HashMap;

use selfsame_host::context::Context;
use selfsame_host::library::{Listed, list};
use selfsame_host::state::Summary;
use selfsame_host::time::Time;
use selfsame_machine::code::Exit;
use selfsame_machine::size::Bytes;
use serde::Serialize;

use super::{Global, Outcome};
use crate::output::{Format, Table, data, json, note};

/// Show the VMs
///
/// TWINS names the others that share the identity; of them, one runs at a time.
///
/// Example: selfsame list --running
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only those of which something runs
    #[arg(long)]
    running: bool,
}

/// The list as programs see it. No `json!`, which would first make a tree of all of it.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    vms: Vec<Row<'a>>,
}

/// A VM as programs see it in a list.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    path: String,
    path_base64: Option<String>,
    state: &'a str,
    identity: Option<&'a str>,
    cpus: Option<u32>,
    memory: Option<u64>,
    mac_address: Option<&'a str>,
    twins: Vec<&'a str>,
    suspended: Option<&'a Summary>,
    error: Option<&'a str>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let mut vms = list(context, Time::now())?;
    let mut twins: HashMap<String, Vec<String>> = HashMap::new();
    for vm in &vms {
        if let Some(digest) = &vm.facts.digest {
            twins.entry(digest.clone()).or_default().push(vm.facts.name.clone());
        }
    }
    let known = vms.len();
    if arguments.running {
        vms.retain(|vm| vm.state.is_live());
    }
    let others = |vm: &Listed| -> Vec<&str> {
        let same = vm.facts.digest.as_ref().and_then(|digest| twins.get(digest));
        let names = same.into_iter().flatten().map(String::as_str);
        names.filter(|name| *name != vm.facts.name).collect()
    };
    if global.format == Format::Json {
        json(&Document { schema: "list/1", vms: vms.iter().map(|vm| row(vm, others(vm))).collect() });
        return Ok(Exit::Ok);
    }
    if global.quiet {
        vms.iter().for_each(|vm| data(&format!("{}\n", crate::report::printable(&vm.facts.name))));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["NAME", "STATE", "IDENTITY", "CPUS", "MEMORY", "MAC", "TWINS"]);
    for vm in &vms {
        let facts = &vm.facts;
        let dash = || "-".to_owned();
        table.row([
            facts.name.clone(),
            if facts.error.is_some() { "unreadable".to_owned() } else { vm.state.text().to_owned() },
            facts.identity.clone().unwrap_or_else(dash),
            facts.cpus.map_or_else(dash, |cpus| cpus.to_string()),
            facts.memory.map_or_else(dash, |memory| Bytes::new(memory).to_string()),
            facts.mac.clone().unwrap_or_else(dash),
            others(vm).join(","),
        ]);
    }
    data(&table.render());
    for vm in &vms {
        if let Some(summary) = vm.state.suspended() {
            note(&format!("note: {} is suspended {}", vm.facts.name, asleep(summary)));
        }
    }
    for vm in &vms {
        if let Some(error) = &vm.facts.error {
            note(&format!("note: {}: {error}", vm.facts.name));
        }
    }
    if vms.is_empty() && known > 0 {
        note(&format!("none of {known} VMs runs"));
    } else if vms.is_empty() {
        note("no VMs; make one with `selfsame create NAME`");
    }
    Ok(Exit::Ok)
}

/// Since when a VM is suspended, and how much its state takes.
pub(super) fn asleep(summary: &Summary) -> String {
    let since = summary.since.as_deref().and_then(|since| since.parse::<Time>().ok());
    let since = since.map_or_else(
        || "(its description cannot be read)".to_owned(),
        |since| format!("since {}", since.to_seconds()),
    );
    let size = summary.size.map(|size| format!("{} MiB", size.div_ceil(1 << 20)));
    let size = size.unwrap_or_else(|| "its memory is missing".to_owned());
    format!("{since}, {size}")
}

fn row<'a>(vm: &'a Listed, twins: Vec<&'a str>) -> Row<'a> {
    let facts = &vm.facts;
    let (path, path_base64) = crate::output::path(&facts.folder);
    Row {
        name: &facts.name,
        path,
        path_base64,
        state: vm.state.text(),
        identity: facts.identity.as_deref(),
        cpus: facts.cpus,
        memory: facts.memory,
        mac_address: facts.mac.as_deref(),
        twins,
        suspended: vm.state.suspended(),
        error: facts.error.as_deref(),
    }
}
