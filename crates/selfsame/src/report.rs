//! How a problem is shown: as text for people, as one JSON object for programs. Always on standard error.

use std::io::{self, Write};

use selfsame_machine::problem::Report;

use crate::output::Format;

/// Writes the problem to `out`.
pub(crate) fn write(out: &mut impl Write, report: &Report, format: Format) -> io::Result<()> {
    write_as(out, report, format, report.exit().status())
}

/// The same for a command that ends with another status than the problem's own.
pub(crate) fn write_as(out: &mut impl Write, report: &Report, format: Format, status: u8) -> io::Result<()> {
    match format {
        Format::Json if status == report.exit().status() => {
            serde_json::to_writer(&mut *out, report)?;
            writeln!(out)
        }
        Format::Json => {
            let mut object = serde_json::to_value(report)?;
            object["exit_status"] = status.into();
            writeln!(out, "{object}")
        }
        Format::Text => write_text(out, report),
    }
}

fn write_text(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "error: {}", printable(&report.message))?;
    for cause in &report.causes {
        writeln!(out, "caused by: {}", printable(cause))?;
    }
    if !report.hints.is_empty() {
        writeln!(out)?;
    }
    for hint in &report.hints {
        match &hint.command {
            Some(command) => writeln!(out, "hint: {}: `{}`", printable(&hint.text), printable(command))?,
            None => writeln!(out, "hint: {}", printable(&hint.text))?,
        }
    }
    Ok(())
}

/// Text that may hold a file's or a guest's bytes, made harmless for a terminal. Line ends stay.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_machine::code::Code;
    use selfsame_machine::problem::Hint;

    fn shown(format: Format) -> String {
        let report = Report {
            code: Code::IdentityInUse,
            message: "web2 is a twin of web1, and web1 is running\x1b[2J".into(),
            causes: vec!["outer".into(), "inner".into()],
            hints: vec![Hint::run("stop the other", "selfsame stop web1"), Hint::say("or wait")],
        };
        let mut out = Vec::new();
        write(&mut out, &report, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text() {
        insta::assert_snapshot!(shown(Format::Text), @"
        error: web2 is a twin of web1, and web1 is running�[2J
        caused by: outer
        caused by: inner

        hint: stop the other: `selfsame stop web1`
        hint: or wait
        ");
    }

    #[test]
    fn json() {
        insta::assert_snapshot!(shown(Format::Json), @r#"{"code":"identity.in_use","title":"A VM with this identity is running","detail":"web2 is a twin of web1, and web1 is running\u001b[2J","causes":["outer","inner"],"hints":[{"text":"stop the other","command":"selfsame stop web1"},{"text":"or wait","command":null}],"exit_status":5}"#);
    }
}
