//! `selfsame quota`: how many guests may run on this host.

mod show;

use clap::Subcommand;
use selfsame_host::context::Context;

use super::{Global, Outcome};

/// Show how many guests may run at the same time
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Show(show::Arguments),
}

pub(super) fn run(context: &Context, global: &Global, command: Command) -> Outcome {
    match command {
        Command::Show(arguments) => show::run(context, global, &arguments),
    }
}
