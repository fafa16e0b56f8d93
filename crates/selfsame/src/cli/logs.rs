//! `selfsame logs`, and the following of a log.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};
use selfsame_host::bundle::{CONSOLE_LOG, QEMU_LOG, SUPERVISOR_LOG};
use selfsame_host::context::Context;
use selfsame_host::files::FileError;
use selfsame_host::library::find;
use selfsame_host::log;
use selfsame_host::supervisor::{Client, PATIENCE, SupervisorError};
use selfsame_host::watch::Watch;
use selfsame_machine::code::Exit;
use selfsame_machine::problem::Report;

use super::run::{names, told};
use super::{Global, Outcome};
use crate::output::{Format, bytes, is_closed, note};

/// So much is read at a time.
const CHUNK: usize = 64 * 1024;
/// No line of JSON carries more of a log; a longer line is told in pieces.
const LINE: usize = 16 * 1024;

/// Show what a guest wrote to its console, or what ran it had to say
///
/// Also of a VM that is not running. What is shown to a terminal has its control characters made visible, since a guest
/// could do harm with them; elsewhere, and with `--raw`, the bytes come as they are. With `--format json`, one object a line.
///
/// The console's log is kept at about 16 MiB; what was before that is in `Logs/console.log.1` of the VM's folder.
///
/// Example: selfsame logs -n 100 web1
///
/// Example: selfsame logs -f web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    /// Go on as the log grows, until the VM ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<u32>,
    /// What QEMU said, in the place of the console
    #[arg(long, conflicts_with = "supervisor")]
    qemu: bool,
    /// What the supervisor said before it died, in the place of the console
    #[arg(long)]
    supervisor: bool,
    /// Every byte as it is, also to a terminal
    #[arg(long)]
    raw: bool,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, &arguments.vm)?;
    let name = context.named(&folder);
    let (word, file) = match (arguments.qemu, arguments.supervisor) {
        (true, _) => ("qemu", QEMU_LOG),
        (false, true) => ("supervisor", SUPERVISOR_LOG),
        (false, false) => ("console", CONSOLE_LOG),
    };
    let mut follower = Follower { path: folder.join(file), position: 0 };
    let mut out = Shown { log: word, manner: Shown::manner(global, arguments), line: Vec::new() };
    // Before the first look: what is written in between is not missed.
    let watch = arguments.follow.then(|| Watch::of(follower.path.parent().unwrap_or(&folder)));
    let client = match arguments.follow {
        true => Client::connect(&context.home.run(), names(&folder)?, PATIENCE)?,
        false => None,
    };
    // Asked before anything is shown: who sees something of it is told of the end, too.
    let client = match client.map(|mut client| client.ask_end().map(|()| client)) {
        Some(Err(error)) if error.is_gone() => None,
        asked => asked.transpose()?,
    };
    if !follower.begin(arguments.lines)? {
        note(&format!("{name} has no log of its {word} yet"));
    }
    follower.show(&mut |bytes| out.show(bytes))?;
    let Some(watch) = watch else {
        out.end();
        return Ok(Exit::Ok);
    };
    let Some(mut client) = client else {
        out.end();
        note(&format!("nothing follows: {name} has no supervisor, so nothing tells when its log ends"));
        return Ok(Exit::Ok);
    };
    loop {
        let stdout = io::stdout();
        let polled = vec![
            PollFd::new(client.as_stream(), PollFlags::IN),
            // Asked for nothing, it still tells that nobody reads it any more.
            PollFd::new(&stdout, PollFlags::empty()),
        ];
        let happened = watch.wait(polled, None).also;
        follower.show(&mut |bytes| out.show(bytes))?;
        if happened.get(1) == Some(&true) || is_closed() {
            return Ok(Exit::Ok);
        }
        if happened.first() == Some(&true) {
            out.end();
            return match client.wait_end(Some(PATIENCE))? {
                Some(ended) => told(&name, &ended),
                None => Err(SupervisorError::Lost { name }.into()),
            };
        }
    }
}

/// A log that is read as it grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Follower {
    pub(super) path: PathBuf,
    position: u64,
}

impl Follower {
    /// From its end on.
    pub(super) fn after_now(path: PathBuf) -> Self {
        let position = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Self { path, position }
    }

    /// Goes to the beginning of the last lines; `false` when there is no log.
    fn begin(&mut self, lines: Option<u32>) -> Result<bool, Report> {
        let Some(mut file) = self.open()? else { return Ok(false) };
        self.position = match lines {
            None => 0,
            Some(0) => file.metadata().map_or(0, |metadata| metadata.len()),
            Some(count) => log::start_of_last_lines(&mut file, u64::from(count)).map_err(self.failed())?,
        };
        Ok(true)
    }

    /// Gives what is new. A log that became shorter was cut, and begins anew.
    pub(super) fn show(&mut self, show: &mut impl FnMut(&[u8])) -> Result<(), Report> {
        let Some(mut file) = self.open()? else { return Ok(()) };
        let length = file.metadata().map_err(self.failed())?.len();
        if length < self.position {
            self.position = 0;
        }
        file.seek(SeekFrom::Start(self.position)).map_err(self.failed())?;
        let mut chunk = vec![0; CHUNK];
        // As long as it was: one that grows faster than it is shown is looked at again.
        let mut left = length.saturating_sub(self.position);
        while left > 0 {
            let count = file.read(&mut chunk).map_err(self.failed())?;
            if count == 0 || is_closed() {
                break;
            }
            self.position += count as u64;
            left = left.saturating_sub(count as u64);
            show(chunk.get(..count).unwrap_or_default());
        }
        Ok(())
    }

    fn open(&self) -> Result<Option<File>, Report> {
        log::read(&self.path).map_err(|error| self.failed()(error).into())
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> FileError + use<> {
        FileError::failed("read", &self.path)
    }
}

/// How bytes of a log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShownAs {
    /// As they are.
    Bytes,
    /// As text that does no harm.
    Harmless,
    /// As one JSON object for each line.
    Json,
}

/// The output.
#[derive(Debug)]
struct Shown {
    log: &'static str,
    manner: ShownAs,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
}

impl Shown {
    fn manner(global: &Global, arguments: &Arguments) -> ShownAs {
        match global.format {
            Format::Json => ShownAs::Json,
            Format::Text if arguments.raw || !io::stdout().is_terminal() => ShownAs::Bytes,
            Format::Text => ShownAs::Harmless,
        }
    }

    fn show(&mut self, new: &[u8]) {
        match self.manner {
            ShownAs::Bytes => bytes(new),
            ShownAs::Harmless => {
                self.line.extend(new);
                let text = harmless(&mut self.line);
                bytes(text.as_bytes());
            }
            ShownAs::Json => {
                for byte in new {
                    self.line.push(*byte);
                    if *byte == b'\n' || self.line.len() >= LINE {
                        self.end_line();
                    }
                }
            }
        }
    }

    /// Tells what has no end yet.
    fn end(&mut self) {
        match self.manner {
            ShownAs::Bytes => {}
            ShownAs::Harmless if self.line.is_empty() => {}
            ShownAs::Harmless => bytes(char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes()),
            ShownAs::Json if self.line.is_empty() => {}
            ShownAs::Json => self.end_line(),
        }
        self.line.clear();
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        let object = serde_json::json!({ "schema": "log/1", "log": self.log, "line": text });
        bytes(format!("{object}\n").as_bytes());
    }
}

/// The text of what has come, with nothing in it that a terminal would obey. Half a character at the end stays.
fn harmless(pending: &mut Vec<u8>) -> String {
    let cut = match std::str::from_utf8(pending) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => {
            // Only the last three bytes can be half a character.
            let tail = pending.len().saturating_sub(3);
            (tail..pending.len())
                .find(|at| is_half(pending.get(*at..).unwrap_or_default()))
                .unwrap_or(pending.len())
        }
    };
    let rest = pending.split_off(cut);
    let text = String::from_utf8_lossy(pending).into_owned();
    *pending = rest;
    let visible = |c: char| match c {
        '\n' | '\t' => c,
        // The line end of a terminal.
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.replace("\r\n", "\n").chars().map(visible).collect()
}

fn is_half(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none() && error.valid_up_to() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        let mut pending = b"a\x1b[2Jb\r\nc\rd\x07\xc2\x9bm \xff \xc3\xbc\ttab \xe2\x82".to_vec();
        let text = harmless(&mut pending);
        assert_eq!(text, "a\u{fffd}[2Jb\nc\u{fffd}d\u{fffd}\u{fffd}m \u{fffd} ü\ttab ");
        assert_eq!(pending, b"\xe2\x82", "half a character waits for its rest");
        pending.push(b'\xac');
        assert_eq!(harmless(&mut pending), "€");
        assert!(pending.is_empty());
    }
}
