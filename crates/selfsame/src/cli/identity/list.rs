//! `selfsame identity list`.

use selfsame_host::context::Context;
use selfsame_machine::code::Exit;
use selfsame_machine::identity::Kind;

use super::rows;
use crate::cli::{Global, Outcome};

/// Show the identities in the library
///
/// Example: selfsame identity list --kind generic
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Only those of one kind: mac or generic
    #[arg(long)]
    kind: Option<Kind>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let store = context.store_for_reading()?;
    rows(global, &store.identities().list(arguments.kind.map(Kind::text))?);
    Ok(Exit::Ok)
}
