//! Bytes into messages, without I/O.
//!
//! **Invariants.** No input makes it panic, recurse without bound or hold more than one line and one feed. Bytes may
//! arrive in any pieces: the messages are the same. After the first error the rest cannot be trusted (a command's
//! answer may be in the part not understood), so the codec stays failed and gives the same error again.

use std::sync::Arc;

use serde_json::Value;

use super::message::Message;

/// The longest line that is read. The longest answer we ask for, `query-machines`, has about 14 kB.
pub const LINE_LIMIT: usize = 1 << 20;

/// The longest excerpt of a bad line that an error carries.
const EXCERPT: usize = 80;

/// The bytes are not QMP. Offsets count from the first byte of the connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CodecError {
    /// A line has no end.
    #[error("the line at byte {offset} is longer than {LINE_LIMIT} bytes")]
    LineTooLong {
        /// Where the line begins.
        offset: u64,
    },
    /// A line is not JSON.
    #[error("byte {offset} is not valid JSON, in `{excerpt}`")]
    NotJson {
        /// Where reading failed.
        offset: u64,
        /// How the line begins, made printable.
        excerpt: String,
        /// Why.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// A line is JSON, but no object.
    #[error("the line at byte {offset} is no JSON object: `{excerpt}`")]
    NotAnObject {
        /// Where the line begins.
        offset: u64,
        /// How the line begins, made printable.
        excerpt: String,
    },
}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct Codec {
    buffer: Vec<u8>,
    /// Where in the buffer the next line begins.
    start: usize,
    /// Up to where the buffer is known to hold no further line end.
    scanned: usize,
    /// The offset in the stream of the buffer's first byte.
    offset: u64,
    failure: Option<CodecError>,
}

impl Codec {
    /// Takes in bytes as they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        self.buffer.drain(..self.start);
        self.offset += self.start as u64;
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or none until more bytes are fed.
    ///
    /// # Errors
    /// The bytes are not QMP.
    pub fn next_message(&mut self) -> Result<Option<Message>, CodecError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.next_line();
        if let Err(failure) = &result {
            self.failure = Some(failure.clone());
            self.buffer = Vec::new();
        }
        result
    }

    /// How the line begins that has no end yet, made printable.
    #[must_use]
    pub fn unfinished(&self) -> String {
        excerpt(self.buffer.get(self.start..).unwrap_or_default())
    }

    fn next_line(&mut self) -> Result<Option<Message>, CodecError> {
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n').map(|found| self.scanned + found);
            let offset = self.offset + self.start as u64;
            if end.unwrap_or(self.buffer.len()) - self.start > LINE_LIMIT {
                return Err(CodecError::LineTooLong { offset });
            }
            let Some(end) = end else {
                self.scanned = self.buffer.len();
                return Ok(None);
            };
            let line = self.buffer.get(self.start..end).unwrap_or_default();
            let message = if line.trim_ascii().is_empty() { None } else { Some(read_line(line, offset)?) };
            self.start = end + 1;
            self.scanned = self.start;
            if message.is_some() {
                return Ok(message);
            }
        }
    }
}

fn read_line(line: &[u8], offset: u64) -> Result<Message, CodecError> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => Ok(Message::of_object(object)),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(CodecError::NotAnObject { offset, excerpt: excerpt(line) })
        }
        Err(source) => Err(CodecError::NotJson {
            offset: offset + source.column().saturating_sub(1) as u64,
            excerpt: excerpt(line),
            source: Arc::new(source),
        }),
    }
}

/// The beginning of foreign bytes, safe to show on a terminal.
pub(in crate::qemu) fn excerpt(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii();
    let cut = bytes.get(..EXCERPT).unwrap_or(bytes);
    let mut text = String::new();
    for letter in String::from_utf8_lossy(cut).chars() {
        match letter {
            '"' | '\'' | '\\' => text.push(letter),
            other => text.extend(other.escape_debug()),
        }
    }
    if cut.len() < bytes.len() {
        text.push('…');
    }
    text
}
