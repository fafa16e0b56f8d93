//! `selfsame exec`: run a command in a guest.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use selfsame_host::agent::{AgentError, Door, Execution, execute};
use selfsame_host::bundle::Named;
use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::reach::{Login, Remote, Session};
use selfsame_host::supervisor::{Client, Status, SupervisorError};
use selfsame_machine::agent::{Exec, ExecStatus, INPUT_LIMIT};
use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::Phase;
use selfsame_machine::problem::{Hint, Report, shell_word};
use selfsame_machine::span::Span;

use super::request::reach;
use super::run::names;
use super::{Global, usage_problem};
use crate::output::{Format, bytes, error_bytes, json, note};

/// The status of a command whose time was up, as `timeout` of coreutils has it.
const TIME_IS_UP: u8 = 124;

/// Where a command is looked for that is given an environment: that of the agent does not count then.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long the SSH server of a guest without an agent may take for its first words.
const ANSWER: Duration = Duration::from_secs(10);

/// How long standard input is waited for before somebody is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Run a command in a guest
///
/// Through the guest's agent (the package `qemu-guest-agent`): as the user of the agent, which is root as a rule, in `/`, without a
/// terminal and without a shell. What it writes is shown when it has ended, at most 16 MiB of each stream. Standard input is passed
/// on when it is no terminal: it is read to its end first, and may have 4 MiB.
///
/// Where no agent listens, over ssh, if the guest's SSH server answers: then as the user who logs in, without `--timeout` and `--env`.
///
/// Ends with the command's own exit status, with 128 and the number of the signal that ended it, with 124 when its time was up, and
/// with 125 when selfsame could not run it. (A mistake in this command line is 2.)
///
/// Example: selfsame exec web1 -- uname -r
///
/// Example: selfsame exec --wait=2m --timeout 10s --env LANG=C web1 -- systemctl is-system-running
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How long the command may take: seconds, or with a unit, `500ms`, `5m`. What is not over then goes on in the guest
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// Wait until the guest's agent listens, without end or so long
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    wait: Option<Option<Span>>,
    /// Give the command this environment and a usual `PATH`, instead of the agent's
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = variable)]
    environment: Vec<String>,
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    /// The command, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

fn variable(text: &str) -> Result<String, &'static str> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        Some(_) | None => Err("`KEY=VALUE` is wanted"),
    }
}

/// Gives the status to end with.
pub(super) fn run(context: &Context, global: &Global, arguments: Arguments) -> Result<u8, Report> {
    let folder = find(context, &arguments.vm)?;
    let name = context.named(&folder);
    let status = listening(context, &folder, &name, arguments.wait)?;
    if !status.agent {
        return over_ssh(context, &folder, &name, &status, &arguments);
    }
    by_agent(context, global, &folder, arguments.timeout, arguments.environment, arguments.command)
}

/// Runs a command through an agent that listens, and gives the status to end with.
pub(super) fn by_agent(
    context: &Context,
    global: &Global,
    folder: &Path,
    timeout: Option<Span>,
    environment: Vec<String>,
    words: Vec<String>,
) -> Result<u8, Report> {
    let name = context.named(folder);
    let began = Instant::now();
    let limit = timeout.map(Span::duration);
    let Some(input) = input(limit)? else { return Ok(timed_out(global, &name, None)) };
    let door = Door::open(&context.home.run(), names(folder)?, name.clone())?;
    let exec = command(words, environment, input);
    let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
    match execute(&door, exec, left)? {
        Execution::TimedOut { pid } => Ok(timed_out(global, &name, pid)),
        Execution::Ended(ended) => Ok(show(global, &name, &ended)),
    }
}

/// Runs a command over ssh in a guest without an agent. What only an agent can do is refused.
fn over_ssh(
    context: &Context,
    folder: &Path,
    name: &Named,
    status: &Status,
    arguments: &Arguments,
) -> Result<u8, Report> {
    let without = || without_agent(name, &arguments.command);
    let leads_in = status.network.as_ref().is_some_and(|link| link.login.is_some());
    if !leads_in || arguments.timeout.is_some() || !arguments.environment.is_empty() {
        return Err(without());
    }
    let door = selfsame_host::reach::Door::of(context, folder)?;
    let patience = selfsame_host::reach::Patience { limit: ANSWER, quiet: ANSWER };
    selfsame_host::reach::await_server(&door, patience, || ()).map_err(|error| {
        let mut report = without();
        report.causes.push(error.to_string());
        report
    })?;
    note(&format!("note: no agent listens in {name}: over ssh"));
    let words = arguments.command.iter().map(OsString::from).collect();
    Session::ssh(&door, &Login::default(), &Remote::Words(words), false)?.run()
}

fn command(words: Vec<String>, mut environment: Vec<String>, input: Vec<u8>) -> Exec {
    let mut words = words.into_iter();
    if !environment.is_empty() && !environment.iter().any(|variable| variable.starts_with("PATH=")) {
        environment.push(PATH.to_owned());
    }
    Exec {
        program: words.next().unwrap_or_default(),
        arguments: words.collect(),
        environment,
        input: Some(input).filter(|input| !input.is_empty()),
        capture: true,
    }
}

/// The state of a VM whose guest can answer; with an agent, if that is to be waited for.
fn listening(
    context: &Context,
    folder: &Path,
    name: &Named,
    wait: Option<Option<Span>>,
) -> Result<Status, Report> {
    let names = names(folder)?;
    let connect = || -> Result<Client, Report> {
        let client = reach(context, folder, names)?;
        client.ok_or_else(|| SupervisorError::NotRunning { name: name.clone() }.into())
    };
    let began = Instant::now();
    loop {
        let mut client = connect()?;
        let status = match client.status() {
            Err(error) if error.is_gone() => continue,
            status => status?,
        };
        stands_still(name, &status)?;
        let Some(limit) = wait.filter(|_| !status.agent) else { return Ok(status) };
        let left = limit.map(|limit| limit.duration().saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(AgentError::None { name: name.clone() }.into());
        }
        match client.wait_agent(left) {
            Ok(Some(status)) => return Ok(status),
            // Its supervisor was killed; the next one knows as well.
            Ok(None) => {}
            Err(error) if error.is_time_out() => return Err(AgentError::None { name: name.clone() }.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn stands_still(name: &Named, status: &Status) -> Result<(), Report> {
    if status.phase != Phase::Paused.text() {
        return Ok(());
    }
    Err(Report {
        code: Code::RequestDenied,
        message: format!("{name} cannot do that: it stands still"),
        causes: Vec::new(),
        hints: vec![Hint::run("let it go on", format!("selfsame resume {}", name.word))],
    })
}

/// What a guest without an agent is told of. It can still be reached over the network.
fn without_agent(name: &Named, command: &[String]) -> Report {
    let mut report = Report::from(AgentError::None { name: name.clone() });
    let words: Vec<_> = command.iter().map(|word| shell_word(word)).collect();
    let over = format!("selfsame ssh {} -- {}", name.word, words.join(" "));
    report.hints.insert(0, Hint::run("run it over ssh, where the guest has that", over));
    report
}

/// What the command reads: standard input to its end, or nothing from a terminal. `None` when the time is up before.
fn input(limit: Option<Duration>) -> Result<Option<Vec<u8>>, Report> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(Some(Vec::new()));
    }
    let (sender, receiver) = channel();
    // A thread, because a pipe that nobody closes must not outlast the time limit.
    std::thread::spawn(move || {
        let mut input = Vec::new();
        let most = u64::try_from(INPUT_LIMIT).unwrap_or(u64::MAX).saturating_add(1);
        let read = stdin.lock().take(most).read_to_end(&mut input);
        // Nobody listens when the time was up.
        drop(sender.send(read.map(|_| input)));
    });
    let first = limit.map_or(PATIENCE, |limit| limit.min(PATIENCE));
    let read = match receiver.recv_timeout(first) {
        Err(RecvTimeoutError::Timeout) if limit.is_some_and(|limit| limit <= PATIENCE) => return Ok(None),
        Err(RecvTimeoutError::Timeout) => {
            note("note: reading standard input to its end, for the command; with `</dev/null` it gets none");
            match limit.map(|limit| limit.saturating_sub(PATIENCE)) {
                Some(left) => match receiver.recv_timeout(left) {
                    Err(RecvTimeoutError::Timeout) => return Ok(None),
                    read => read.ok(),
                },
                None => receiver.recv().ok(),
            }
        }
        read => read.ok(),
    };
    let input = read.unwrap_or_else(|| Ok(Vec::new())).map_err(|error| Report {
        code: Code::FileFailed,
        message: "cannot read standard input".to_owned(),
        causes: vec![error.to_string()],
        hints: Vec::new(),
    })?;
    if input.len() > INPUT_LIMIT {
        let mut report = usage_problem(format!(
            "standard input has more than the {} MiB that can be passed on to a command in a guest",
            INPUT_LIMIT >> 20
        ));
        report.hints.push(Hint::say("copy it into the guest first"));
        return Err(report);
    }
    Ok(Some(input))
}

fn timed_out(global: &Global, name: &Named, pid: Option<i64>) -> u8 {
    let goes_on = pid.map(|pid| {
        Hint::run(
            format!("it goes on in the guest as process {pid}; end it"),
            format!("selfsame exec {} -- kill {pid}", name.word),
        )
    });
    let message = match pid {
        Some(_) => format!("the command in {name} has not ended in time"),
        None => format!("the command was not begun in {name} in time"),
    };
    let report = Report {
        code: Code::RequestTimedOut,
        message,
        causes: Vec::new(),
        hints: goes_on.into_iter().collect(),
    };
    // Nobody is left to tell when standard error is closed.
    drop(crate::report::write(&mut std::io::stderr().lock(), &report, global.format));
    TIME_IS_UP
}

fn show(global: &Global, name: &Named, ended: &ExecStatus) -> u8 {
    let ExecStatus::Ended { status, signal, output, errors, output_truncated, errors_truncated } = ended
    else {
        return TIME_IS_UP;
    };
    match global.format {
        Format::Json => {
            let (stdout, stdout_base64) = crate::output::text(output);
            let (stderr, stderr_base64) = crate::output::text(errors);
            json(&serde_json::json!({
                "schema": "exec/1",
                "name": name.name,
                "by": "agent",
                "status": status,
                "signal": signal,
                "stdout": stdout,
                "stdout_base64": stdout_base64,
                "stdout_truncated": output_truncated,
                "stderr": stderr,
                "stderr_base64": stderr_base64,
                "stderr_truncated": errors_truncated,
            }));
        }
        Format::Text => {
            bytes(output);
            error_bytes(errors);
        }
    }
    for (truncated, stream) in [(output_truncated, "output"), (errors_truncated, "standard error")] {
        if *truncated {
            note(&format!("note: the agent of {name} kept only the beginning of the command's {stream}"));
        }
    }
    *status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_has_a_path_and_a_command_without_one_keeps_the_agents() {
        let words = || vec!["ls".to_owned(), "-l".to_owned()];
        let plain = command(words(), Vec::new(), Vec::new());
        assert_eq!((plain.program.as_str(), plain.arguments.len(), plain.input), ("ls", 1, None));
        assert!(plain.environment.is_empty());
        let given = command(words(), vec!["A=b".to_owned()], b"x".to_vec());
        assert_eq!(given.environment, ["A=b", PATH]);
        assert_eq!(given.input.as_deref(), Some(&b"x"[..]));
        let own = command(words(), vec!["PATH=/opt".to_owned()], Vec::new());
        assert_eq!(own.environment, ["PATH=/opt"]);
    }
}
