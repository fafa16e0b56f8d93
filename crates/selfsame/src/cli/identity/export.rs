//! `selfsame identity export`.

use std::ffi::OsString;
use std::path::PathBuf;

use selfsame_host::context::Context;
use selfsame_host::files::{FileError, write_atomically, write_new};
use selfsame_host::library::resolve;
use selfsame_machine::code::Exit;
use selfsame_machine::problem::{Hint, Report};

use crate::cli::{Global, Outcome};
use crate::output::{Format, data, json, note};

/// Write an identity's identifier file
///
/// Byte for byte what Viable, VirtualBuddy and Apple's sample load as `MachineIdentifier`.
///
/// Example: selfsame identity export web1 -o MachineIdentifier
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The identity, as `identity show` takes it
    #[arg(value_name = "ID")]
    identity: OsString,
    /// The file to write; never over an existing one without `--force`
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let known = resolve(context, &arguments.identity)?;
    let write = if arguments.force { write_atomically } else { write_new };
    write(&arguments.output, &known.raw).map_err(|error| {
        let exists = matches!(error, FileError::Exists { .. });
        let mut report = Report::from(error);
        if exists {
            report.hints = vec![Hint::say("choose another name, or say `--force` to replace it")];
        }
        report
    })?;
    let (path, _) = crate::output::path(&arguments.output);
    match global.format {
        Format::Json => json(&serde_json::json!({
            "schema": "exported/1", "identity": known.identity.canonical(), "path": path, "bytes": known.raw.len(),
        })),
        Format::Text if global.quiet => data(&format!("{path}\n")),
        Format::Text => note(&format!("{} written to `{path}`, {} bytes", known.identity, known.raw.len())),
    }
    Ok(Exit::Ok)
}
