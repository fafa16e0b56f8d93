//! From bytes to a dictionary, with everything odd on the way noted.
//!
//! Binary and XML property lists are read. The older text form is not: almost any text is one, and no tool ever kept an
//! identifier in it.

use std::io::Cursor;

use plist::{Dictionary, Value};

use super::MAX_BLOB;
use super::finding::{Finding, FindingCode};
use super::layout::Layout;
use crate::quote::quoted;

/// The mark that a binary property list begins with.
pub(super) const BINARY: &[u8] = b"bplist00";

/// The most arrays and dictionaries (opening and closing tags together) in an XML property list.
const MAX_TAGS: usize = 64;

/// A decoded dictionary that still knows where its values lie.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) values: Dictionary,
    /// Where the top dictionary starts.
    pub(super) top: usize,
    places: Vec<(String, usize)>,
}

impl Decoded {
    /// Reads a dictionary from bytes; the finding of a failure is an error.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Finding> {
        if bytes.is_empty() {
            return Err(Finding::error(0, FindingCode::Empty, "there is no data"));
        }
        if bytes.len() > MAX_BLOB {
            let message = format!("{} bytes are more than such data can have", bytes.len());
            return Err(Finding::error(MAX_BLOB, FindingCode::TooLarge, message));
        }
        if bytes.starts_with(BINARY) {
            return Self::binary(bytes);
        }
        if BINARY.starts_with(bytes) {
            let message = "the property list ends within its first eight bytes";
            return Err(Finding::error(bytes.len(), FindingCode::Truncated, message));
        }
        let start = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let blanks = bytes[start..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if bytes.get(start + blanks) == Some(&b'<') {
            return Self::xml(bytes, start + blanks);
        }
        Err(Finding::error(0, FindingCode::NotPropertyList, "neither a binary nor an XML property list"))
    }

    fn binary(bytes: &[u8]) -> Result<Self, Finding> {
        let layout = Layout::of(bytes)?;
        let value = Value::from_reader(Cursor::new(bytes))
            .map_err(|error| undecodable(&error, layout.top, bytes.len()))?;
        Self::of(value, layout.top, layout.entries)
    }

    fn xml(bytes: &[u8], top: usize) -> Result<Self, Finding> {
        let count = |tag: &[u8]| bytes.windows(tag.len()).filter(|window| *window == tag).count();
        if count(b"array") + count(b"dict") > MAX_TAGS {
            let message = "the property list has more structure than an identifier can have";
            return Err(Finding::error(top, FindingCode::TooDeep, message));
        }
        let value = Value::from_reader_xml(bytes).map_err(|error| undecodable(&error, top, bytes.len()))?;
        Self::of(value, top, xml_keys(bytes))
    }

    fn of(value: Value, top: usize, places: Vec<(String, usize)>) -> Result<Self, Finding> {
        let Value::Dictionary(values) = value else {
            return Err(Finding::error(
                top,
                FindingCode::NotDictionary,
                "the property list is no dictionary",
            ));
        };
        for (index, (key, place)) in places.iter().enumerate() {
            if values.contains_key(key) && places[..index].iter().any(|(other, _)| other == key) {
                let message = format!("the key {} stands twice", quoted(key));
                return Err(Finding::error(*place, FindingCode::DuplicateKey, message));
            }
        }
        Ok(Self { values, top, places })
    }

    /// Where the value of a key lies, or the dictionary if that is not known.
    pub(super) fn place(&self, key: &str) -> usize {
        self.places.iter().find(|(other, _)| other == key).map_or(self.top, |(_, place)| *place)
    }

    /// A note on every key that is not among the known ones.
    pub(super) fn unknown<'a>(&'a self, known: &'a [&str]) -> impl Iterator<Item = Finding> + 'a {
        self.values.keys().filter(|key| !known.contains(&key.as_str())).map(|key| {
            Finding::note(
                self.place(key),
                FindingCode::UnknownKey,
                format!("the key {} is not known", quoted(key)),
            )
        })
    }
}

/// The finding for a decoder's failure, at the place that its text names.
fn undecodable(error: &plist::Error, top: usize, length: usize) -> Finding {
    let text = error.to_string();
    let (what, place) = text.rsplit_once(" (offset ").unwrap_or((&text, ""));
    let place = place.strip_suffix(')').and_then(|digits| digits.parse().ok()).unwrap_or(top);
    Finding::error(
        place.min(length),
        FindingCode::Malformed,
        format!("the property list cannot be decoded ({what})"),
    )
}

/// The keys of an XML property list and where each tag starts: nested ones too, which matters only for duplicates of
/// top-level keys, and such a file is refused rather than guessed at.
fn xml_keys(bytes: &[u8]) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(bytes);
    // A lossy copy of text that decoded as UTF-8 is the text itself, so offsets hold.
    text.match_indices("<key>")
        .filter_map(|(start, tag)| {
            let rest = &text[start + tag.len()..];
            Some((rest[..rest.find("</key>")?].to_owned(), start.min(bytes.len())))
        })
        .take(1024)
        .collect()
}

/// The first byte in which two strings differ.
pub(super) fn first_difference(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}
