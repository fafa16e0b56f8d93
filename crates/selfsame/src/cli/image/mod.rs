//! `selfsame image`: the images that VMs are made of.

mod delete;
mod list;
mod progress;
mod pull;

use clap::Subcommand;
use selfsame_host::context::Context;
use selfsame_host::images::Got;

use super::{Global, Outcome};

pub(super) use progress::ProgressLine;

/// List, fetch and delete the images that VMs are made of
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(list::Arguments),
    Pull(pull::Arguments),
    Delete(delete::Arguments),
}

pub(super) fn run(context: &Context, global: &Global, command: Command) -> Outcome {
    match command {
        Command::List(arguments) => list::run(context, global, &arguments),
        Command::Pull(arguments) => pull::run(context, global, &arguments),
        Command::Delete(arguments) => delete::run(context, global, &arguments),
    }
}

/// An image that is here, for JSON.
pub(super) fn document(got: &Got) -> serde_json::Value {
    serde_json::json!({
        "path": got.path.to_string_lossy(),
        "vouched": got.vouched,
        "fetched": got.fetched,
    })
}
