//! `selfsame stop`, `kill`, `pause`, `resume` and `suspend`: what is asked of a running VM.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use selfsame_host::bundle::Named;
use selfsame_host::context::Context;
use selfsame_host::gate::Overrides;
use selfsame_host::library::{VmState, find};
use selfsame_host::supervisor::{
    Client, ClientError, Ended, Mission, Options, PATIENCE, RunNames, SupervisorError, launch,
};
use selfsame_machine::code::{Code, Exit};
use selfsame_machine::lifecycle::{Answer, Cause, Request};
use selfsame_machine::problem::{Hint, Report};

use super::run::names;
use super::{Global, Outcome, supervise};
use crate::output::{Format, hints, json, note};

// No doc comment: it would become the help of the commands that it is flattened into.
#[derive(Debug, clap::Args)]
pub(super) struct Vms {
    /// The VMs: names or paths
    #[arg(required = true, value_name = "NAME")]
    vms: Vec<OsString>,
}

/// End VMs at once
///
/// As if the power were cut: what the guest has not written is lost. To let it write first, use `stop`.
///
/// Example: selfsame kill web1
#[derive(Debug, clap::Args)]
pub(super) struct KillArguments {
    #[command(flatten)]
    of: Vms,
}

/// Let guests stand still, their memory kept
///
/// The VM goes on holding its identity: no twin can start meanwhile.
///
/// Example: selfsame pause web1
#[derive(Debug, clap::Args)]
pub(super) struct PauseArguments {
    #[command(flatten)]
    of: Vms,
}

/// Let paused guests go on
///
/// Example: selfsame resume web1
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    of: Vms,
}

/// Ask guests to power down, and cut their power when they do not
///
/// A guest that is still booting is asked again until it answers or its time is up. Comes back when the VM has ended.
///
/// Example: selfsame stop -t 60 web1
#[derive(Debug, clap::Args)]
pub(super) struct StopArguments {
    #[command(flatten)]
    of: Vms,
    /// How long each guest may take, in seconds (`stop.timeout_seconds` of the configuration if not given)
    #[arg(short = 't', long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

pub(super) fn stop(context: &Context, global: &Global, arguments: &StopArguments) -> Outcome {
    each(context, global, &arguments.of.vms, stop_request(context, arguments.timeout))
}

/// A stop with so many seconds of time, or with what is configured.
pub(super) fn stop_request(context: &Context, seconds: Option<u32>) -> Request {
    let configured = context.config.stop_timeout;
    let timeout = seconds.map_or(configured, |seconds| Duration::from_secs(u64::from(seconds)));
    Request::Stop { timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) }
}

pub(super) fn kill(context: &Context, global: &Global, arguments: &KillArguments) -> Outcome {
    each(context, global, &arguments.of.vms, Request::Kill)
}

pub(super) fn pause(context: &Context, global: &Global, arguments: &PauseArguments) -> Outcome {
    each(context, global, &arguments.of.vms, Request::Pause)
}

pub(super) fn resume(context: &Context, global: &Global, arguments: &ResumeArguments) -> Outcome {
    each(context, global, &arguments.of.vms, Request::Resume)
}

pub(super) fn suspend(context: &Context, global: &Global, vms: &[OsString]) -> Outcome {
    each(context, global, vms, Request::Suspend)
}

/// Asks every VM, also after one of them failed; the first failure is the outcome.
fn each(context: &Context, global: &Global, vms: &[OsString], request: Request) -> Outcome {
    let mut first = None;
    for vm in vms {
        match ask(context, vm, request) {
            Ok(told) => told.show(global),
            Err(report) if first.is_none() => first = Some(report),
            Err(report) => {
                // One problem ends the command; the others are still told.
                drop(crate::report::write(&mut std::io::stderr().lock(), &report, global.format));
            }
        }
    }
    first.map_or(Ok(Exit::Ok), Err)
}

/// What became of a request.
pub(super) struct Told {
    name: Named,
    message: String,
    outcome: &'static str,
    ended: Option<Ended>,
}

impl Told {
    /// Whether it ran until now.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// How it ended, if it ran.
    pub(super) const fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// The same for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn show(&self, global: &Global) {
        match global.format {
            Format::Json => json(&serde_json::json!({
                "schema": "request/1", "name": self.name.name, "outcome": self.outcome, "ended": self.ended,
            })),
            Format::Text if global.quiet => crate::output::data(&format!("{}\n", self.name)),
            Format::Text => note(&self.message),
        }
    }
}

/// So often is a VM asked whose supervisor ends, or is killed, while it is talked to.
const ATTEMPTS: u32 = 5;

/// Asks one VM. A supervisor that is killed while it is asked has a successor, which is asked then.
pub(super) fn ask(context: &Context, vm: &OsStr, request: Request) -> Result<Told, Report> {
    let folder = find(context, vm)?;
    for _ in 0..ATTEMPTS {
        match ask_supervisor(context, &folder, request) {
            Err(Failure::Gone) => {}
            Err(Failure::Told(report)) => return Err(report),
            Ok(told) => return Ok(told),
        }
    }
    Err(SupervisorError::Died { name: context.named(&folder) }.into())
}

/// Why a VM could not be asked.
enum Failure {
    /// Its supervisor went away meanwhile.
    Gone,
    /// This.
    Told(Report),
}

impl<E: Into<Report>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Told(error.into())
    }
}

fn ask_supervisor(context: &Context, folder: &Path, request: Request) -> Result<Told, Failure> {
    let name = context.named(folder);
    let names = names(folder)?;
    let Some(mut client) = reach(context, folder, names)? else {
        return Ok(nothing_runs(name, folder, request)?);
    };
    let ends = matches!(request, Request::Stop { .. } | Request::Kill | Request::Suspend);
    // First, because the guest may be gone as soon as it is asked to end.
    let asked = if ends { client.ask_end() } else { Ok(()) };
    let answer = match asked.and_then(|()| client.request(request)) {
        Err(error) if error.is_gone() => return Err(Failure::Gone),
        answer => answer?,
    };
    let outcome = match &answer {
        Answer::Accepted => "accepted",
        Answer::AlreadySo => "already_so",
        Answer::Denied { reason, unblock } => {
            let denied = Report {
                code: Code::RequestDenied,
                message: format!("{name} cannot do that: {reason}"),
                causes: Vec::new(),
                hints: vec![Hint::say(unblock.clone())],
            };
            return Err(denied.into());
        }
    };
    if ends {
        let ended = client.wait_end(patience(request)).map_err(|error| not_ended(error, &name, request))?;
        let Some(ended) = ended else { return Err(Failure::Gone) };
        if request == Request::Suspend && ended.cause != Cause::Suspended {
            return Err(not_suspended(&name, &ended).into());
        }
        let message = format!("{name} ended: {}", ended.explanation);
        return Ok(Told { name, message, outcome, ended: Some(ended) });
    }
    let state = if request == Request::Pause { "paused" } else { "running" };
    let message = match answer {
        Answer::AlreadySo => format!("{name} is {state} already"),
        Answer::Accepted | Answer::Denied { .. } => format!("{name} is {state}"),
    };
    Ok(Told { name, message, outcome, ended: None })
}

/// How long an end may take that was asked for. A state is as large as the guest's memory: for that there is no limit.
fn patience(request: Request) -> Option<Duration> {
    let more = Duration::from_secs(30);
    match request {
        Request::Stop { timeout_ms } => Some(Duration::from_millis(timeout_ms).saturating_add(more)),
        Request::Start { .. } | Request::Pause | Request::Resume | Request::Kill => Some(more),
        Request::Suspend => None,
    }
}

/// Why an end that was asked for has not come.
fn not_ended(error: ClientError, name: &Named, request: Request) -> Report {
    if let ClientError::Failed(mut report) = error {
        report.causes.insert(0, report.message);
        return Report { message: format!("{name} was not suspended, and is as before"), ..report };
    }
    if !error.is_time_out() {
        return Report::from(error);
    }
    let seconds = patience(request).unwrap_or_default().as_secs();
    Report {
        code: Code::RequestTimedOut,
        message: format!("{name} has not ended within {seconds} s"),
        causes: Vec::new(),
        hints: vec![Hint::run("see what it is doing", format!("selfsame get {}", name.word))],
    }
}

/// It ended before its state was whole.
fn not_suspended(name: &Named, ended: &Ended) -> Report {
    Report {
        code: Code::VmFailed,
        message: format!("{name} was not suspended; it ended: {}", ended.explanation),
        causes: ended.last_output.clone(),
        hints: failure_hints(name, ended.cause),
    }
}

/// What a request finds of which nothing runs.
fn nothing_runs(name: Named, folder: &Path, request: Request) -> Result<Told, Report> {
    let suspended = selfsame_host::state::summary(folder).is_some();
    let so = |message: String, name: Named| Told { message, name, outcome: "already_so", ended: None };
    match request {
        Request::Suspend if suspended => Ok(so(format!("{name} is suspended already"), name)),
        Request::Stop { .. } | Request::Kill if suspended => {
            hints(&[
                Hint::run("let it go on", format!("selfsame run -d {}", name.word)),
                Hint::run("or throw its state away", format!("selfsame suspend --discard {}", name.word)),
            ]);
            Ok(so(format!("{name} is not running: it is suspended"), name))
        }
        Request::Stop { .. } | Request::Kill => Ok(so(format!("{name} is not running"), name)),
        Request::Start { .. } | Request::Pause | Request::Resume | Request::Suspend => {
            Err(SupervisorError::NotRunning { name }.into())
        }
    }
}

/// Connects to a VM's supervisor, and gives an orphan one first. `None` when nothing of the VM runs.
pub(super) fn reach(context: &Context, folder: &Path, names: RunNames) -> Result<Option<Client>, Report> {
    if let Some(client) = Client::connect(&context.home.run(), names, PATIENCE)? {
        return Ok(Some(client));
    }
    let identity = selfsame_host::bundle::read_identity(folder).ok().flatten();
    let digest = identity.map(|identity| identity.digest());
    let state = VmState::ask(context, names.0, digest.as_ref()).map_err(SupervisorError::Launch)?;
    if matches!(state, VmState::Stopped) && !selfsame_host::gate::is_held(folder) {
        return Ok(None);
    }
    let options = Options {
        folder: folder.to_owned(),
        mission: Mission::AdoptOnly,
        accelerator: None,
        sim: None,
        ticket: None,
        folders: Vec::new(),
        wish: selfsame_machine::network::Wish::default(),
        overrides: Overrides::default(),
        tethered: false,
    };
    match launch(context, &options, supervise::arguments(&options, None)) {
        Ok(_) => {}
        // It ended while we looked.
        Err(report) if report.code == Code::RequestDenied => return Ok(None),
        // Somebody else took it over while we looked, and it answers.
        Err(report) if report.code == Code::VmRunning => {}
        Err(report) => return Err(report),
    }
    Ok(Client::connect(&context.home.run(), names, PATIENCE)?)
}

/// What to do about a VM that ended by a failure.
pub(super) fn failure_hints(name: &Named, cause: Cause) -> Vec<Hint> {
    let name = &name.word;
    match cause {
        Cause::InternalError => vec![Hint::run(
            "the accelerator cannot run this guest here; emulation can",
            format!("selfsame run --accel tcg {name}"),
        )],
        Cause::Panic
        | Cause::Signal
        | Cause::Crashed
        | Cause::StartFailed
        | Cause::Guest
        | Cause::Requested
        | Cause::Forced
        | Cause::Killed
        | Cause::Suspended
        | Cause::Unwatched => vec![Hint::run("see what happened", format!("selfsame events {name}"))],
    }
}
