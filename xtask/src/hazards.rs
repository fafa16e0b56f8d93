//! Runs the hazards, the named tests of what goes wrong on real hosts, and counts them.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::repository;

/// `cargo xtask hazards [FILTER]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let filter = match arguments {
        [] => "hazard_".to_owned(),
        [name] if !name.starts_with('-') => name.clone(),
        _ => bail!("usage: cargo xtask hazards [NAME]"),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Both streams in one pipe: what was skipped is said on standard error.
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut command = Command::new(cargo);
    command
        .args(["test", "--quiet", "--package", "selfsame", "--test", "it", "--"])
        .args([&filter, "--test-threads=2", "--format=pretty"])
        .current_dir(repository::root()?)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot share a pipe")?)
        .stderr(writer);
    let mut child = command.spawn().context("cannot run `cargo test`")?;
    // It holds the writing end.
    drop(command);
    let mut count = Count::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("cannot read what the tests say")?;
        let line = String::from_utf8_lossy(&line);
        count.read(&line);
        // Whoever reads may have gone.
        drop(writeln!(std::io::stdout(), "{line}"));
    }
    let status = child.wait().context("cannot wait for `cargo test`")?;
    println!("{}", count.line());
    if !status.success() || count.failed > 0 {
        bail!("not all hazards went well ({status})");
    }
    if count.passed == 0 {
        bail!("no hazard was run");
    }
    Ok(())
}

/// What the test runner told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    /// As the runner counts: a test that skipped itself has passed.
    passed: usize,
    failed: usize,
    /// Why each was skipped.
    skipped: Vec<String>,
}

impl Count {
    fn read(&mut self, line: &str) {
        // A line of a test may stand behind what the runner has begun to say.
        if let Some((_, skipped)) = line.split_once("SKIPPED: ") {
            let (_test, why) = skipped.split_once(": ").unwrap_or(("", skipped));
            self.skipped.push(why.to_owned());
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let number = |what: &str| {
            let before = result.split_once(what)?.0;
            before.trim_end().rsplit(' ').next()?.parse().ok()
        };
        self.passed += number("passed").unwrap_or(0);
        self.failed += number("failed").unwrap_or(0);
    }

    /// `hazards: 34 passed, 0 failed, 1 skipped (needs root)`.
    fn line(&self) -> String {
        let mut reasons = self.skipped.clone();
        reasons.sort();
        reasons.dedup();
        let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        let passed = self.passed.saturating_sub(self.skipped.len());
        format!("hazards: {passed} passed, {} failed, {} skipped{why}", self.failed, self.skipped.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_does_not_count_as_passed() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test a ... SKIPPED: hazards::a: needs root to act as another user",
            "ok",
            "SKIPPED: hazards::b: needs root to act as another user",
            "test result: ok. 34 passed; 1 failed; 0 ignored; 0 measured; 30 filtered out; finished in 1.00s",
        ] {
            count.read(line);
        }
        assert_eq!(
            count.line(),
            "hazards: 32 passed, 1 failed, 2 skipped (needs root to act as another user)"
        );
    }
}
