//! Starting a supervisor from a command.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use selfsame_machine::network::Wish;
use selfsame_machine::problem::Report;
use selfsame_machine::sim::Behaviour;
use selfsame_machine::spec::Folder;

use super::client::read_line;
use super::handover;
use super::problem::SupervisorError;
use super::protocol::{Outcome, Status};
use super::tether::Tether;
use crate::bundle::{LOGS, SUPERVISOR_LOG};
use crate::context::{Context, LOCK_DIRECTORY};
use crate::lock::{PlaceSource, Ticket, TicketName};
use crate::log;
use crate::qemu::accelerator;

/// What a supervisor is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mission {
    /// Start the VM, or adopt it if its supervisor is gone.
    Start {
        /// Leave its processors standing still.
        paused: bool,
    },
    /// Adopt it, or say that it is not running.
    AdoptOnly,
}

/// What a supervisor is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The VM's folder, absolute.
    pub folder: PathBuf,
    /// What to do.
    pub mission: Mission,
    /// The accelerator asked for, if any.
    pub accelerator: Option<accelerator::Request>,
    /// How the guest behaves, if it is one that is played.
    pub sim: Option<Behaviour>,
    /// Folders of the host for this run alone, resolved.
    pub folders: Vec<Folder>,
    /// How the guest is to be connected, as far as not `vm.toml` says so.
    pub wish: Wish,
    /// What the start may pass over.
    pub overrides: crate::gate::Overrides,
    /// The ticket of the line for a slot whose turn it is; it counts only if it is handed over as well.
    pub ticket: Option<TicketName>,
    /// Whether the guest ends with the command that starts it.
    pub tethered: bool,
}

/// A guest that is up.
#[derive(Debug)]
pub struct Launched {
    /// Its state.
    pub status: Box<Status>,
    /// What people should know although it started.
    pub notes: Vec<String>,
    /// What the command must hold as long as the guest is to live, where it is bound to the command.
    pub tether: Option<Tether>,
}

/// Starts a supervisor and waits for its one line: the guest is up, or why not.
///
/// `arguments` is how this program is told to be a supervisor with `options`; the command line knows that.
///
/// # Errors
/// What the supervisor says, or that it could not be started.
pub fn launch(context: &Context, options: &Options, arguments: Vec<OsString>) -> Result<Launched, Report> {
    launch_in_turn(context, options, arguments, None)
}

/// The same for a VM that stood in line for its slot: its ticket goes over to the supervisor, which `options` must name it
/// to.
///
/// # Errors
/// As [`launch`].
pub fn launch_in_turn(
    context: &Context,
    options: &Options,
    arguments: Vec<OsString>,
    ticket: Option<&Ticket>,
) -> Result<Launched, Report> {
    let offer = ticket.map(|ticket| handover::offer(ticket.as_fd())).transpose();
    let offer = offer.map_err(SupervisorError::Launch)?;
    let (ours, theirs) = offer.unzip();
    let output = theirs.map_or_else(Stdio::piped, |theirs| Stdio::from(OwnedFd::from(theirs)));
    let name = context.named(&options.folder);
    let mut command = Command::new(own_program().map_err(SupervisorError::Launch)?);
    // The supervisor runs elsewhere: what is relative here is resolved here.
    command.env("SELFSAME_HOME", context.home.root());
    if context.lock_source() == PlaceSource::Environment {
        command.env(LOCK_DIRECTORY, context.lock_path());
    }
    let mut child = command
        .arg0(title(&name.name))
        .args(arguments)
        .current_dir("/")
        .stdin(if options.tethered { Stdio::piped() } else { Stdio::null() })
        .stdout(output)
        .stderr(log(&options.folder))
        .spawn()
        .map_err(SupervisorError::Launch)?;
    let died = || -> Report { SupervisorError::Died { name: name.clone() }.into() };
    let tether = child.stdin.take().map(Tether::new);
    // It holds the supervisor's end of a pair, whose closing says that the supervisor is gone.
    drop(command);
    let outcome: Result<Outcome, std::io::Error> = match (ours, child.stdout.take()) {
        (Some(socket), _) => read_line(&mut BufReader::new(socket)),
        (None, Some(pipe)) => read_line(&mut BufReader::new(pipe)),
        (None, None) => return Err(died()),
    };
    // An ended supervisor is collected; a living one is nobody's child once this command has ended.
    drop(child.try_wait());
    match outcome {
        Ok(Outcome::Failed(report)) => Err(report),
        Ok(Outcome::Up { status, notes }) => Ok(Launched { status, notes, tether }),
        Err(_) => Err(died()),
    }
}

/// This very program, even if its file was replaced by an update meanwhile.
fn own_program() -> std::io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe()
}

/// What `ps` shows; without control characters, which a folder's name may hold.
fn title(name: &str) -> OsString {
    OsString::from(format!("selfsame: {name}"))
}

/// Where a supervisor's last words go, should it have any. A VM whose folder cannot be written has no such place.
fn log(folder: &Path) -> Stdio {
    drop(std::fs::create_dir(folder.join(LOGS)));
    log::append(&folder.join(SUPERVISOR_LOG)).map_or_else(|_| Stdio::null(), Stdio::from)
}

/// The last `count` lines that a log got since it was `from` bytes long, made printable.
pub(super) fn tail(path: &Path, from: u64, count: usize) -> Vec<String> {
    use std::io::{Seek as _, SeekFrom};
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut log| {
        let end = log.metadata()?.len();
        log.seek(SeekFrom::Start(from.max(end.saturating_sub(64 * 1024))))?;
        log.take(64 * 1024).read_to_end(&mut text)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
        })
        .collect();
    lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
}
