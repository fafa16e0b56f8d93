//! `selfsame config`.

use selfsame_host::config::system_file;
use selfsame_host::context::Context;
use selfsame_machine::code::Exit;

use super::{Global, Outcome};
use crate::output::{Format, Table, data, json, note};

/// Show the settings and where each comes from
///
/// Changes none: they are written in config.toml, whose two places the command names.
///
/// Example: selfsame config
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(context: &Context, global: &Global, _arguments: &Arguments) -> Outcome {
    let rows = context.config.list();
    if global.format == Format::Json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| serde_json::json!({ "key": row.key, "value": row.value, "source": row.source.to_string(), "about": row.about }))
            .collect();
        json(&serde_json::json!({
            "schema": "config/1", "home": context.home.root().to_string_lossy(), "settings": rows,
        }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["KEY", "VALUE", "SOURCE", "MEANING"]);
    for row in rows {
        let value = row.value.clone().unwrap_or_else(|| "-".to_owned());
        table.row([row.key.to_owned(), value, row.source.to_string(), row.about.to_owned()]);
    }
    data(&table.render());
    note(&format!(
        "read from `{}` (system) and `{}` (yours)",
        system_file().display(),
        context.home.config().display()
    ));
    Ok(Exit::Ok)
}
