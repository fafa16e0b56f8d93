//! `selfsame protect`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_machine::code::Exit;
use selfsame_machine::spec::Change;

use super::{Global, Outcome, set};
use crate::output::{Format, note};

/// Keep VMs from being deleted
///
/// Stands in the VM's own vm.toml, so it goes with a copy. It stops mistakes, not whoever may write the folder.
///
/// Example: selfsame protect web1
///
/// Example: selfsame protect --off web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VMs: names or paths
    #[arg(required = true, value_name = "NAME")]
    vms: Vec<OsString>,
    /// Lift it
    #[arg(long)]
    off: bool,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    // All names first: a typing mistake in the last one changes nothing.
    let folders: Result<Vec<_>, _> = arguments.vms.iter().map(|vm| find(context, vm)).collect();
    let change = Change { protected: Some(!arguments.off), ..Change::default() };
    for folder in folders? {
        let changed = set::make(context, &folder, &change, None)?;
        if global.format == Format::Text && !global.quiet {
            let how = if arguments.off { "may be deleted" } else { "is protected" };
            note(&format!("{} {how}", context.named(&folder)));
        } else {
            changed.show(context, global, &folder)?;
        }
    }
    Ok(Exit::Ok)
}
