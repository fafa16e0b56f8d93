//! `selfsame identity set`.

use std::ffi::{OsStr, OsString};

use selfsame_host::context::Context;
use selfsame_host::library::{Known, resolve};
use selfsame_machine::code::Exit;
use selfsame_machine::identity::PREFIXES;
use selfsame_machine::problem::Report;

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
    let known = change(context, &arguments.identity, arguments.label.as_deref(), arguments.notes.as_deref())?;
    note(&format!("{} was changed in the library", known.identity));
    Ok(Exit::Ok)
}

/// Changes what the library says of the identity that the argument means. One that is not in the library yet comes into it;
/// an empty label takes the name away.
pub(in crate::cli) fn change(
    context: &Context,
    argument: &OsStr,
    label: Option<&str>,
    notes: Option<&str>,
) -> Result<Known, Report> {
    label.map_or(Ok(()), check_label)?;
    let known = resolve(context, argument)?;
    let store = context.store()?;
    let digest = known.identity.digest().to_string();
    let detail = Some(known.found_as.clone());
    store.identities().upsert_seen(&row(&known.identity, known.raw.clone(), "given", detail))?;
    if let Some(label) = label {
        store.identities().set_label(&digest, Some(label).filter(|label| !label.is_empty()))?;
    }
    if let Some(notes) = notes {
        store.identities().set_notes(&digest, notes)?;
    }
    Ok(known)
}

/// A label must not look like something else that names an identity.
pub(super) fn check_label(label: &str) -> Result<(), Report> {
    let prefixed = PREFIXES.iter().any(|prefix| label.starts_with(prefix));
    if prefixed || label.contains('/') || label.starts_with('-') || label.chars().any(char::is_control) {
        return Err(usage_problem(format!(
            "`{label}` cannot be a label: no prefix such as `uuid:`, no `/`, no control character, no leading `-`"
        )));
    }
    Ok(())
}
