//! `selfsame get`.

use std::ffi::OsString;

use selfsame_host::bundle::Bundle;
use selfsame_host::context::Context;
use selfsame_host::library::{VmState, find};
use selfsame_machine::code::Exit;
use selfsame_machine::problem::Report;

use super::{Global, Outcome};
use crate::output::{Format, data, json};

/// Show one VM with all that is known of it
///
/// What it is made of, what runs of it, what its guest was predicted to show and what it showed, how its last run ended.
///
/// Example: selfsame get web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, &arguments.vm)?;
    let bundle = Bundle::read(&folder)?;
    let digest = bundle.identity.digest();
    let state = VmState::ask(context, bundle.key, Some(&digest)).map_err(|source| {
        Report::from(selfsame_host::bundle::BundleError::Folder { folder: folder.clone(), source })
    })?;
    let state = state.in_folder(&folder);
    let store = context.store_for_reading()?;
    let last = store.runs().last(&bundle.folder)?.filter(|run| run.begun.digest == Some(digest.to_string()));
    let observed = store.observations().of(&digest.to_string(), 50)?;
    let observed = observed.into_iter().find(|observation| observation.first.folder == bundle.folder);
    let status = match &state {
        VmState::Supervised(status) => Some(status),
        VmState::Stopped
        | VmState::Suspended(_)
        | VmState::Orphaned { .. }
        | VmState::Silent(_)
        | VmState::Foreign => None,
    };
    let predicted = bundle.identity.predictions();
    if global.quiet {
        data(&format!("{}\n", bundle.name));
        return Ok(Exit::Ok);
    }
    if global.format == Format::Json {
        let (path, path_base64) = crate::output::path(&bundle.folder);
        json(&serde_json::json!({
            "schema": "vm/1",
            "name": bundle.name,
            "path": path,
            "path_base64": path_base64,
            "state": state.text(),
            "identity": bundle.identity.canonical(),
            "digest": digest,
            "guest": bundle.guest().text(),
            "architecture": bundle.architecture(),
            "cpus": bundle.spec.cpus,
            "memory": bundle.spec.memory,
            "mac_address": bundle.mac_address(),
            "network": bundle.spec.network,
            "ports": super::net::texts(&bundle.spec.ports),
            "boot": bundle.spec.boot,
            "disks": bundle.disks(),
            "iso": bundle.spec.iso,
            "folders": bundle.spec.folders,
            "machine": bundle.spec.machine,
            "display": bundle.spec.display,
            "protected": bundle.spec.protected,
            "origin": bundle.spec.origin,
            "status": status,
            "suspended": state.suspended(),
            "predicted": predicted,
            "observed": observed.as_ref().map(crate::output::observation),
            "last_run": last.as_ref().map(|run| serde_json::json!({
                "started": run.begun.started,
                "ended": run.ended,
                "end": run.end_reason,
                "explanation": run.end_detail,
            })),
            "findings": bundle.identifier.findings,
        }));
        return Ok(Exit::Ok);
    }
    let mut lines = vec![
        ("name", bundle.name.clone()),
        ("folder", bundle.folder.display().to_string()),
        ("state", state.text().to_owned()),
        ("identity", bundle.identity.canonical()),
    ];
    let shown = [
        ("product UUID", predicted.product_uuid),
        ("SMBIOS serial", predicted.smbios_serial),
        ("Hardware UUID", predicted.hardware_uuid),
        ("Provisioning UDID", predicted.provisioning_udid),
    ];
    lines.extend(shown.into_iter().filter_map(|(key, prediction)| Some((key, prediction.value?))));
    lines.extend([
        ("guest", format!("{}, {}", bundle.guest().text(), bundle.architecture())),
        ("processors", bundle.spec.cpus.to_string()),
        ("memory", bundle.spec.memory.to_string()),
        ("MAC address", bundle.mac_address().to_string()),
    ]);
    lines.extend(
        bundle.disks().into_iter().map(|disk| ("disk", format!("{} ({})", disk.file, disk.format.text()))),
    );
    // Those of a running guest, where it runs.
    let folders = status.map_or(&bundle.spec.folders, |status| &status.folders);
    lines.extend(folders.iter().map(|folder| {
        let read_only = if folder.read_only { ", read-only" } else { "" };
        ("shared folder", format!("{} ({}{read_only})", folder.path, folder.tag))
    }));
    if status.is_none() {
        let ports = super::net::texts(&bundle.spec.ports);
        let words = std::iter::once(bundle.spec.network.to_string()).chain(ports);
        lines.push(("network", words.collect::<Vec<_>>().join(", ")));
    }
    if bundle.spec.protected {
        lines.push(("protected", "from being deleted".to_owned()));
    }
    if let Some(status) = status {
        let pid = status.backend_pid.map_or_else(String::new, |pid| format!(", QEMU {pid}"));
        lines.push(("processes", format!("supervisor {}{pid}", status.supervisor_pid)));
        lines.push(("accelerator", format!("{} ({})", status.accelerator, status.accelerator_reason)));
        lines.push(("machine", status.machine.clone()));
        if let Some(link) = &status.network {
            lines.push(("network", super::net::told(link)));
        }
        let listens = if status.agent { "listens" } else { "does not listen" };
        lines.push(("agent", listens.to_owned()));
        lines.push(("started", status.started.clone()));
    }
    if let Some(summary) = state.suspended() {
        lines.push(("suspended", super::list::asleep(summary)));
    }
    if let VmState::Orphaned { pid } = &state {
        let pid = pid.map_or_else(String::new, |pid| format!("QEMU {pid}, "));
        let word = context.named(&bundle.folder).word;
        lines.push(("processes", format!("{pid}no supervisor: `selfsame run -d {word}` takes it over")));
    }
    if let Some(observation) = &observed {
        let confirmed = observation.first.contradictions.as_array().is_none_or(Vec::is_empty);
        let what = if confirmed {
            "the guest showed what was predicted"
        } else {
            "the guest CONTRADICTED the prediction"
        };
        lines.push(("observed", format!("{what}, {}", observation.last_seen.to_seconds())));
    }
    if let Some(run) = last.filter(|run| run.ended.is_some()) {
        lines.push(("last run", format!("ended: {}", run.end_detail.unwrap_or_default())));
    }
    data(&crate::output::pairs(&lines));
    Ok(Exit::Ok)
}
