//! `selfsame version`.

use selfsame_host::context::Context;
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Exit;
use serde::{Deserialize, Serialize};

use super::{Global, Outcome};
use crate::output::{Format, Table, data, json};

/// Show the version and what works on this host
///
/// Names the QEMU that is found, and tells of each back end how it is known to work.
///
/// Example: selfsame version
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

/// The one source of what is said about each back end.
const STATUS: &str = include_str!("../../../../docs/status.toml");

#[derive(Debug, Serialize, Deserialize)]
struct Status {
    back_end: Vec<BackEnd>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BackEnd {
    name: String,
    guests: String,
    state: String,
    evidence: String,
}

pub(super) fn run(context: &Context, global: &Global, _arguments: &Arguments) -> Outcome {
    let status: Status = toml::from_str(STATUS).unwrap_or(Status { back_end: Vec::new() });
    let qemu = context.installation(Architecture::of_new_guests());
    let missing = qemu.as_ref().err().map(|report| report.message.clone());
    let qemu = qemu.ok().map(|qemu| format!("{} at {}", qemu.version, qemu.binary.display()));
    if global.format == Format::Json {
        json(&serde_json::json!({
            "schema": "version/1",
            "version": env!("CARGO_PKG_VERSION"),
            "qemu": qemu,
            "back_ends": status.back_end,
        }));
        return Ok(Exit::Ok);
    }
    data(concat!("selfsame ", env!("CARGO_PKG_VERSION"), "\n"));
    if global.quiet {
        return Ok(Exit::Ok);
    }
    let qemu = qemu.map(|qemu| format!("QEMU {qemu}")).or(missing).unwrap_or_default();
    data(&format!("{qemu}\n\n"));
    let mut table = Table::new(["BACK END", "GUESTS", "STATE", "EVIDENCE"]);
    for back_end in status.back_end {
        table.row([back_end.name, back_end.guests, back_end.state, back_end.evidence]);
    }
    data(&table.render());
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_reads() {
        let status: Status = toml::from_str(STATUS).unwrap();
        assert!(!status.back_end.is_empty());
    }

    #[test]
    fn the_readme_says_what_the_status_says() {
        let readme = include_str!("../../../../README.md");
        let status: Status = toml::from_str(STATUS).unwrap();
        for end in status.back_end {
            let row = format!("| {} | {} | {} | {} |", end.name, end.guests, end.state, end.evidence);
            assert!(readme.contains(&row), "README.md lacks the row\n{row}");
        }
    }
}
