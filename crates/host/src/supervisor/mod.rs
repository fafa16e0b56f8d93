//! The small process that owns one running VM, and how others talk to it.
//!
//! ```text
//! command ──launch──▶ supervisor: 0 claim ─▶ 1 bundle lock ──held by an orphan──▶ adopt ─┐
//!    ▲                                            │ free                                  │
//!    │ one line: up, or why not                   ▼                                       ▼
//!    └──────────────────────────────────  gate (1–4) ─▶ QEMU ─▶ driver loop ─▶ end, release in reverse
//! ```
//!
//! - The claim of step 0 is never inherited: whoever holds it drives the VM and cleans up, nobody else.
//! - Everything of steps 1 to 3 is inherited by QEMU and lives as long as either of the two processes. Killing the
//!   supervisor therefore frees nothing and harms nothing; the next `run`, `stop` or `kill` starts another one, which finds
//!   step 1 held by the orphan, proves that it is ours, and adopts it.
//! - The record (`run/KEY.json`) is written before QEMU starts and again when its pid is known.
//! - At the end the waiting clients are told last, when everything is free: who waited may start the VM again at once.
//! - A guest of Virtualization.framework (macOS) lives in its supervisor, and ends with it: there is nothing to adopt.
//! - A suspended VM holds nothing: its state lies in its folder, and the next start goes on from there (`state`).
//! - A VM that was made for one run is bound to the command that started it (`tether`): whichever of command, supervisor
//!   and guest ends first, the others end too, and the supervisor that sees the end deletes the VM.
//!
//! A supervisor has one thread of ours and, beside a quiet guest, never wakes. A second one seals the state of a guest that
//! is being suspended; it only reads and writes files.

mod adopt;
mod chronicle;
mod client;
mod connection;
mod console;
mod driver;
mod engine;
mod handover;
mod launch;
mod pictures;
mod problem;
mod protocol;
mod record;
mod start;
mod tether;

pub use client::{Client, ClientError, PATIENCE};
pub use launch::{Launched, Mission, Options, launch, launch_in_turn};
pub use problem::SupervisorError;
pub use protocol::{Call, Ended, Greeting, Link, Outcome, PROTOCOL, Reply, Status, Want};
pub use record::{RunNames, RunRecord};
pub use tether::Tether;

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::{Life, Request};
use selfsame_machine::problem::Report;
use selfsame_machine::spec::Display;

use crate::agent::Door;
use crate::backend::AnyBackend;
use crate::context::Context;
use crate::lock::{Attempt, Claim, FolderLock, LockPlace, Note, Subject, Ticket};
use crate::socket::SocketFolder;
use crate::state::Vault;
use crate::store::Store;
use chronicle::StoreChronicle;
use console::Console;
use driver::{Doors, Driver, Finished};
use pictures::Pictures;
use tether::Bond;

/// How long a second supervisor waits for what becomes of the first: the longest that a start may take. On macOS that is
/// the gate's wait for files to be let go of, and then the framework's start with its tries.
const RACE: Duration = Duration::from_secs(if cfg!(target_os = "macos") { 120 } else { 60 });

/// What becomes of the guest of a supervisor that is ended, as hints say it.
const WITHOUT: &str = if cfg!(target_os = "macos") {
    "a guest of Virtualization.framework ends with it, as if its power were cut; one of QEMU goes on"
} else {
    "the guest goes on, and the next `run` takes over"
};

/// How long a guest's process may hold its locks after it was killed.
const ENDING: Duration = Duration::from_secs(2);

/// A guest that is there, with all that must live as long as it is driven.
struct Up {
    life: Life,
    guest: AnyBackend,
    report: Option<UnixStream>,
    /// The connection to its serial console.
    console: Option<UnixStream>,
    status: Status,
    record: RunRecord,
    /// What people should know.
    notes: Vec<String>,
    /// Held for its descriptors; an adopted guest holds its own.
    passage: Option<crate::gate::Passage>,
}

/// Runs as the supervisor: starts or adopts the VM, tells the outcome on `outcome`, drives the VM to its end.
///
/// This process must have been started by [`launch`]: it has one thread, and its standard streams are its own.
pub fn supervise(options: &Options, mut outcome: impl Write) {
    // Refused only to the leader of a process group, which is as far from a terminal as we want to be.
    let _ = rustix::process::setsid();
    #[cfg(target_os = "linux")]
    set_title(&crate::bundle::name_of(&options.folder));
    // Before the start: whoever was told that the VM is up may end it by a signal at once.
    let signals = match signals() {
        Ok(signals) => signals,
        Err(error) => return tell(&mut outcome, &Outcome::Failed(SupervisorError::Launch(error).into())),
    };
    let (mut hold, up) = match begin(options) {
        Ok(begun) => begun,
        Err(report) => return tell(&mut outcome, &Outcome::Failed(report)),
    };
    let status = Status { phase: up.life.phase.text().to_owned(), ..up.status.clone() };
    tell(&mut outcome, &Outcome::Up { status: Box::new(status), notes: up.notes.clone() });
    // The command that started us may be gone and its pipe with it.
    drop(outcome);
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
    hold.drive(up, signals, options.tethered);
}

fn tell(outcome: &mut impl Write, message: &Outcome) {
    if let Ok(text) = serde_json::to_string(message) {
        // The command may have been killed; the VM does not depend on it.
        drop(writeln!(outcome, "{text}").and_then(|()| outcome.flush()));
    }
}

/// Names the process for `top`; the full title, which `ps` shows, is its argument 0. macOS has no such name.
#[cfg(target_os = "linux")]
fn set_title(name: &str) {
    let short: Vec<u8> = format!("selfsame: {name}").bytes().filter(|byte| *byte != 0).take(15).collect();
    if let Ok(title) = std::ffi::CString::new(short) {
        let _ = rustix::thread::set_name(&title);
    }
}

/// The supervisor's own claim and socket: held from before the start until after the end.
struct Hold {
    context: Context,
    place: LockPlace,
    names: RunNames,
    sockets: SocketFolder,
    listener: UnixListener,
    /// The VM's folder, open and not locked by this: it leads there after a rename as well.
    folder: FolderLock,
    /// Step 0; `None` once it was given up.
    claim: Option<Claim>,
    /// The place in the line for a slot that this start comes from, until it has its slot.
    ticket: Option<Ticket>,
}

fn begin(options: &Options) -> Result<(Hold, Up), Report> {
    let context = Context::from_environment()?;
    let context = context.prepared()?;
    let place = context.locks()?;
    let folder = FolderLock::open(&options.folder)
        .map_err(|source| crate::bundle::BundleError::Folder { folder: options.folder.clone(), source })?;
    let names = RunNames(folder.key());
    let claim = claim(&context, &place, options, names)?;
    // What was not handed over, or proves nothing, is none: then this start is one like any other.
    let ticket = options.ticket.and_then(|name| Some((name, handover::accept().ok()??)));
    let ticket = ticket.and_then(|(name, descriptor)| Ticket::proven(&place, name, descriptor));
    let run = context.home.run();
    let failed = |error| crate::files::FileError::failed("use", &run)(error);
    let sockets = SocketFolder::open(&run).map_err(failed)?;
    let listener = sockets.listen(&names.control()).map_err(failed)?;
    let own = FolderLock::open(&folder.pinned())
        .map_err(|source| crate::bundle::BundleError::Folder { folder: options.folder.clone(), source })?;
    let mut hold = Hold { context, place, names, sockets, listener, folder: own, claim: Some(claim), ticket };
    let outcome = hold.bring_up(options, folder);
    hold.ticket = None;
    match outcome {
        Ok(up) => Ok((hold, up)),
        Err(report) => {
            hold.leave();
            Err(report)
        }
    }
}

/// Takes step 0. Another supervisor may be starting or ending this VM right now: then its outcome is waited for.
fn claim(context: &Context, place: &LockPlace, options: &Options, names: RunNames) -> Result<Claim, Report> {
    let note = Note { pid: std::process::id(), folder: options.folder.to_string_lossy().into_owned() };
    let mut quiet = Instant::now();
    loop {
        if let Attempt::Taken(claim) = Claim::attempt(place, &Subject::Supervisor(names.0), &note)? {
            return Ok(claim);
        }
        let name = context.named(&options.folder);
        let asked = Instant::now();
        if let Some(client) = Client::connect(&context.home.run(), names, RACE)? {
            return Err(SupervisorError::Running { name, pid: Some(client.pid()) }.into());
        }
        // It was there and went without greeting: its start failed, and the claim is ours to try.
        if asked.elapsed() > Duration::from_millis(50) {
            quiet = Instant::now();
        }
        if quiet.elapsed() > Duration::from_secs(2) {
            return Err(SupervisorError::Running { name, pid: None }.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Hold {
    fn bring_up(&mut self, options: &Options, folder: FolderLock) -> Result<Up, Report> {
        let began = Instant::now();
        loop {
            let free = folder.try_lock().map_err(|source| crate::bundle::BundleError::Folder {
                folder: options.folder.clone(),
                source,
            })?;
            if free {
                break;
            }
            match self.adopt(options, &folder) {
                // An ending process gives back its memory first and its locks last.
                Err(report) if report.code == Code::BundleInUse && began.elapsed() < ENDING => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                outcome => return outcome,
            }
        }
        match &options.mission {
            Mission::Start { paused } => {
                let started = self.start(options, folder, *paused);
                if started.is_err() {
                    self.forget_guest();
                }
                started
            }
            Mission::AdoptOnly => {
                Err(SupervisorError::NotRunning { name: self.context.named(&options.folder) }.into())
            }
        }
    }

    /// Drives the VM to its end, gives everything back, and tells those who wait.
    fn drive(&mut self, up: Up, signals: UnixStream, tethered: bool) {
        let Up { life, guest, report, console, status, record, notes: _, passage } = up;
        let mut chronicle = StoreChronicle::new(&self.context, &record);
        let stop = u64::try_from(self.context.config.stop_timeout.as_millis()).unwrap_or(u64::MAX);
        let Ok(listener) = self.listener.try_clone() else {
            // Out of descriptors: the guest goes on as an orphan, which the next supervisor adopts.
            return;
        };
        let bond = match (tethered, record.ephemeral) {
            (true, _) => Bond::of_standard_input().ok(),
            (false, true) => Bond::cut().ok(),
            (false, false) => None,
        };
        let folder = || FolderLock::open(&self.folder.pinned());
        let (Ok(for_vault), Ok(for_log)) = (folder(), folder()) else { return };
        let adopted = status.adopted;
        let console = console.and_then(|serial| Console::new(serial, for_log, adopted).ok());
        let doors = Doors { listener, report, console, signals, bond };
        let on_signal = Request::Stop { timeout_ms: stop };
        let vault = Vault::new(for_vault, record.made.clone());
        let display = record.made.as_ref().map(|made| made.display.as_str());
        let pictures = Pictures::new(self.context.home.run(), display == Some(Display::Vga.text()));
        let driver = Driver::new(life, guest, doors, status, on_signal, vault, pictures);
        let Finished { end, waiting, console } = driver.run(&mut chronicle);
        let ended = chronicle.ended(&end, &self.context.home.run(), self.names);
        if let Some(passage) = &passage {
            passage.await_release();
        }
        drop(passage);
        self.forget_guest();
        self.leave();
        if record.ephemeral {
            self.delete();
        }
        for mut client in waiting.into_iter().filter(|client| client.awaits_end || client.awaits_agent) {
            client.reply(&Reply::Ended(ended.clone()));
        }
        if let Some(console) = console {
            console.farewell();
        }
    }

    /// The way to the agent of the guest; `None` when even the folder of sockets cannot be opened.
    fn agent(&self, folder: &std::path::Path) -> Option<Door> {
        Door::open(&self.context.home.run(), self.names, self.context.named(folder)).ok()
    }

    /// Deletes the VM of a run that is over. What cannot be deleted stays a VM like any other, which `list` shows, and the
    /// next run of that kind tries again.
    fn delete(&self) {
        // By its present path: it may have been renamed while it ran.
        let folder = std::fs::read_link(self.folder.pinned()).unwrap_or_else(|_| self.folder.pinned());
        // Whoever has taken `ephemeral` out of the description meanwhile wants to keep it.
        if !crate::bundle::Bundle::read(&folder).is_ok_and(|bundle| bundle.spec.ephemeral) {
            return;
        }
        if crate::library::delete(&self.context, &folder, crate::time::Time::now()).is_ok() {
            crate::library::forget_owner(&self.context, &crate::bundle::name_of(&folder));
        }
    }

    /// Removes the names of a guest's sockets. Only of one that is gone: without them an orphan cannot be adopted.
    fn forget_guest(&self) {
        let names = &self.names;
        let all = [
            names.monitor(),
            names.report(),
            names.console(),
            names.agent(),
            names.agent_lock(),
            names.sim(),
        ];
        for name in all {
            drop(self.sockets.remove(&name));
        }
    }

    /// Closes the supervisor's own door, and gives up step 0.
    fn leave(&mut self) {
        drop(self.sockets.remove(&self.names.control()));
        // Last: from here on the names in `run/` may be another supervisor's.
        self.claim = None;
    }

    /// Closes the books of a run whose end nobody saw, before the next one is begun.
    fn heal(&self, store: &Store) -> Result<(), Report> {
        let run = self.context.home.run();
        match RunRecord::read(&run, self.names) {
            Some(record) => chronicle::close_unwatched(store, &record, &run, self.names),
            None => Ok(()),
        }
    }
}

/// A stream that becomes readable when this process is told to end.
fn signals() -> std::io::Result<UnixStream> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    caught(&[SIGTERM, SIGINT, SIGHUP])
}

/// A stream that becomes readable, without ever blocking, when this process is told to end in any way that can be heard.
///
/// # Errors
/// When the kernel refuses another descriptor.
pub fn endings() -> std::io::Result<UnixStream> {
    signals()
}

/// A stream that becomes readable, without ever blocking, when the terminal interrupts this process.
///
/// # Errors
/// When the kernel refuses another descriptor.
pub fn interrupts() -> std::io::Result<UnixStream> {
    caught(&[signal_hook::consts::SIGINT])
}

fn caught(signals: &[std::ffi::c_int]) -> std::io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
    }
    Ok(read)
}
