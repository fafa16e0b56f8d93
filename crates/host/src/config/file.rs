//! One configuration file: is it to be trusted, what does it say, and where is it wrong.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::key::{Key, Value};

/// Far beyond any sensible file, and little enough to read into memory.
const LARGEST: u64 = 1 << 20;

/// Who must have written a file for it to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Root, and nobody else may write it.
    Root,
    /// Whoever could put it there.
    Anyone,
}

/// Reads a file's settings; none when there is no file.
pub(super) fn read(path: &Path, owner: Owner) -> Result<Option<Vec<(Key, Value)>>, ConfigError> {
    let Some(bytes) = bytes(path, owner)? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).map_err(|error| ConfigError::Syntax {
        place: place(path, &bytes, error.valid_up_to()),
        message: "this is not UTF-8 text".to_owned(),
    })?;
    settings(path, text, owner).map(Some)
}

fn bytes(path: &Path, owner: Owner) -> Result<Option<Vec<u8>>, ConfigError> {
    let failed = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    // Without NONBLOCK, a FIFO in the file's place would hold every command for ever.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(ConfigError::NotFile { path: path.to_owned() });
    }
    // Asked of the descriptor that is read, so that nothing can be exchanged in between.
    if owner == Owner::Root && (metadata.uid() != 0 || metadata.mode() & 0o022 != 0) {
        return Err(ConfigError::Untrusted {
            path: path.to_owned(),
            owner: metadata.uid(),
            mode: metadata.mode() & 0o7777,
        });
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(ConfigError::TooLarge { path: path.to_owned(), largest: LARGEST });
    }
    Ok(Some(bytes))
}

fn settings(path: &Path, text: &str, owner: Owner) -> Result<Vec<(Key, Value)>, ConfigError> {
    let at = |span: Range<usize>| place(path, text.as_bytes(), span.start);
    let tables = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: at(error.span().unwrap_or_default()),
        message: error.message().to_owned(),
    })?;
    let mut settings = Vec::new();
    for (dotted, span, value) in leaves(tables.get_ref()) {
        let Some(key) = Key::ALL.into_iter().find(|key| key.text() == dotted) else {
            return Err(ConfigError::UnknownKey { place: at(span), near: Key::near(&dotted), key: dotted });
        };
        if key.is_for_all_users() && owner == Owner::Anyone {
            return Err(ConfigError::NotForUsers { place: at(span), key });
        }
        let Some(read) = key.read(value.get_ref()) else {
            return Err(ConfigError::WrongValue { place: at(value.span()), key, takes: key.takes() });
        };
        settings.push((key, read));
    }
    Ok(settings)
}

/// Every key that is two deep, dotted, in the order of the file; whatever is not a table at the top counts as a key.
fn leaves<'t>(tables: &'t DeTable<'_>) -> Vec<(String, Range<usize>, &'t Spanned<DeValue<'t>>)> {
    let mut leaves = Vec::new();
    for (name, value) in tables {
        match value.get_ref().as_table() {
            Some(table) => {
                // An empty table of an unknown name would otherwise pass unseen.
                if table.is_empty() && !Key::ALL.iter().any(|key| table_of(*key) == name.get_ref().as_ref()) {
                    leaves.push((name.get_ref().to_string(), name.span(), value));
                }
                leaves.extend(table.iter().map(|(key, value)| {
                    (format!("{}.{}", name.get_ref(), key.get_ref()), key.span(), value)
                }));
            }
            None => leaves.push((name.get_ref().to_string(), name.span(), value)),
        }
    }
    leaves.sort_by_key(|(_, span, _)| span.start);
    leaves
}

fn table_of(key: Key) -> &'static str {
    key.text().split('.').next().unwrap_or_default()
}

/// Counts lines and columns from one; a column is a character, as editors count.
fn place(path: &Path, text: &[u8], offset: usize) -> Place {
    let before = &text[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Place {
        path: path.to_owned(),
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + String::from_utf8_lossy(&before[line_start..]).chars().count(),
    }
}
