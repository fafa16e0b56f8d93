//! What commands write: data to standard output, everything else to standard error.

use std::io::{self, Write};

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use selfsame_host::store::Observation;
use selfsame_machine::problem::Hint;
use serde::Serialize;

use crate::report::printable;

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables and sentences.
    Text,
    /// One JSON document.
    Json,
}

/// Whether data could not be written: a program must not take the half for the whole.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whether nobody reads it any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes to standard output. A reader that has gone (`| head`) is no error; a full disk is, at the end of the command.
pub(crate) fn data(text: &str) {
    let mut out = io::stdout().lock();
    keep(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes what a command in a guest wrote to standard error, as it is: the terminal control in it is the command's business.
pub(crate) fn error_bytes(text: &[u8]) {
    // Nobody is left to tell.
    drop(io::stderr().lock().write_all(text));
}

/// Bytes for JSON: as text, and in base64 where the text does not tell them.
pub(crate) fn text(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => {
            let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
            (String::from_utf8_lossy(bytes).into_owned(), Some(base64))
        }
    }
}

/// The same with bytes that need be no text.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    keep(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Whether whoever read standard output is gone: nothing more needs to be made for it.
pub(crate) fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

fn keep(written: io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => CLOSED.store(true, Ordering::Relaxed),
        Err(_) => LOST.store(true, Ordering::Relaxed),
    }
}

/// Whether something of the data was lost.
pub(crate) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Writes a line for people to standard error.
pub(crate) fn note(text: &str) {
    write_all(&mut io::stderr().lock(), &format!("{}\n", printable(text)));
}

/// Writes one JSON document to standard output.
pub(crate) fn json(value: &impl Serialize) {
    // Written as it is made: a list of a thousand VMs is a third of a megabyte.
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    // The types that come here have string keys and finite numbers only, so nothing can fail but the writing.
    keep(serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from).and_then(|()| {
        out.write_all(b"\n")?;
        out.flush()
    }));
}

fn write_all(out: &mut impl Write, text: &str) {
    // Nobody is left to tell.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes advice for people to standard error.
pub(crate) fn hints(hints: &[Hint]) {
    for hint in hints {
        match &hint.command {
            Some(command) => note(&format!("hint: {}: `{command}`", hint.text)),
            None => note(&format!("hint: {}", hint.text)),
        }
    }
}

/// A path for JSON: its text, and its bytes in base64 where the text does not tell them.
pub(crate) fn path(path: &Path) -> (String, Option<String>) {
    match path.to_str() {
        Some(text) => (text.to_owned(), None),
        None => {
            let bytes = path.as_os_str().as_encoded_bytes();
            let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
            (path.to_string_lossy().into_owned(), Some(base64))
        }
    }
}

/// What a guest showed, for JSON.
pub(crate) fn observation(observation: &Observation) -> serde_json::Value {
    serde_json::json!({
        "source": observation.first.source,
        "first_seen": observation.first.at,
        "last_seen": observation.last_seen,
        "path": observation.first.folder.to_string_lossy(),
        "facts": observation.first.facts,
        "contradictions": observation.first.contradictions,
    })
}

/// Lines of a key and a value, the values in one column.
pub(crate) fn pairs(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    lines.iter().map(|(key, value)| format!("{key:width$}  {}\n", printable(value))).collect()
}

/// A table: columns as wide as their widest cell, two spaces between, no lines.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Begins with the headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// The whole table; nothing when it has no rows.
    pub(crate) fn render(&self) -> String {
        if self.rows.len() < 2 {
            return String::new();
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_must_be() {
        let mut table = Table::new(["NAME", "STATE"]);
        assert_eq!(table.render(), "");
        table.row(["wéb".into(), "running".into()]);
        table.row(["a\tlong name".into(), "x".into()]);
        insta::assert_snapshot!(table.render(), @"
        NAME         STATE
        wéb          running
        a�long name  x
        ");
    }
}
