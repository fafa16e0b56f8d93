//! `selfsame ip`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::reach::{Door, Via};
use selfsame_machine::code::Exit;

use super::{Global, Outcome};
use crate::output::{Format, data, json};

/// Show where a guest is reached from here
///
/// The address and port of its SSH server, as `ssh` takes them. The port is the same at each start as long as it is free.
///
/// Example: selfsame ip web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, &arguments.vm)?;
    let door = Door::of(context, &folder)?;
    match global.format {
        Format::Json => json(&serde_json::json!({
            "schema": "ip/1",
            "name": door.name.name,
            "address": door.at.ip(),
            "port": door.at.port(),
            "user": door.user,
            "host_key_alias": door.alias,
            "network": door.link,
        })),
        Format::Text => match door.via {
            Via::Forward => data(&format!("{} -p {}\n", door.at.ip(), door.at.port())),
            Via::Lease => data(&format!("{}\n", door.at.ip())),
        },
    }
    Ok(Exit::Ok)
}
