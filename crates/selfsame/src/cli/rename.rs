//! `selfsame rename`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::library::rename;
use selfsame_host::time::Time;
use selfsame_machine::code::Exit;
use selfsame_machine::name::VmName;

use super::{Global, Outcome};
use crate::output::{Format, data, json, note};

/// Give a VM another name
///
/// Renames its folder; the identity, the history and the files stay. A VM that runs keeps its name until it has ended.
///
/// Example: selfsame rename web1 front
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    /// What it is to be called; it stays in the same place
    #[arg(value_name = "NEW")]
    new: OsString,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let new = VmName::from_bytes(arguments.new.as_encoded_bytes())?;
    let renamed = rename(context, &arguments.vm, &new, Time::now())?;
    let (path, path_base64) = crate::output::path(&renamed.folder);
    match global.format {
        Format::Json => json(&serde_json::json!({
            "schema": "renamed/1",
            "from": renamed.from,
            "name": renamed.name,
            "path": path,
            "path_base64": path_base64,
        })),
        Format::Text if global.quiet => data(&format!("{}\n", renamed.name)),
        Format::Text => note(&format!("{} is called {} now", renamed.from, renamed.name)),
    }
    Ok(Exit::Ok)
}
