//! `selfsame ssh-config`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::reach::{Door, ssh_config};
use selfsame_machine::code::Exit;

use super::guest::LoginOptions;
use super::{Global, Outcome};
use crate::output::{Format, data, json, note};

/// Print a configuration with which ssh and its friends reach a guest
///
/// For `ssh -F FILE web1`, `rsync -e`, `git` and editors, or a file that `Include` in ~/.ssh/config names. It holds for this
/// run: at the next start the port may be another.
///
/// Example: selfsame ssh-config web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    #[command(flatten)]
    login: LoginOptions,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, &arguments.vm)?;
    let door = Door::of(context, &folder)?;
    // A key is found from wherever the configuration is read.
    let mut login = arguments.login.login();
    login.key = login.key.map(|key| std::path::absolute(&key).unwrap_or(key));
    let (hosts, text) = ssh_config(&door, &login)?;
    door.known_hosts.usable()?;
    match global.format {
        Format::Json => json(&serde_json::json!({
            "schema": "ssh-config/1", "name": door.name.name, "hosts": hosts, "text": text,
        })),
        Format::Text => {
            data(&text);
            if hosts.len() == 1 && !global.quiet {
                note(&format!(
                    "note: OpenSSH cannot name {} as it is called: the host is {}",
                    door.name, door.alias
                ));
            }
        }
    }
    Ok(Exit::Ok)
}
