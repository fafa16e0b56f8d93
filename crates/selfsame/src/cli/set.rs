//! `selfsame set`.

use std::ffi::OsString;
use std::path::Path;

use selfsame_host::bundle::{Bundle, read_identity};
use selfsame_host::capacity;
use selfsame_host::context::Context;
use selfsame_host::folders;
use selfsame_host::library::change::prepare;
use selfsame_host::library::{VmState, find};
use selfsame_machine::code::Exit;
use selfsame_machine::identity::{MacAddress, MacAddressError};
use selfsame_machine::network::Forward;
use selfsame_machine::problem::Report;
use selfsame_machine::size::Bytes;
use selfsame_machine::spec::Change;

use super::create::Screen;
use super::net::Net;
use super::{Global, Outcome, identity};
use crate::output::{Format, data, json, note};

/// Change what a VM is made of
///
/// Edits its vm.toml in one step and leaves comments and order as they are. What a running VM is made of changes at its
/// next start.
///
/// Example: selfsame set web1 --cpus 4 --memory 4GiB
///
/// Example: selfsame set web1 --mac-address auto
///
/// Example: selfsame set web1 --dir ~/src --dir out:/srv/out
///
/// Example: selfsame set web1 --net isolated -p 8080:80 -p 5353:53/udp
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("values").required(true).multiple(true)))]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    /// Virtual processors, 1 to 256
    #[arg(long, value_name = "N", group = "values")]
    cpus: Option<u32>,
    /// Memory, a whole number of MiB
    #[arg(long, value_name = "SIZE", group = "values")]
    memory: Option<Bytes>,
    /// The network card's address, or `auto`: one that follows from the identity
    #[arg(long, value_name = "ADDRESS", value_parser = mac_choice, group = "values")]
    mac_address: Option<MacChoice>,
    /// To whom its network card leads
    #[arg(long, value_enum, value_name = "NETWORK", group = "values")]
    net: Option<Net>,
    /// A port of the host that leads into it, [ADDRESS:]HOST:GUEST[/udp]; all that are given, in place of all there were
    #[arg(short = 'p', long = "port", value_name = "PORT", group = "values")]
    ports: Vec<Forward>,
    /// No port of the host leads into it
    #[arg(long, conflicts_with = "ports", group = "values")]
    no_ports: bool,
    /// The guest's screen
    #[arg(long, value_enum, value_name = "DISPLAY", group = "values")]
    display: Option<Screen>,
    /// The label of its identity in the library; empty to take it away
    #[arg(long, value_name = "TEXT", group = "values")]
    label: Option<String>,
    /// The folders of the host that the guest can mount, all of them: `[TAG:]PATH[:ro]`
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::AnyPath, group = "values")]
    dir: Vec<OsString>,
    /// No folders of the host
    #[arg(long, conflicts_with = "dir", group = "values")]
    no_dir: bool,
    /// Whether `delete` refuses it; the same as `protect`
    #[arg(long, value_enum, value_name = "WHETHER", group = "values")]
    protect: Option<Switch>,
    /// Whether it is started when your session begins, see `selfsame setup`
    #[arg(long, value_enum, value_name = "WHETHER", group = "values")]
    autostart: Option<Switch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

/// An address, or none of its own.
#[derive(Debug, Clone, Copy)]
struct MacChoice(Option<MacAddress>);

fn mac_choice(text: &str) -> Result<MacChoice, MacAddressError> {
    if text == "auto" { Ok(MacChoice(None)) } else { text.parse().map(|mac| MacChoice(Some(mac))) }
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let change = Change {
        cpus: arguments.cpus,
        memory: arguments.memory,
        mac_address: arguments.mac_address.map(|choice| choice.0),
        network: arguments.net.map(Net::network),
        ports: (arguments.no_ports || !arguments.ports.is_empty()).then(|| arguments.ports.clone()),
        machine: None,
        folders: match (arguments.no_dir, arguments.dir.as_slice()) {
            (true, _) => Some(Vec::new()),
            (false, []) => None,
            (false, texts) => Some(folders::asked(&context.home, texts)?),
        },
        display: arguments.display.map(Screen::display),
        protected: arguments.protect.map(|switch| switch == Switch::On),
        autostart: arguments.autostart.map(|switch| switch == Switch::On),
    };
    let folder = find(context, &arguments.vm)?;
    let told = make(context, &folder, &change, arguments.label.as_deref())?;
    if let (Some(asked), Some(host)) = (arguments.cpus, capacity::processors())
        && asked > host
    {
        note(&format!("note: {asked} processors share the {host} that this host has for them"));
    }
    told.show(context, global, &folder)
}

/// A change that was made.
pub(super) struct Changed {
    /// Whether the VM runs on as it was.
    awaits_start: bool,
    /// Whether it is suspended, and may be another than its saved state is of.
    is_suspended: bool,
    label: Option<String>,
}

/// Makes a change of `vm.toml` and of the label: both, or none of them.
pub(super) fn make(
    context: &Context,
    folder: &Path,
    change: &Change,
    label: Option<&str>,
) -> Result<Changed, Report> {
    // Everything that can be refused is, before anything is written.
    let prepared = prepare(folder, change)?;
    if label.is_some() {
        identity::change(context, folder.as_os_str(), label, None)?;
    }
    let (before, after) = (prepared.before.clone(), prepared.after.clone());
    prepared.write()?;
    let bundle = Bundle::read(folder)?;
    let digest = read_identity(folder)?.map(|identity| identity.digest());
    let state = VmState::ask(context, bundle.key, digest.as_ref())
        .map_err(selfsame_host::files::FileError::failed("ask about", folder))?
        .in_folder(folder);
    // Protection holds at once.
    let differs = Change { protected: Some(before.protected), ..Change::default() }.of(&after) != before;
    Ok(Changed {
        awaits_start: differs && state.is_live(),
        is_suspended: differs && matches!(state, VmState::Suspended(_)),
        label: label.map(str::to_owned),
    })
}

impl Changed {
    pub(super) fn show(&self, context: &Context, global: &Global, folder: &Path) -> Outcome {
        let bundle = Bundle::read(folder)?;
        let name = context.named(folder);
        let (path, path_base64) = crate::output::path(folder);
        if global.format == Format::Json {
            json(&serde_json::json!({
                "schema": "changed/1",
                "name": bundle.name,
                "path": path,
                "path_base64": path_base64,
                "cpus": bundle.spec.cpus,
                "memory": bundle.spec.memory,
                "mac_address": bundle.mac_address(),
                "folders": bundle.spec.folders,
                "network": bundle.spec.network,
                "ports": super::net::texts(&bundle.spec.ports),
                "display": bundle.spec.display,
                "protected": bundle.spec.protected,
                "label": self.label,
                "awaits_start": self.awaits_start,
            }));
            return Ok(Exit::Ok);
        }
        if global.quiet {
            data(&format!("{}\n", bundle.name));
            return Ok(Exit::Ok);
        }
        let protected = if bundle.spec.protected { ", protected" } else { "" };
        data(&crate::report::printable(&format!(
            "{name} has {} processors, {} of memory, MAC {}{}{protected}\n",
            bundle.spec.cpus,
            bundle.spec.memory,
            bundle.mac_address(),
            super::net::clause(&bundle.spec)
        )));
        if self.awaits_start {
            note(&format!("{name} is running: it takes effect at its next start"));
        }
        if self.is_suspended {
            note(&format!(
                "{name} is suspended, and goes on only as what it was then; to give that up: `selfsame suspend --discard {}`",
                name.word
            ));
        }
        Ok(Exit::Ok)
    }
}
