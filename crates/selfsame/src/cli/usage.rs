//! A command line that cannot be understood.
//!
//! People get clap's own text, which shows the usage. A value that one of our own types refused is told as that type tells
//! it, and programs that asked for JSON get the problem object, as for every other failure.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use selfsame_machine::code::Exit;
use selfsame_machine::identity::MacAddressError;
use selfsame_machine::network::ForwardError;
use selfsame_machine::problem::{Problem, Report};
use selfsame_machine::size::SizeError;

use super::usage_problem;
use crate::output::Format;

/// Tells what clap has to say: help, the version, or what is wrong.
pub(super) fn tell(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        drop(error.print());
        return ExitCode::from(Exit::Ok.status());
    }
    let own = own(error);
    let format = format(std::env::args_os());
    if format == Format::Text && own.is_none() {
        drop(error.print());
        return ExitCode::from(Exit::Usage.status());
    }
    let report = own.unwrap_or_else(|| usage_problem(first_words(&error.to_string())));
    drop(crate::report::write(&mut std::io::stderr().lock(), &report, format));
    ExitCode::from(report.exit().status())
}

/// The problem of a value that one of our types refused.
fn own(error: &clap::Error) -> Option<Report> {
    let source = error.source()?;
    let problem: Option<&dyn Problem> = source
        .downcast_ref::<SizeError>()
        .map(|error| error as &dyn Problem)
        .or_else(|| source.downcast_ref::<MacAddressError>().map(|error| error as &dyn Problem))
        .or_else(|| source.downcast_ref::<ForwardError>().map(|error| error as &dyn Problem));
    let mut report = Report::of(problem?);
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) {
        report.message = format!("{argument}: {}", report.message);
    }
    Some(report)
}

/// What is wrong, without the usage that follows.
fn first_words(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let first = text.split("\n\n").next().unwrap_or(text);
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What was asked for, in a command line that could not be read as a whole.
fn format(arguments: impl Iterator<Item = OsString>) -> Format {
    let arguments: Vec<OsString> = arguments.collect();
    let joined = arguments.iter().any(|argument| argument == "--format=json");
    let apart =
        arguments.windows(2).any(|pair| matches!(pair, [key, value] if key == "--format" && value == "json"));
    if joined || apart { Format::Json } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use selfsame_machine::code::Code;

    use super::*;

    fn refused(line: &str) -> clap::Error {
        super::super::Arguments::try_parse_from(line.split(' ')).unwrap_err()
    }

    #[test]
    fn a_value_of_our_own_types_keeps_its_code_and_its_hint() {
        let report = own(&refused("selfsame create x --memory 4GB")).unwrap();
        assert_eq!(report.code, Code::SizeInvalid);
        assert!(report.message.starts_with("--memory <SIZE>: "), "{}", report.message);
        assert!(!report.hints.is_empty());
        let report = own(&refused("selfsame create x --mac-address 1")).unwrap();
        assert_eq!(report.code, Code::MacInvalid);
        assert!(own(&refused("selfsame create x --cpus many")).is_none());
    }

    #[test]
    fn the_usage_is_no_part_of_what_is_wrong() {
        assert_eq!(first_words(&refused("selfsame frob").to_string()), "unrecognized subcommand 'frob'");
    }

    #[test]
    fn the_format_is_found_wherever_it_stands() {
        let of = |line: &str| format(line.split(' ').map(OsString::from));
        assert_eq!(of("selfsame --format json frob"), Format::Json);
        assert_eq!(of("selfsame frob --format=json"), Format::Json);
        assert_eq!(of("selfsame frob json --format"), Format::Text);
    }
}
