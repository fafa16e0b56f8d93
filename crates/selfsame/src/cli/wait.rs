//! Standing in line for a slot: what `run --wait` shows and does. Not a command of its own.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use selfsame_host::bundle::{Bundle, Named, name_of};
use selfsame_host::context::Context;
use selfsame_host::quota::line::{Line, Standing, Turn};
use selfsame_host::supervisor::{Launched, SupervisorError, interrupts};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Report};
use selfsame_machine::span::Span;

use crate::output::{Format, note};

/// How long to wait for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience(Option<Span>);

impl Patience {
    /// Reads what stands behind `--wait`: nothing, or a time.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse()
            .map(|span| Self(Some(span)))
            .map_err(|error: selfsame_machine::span::SpanError| error.to_string())
    }

    /// Tries to start a VM until it has a slot. Any other answer than that all slots are taken is the outcome.
    ///
    /// `start` starts it: without a ticket, or with that of the line whose turn it is.
    pub(super) fn start(
        self,
        context: &Context,
        format: Format,
        name: &Named,
        bundle: &Bundle,
        mut start: impl FnMut(Option<&Line>) -> Result<Launched, Report>,
    ) -> Result<Launched, Report> {
        let began = Instant::now();
        // A time that is beyond all clocks is none.
        let until = self.0.and_then(|span| began.checked_add(span.duration()));
        let full = match start(None) {
            Err(report) if report.code == Code::QuotaFull => report,
            outcome => return outcome,
        };
        let interrupts = interrupts().map_err(SupervisorError::Launch)?;
        let Some(mut line) = Line::join(context, bundle.guest(), &bundle.folder)? else {
            // Where none may run, nobody waits; the limit may also have gone meanwhile.
            return Err(full);
        };
        let mut shown = Shown { format, name, on_terminal: false };
        let outcome = loop {
            match line.await_turn(until, interrupts.as_fd(), &mut |standing| shown.show(standing)) {
                Err(report) => break Err(report),
                Ok(Turn::Come) => match start(Some(&line)) {
                    Err(report) if report.code == Code::QuotaFull => line.missed(),
                    outcome => break outcome,
                },
                Ok(Turn::Moot) => break start(None),
                Ok(Turn::Late) => break Err(given_up(name, line.standing(), Some(began.elapsed()))),
                Ok(Turn::Interrupted) => break Err(given_up(name, line.standing(), None)),
            }
        };
        line.leave();
        shown.end();
        outcome
    }
}

/// Nothing came of it: how far it was.
fn given_up(name: &Named, standing: Option<&Standing>, late: Option<Duration>) -> Report {
    let place = standing.map_or_else(String::new, |standing| format!(", and was {}", in_line(standing)));
    let message = match late {
        Some(waited) => format!("{name} had no slot within {:.0?}{place}", waited),
        None => format!("{name} has left the line for a slot{place}"),
    };
    let hints = vec![Hint::run("see who holds the slots and who waits", "selfsame quota show")];
    Report { code: Code::QuotaFull, message, causes: Vec::new(), hints }
}

/// `3rd in line for one of 2 slots (web1, ci-7 run)`.
fn in_line(standing: &Standing) -> String {
    let slots = match standing.limit {
        1 => "the one slot".to_owned(),
        limit => format!("one of {limit} slots"),
    };
    let holders: Vec<String> = standing.holders.iter().map(|folder| name_of(folder)).collect();
    let verb = if holders.len() == 1 { "runs" } else { "run" };
    let run = if holders.is_empty() { String::new() } else { format!(" ({} {verb})", holders.join(", ")) };
    format!("{} in line for {slots}{run}", ordinal(standing.place))
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What was shown of the place.
struct Shown<'n> {
    format: Format,
    name: &'n Named,
    /// A line on the terminal is not ended yet: the next place goes over it.
    on_terminal: bool,
}

impl Shown<'_> {
    fn show(&mut self, standing: &Standing) {
        let mut error = std::io::stderr();
        // Nobody is left to tell when standard error is closed.
        match self.format {
            Format::Json => {
                let event = serde_json::json!({
                    "schema": "waiting/1",
                    "name": self.name.name,
                    "place": standing.place,
                    "limit": standing.limit,
                    "holders": standing.holders.iter().map(|folder| name_of(folder)).collect::<Vec<_>>(),
                });
                drop(writeln!(error, "{event}"));
            }
            Format::Text if error.is_terminal() => {
                let text = crate::report::printable(&format!("waiting: {}", in_line(standing)));
                drop(write!(error, "\r\x1b[K{text}").and_then(|()| error.flush()));
                self.on_terminal = true;
            }
            Format::Text => note(&format!("waiting: {}", in_line(standing))),
        }
    }

    fn end(&self) {
        if self.on_terminal {
            note("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_as_people_count() {
        let say = |place, limit, holders: &[&str]| {
            in_line(&Standing { place, limit, holders: holders.iter().map(Into::into).collect() })
        };
        let two = ["/h/vms/web1.vm", "/h/vms/ci-7.vm"];
        assert_eq!(say(3, 2, &two), "3rd in line for one of 2 slots (web1, ci-7 run)");
        assert_eq!(say(1, 1, &two[..1]), "1st in line for the one slot (web1 runs)");
        assert_eq!(say(112, 8, &[]), "112th in line for one of 8 slots");
        let all: Vec<String> = [2, 11, 12, 13, 21, 22, 23, 101, 111].map(ordinal).into();
        assert_eq!(all, ["2nd", "11th", "12th", "13th", "21st", "22nd", "23rd", "101st", "111th"]);
    }

    #[test]
    fn waiting_takes_a_time_or_none() {
        assert_eq!(Patience::read(""), Ok(Patience(None)));
        assert_eq!(Patience::read("5m"), Ok(Patience("300s".parse().ok())));
        assert_eq!(Patience::read("5"), Ok(Patience("5s".parse().ok())));
        assert!(Patience::read("5 s").unwrap_err().contains("90s"));
    }
}
