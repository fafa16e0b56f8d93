//! Running a tool whose complaint may be long, and is all shown.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// More lines of a complaint than this are left out of the middle.
const LINES: usize = 200;

/// Runs `command` to its end; what it says on both streams becomes the error when it fails.
pub(super) fn output(command: &mut Command) -> Result<()> {
    text(command).map(drop)
}

/// The same, and gives what it said on standard output.
pub(super) fn text(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        bail!("`{program}` failed ({}):\n{}", output.status, shortened(&all));
    }
    Ok(said)
}

/// The first and the last lines, where there are too many.
fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= LINES {
        return text.trim_end().to_owned();
    }
    let half = LINES / 2;
    let (head, tail) =
        (lines.get(..half).unwrap_or_default(), lines.get(lines.len() - half..).unwrap_or_default());
    format!("{}\n… {} lines left out …\n{}", head.join("\n"), lines.len() - LINES, tail.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_complaint_keeps_its_beginning_and_its_end() {
        let text: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        let short = shortened(&text);
        assert!(short.starts_with("line 0\n") && short.ends_with("line 999"));
        assert_eq!(short.lines().count(), LINES + 1);
        assert_eq!(shortened("a\n"), "a");
    }
}
