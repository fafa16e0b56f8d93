//! `selfsame setup status`, `autostart` and `uninstall`.

use selfsame_host::context::Context;
use selfsame_host::setup::{self, Autostart, Removal};
use selfsame_machine::code::Exit;
use selfsame_machine::problem::Hint;

use super::delete::{Destruction, confirmed};
use super::{Global, Outcome};
use crate::output::{Format, Table, data, hints, json, note};

/// Show and change what selfsame has put on this computer
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Status(StatusArguments),
    Autostart(AutostartArguments),
    Uninstall(UninstallArguments),
}

/// Show what there is of selfsame, and where
///
/// Example: selfsame setup status
#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {}

/// Have marked VMs started with your sessions
///
/// Writes a unit of systemd for your user and enables it. It starts the VMs for which `selfsame set NAME --autostart on`
/// was said, and stops them through their guests when your last session ends. For VMs that start with the computer, let
/// your user linger: `loginctl enable-linger`.
///
/// Example: selfsame setup autostart
///
/// Example: selfsame setup autostart --off
#[derive(Debug, clap::Args)]
pub(super) struct AutostartArguments {
    /// Take the unit away again
    #[arg(long)]
    off: bool,
}

/// Remove selfsame's folder from this computer
///
/// Shows what would go and asks first, unless `--yes` is given. Refused while a VM runs, and while a protected VM would go.
/// The program itself belongs to whoever installed it.
///
/// Example: selfsame setup uninstall --keep-vms --dry-run
#[derive(Debug, clap::Args)]
pub(super) struct UninstallArguments {
    /// Keep the VMs, the library of identities and the settings
    #[arg(long)]
    keep_vms: bool,
    /// Show what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(context: &Context, global: &Global, command: &Command) -> Outcome {
    match command {
        Command::Status(StatusArguments {}) => status(context, global),
        Command::Autostart(arguments) => autostart(context, global, arguments),
        Command::Uninstall(arguments) => uninstall(context, global, arguments),
    }
}

fn status(context: &Context, global: &Global) -> Outcome {
    let items = setup::status(context);
    if global.format == Format::Json {
        let items: Vec<_> = items
            .iter()
            .map(|item| {
                let (path, path_base64) = crate::output::path(&item.path);
                serde_json::json!({
                    "what": item.what, "path": path, "path_base64": path_base64,
                    "state": item.presence.text(), "size": item.size.map(|size| size.count()),
                })
            })
            .collect();
        json(&serde_json::json!({ "schema": "setup/1", "items": items }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["WHAT", "STATE", "SIZE", "WHERE"]);
    for item in items {
        let size = item.size.map_or_else(|| "-".to_owned(), |size| size.rounded());
        let path = item.path.to_string_lossy().into_owned();
        table.row([item.what.to_owned(), item.presence.text().to_owned(), size, path]);
    }
    data(&table.render());
    Ok(Exit::Ok)
}

fn autostart(context: &Context, global: &Global, arguments: &AutostartArguments) -> Outcome {
    let unit: Autostart = if arguments.off {
        setup::disable()?
    } else {
        let program = std::env::current_exe().map_err(selfsame_host::files::FileError::failed(
            "find this program as",
            std::path::Path::new("/proc/self/exe"),
        ))?;
        setup::enable(context, &program)?
    };
    if global.format == Format::Json {
        let (path, path_base64) = crate::output::path(&unit.file);
        json(&serde_json::json!({
            "schema": "autostart/1", "path": path, "path_base64": path_base64,
            "installed": unit.is_installed, "enabled": unit.is_enabled,
        }));
        return Ok(Exit::Ok);
    }
    if arguments.off {
        note("VMs are not started with your sessions any more; those that run go on");
        return Ok(Exit::Ok);
    }
    note(&format!("marked VMs start with your sessions: `{}`", unit.file.display()));
    hints(&[
        Hint::run("mark a VM", "selfsame set NAME --autostart on"),
        Hint::run("start them with the computer, without a session", "loginctl enable-linger"),
    ]);
    Ok(Exit::Ok)
}

fn uninstall(context: &Context, global: &Global, arguments: &UninstallArguments) -> Outcome {
    let removal = setup::plan(context, arguments.keep_vms)?;
    if arguments.dry_run || global.format == Format::Text {
        show(&removal, global);
    }
    if arguments.dry_run {
        return Ok(Exit::Ok);
    }
    if !global.yes {
        let names = removal.names();
        let vms = if names.is_empty() { "no VM".to_owned() } else { names.join(", ") };
        confirmed(&Destruction {
            question: format!("Remove all this, with {vms}?"),
            unasked: format!("this removes {vms} and more, and nobody is there to be asked"),
            declined: "nothing was removed",
            verb: "remove it",
        })?;
    }
    let left = removal.carry_out(context)?;
    if global.format == Format::Json {
        let left: Vec<_> = left.iter().map(|path| path.to_string_lossy()).collect();
        json(&serde_json::json!({
            "schema": "uninstalled/1", "vms": removal.names(), "room": removal.room.count(), "left": left,
        }));
        return Ok(Exit::Ok);
    }
    note(&format!("removed: {} are free again", removal.room.rounded()));
    for path in left {
        note(&format!("note: `{}` is not selfsame's, and stays", path.display()));
    }
    Ok(Exit::Ok)
}

fn show(removal: &Removal, global: &Global) {
    let all = removal.vms.iter().chain(&removal.paths).chain(&removal.unit);
    if global.format == Format::Json {
        let of = |paths: Vec<&std::path::PathBuf>| -> Vec<String> {
            paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
        };
        json(&serde_json::json!({
            "schema": "removal/1", "vms": removal.names(), "paths": of(all.collect()),
            "kept": of(removal.kept.iter().collect()), "room": removal.room.count(),
        }));
        return;
    }
    let mut table = Table::new(["", "WHERE"]);
    for path in all {
        table.row(["goes".to_owned(), path.to_string_lossy().into_owned()]);
    }
    for path in &removal.kept {
        table.row(["stays".to_owned(), path.to_string_lossy().into_owned()]);
    }
    data(&table.render());
}
