//! What an error owes to whoever meets it: a stable code, its causes, and what to do next.
//!
//! Library errors know the facts, so they know the advice. The command line, a supervisor answering over its socket and
//! a REST front end all take it from here and only paint it.

use std::borrow::Cow;
use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::code::{Code, Exit};

/// One piece of advice, with a command that can be run as it stands where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// What to do, a short clause without a full stop.
    pub text: Cow<'static, str>,
    /// A command for a POSIX shell, quoted where needed.
    #[serde(default)]
    pub command: Option<String>,
}

impl Hint {
    /// Advice in words only.
    pub fn say(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), command: None }
    }

    /// Advice with the command that carries it out.
    pub fn run(text: impl Into<Cow<'static, str>>, command: impl Into<String>) -> Self {
        Self { text: text.into(), command: Some(command.into()) }
    }
}

/// An error that a person or a program can act upon.
///
/// Its `Display` says what failed and names the thing; it never repeats its `source`, which is shown as a cause.
pub trait Problem: Error + Send + Sync + 'static {
    /// The stable code.
    fn code(&self) -> Code;

    /// What to do next, most useful first.
    fn hints(&self) -> Vec<Hint> {
        Vec::new()
    }
}

/// A problem as data: what crosses a process boundary, and what a front end shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The stable code.
    pub code: Code,
    /// What failed, one line.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do next.
    pub hints: Vec<Hint>,
}

impl Report {
    /// Takes down a problem with its whole chain of causes.
    pub fn of(problem: &dyn Problem) -> Self {
        let mut causes = Vec::new();
        let mut cause = problem.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self { code: problem.code(), message: problem.to_string(), causes, hints: problem.hints() }
    }

    /// The exit status of a command that fails with this problem.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.code.exit()
    }
}

impl<P: Problem> From<P> for Report {
    fn from(problem: P) -> Self {
        Self::of(&problem)
    }
}

/// The shape on the wire: a problem object in the sense of RFC 9457.
#[derive(Serialize, Deserialize)]
struct Wire {
    code: String,
    title: String,
    detail: String,
    causes: Vec<String>,
    hints: Vec<Hint>,
    exit_status: u8,
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            code: self.code.text().to_owned(),
            title: self.code.title().to_owned(),
            detail: self.message.clone(),
            causes: self.causes.clone(),
            hints: self.hints.clone(),
            exit_status: self.exit().status(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let code = wire.code.parse().map_err(serde::de::Error::custom)?;
        Ok(Self { code, message: wire.detail, causes: wire.causes, hints: wire.hints })
    }
}

/// Quotes a word for a POSIX shell, and leaves plain words as they are.
#[must_use]
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open `a b`")]
    struct Outer(#[source] std::num::ParseIntError);

    impl Problem for Outer {
        fn code(&self) -> Code {
            Code::FileFailed
        }
        fn hints(&self) -> Vec<Hint> {
            vec![Hint::run("look at it", format!("ls {}", shell_word("a b")))]
        }
    }

    #[test]
    fn a_report_survives_the_wire() {
        let report = Report::from(Outer("x".parse::<u8>().unwrap_err()));
        assert_eq!(report.causes, ["invalid digit found in string"]);
        assert_eq!(report.hints[0].command.as_deref(), Some("ls 'a b'"));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn shell_words_are_quoted_only_when_they_must_be() {
        assert_eq!(shell_word("uuid:1a-b"), "uuid:1a-b");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
