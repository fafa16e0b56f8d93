//! `selfsame identity`: the library of machine identifiers.

mod export;
mod find;
mod import;
mod list;
mod new;
mod set;
mod show;

use clap::Subcommand;
use selfsame_host::context::Context;
use selfsame_host::store::IdentityRow;
use selfsame_host::time::Time;
use selfsame_machine::identity::Identity;

pub(super) use set::change;

use super::{Global, Outcome};
use crate::output::{Format, Table, data, json};

/// Make, keep, show, import and export machine identifiers
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    New(new::Arguments),
    List(list::Arguments),
    Show(show::Arguments),
    Find(find::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Set(set::Arguments),
}

pub(super) fn run(context: &Context, global: &Global, command: Command) -> Outcome {
    match command {
        Command::New(arguments) => new::run(context, global, &arguments),
        Command::List(arguments) => list::run(context, global, &arguments),
        Command::Show(arguments) => show::run(context, global, &arguments),
        Command::Find(arguments) => find::run(context, global, &arguments),
        Command::Import(arguments) => import::run(context, global, &arguments),
        Command::Export(arguments) => export::run(context, global, &arguments),
        Command::Set(arguments) => set::run(context, global, &arguments),
    }
}

/// A row for the library.
fn row(identity: &Identity, raw: Vec<u8>, origin: &str, detail: Option<String>) -> IdentityRow {
    IdentityRow {
        digest: identity.digest().to_string(),
        kind: identity.kind().text().to_owned(),
        canonical: identity.canonical(),
        raw,
        label: None,
        notes: String::new(),
        origin: origin.to_owned(),
        origin_detail: detail,
        first_seen: Time::now(),
    }
}

/// Shows rows of the library, each with what helps to find it again.
fn rows(global: &Global, rows: &[IdentityRow]) {
    if global.format == Format::Json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "canonical": row.canonical,
                    "digest": row.digest,
                    "kind": row.kind,
                    "label": row.label,
                    "notes": row.notes,
                    "origin": row.origin,
                    "origin_detail": row.origin_detail,
                    "first_seen": row.first_seen,
                })
            })
            .collect();
        json(&serde_json::json!({ "schema": "identities/1", "identities": rows }));
        return;
    }
    if global.quiet {
        data(&rows.iter().map(|row| format!("{}\n", row.canonical)).collect::<String>());
        return;
    }
    let mut table = Table::new(["ID", "KIND", "IDENTITY", "LABEL", "ORIGIN"]);
    for row in rows {
        table.row([
            row.digest.chars().take(8).collect(),
            row.kind.clone(),
            row.canonical.clone(),
            row.label.clone().unwrap_or_default(),
            row.origin.clone(),
        ]);
    }
    data(&table.render());
}
