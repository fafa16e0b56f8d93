//! `selfsame events`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::store::{Event, EventFilter, EventId, Store};
use selfsame_host::time::Time;
use selfsame_host::watch::Watch;
use selfsame_machine::code::Exit;
use selfsame_machine::problem::Report;

use super::{Global, Outcome};
use crate::output::{Format, Table, data, is_closed, note};
use crate::report::printable;

/// So many are read at a time while they are followed.
const BATCH: u32 = 500;

/// SQLite writes first, and lets others see it a moment later, of which the kernel does not tell: when it has been quiet
/// for so long, what was written is seen.
const SETTLED: Duration = Duration::from_millis(200);

/// Show what happened
///
/// Oldest first. With `--format json`, one object a line. With `-f` it goes on as things happen, until it is interrupted:
/// on Linux the kernel tells of each, on a Mac the library is looked at each second.
///
/// Example: selfsame events -n 20 web1
///
/// Example: selfsame events --format json -f --since 2026-11-28T00:00:00Z
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Of this VM only: its name, or a path; a deleted VM's name works too
    #[arg(value_name = "NAME")]
    vm: Option<OsString>,
    /// Only after the event with this number, or from this time on (RFC 3339)
    #[arg(long, value_name = "NUMBER|TIME")]
    since: Option<Since>,
    /// At most so many, the newest ones; with `--since` and without `-f` the first ones
    #[arg(short = 'n', long, value_name = "N", default_value = "50")]
    limit: u32,
    /// Go on as things happen
    #[arg(short, long)]
    follow: bool,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    Event(i64),
    Time(Time),
}

impl FromStr for Since {
    type Err = NoBeginning;

    fn from_str(text: &str) -> Result<Self, NoBeginning> {
        let number = text.parse().map(Self::Event);
        number.or_else(|_| text.parse().map(Self::Time)).map_err(|_| NoBeginning)
    }
}

/// A text is neither of both.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("neither the number of an event nor a time such as 2026-11-28T09:00:00Z")]
struct NoBeginning;

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    // Before the first look: what is written in between is not missed.
    let watch = arguments.follow.then(|| Watch::of(context.home.root()));
    let store = context.store_for_reading()?;
    let of = Of::find(context, arguments);
    let since = match arguments.since {
        None => None,
        Some(Since::Event(number)) => Some(EventId(number)),
        Some(Since::Time(time)) => Some(store.events().last_before(time)?.unwrap_or(EventId(0))),
    };
    let Some(watch) = watch else {
        let events = of.list(&store, since, arguments.limit)?;
        show_all(global, events);
        return Ok(Exit::Ok);
    };
    let mut last = match since {
        Some(since) => since,
        None => {
            // One more than none, to know where to go on.
            let events = of.list(&store, None, arguments.limit.max(1))?;
            let wanted = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
            events.iter().take(wanted).for_each(|event| show_one(global, event));
            events.last().map_or(EventId(0), |event| event.id)
        }
    };
    let mut settles = false;
    loop {
        loop {
            let events = of.list(&store, Some(last), BATCH)?;
            let Some(newest) = events.last() else { break };
            last = newest.id;
            events.iter().for_each(|event| show_one(global, event));
        }
        let stdout = io::stdout();
        // Asked for nothing, it still tells that nobody reads it any more.
        let limit = settles.then_some(SETTLED);
        let woken = watch.wait(vec![PollFd::new(&stdout, PollFlags::empty())], limit);
        if woken.also.first() == Some(&true) || is_closed() {
            return Ok(Exit::Ok);
        }
        settles = woken.changed;
    }
}

/// Of which VM.
struct Of {
    folder: Option<PathBuf>,
    name: Option<String>,
}

impl Of {
    fn find(context: &Context, arguments: &Arguments) -> Self {
        match &arguments.vm {
            None => Self { folder: None, name: None },
            Some(vm) => match find(context, vm) {
                Ok(folder) => Self { folder: Some(folder), name: None },
                Err(_) => Self { folder: None, name: Some(vm.to_string_lossy().into_owned()) },
            },
        }
    }

    fn list(&self, store: &Store, since: Option<EventId>, limit: u32) -> Result<Vec<Event>, Report> {
        let filter = EventFilter { folder: self.folder.clone(), name: self.name.clone(), since, limit };
        Ok(store.events().list(&filter)?)
    }
}

fn show_all(global: &Global, events: Vec<Event>) {
    if global.format == Format::Json || global.quiet {
        return events.iter().for_each(|event| show_one(global, event));
    }
    if events.is_empty() {
        note("no such events");
    }
    let mut table = Table::new(["ID", "WHEN", "KIND", "WHAT"]);
    for event in events {
        table.row([event.id.0.to_string(), event.what.at.to_seconds(), event.what.kind, event.what.message]);
    }
    data(&table.render());
}

/// One event, on a line of its own.
fn show_one(global: &Global, event: &Event) {
    let what = &event.what;
    let line = match global.format {
        Format::Json => serde_json::json!({
            "schema": "event/1",
            "id": event.id.0,
            "at": what.at,
            "kind": what.kind,
            "name": what.name,
            "path": what.folder.as_ref().map(|folder| folder.to_string_lossy()),
            "identity_digest": what.digest,
            "message": what.message,
            "data": what.data,
        })
        .to_string(),
        Format::Text if global.quiet => event.id.0.to_string(),
        Format::Text => {
            printable(&format!("{}  {}  {}  {}", event.id.0, what.at.to_seconds(), what.kind, what.message))
                .replace('\n', " ")
        }
    };
    data(&format!("{line}\n"));
}
