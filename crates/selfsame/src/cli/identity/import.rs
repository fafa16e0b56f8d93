//! `selfsame identity import`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use selfsame_host::bundle::IDENTIFIER;
use selfsame_host::context::Context;
use selfsame_host::library::{read_identifier, resolve};
use selfsame_machine::code::{Code, Exit};
use selfsame_machine::identity::Blob;
use selfsame_machine::problem::{Hint, Report};

use super::{row, rows};
use crate::cli::{Global, Outcome, usage_problem};
use crate::output::note;

/// Take identities into the library
///
/// From an identifier file, a VM's folder, a folder of identifier files, base64 text, or a prefixed form. The bytes are
/// kept as they are.
///
/// Example: selfsame identity import --label old-mac ./MachineIdentifier
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A path, or text
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<OsString>,
    /// A name for it in the library
    #[arg(long)]
    label: Option<String>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let mut found = Vec::new();
    for source in &arguments.sources {
        found.extend(read(context, source)?);
    }
    if arguments.label.is_some() && found.len() > 1 {
        return Err(usage_problem("one label cannot name several identities"));
    }
    if let Some(label) = &arguments.label {
        super::set::check_label(label)?;
    }
    let store = context.store()?;
    let mut taken = Vec::new();
    for (blob, detail) in found {
        let identity = blob.require()?;
        let mut row = row(&identity, blob.raw, "import", Some(detail));
        row.label.clone_from(&arguments.label);
        if !store.identities().upsert_seen(&row)? {
            note(&format!("note: {identity} is in the library already"));
            if let Some(label) = &arguments.label {
                store.identities().set_label(&row.digest, Some(label))?;
            }
        }
        for finding in blob.findings {
            note(&format!("note: {identity}: byte {}: {}", finding.offset, finding.message));
        }
        taken.extend(store.identities().get(&row.digest)?);
    }
    rows(global, &taken);
    Ok(Exit::Ok)
}

/// Reads one source: a folder of files gives every identity in it.
fn read(context: &Context, source: &OsStr) -> Result<Vec<(Blob, String)>, Report> {
    let path = Path::new(source);
    if path.is_dir() && !path.join(IDENTIFIER).exists() {
        return read_folder(path);
    }
    if path.exists() {
        return Ok(vec![(read_identifier(path)?, path.to_string_lossy().into_owned())]);
    }
    let known = resolve(context, source)?;
    Ok(vec![(Blob::read(&known.raw), known.found_as)])
}

fn read_folder(folder: &Path) -> Result<Vec<(Blob, String)>, Report> {
    let failed = |error| Report::from(selfsame_host::files::FileError::failed("read", folder)(error));
    let mut files: Vec<_> =
        std::fs::read_dir(folder).map_err(failed)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        match read_identifier(&file) {
            Ok(blob) => found.push((blob, file.to_string_lossy().into_owned())),
            Err(report) => note(&format!("note: passed over: {}", report.message)),
        }
    }
    if found.is_empty() {
        return Err(Report {
            code: Code::IdentityNotFound,
            message: format!("no file in `{}` holds an identity", folder.display()),
            causes: Vec::new(),
            hints: vec![Hint::say("name a file, a VM's folder, or a folder of identifier files")],
        });
    }
    Ok(found)
}
