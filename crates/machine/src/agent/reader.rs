//! Bytes from the agent's port into replies.

use serde_json::{Map, Value};

use super::{LINE_LIMIT, STALE_LIMIT, SyncId};

/// The byte before the answer to a synchronisation.
const MARK: u8 = 0xff;

/// The answer to a synchronisation is no longer.
const ANSWER: usize = 4096;

/// So much of what makes no sense is shown.
const EXCERPT: usize = 120;

/// The agent refused what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {text}")]
pub struct Refusal {
    /// The kind, `GenericError` as a rule.
    pub class: String,
    /// Its words.
    pub text: String,
}

/// One thing that the agent said.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The exchange has begun: what follows answers what was asked in it.
    Synced,
    /// An answer.
    Return(Value),
    /// A refusal.
    Refused(Refusal),
}

/// What an agent said cannot be read. Nothing that comes after it is worth reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Too much came before the answer to the synchronisation.
    #[error("it said {limit} bytes and never what it was asked")]
    Flood {
        /// How many bytes are too many.
        limit: usize,
    },
    /// A line does not end.
    #[error("it said {limit} bytes without an end of line")]
    TooLong {
        /// How many bytes are too many.
        limit: usize,
    },
    /// A line is no answer.
    #[error("it said `{excerpt}`")]
    Garbled {
        /// The beginning of the line, made printable.
        excerpt: String,
    },
}

/// Puts replies together from what arrives in pieces, from the synchronisation on.
#[derive(Debug)]
pub struct Reader {
    id: SyncId,
    synced: bool,
    /// Whether the byte was seen that the answer to a synchronisation begins with.
    marked: bool,
    stale: usize,
    stale_limit: usize,
    limit: usize,
    line: Vec<u8>,
    failed: Option<ReadError>,
}

impl Reader {
    /// A reader of an exchange that was begun with this number.
    #[must_use]
    pub const fn new(id: SyncId) -> Self {
        Self {
            id,
            synced: false,
            marked: false,
            stale: 0,
            stale_limit: STALE_LIMIT,
            limit: LINE_LIMIT,
            line: Vec::new(),
            failed: None,
        }
    }

    /// The same that gives up sooner when it hears what is not for it.
    #[must_use]
    pub fn with_stale_limit(self, stale_limit: usize) -> Self {
        Self { stale_limit, ..self }
    }

    /// Sets how long the next answer may be.
    pub const fn allow(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes from the port and gives the replies that became whole.
    ///
    /// # Errors
    /// When they make no sense; from then on always the same.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Reply>, ReadError> {
        let mut replies = Vec::new();
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let step = if self.synced { self.read_line(&mut rest) } else { self.seek(&mut rest) };
            match step {
                Ok(reply) => replies.extend(reply),
                Err(error) => {
                    self.failed = Some(error.clone());
                    // What was whole before it is not lost: the error is told at the next look.
                    return if replies.is_empty() { Err(error) } else { Ok(replies) };
                }
            }
        }
        Ok(replies)
    }

    /// Takes bytes up to the end of a line.
    fn read_line(&mut self, rest: &mut &[u8]) -> Result<Option<Reply>, ReadError> {
        let (piece, ended) = cut(rest, b'\n');
        if self.line.len().saturating_add(piece.len()) > self.limit {
            return Err(ReadError::TooLong { limit: self.limit });
        }
        self.line.extend_from_slice(piece);
        if !ended {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        if line.trim_ascii().is_empty() { Ok(None) } else { understand(&line).map(Some) }
    }

    /// Takes bytes up to what may be the answer to the synchronisation, or up to its end.
    fn seek(&mut self, rest: &mut &[u8]) -> Result<Option<Reply>, ReadError> {
        let before = rest.len();
        let (piece, ended) = cut(rest, if self.marked { b'\n' } else { MARK });
        self.stale = self.stale.saturating_add(before.saturating_sub(rest.len()));
        if self.stale > self.stale_limit {
            return Err(ReadError::Flood { limit: self.stale_limit });
        }
        if !self.marked {
            self.marked = ended;
            return Ok(None);
        }
        // Another mark begins anew.
        let (fresh, piece) = match piece.iter().rposition(|byte| *byte == MARK) {
            Some(at) => (true, piece.get(at + 1..).unwrap_or_default()),
            None => (false, piece),
        };
        if fresh {
            self.line.clear();
        }
        // The answer is short: what is longer is none.
        if self.line.len() <= ANSWER {
            self.line.extend_from_slice(piece);
        }
        if !ended {
            return Ok(None);
        }
        self.marked = false;
        let line = std::mem::take(&mut self.line);
        let number = serde_json::from_slice::<Map<String, Value>>(&line).ok();
        let number = number.and_then(|object| object.get("return")?.as_u64());
        self.synced = line.len() <= ANSWER && number == Some(self.id.number());
        Ok(self.synced.then_some(Reply::Synced))
    }
}

/// Cuts off the bytes before `end`, and `end` itself where it is there.
fn cut<'b>(rest: &mut &'b [u8], end: u8) -> (&'b [u8], bool) {
    let all = *rest;
    match all.iter().position(|byte| *byte == end) {
        Some(at) => {
            *rest = all.get(at + 1..).unwrap_or_default();
            (all.get(..at).unwrap_or_default(), true)
        }
        None => {
            *rest = &[];
            (all, false)
        }
    }
}

fn understand(line: &[u8]) -> Result<Reply, ReadError> {
    let garbled = || ReadError::Garbled { excerpt: excerpt(line) };
    let mut object: Map<String, Value> = serde_json::from_slice(line).map_err(|_| garbled())?;
    if let Some(error) = object.get("error") {
        let word = |key| error.get(key).and_then(Value::as_str).map(printable);
        let class = word("class").ok_or_else(garbled)?;
        return Ok(Reply::Refused(Refusal { class, text: word("desc").unwrap_or_default() }));
    }
    object.remove("return").map(Reply::Return).ok_or_else(garbled)
}

fn excerpt(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line.get(..EXCERPT).unwrap_or(line)).into_owned();
    let more = if line.len() > EXCERPT { "…" } else { "" };
    format!("{}{more}", printable(&text))
}

/// A guest's words, short and harmless for a terminal.
fn printable(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(500).map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SyncId = SyncId::new(4711);
    const SYNCED: &[u8] = b"\xff{\"return\": 4711}\n";

    fn read(pieces: &[&[u8]]) -> (Vec<Reply>, Option<ReadError>) {
        let mut reader = Reader::new(ID);
        let mut replies = Vec::new();
        for piece in pieces {
            match reader.feed(piece) {
                Ok(more) => replies.extend(more),
                Err(error) => return (replies, Some(error)),
            }
        }
        let error = reader.feed(b"").err();
        (replies, error)
    }

    #[test]
    fn what_was_said_to_others_is_thrown_away() {
        let stale = b"return\": {}}\n{\"return\": 4711}\n\xff{\"return\": 4712}\n{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON\"}}\n\xff\xff{\"ret\n";
        let (replies, error) = read(&[stale, SYNCED, b"{\"return\": {\"pid\": 3}}\r\n\n"]);
        assert_eq!(error, None);
        assert_eq!(replies, [Reply::Synced, Reply::Return(serde_json::json!({ "pid": 3 }))]);
    }

    #[test]
    fn the_right_number_without_its_mark_begins_nothing() {
        assert_eq!(read(&[b"{\"return\": 4711}\n"]), (vec![], None));
        assert_eq!(
            read(&[b"\xff{\"return\": \"4711\"}\n\xff{\"return\": 4711.5}\n\xff[4711]\n"]),
            (vec![], None)
        );
    }

    #[test]
    fn a_refusal_is_told_in_the_agents_harmless_words() {
        let said = b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\\u001b[2J\"}}\n";
        let refusal = Refusal { class: "GenericError".into(), text: "no\u{fffd}[2J".into() };
        assert_eq!(read(&[SYNCED, said]).0, [Reply::Synced, Reply::Refused(refusal)]);
    }

    #[test]
    fn what_is_no_answer_ends_the_exchange_for_good() {
        for said in [&b"hello\n"[..], b"[1]\n", b"{}\n", b"{\"error\": 3}\n", b"\xfe\n"] {
            let (replies, error) = read(&[SYNCED, said, b"{\"return\": 1}\n"]);
            assert_eq!(replies, [Reply::Synced]);
            assert!(matches!(error, Some(ReadError::Garbled { .. })), "{error:?}");
        }
        let deep = [vec![b'['; 50_000], vec![b'\n']].concat();
        assert!(matches!(read(&[SYNCED, &deep]).1, Some(ReadError::Garbled { .. })));
    }

    #[test]
    fn nothing_is_remembered_without_end() {
        let mut reader = Reader::new(ID).with_stale_limit(1000);
        assert_eq!(reader.feed(&[b'x'; 1000]), Ok(vec![]));
        assert_eq!(reader.feed(b"x"), Err(ReadError::Flood { limit: 1000 }));
        assert_eq!(reader.feed(SYNCED), Err(ReadError::Flood { limit: 1000 }));
        let long = vec![b'1'; LINE_LIMIT + 1];
        assert_eq!(read(&[SYNCED, &long]).1, Some(ReadError::TooLong { limit: LINE_LIMIT }));
        let mut reader = Reader::new(ID);
        reader.allow(LINE_LIMIT + 10);
        assert_eq!(reader.feed(SYNCED), Ok(vec![Reply::Synced]));
        assert_eq!(reader.feed(&long), Ok(vec![]));
    }
}
