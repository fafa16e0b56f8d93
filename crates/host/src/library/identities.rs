//! From what a person typed to an identity: every command that takes one takes all of these forms.
//!
//! A prefixed form (`ecid:…`, `uuid:…`, `provisioning-udid:…`) is taken as such and nothing else is tried. Any other text
//! is tried as everything it could be; it is an error only when the hits are different identities.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::identity::{Blob, Finding, Identity, parse_base64, parse_prefixed};
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};

use super::find::find;
use crate::bundle::IDENTIFIER;
use crate::context::Context;
use crate::files::{FileError, read_bounded};
use crate::store::IdentityRow;

/// No identifier is larger; what is, is something else.
const IDENTIFIER_LIMIT: u64 = 64 * 1024;

/// An identity with what came with it.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub identity: Identity,
    /// The identifier's bytes as they were found; the canonical ones where there were none.
    pub raw: Vec<u8>,
    /// What was noticed in the bytes.
    pub findings: Vec<Finding>,
    /// The library's row, if it has one.
    pub row: Option<IdentityRow>,
    /// Where it was found, a clause for people such as `the VM web1`.
    pub found_as: String,
}

/// The argument leads to no identity, or to several.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentProblem {
    /// Nothing fits.
    #[error("`{argument}` is no library id, label, VM, file or base64 text of an identity")]
    Nothing {
        /// What was typed.
        argument: String,
    },
    /// Several things fit, and they are different.
    #[error("`{argument}` means different identities: {}", hits.join("; "))]
    Several {
        /// What was typed.
        argument: String,
        /// Each hit with its identity.
        hits: Vec<String>,
    },
    /// The file is no identifier.
    #[error("`{}` is no machine identifier: byte {offset}: {message}", path.display())]
    NotIdentifier {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: usize,
        /// What is wrong there.
        message: String,
    },
}

impl Problem for ArgumentProblem {
    fn code(&self) -> Code {
        match self {
            Self::Nothing { .. } => Code::IdentityNotFound,
            Self::Several { .. } => Code::IdentityAmbiguous,
            Self::NotIdentifier { .. } => Code::IdentityInvalid,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Nothing { .. } => vec![
                Hint::run("see what the library has", "selfsame identity list"),
                Hint::say(
                    "or write it out: `uuid:…`, `ecid:0x…`, `ecid:DECIMAL` or `provisioning-udid:0000FE00-…`",
                ),
            ],
            Self::Several { .. } => vec![Hint::say("name one by its `uuid:…` or `ecid:…`")],
            Self::NotIdentifier { path, .. } => {
                vec![Hint::run(
                    "look at its bytes",
                    format!("od -A d -t x1z {} | head", shell_word(&path.to_string_lossy())),
                )]
            }
        }
    }
}

/// Finds the identity that the argument means.
///
/// # Errors
/// When it means none, or different ones, or the library cannot be read.
pub fn resolve(context: &Context, argument: &OsStr) -> Result<Known, Report> {
    let store = context.store_for_reading()?;
    let with_row = |mut known: Known| -> Result<Known, Report> {
        known.row = store.identities().get(&known.identity.digest().to_string())?;
        Ok(known)
    };
    if let Some(parsed) = argument.to_str().and_then(parse_prefixed) {
        let identity = parsed?;
        let found_as = "as written".to_owned();
        let raw = store
            .identities()
            .get(&identity.digest().to_string())?
            .map_or_else(|| identity.to_bytes(), |row| row.raw);
        return with_row(Known { identity, raw, findings: Vec::new(), row: None, found_as });
    }
    let mut hits: Vec<Known> = Vec::new();
    if let Some(text) = argument.to_str() {
        hits.extend(in_library(&store, text)?);
        hits.extend(parse_base64(text).and_then(|blob| known(blob, "base64 text".to_owned())));
    }
    if let Ok(folder) = find(context, argument)
        && let Ok(blob) = read_identifier(&folder)
        && !argument.as_encoded_bytes().contains(&b'/')
    {
        hits.extend(known(blob, format!("the VM {}", crate::bundle::name_of(&folder))));
    }
    let path = Path::new(argument);
    if path.exists() {
        match read_identifier(path) {
            Ok(blob) => hits.extend(known(blob, format!("the path `{}`", path.display()))),
            // A path that is nothing else deserves to be told what is wrong with it.
            Err(report) if hits.is_empty() => return Err(report),
            Err(_) => {}
        }
    }
    let argument = argument.to_string_lossy().into_owned();
    let Some(first) = hits.first() else { return Err(ArgumentProblem::Nothing { argument }.into()) };
    if hits.iter().any(|hit| hit.identity != first.identity) {
        let hits = hits.iter().map(|hit| format!("{} is {}", hit.found_as, hit.identity)).collect();
        return Err(ArgumentProblem::Several { argument, hits }.into());
    }
    with_row(hits.swap_remove(0))
}

fn in_library(store: &crate::store::Store, text: &str) -> Result<Vec<Known>, Report> {
    let mut rows: Vec<(String, IdentityRow)> = Vec::new();
    rows.extend(store.identities().by_label(text)?.map(|row| (format!("the label `{text}`"), row)));
    rows.extend(
        store.identities().by_id(text, 8)?.into_iter().map(|row| (format!("the library id {text}"), row)),
    );
    Ok(rows.into_iter().filter_map(|(found_as, row)| known(Blob::read(&row.raw), found_as)).collect())
}

fn known(blob: Blob, found_as: String) -> Option<Known> {
    let identity = blob.identity?;
    Some(Known { identity, raw: blob.raw, findings: blob.findings, row: None, found_as })
}

/// Reads the identifier at a path: a file, or a bundle's.
///
/// # Errors
/// When it cannot be read or holds no identity.
pub fn read_identifier(path: &Path) -> Result<Blob, Report> {
    let file = if path.is_dir() { path.join(IDENTIFIER) } else { path.to_owned() };
    let raw = read_bounded(&file, IDENTIFIER_LIMIT).map_err(FileError::failed("read", &file))?;
    let blob = Blob::read(&raw);
    if blob.identity.is_some() {
        return Ok(blob);
    }
    // A file may hold the base64 text that some tools show.
    let text = std::str::from_utf8(&raw).ok().map(str::trim).and_then(parse_base64);
    if let Some(inner) = text.filter(|inner| inner.identity.is_some()) {
        return Ok(inner);
    }
    let worst =
        blob.findings.iter().find(|finding| finding.severity == selfsame_machine::identity::Severity::Error);
    Err(ArgumentProblem::NotIdentifier {
        path: file,
        offset: worst.map_or(0, |finding| finding.offset),
        message: worst.map_or_else(|| "it holds no identity".to_owned(), |finding| finding.message.clone()),
    }
    .into())
}
