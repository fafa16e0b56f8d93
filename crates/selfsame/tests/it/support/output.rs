//! What a command left: its streams and its exit status.

use serde_json::Value;

/// A command that has ended.
#[derive(Debug, Clone)]
#[must_use]
pub(crate) struct Output {
    /// What was called, for messages.
    pub(crate) what: String,
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The test's folder, which is hidden when the output is rendered.
    pub(super) root: String,
}

impl Output {
    /// The exit status.
    pub(crate) fn code(&self) -> i32 {
        self.status.unwrap_or_else(|| panic!("ended by a signal: {self}"))
    }

    /// Fails unless it ended with 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, Some(0), "{self}");
        self
    }

    /// Fails unless it ended with this status and an error of this code, and gives the error object.
    ///
    /// The command must have been called with `--format json`.
    #[track_caller]
    pub(crate) fn refused(&self, status: i32, code: &str) -> Value {
        assert_eq!(self.status, Some(status), "{self}");
        let error = self.error();
        assert_eq!(error["code"], code, "{self}");
        assert_eq!(error["exit_status"], status, "{self}");
        assert_eq!(self.stdout, "", "an error says nothing on standard output: {self}");
        error
    }

    /// The error object on standard error, the last line there.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("no error object ({error}): {self}"))
    }

    /// The document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// All of it, with what differs from run to run replaced.
    pub(crate) fn render(&self) -> String {
        let status = self.status.map_or_else(|| "signal".to_owned(), |status| status.to_string());
        let mut text = format!("exit: {status}\n");
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let stream: String =
                stream.split_inclusive('\n').filter(|line| !line.contains("SELFSAME_LOCK_DIR")).collect();
            if !stream.is_empty() {
                text.push_str(&format!("--- {name}\n"));
                // Blanks at the end of a line are nothing that anybody sees.
                stream.lines().for_each(|line| text.push_str(&format!("{}\n", line.trim_end())));
            }
        }
        scrub(&text.replace(&self.root, "[ROOT]"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "`{}` ended with {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.what, self.status, self.stdout, self.stderr
        )
    }
}

/// Replaces identities, addresses, digests, times, versions and pids.
pub(crate) fn scrub(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut position = 0;
    while position < bytes.len() {
        let begins = position == 0 || !bytes[position - 1].is_ascii_alphanumeric();
        let rest = &text[position..];
        match begins.then(|| known(rest, &out)).flatten() {
            Some((length, word)) => {
                out.push_str(word);
                position += length;
            }
            None => {
                let next = rest.chars().next().expect("there is more text");
                out.push(next);
                position += next.len_utf8();
            }
        }
    }
    out
}

/// What stands at the beginning of `rest`, if it is something that changes: its length and its replacement.
fn known(rest: &str, before: &str) -> Option<(usize, &'static str)> {
    let span = |accepts: fn(char) -> bool| rest.find(|c| !accepts(c)).unwrap_or(rest.len());
    let word = span(|c| c.is_ascii_alphanumeric() || c == '-');
    let text = &rest[..word];
    let is_uuid = text.len() == 36
        && text.char_indices().all(|(index, c)| {
            if matches!(index, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() }
        });
    if is_uuid {
        return Some((36, "[UUID]"));
    }
    if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Some((64, "[DIGEST]"));
    }
    let colons = span(|c| c.is_ascii_hexdigit() || c == ':');
    if colons == 17 && rest[..17].split(':').all(|part| part.len() == 2) {
        return Some((17, "[MAC]"));
    }
    let time = span(|c| c.is_ascii_digit() || "-:.TZ".contains(c));
    if time >= 20 && rest[..time].ends_with('Z') && rest.as_bytes()[10] == b'T' {
        return Some((time, "[TIME]"));
    }
    let number = span(|c| c.is_ascii_digit() || c == '.');
    let names = ["pid ", "supervisor ", "QEMU ", "_pid\": ", "-KILL ", "-CONT "];
    if number > 0 && names.iter().any(|name| before.ends_with(name)) {
        let digits = rest[..number].trim_end_matches('.');
        return Some((digits.len(), if digits.contains('.') { "[VERSION]" } else { "[PID]" }));
    }
    None
}

#[test]
fn what_changes_is_replaced_and_the_rest_stays() {
    let text = "uuid:db087d0b-d366-40bc-809b-969690dcbe1e (pid 17), QEMU 7.2.22, 9e:50:b8:f0:3d:9b 2026-11-21T22:52:47.85Z é 17";
    assert_eq!(scrub(text), "uuid:[UUID] (pid [PID]), QEMU [VERSION], [MAC] [TIME] é 17");
}
