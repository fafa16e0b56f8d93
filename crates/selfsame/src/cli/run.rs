//! `selfsame run` and `start`: start a VM, or take over one whose supervisor is gone.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use selfsame_host::bundle::{Bundle, Named};
use selfsame_host::context::Context;
use selfsame_host::folders;
use selfsame_host::gate::Overrides;
use selfsame_host::library::find;
use selfsame_host::lock::{FolderLock, Ticket};
use selfsame_host::qemu::accelerator;
use selfsame_host::quota::line::Line;
use selfsame_host::supervisor::{
    Client, Ended, Launched, Mission, Options, PATIENCE, RunNames, RunRecord, Status, SupervisorError,
    launch_in_turn,
};
use selfsame_machine::code::{Code, Exit};
use selfsame_machine::lifecycle::Cause;
use selfsame_machine::network::Wish;
use selfsame_machine::problem::Report;
use selfsame_machine::sim::{Behaviour, NoBehaviour};
use selfsame_machine::span::Span;
use selfsame_machine::spec::Folder;

use super::attend::{Keyboard, Manner, Signals, Subject, from_now};
use super::logs::Follower;
use super::wait::Patience;
use super::{Global, Outcome, net, supervise};
use crate::output::{Format, data, json, note};

/// How long a supervisor may take to greet of which no guest is up yet: it greets when there is one, and on a busy host that
/// takes longer than an answer.
const STARTING: Duration = Duration::from_secs(25);

/// Start a VM, or take over one whose supervisor is gone
///
/// Refused, with the reason, while a VM with the same identity, MAC address or disk runs. Without `-d` it shows the
/// guest's serial console and stays until the VM ends; Ctrl-C stops the guest, twice kills it. With `-it` every key goes to
/// the guest, Ctrl-C as well, and Ctrl-] leaves: the VM goes on.
///
/// Example: selfsame run -d web1
///
/// Example: selfsame run -it web1
///
/// Example: selfsame run --accel tcg web1
///
/// Example: selfsame run -d --dir ~/src:ro web1
///
/// Example: selfsame run --rm web1 -- uname -r
///
/// Example: selfsame run -d --net isolated -p 8080:80 web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Come back as soon as the guest runs
    #[arg(short, long)]
    detach: bool,
    /// Hand the keyboard to the guest, as `console` does
    #[arg(short, long, conflicts_with = "detach")]
    interactive: bool,
    /// The same: many hands type `-it`
    #[arg(short = 't', hide = true, conflicts_with = "detach")]
    tty: bool,
    /// Run a new VM over NAME, a VM that does not run or an image, and delete it at the end
    ///
    /// It has an identity of its own, and what it writes to its disk goes with it: NAME stays as it is. An image is one of
    /// `image list`, a file or an address. With CMD behind `--`, it is run in the guest as soon as the guest's agent or SSH
    /// server answers, and this command ends with its status; 125 when selfsame failed.
    #[arg(long, conflicts_with = "detach")]
    pub(super) rm: bool,
    /// With `--rm`: how long the guest may take until commands can be run in it; 5m if not given
    #[arg(long, value_name = "TIME", requires = "rm")]
    pub(super) ready: Option<Span>,
    #[command(flatten)]
    pub(super) start: StartArguments,
    /// With `--rm`: a command to run in the guest, behind `--`, and its arguments
    #[arg(requires = "rm", value_name = "CMD")]
    pub(super) command: Vec<String>,
}

impl Arguments {
    /// Whether the keyboard goes to the guest, and what an interrupt means.
    pub(super) fn hands(&self) -> (Keyboard, Signals) {
        if self.interactive || self.tty {
            (Keyboard::found(None), Signals::Leave)
        } else {
            (Keyboard::None, Signals::Stop)
        }
    }
}

/// The same as `run -d`
///
/// Example: selfsame start web1
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct StartArguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    /// What runs the guest's instructions
    #[arg(long, value_enum, value_name = "ACCELERATOR")]
    accel: Option<Accelerator>,
    /// `sim`, or `sim:BEHAVIOUR`: a guest that is played, to try out selfsame itself
    #[arg(long, hide = true, value_parser = sim)]
    backend: Option<Behaviour>,
    /// Wait in line when all slots are taken: 30s, 5m, 2h, or without a time for ever
    ///
    /// Only a slot is waited for. A VM whose identity, MAC address or disk is in use is refused at once.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = Patience::read)]
    wait: Option<Patience>,
    /// Let the guest stand still until `resume`
    #[arg(long)]
    paused: bool,
    /// For this run, a folder of the host for the guest: `[TAG:]PATH[:ro]`, TAG being its name if not said. In the guest:
    /// `mount -t 9p -o trans=virtio,version=9p2000.L TAG /mnt`
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::AnyPath)]
    dir: Vec<OsString>,
    /// Start although nobody can tell whether this twin runs; it is written down
    #[arg(long, value_name = "PATH")]
    despite: Vec<PathBuf>,
    /// Start although the identifier is not that of the last good start; it is written down
    #[arg(long)]
    accept_identity: bool,
    #[command(flatten)]
    net: net::RunOptions,
    /// End the guest with this command.
    #[arg(skip)]
    tethered: bool,
}

impl StartArguments {
    /// A plain start of the VM in this folder.
    pub(super) fn of(folder: PathBuf) -> Self {
        Self { vm: folder.into(), ..Self::default() }
    }

    pub(super) fn detached(self) -> Arguments {
        Arguments {
            detach: true,
            interactive: false,
            tty: false,
            rm: false,
            ready: None,
            start: self,
            command: Vec::new(),
        }
    }

    /// The same of the VM in this folder, which ends with this command.
    pub(super) fn tethered_to(&self, folder: PathBuf) -> Self {
        Self { vm: folder.into(), tethered: true, ..self.clone() }
    }

    pub(super) fn wish(&self) -> Wish {
        self.net.wish()
    }

    pub(super) fn vm(&self) -> &OsStr {
        &self.vm
    }

    /// The same for the VM in this folder, with what it ran with where nothing else was said.
    pub(super) fn after(&self, folder: PathBuf, before: Before) -> Self {
        // A list that is given now is the list.
        let dir = match self.dir.as_slice() {
            [] => before.folders.iter().map(|folder| folder.to_string().into()).collect(),
            given => given.to_vec(),
        };
        Self {
            vm: folder.into(),
            backend: self.backend.clone().or(before.sim),
            accel: self.accel.or(before.accelerator),
            net: self.net.or(&before.wish),
            dir,
            despite: self.despite.iter().cloned().chain(before.despite).collect(),
            ..self.clone()
        }
    }
}

/// How a VM was started, as far as it would not come about by itself again.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) sim: Option<Behaviour>,
    pub(super) accelerator: Option<Accelerator>,
    pub(super) wish: Wish,
    pub(super) folders: Vec<Folder>,
    pub(super) despite: Vec<PathBuf>,
}

/// Reads the one back end that is chosen by name.
fn sim(text: &str) -> Result<Behaviour, String> {
    let (name, behaviour) = text.split_once(':').unwrap_or((text, ""));
    if name != "sim" {
        return Err("the one back end to choose is `sim`".to_owned());
    }
    behaviour.parse().map_err(|error: NoBehaviour| error.to_string())
}

/// An accelerator by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Accelerator {
    /// KVM or HVF where it is sure to work, else TCG
    Auto,
    /// Emulation, anywhere
    Tcg,
    /// The Linux kernel
    Kvm,
}

impl Accelerator {
    pub(super) const fn request(self) -> accelerator::Request {
        match self {
            Self::Auto => accelerator::Request::Auto,
            Self::Tcg => accelerator::Request::Tcg,
            Self::Kvm => accelerator::Request::Kvm,
        }
    }
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, &arguments.start.vm)?;
    let (name, names) = (context.named(&folder), names(&folder)?);
    let log = from_now(&folder);
    let Launched { status, notes, tether: _ } = start_or_wait(context, global.format, &arguments.start)?;
    for text in notes {
        note(&format!("note: {text}"));
    }
    let foreground = !arguments.detach && global.format == Format::Text;
    if global.format == Format::Json {
        json(&serde_json::json!({ "schema": "started/1", "name": name.name, "status": status }));
    } else if global.quiet {
        data(&format!("{name}\n"));
    } else if !foreground {
        data(&up(&name, &status));
    }
    if !foreground {
        return Ok(Exit::Ok);
    }
    let (keyboard, signals) = arguments.hands();
    let keys = match signals {
        Signals::Leave => "Ctrl-] leaves its console, and it goes on",
        Signals::Stop => "Ctrl-C stops it, twice kills it",
    };
    note(&format!("{name} is running; {keys}"));
    let subject = Subject { context, name: &name, names };
    // From its start on.
    let manner = Manner { keyboard, signals, tail: u32::MAX };
    let before = log.clone();
    match subject.attend(manner, Some(log))? {
        Some(exit) => Ok(exit),
        None => ended_before(context, &name, &folder, before),
    }
}

/// That a VM is up, for people.
pub(super) fn up(name: &Named, status: &Status) -> String {
    let how = if status.adopted { "taken over" } else { "running" };
    format!("{name} is {how}, {} ({}: {})\n", status.identity, status.accelerator, status.accelerator_reason)
}

/// Starts a VM, or takes it over, and comes back when it is up: with its state, and what people should know.
pub(super) fn start(context: &Context, arguments: &StartArguments) -> Result<Launched, Report> {
    start_in_turn(context, arguments, None)
}

/// The same, and waits for a slot where that was asked for.
pub(super) fn start_or_wait(
    context: &Context,
    format: Format,
    arguments: &StartArguments,
) -> Result<Launched, Report> {
    let Some(patience) = arguments.wait else { return start(context, arguments) };
    let folder = find(context, &arguments.vm)?;
    let bundle = Bundle::read(&folder)?;
    patience.start(context, format, &context.named(&folder), &bundle, |line| {
        start_in_turn(context, arguments, line.map(Line::ticket))
    })
}

fn start_in_turn(
    context: &Context,
    arguments: &StartArguments,
    ticket: Option<&Ticket>,
) -> Result<Launched, Report> {
    let folder = find(context, &arguments.vm)?;
    let name = context.named(&folder);
    // Asked before a process is started for it: the common way to find that it runs already.
    let (run, names) = (context.home.run(), names(&folder)?);
    let record = RunRecord::read(&run, names).filter(RunRecord::is_of_this_boot);
    let is_up = record.and_then(|record| record.qemu).is_some_and(|qemu| qemu.lives());
    if let Some(client) = Client::connect(&run, names, if is_up { PATIENCE } else { STARTING })? {
        return Err(SupervisorError::Running { name, pid: Some(client.pid()) }.into());
    }
    // The supervisor runs elsewhere: what is relative here is resolved here.
    let despite = arguments.despite.iter().filter_map(|path| std::path::absolute(path).ok());
    let options = Options {
        folder,
        mission: Mission::Start { paused: arguments.paused },
        accelerator: arguments.accel.map(Accelerator::request),
        sim: arguments.backend.clone(),
        ticket: ticket.map(Ticket::name),
        folders: folders::asked(&context.home, &arguments.dir)?,
        wish: arguments.net.wish(),
        overrides: Overrides { despite: despite.collect(), accept_identity: arguments.accept_identity },
        tethered: arguments.tethered,
    };
    launch_in_turn(context, &options, supervise::arguments(&options, arguments.accel), ticket)
}

pub(super) fn names(folder: &Path) -> Result<RunNames, Report> {
    let lock = FolderLock::open(folder)
        .map_err(|source| selfsame_host::bundle::BundleError::Folder { folder: folder.to_owned(), source })?;
    Ok(RunNames(lock.key()))
}

/// The end of a guest that was gone before anybody could attend to it: the library has its story.
pub(super) fn ended_before(context: &Context, name: &Named, folder: &Path, mut log: Follower) -> Outcome {
    log.show(&mut |bytes| crate::output::bytes(bytes))?;
    let last = context.store_for_reading()?.runs().last(folder)?;
    let Some((reason, detail)) = last.and_then(|run| Some((run.end_reason?, run.end_detail?))) else {
        return Err(SupervisorError::Died { name: name.clone() }.into());
    };
    let cause = serde_json::from_value(serde_json::Value::String(reason)).unwrap_or(Cause::Unwatched);
    told(name, &Ended { cause, shutdown_by: None, explanation: detail, last_output: Vec::new() })
}

/// Says how a VM ended; a failure is a problem.
pub(super) fn told(name: &Named, ended: &Ended) -> Outcome {
    if ended.cause.is_failure() {
        return Err(Report {
            code: Code::VmFailed,
            message: format!("{name} ended: {}", ended.explanation),
            causes: ended.last_output.clone(),
            hints: super::request::failure_hints(name, ended.cause),
        });
    }
    note(&format!("{name} ended: {}", ended.explanation));
    Ok(Exit::Ok)
}
