//! `selfsame doctor`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::diagnosis::{Weight, check_host, check_vm, check_vms};
use selfsame_host::library::find;
use selfsame_machine::code::Exit;

use super::{Global, Outcome};
use crate::output::{Format, data, hints, json, note};

/// Check this host and its VMs
///
/// Looks at the library, the locks, QEMU, the firmware, and at each VM's files. Changes nothing. Ends with 10 when a
/// warning or an error was found.
///
/// Example: selfsame doctor
///
/// Example: selfsame doctor web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// `host`, or one VM: its name, or a path; everything if not given
    #[arg(value_name = "NAME")]
    subject: Option<OsString>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let complaints = match arguments.subject.as_deref() {
        None => check_host(context).into_iter().chain(check_vms(context)).collect(),
        Some(subject) if subject == "host" => check_host(context),
        Some(subject) => check_vm(&find(context, subject)?),
    };
    let found = complaints.iter().any(|complaint| complaint.weight > Weight::Note);
    let exit = if found { Exit::Found } else { Exit::Ok };
    if global.format == Format::Json {
        json(&serde_json::json!({ "schema": "doctor/1", "complaints": complaints }));
        return Ok(exit);
    }
    for complaint in &complaints {
        let weight = match complaint.weight {
            Weight::Note => "note",
            Weight::Warning => "warning",
            Weight::Error => "error",
        };
        data(&format!(
            "{weight}: {}: {}\n",
            crate::report::printable(&complaint.about),
            crate::report::printable(&complaint.text)
        ));
        hints(&complaint.hints);
    }
    if complaints.is_empty() {
        note("all is well");
    }
    Ok(exit)
}
