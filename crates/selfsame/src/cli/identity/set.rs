//! `selfsame identity set`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::library::resolve;
use selfsame_machine::code::Exit;
use selfsame_machine::identity::PREFIXES;

use super::row;
use crate::cli::{Global, Outcome, usage_problem};
use crate::output::note;

/// Label an identity or write notes about it
///
/// An identity that is not in the library yet comes into it.
///
/// Example: selfsame identity set web1 --label front-door
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The identity, as `identity show` takes it
    #[arg(value_name = "ID")]
    identity: OsString,
    /// Its name in the library; empty to take the name away
    #[arg(long, required_unless_present = "notes")]
    label: Option<String>,
    /// What there is to know about it
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
}

pub(super) fn run(context: &Context, _global: &Global, arguments: &Arguments) -> Outcome {
    let known = resolve(context, &arguments.identity)?;
    let store = context.store()?;
    let digest = known.identity.digest().to_string();
    store.identities().upsert_seen(&row(&known.identity, known.raw, "given", Some(known.found_as)))?;
    if let Some(label) = &arguments.label {
        check_label(label)?;
        store.identities().set_label(&digest, Some(label.as_str()).filter(|label| !label.is_empty()))?;
    }
    if let Some(notes) = &arguments.notes {
        store.identities().set_notes(&digest, notes)?;
    }
    note(&format!("{} was changed in the library", known.identity));
    Ok(Exit::Ok)
}

/// A label must not look like something else that names an identity.
pub(super) fn check_label(label: &str) -> Result<(), selfsame_machine::problem::Report> {
    let prefixed = PREFIXES.iter().any(|prefix| label.starts_with(prefix));
    if prefixed || label.contains('/') || label.starts_with('-') || label.chars().any(char::is_control) {
        return Err(usage_problem(format!(
            "`{label}` cannot be a label: no prefix such as `uuid:`, no `/`, no control character, no leading `-`"
        )));
    }
    Ok(())
}
