//! The command line: what can be said, and what each command does with it.
//!
//! A leaf command is one file: its arguments, whose doc comments are its help, and `run`. A command gives back how it
//! ended as a [`Report`] or an [`Exit`]; only [`main`] turns that into an exit status.

mod attend;
mod autostart;
mod complete;
mod completion;
mod config;
mod console;
mod cp;
mod create;
mod delete;
mod doctor;
mod events;
mod exec;
mod get;
mod guest;
mod identity;
mod image;
mod ip;
mod list;
mod logs;
mod man;
mod net;
mod one_run;
mod overview;
mod protect;
mod quota;
mod rename;
mod request;
mod restart;
mod run;
mod screenshot;
mod set;
mod setup;
mod ssh;
mod ssh_config;
mod supervise;
mod suspend;
mod usage;
mod version;
mod wait;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use selfsame_host::context::Context;
use selfsame_machine::code::{Code, Exit};
use selfsame_machine::problem::Report;

use crate::output::Format;

/// Virtual machines that know who they are: two with one identity never run at the same time
#[derive(Debug, Parser)]
#[command(
    name = "selfsame",
    version,
    help_template = "{about}\n\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}",
    after_help = COMMANDS,
)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The commands by what they are for; a test keeps the list whole.
const COMMANDS: &str = "\
Everyday:
  create      Make a VM
  run         Start a VM, or take over one whose supervisor is gone
  start       The same as `run -d`
  stop        Ask guests to power down, and cut their power when they do not
  restart     Stop a VM and start it again
  kill        End VMs at once
  pause       Let guests stand still, their memory kept
  resume      Let paused guests go on
  suspend     Put guests to sleep on the disk, to go on at their next start
  list        Show the VMs (also `ls`, `ps`)
  get         Show one VM with all that is known of it (also `inspect`)
  set         Change what a VM is made of
  rename      Give a VM another name
  protect     Keep VMs from being deleted
  delete      Delete VMs with their disks (also `rm`)
  why         Explain what stands in the way of a start
  events      Show what happened

Into a guest:
  console     Talk to a guest over its serial console
  ssh         Log in to a guest, or run a command in it
  exec        Run a command in a guest
  cp          Copy files into a guest or out of it
  ip          Show where a guest is reached from here
  ssh-config  Print a configuration with which ssh and its friends reach a guest
  logs        Show what a guest wrote to its console, or what ran it had to say
  screenshot  Make a picture of a guest's screen

Identity (also `mid`):
  identity    Make, keep, show, import and export machine identifiers

Images:
  image       List, fetch and delete the images that VMs are made of

This host:
  autostart   Start the VMs that are marked for it
  setup       Show and change what selfsame has put on this computer
  doctor      Check this host and its VMs
  quota       Show how many guests may run at the same time
  config      Show the settings and where each comes from
  completion  Print completions for a shell
  version     Show the version and what works on this host

`selfsame COMMAND --help` tells more of each.";

/// The heading of the options that every command has.
const HEADING: &str = "Options of every command";

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Write for people or for programs
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT", help_heading = HEADING)]
    pub(crate) format: Format,
    /// Print names only
    #[arg(short, long, global = true, help_heading = HEADING)]
    pub(crate) quiet: bool,
    /// Do not ask before destroying something
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Box<create::Arguments>),
    Run(run::Arguments),
    Start(run::StartArguments),
    Stop(request::StopArguments),
    Restart(restart::Arguments),
    Kill(request::KillArguments),
    Pause(request::PauseArguments),
    Resume(request::ResumeArguments),
    Suspend(suspend::Arguments),
    Exec(exec::Arguments),
    Console(console::Arguments),
    Logs(logs::Arguments),
    Screenshot(screenshot::Arguments),
    #[command(visible_aliases = ["ls", "ps"])]
    List(list::Arguments),
    #[command(visible_alias = "inspect")]
    Get(get::Arguments),
    Set(set::Arguments),
    Rename(rename::Arguments),
    Protect(protect::Arguments),
    #[command(visible_alias = "rm")]
    Delete(delete::Arguments),
    Ssh(ssh::Arguments),
    Cp(cp::Arguments),
    Ip(ip::Arguments),
    SshConfig(ssh_config::Arguments),
    Why(why::Arguments),
    Events(events::Arguments),
    #[command(subcommand, visible_alias = "mid")]
    Identity(identity::Command),
    #[command(subcommand)]
    Image(image::Command),
    Autostart(autostart::Arguments),
    #[command(subcommand)]
    Setup(setup::Command),
    Doctor(doctor::Arguments),
    #[command(subcommand)]
    Quota(quota::Command),
    Config(config::Arguments),
    Completion(completion::Arguments),
    Version(version::Arguments),
    #[command(hide = true)]
    Complete(complete::Arguments),
    #[command(hide = true)]
    Man(man::Arguments),
    #[command(hide = true)]
    Supervise(supervise::Arguments),
}

/// How a command ends: done (perhaps with a finding), or failed with a problem that is shown.
pub(crate) type Outcome = Result<Exit, Report>;

/// Reads the command line, runs the command and says how it ended.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::tell(&error),
    };
    let format = arguments.global.format;
    let outcome = dispatch(arguments)
        .and_then(|status| if crate::output::is_lost() { Err(lost().into()) } else { Ok(status) });
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(Failed { report, status }) => {
            // Nobody is left to tell when standard error is closed.
            drop(crate::report::write_as(&mut std::io::stderr().lock(), &report, format, status));
            ExitCode::from(status)
        }
    }
}

/// A problem with the exit status that it leads to.
struct Failed {
    report: Report,
    status: u8,
}

impl Failed {
    /// The failure of a command that was to end with a guest's own status.
    fn beside(report: Report) -> Self {
        Self { report, status: guest::NOT_THE_GUEST }
    }
}

impl From<Report> for Failed {
    fn from(report: Report) -> Self {
        Self { status: report.exit().status(), report }
    }
}

fn dispatch(arguments: Arguments) -> Result<u8, Failed> {
    let global = arguments.global;
    let context = || Context::from_environment();
    let Some(command) = arguments.command else { return Ok(overview::run(&context()?)?.status()) };
    let outcome: Outcome = match command {
        Command::Exec(arguments) => {
            return context()
                .and_then(|context| exec::run(&context, &global, arguments))
                .map_err(Failed::beside);
        }
        Command::Ssh(arguments) => {
            return context()
                .and_then(|context| ssh::run(&context, &global, &arguments))
                .map_err(Failed::beside);
        }
        Command::Completion(arguments) => completion::run(&arguments),
        Command::Complete(arguments) => complete::run(&arguments, Arguments::command()),
        Command::Man(arguments) => man::run(&arguments, Arguments::command()),
        Command::Supervise(arguments) => supervise::run(arguments),
        Command::Create(arguments) => create::run(&context()?, &global, *arguments),
        Command::Run(arguments) if arguments.rm => {
            let outcome = context().and_then(|context| one_run::run(&context, &global, &arguments));
            return outcome.map_err(if arguments.command.is_empty() { Failed::from } else { Failed::beside });
        }
        Command::Run(arguments) => run::run(&context()?, &global, &arguments),
        Command::Start(arguments) => run::run(&context()?, &global, &arguments.detached()),
        Command::Stop(arguments) => request::stop(&context()?, &global, &arguments),
        Command::Restart(arguments) => restart::run(&context()?, &global, &arguments),
        Command::Kill(arguments) => request::kill(&context()?, &global, &arguments),
        Command::Pause(arguments) => request::pause(&context()?, &global, &arguments),
        Command::Resume(arguments) => request::resume(&context()?, &global, &arguments),
        Command::Suspend(arguments) => suspend::run(&context()?, &global, &arguments),
        Command::Console(arguments) => console::run(&context()?, &global, &arguments),
        Command::Logs(arguments) => logs::run(&context()?, &global, &arguments),
        Command::Screenshot(arguments) => screenshot::run(&context()?, &global, &arguments),
        Command::List(arguments) => list::run(&context()?, &global, &arguments),
        Command::Get(arguments) => get::run(&context()?, &global, &arguments),
        Command::Set(arguments) => set::run(&context()?, &global, &arguments),
        Command::Rename(arguments) => rename::run(&context()?, &global, &arguments),
        Command::Protect(arguments) => protect::run(&context()?, &global, &arguments),
        Command::Delete(arguments) => delete::run(&context()?, &global, &arguments),
        Command::Cp(arguments) => cp::run(&context()?, &global, &arguments),
        Command::Ip(arguments) => ip::run(&context()?, &global, &arguments),
        Command::SshConfig(arguments) => ssh_config::run(&context()?, &global, &arguments),
        Command::Why(arguments) => why::run(&context()?, &global, &arguments),
        Command::Events(arguments) => events::run(&context()?, &global, &arguments),
        Command::Identity(command) => identity::run(&context()?, &global, command),
        Command::Image(command) => image::run(&context()?, &global, command),
        Command::Autostart(arguments) => autostart::run(&context()?, &global, &arguments),
        Command::Setup(command) => setup::run(&context()?, &global, &command),
        Command::Doctor(arguments) => doctor::run(&context()?, &global, &arguments),
        Command::Quota(command) => quota::run(&context()?, &global, command),
        Command::Config(arguments) => config::run(&context()?, &global, &arguments),
        Command::Version(arguments) => version::run(&context()?, &global, &arguments),
    };
    Ok(outcome?.status())
}

/// The failure of a command whose data could not be written.
fn lost() -> Report {
    let message = "the output could not be written whole".to_owned();
    Report { code: Code::FileFailed, message, causes: Vec::new(), hints: Vec::new() }
}

/// A mistake in the command line that only we can see.
pub(crate) fn usage_problem(message: impl Into<String>) -> Report {
    Report { code: Code::UsageInvalid, message: message.into(), causes: Vec::new(), hints: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_stands_in_the_grouped_help_with_its_own_words() {
        let command = Arguments::command();
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let line = COMMANDS.lines().find(|line| {
                line.starts_with("  ") && line.split_whitespace().next() == Some(command.get_name())
            });
            let line = line.unwrap_or_else(|| panic!("`{}` is missing", command.get_name()));
            assert!(line.contains(&about) && !about.is_empty(), "`{line}` does not say `{about}`");
        }
    }

    /// Calls `look` with every command that is shown, and what is typed to reach it.
    fn each_leaf(command: &clap::Command, typed: &str, look: &mut impl FnMut(&str, &clap::Command)) {
        let typed = format!("{typed} {}", command.get_name());
        let mut subcommands = command.get_subcommands().filter(|command| !command.is_hide_set()).peekable();
        if subcommands.peek().is_none() {
            look(typed.trim_start(), command);
        }
        subcommands.for_each(|command| each_leaf(command, &typed, look));
    }

    #[test]
    fn every_example_in_the_help_is_a_command_line_that_is_understood() {
        each_leaf(&Arguments::command(), "", &mut |typed, command| {
            let help = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> =
                help.lines().filter_map(|line| line.strip_prefix("Example: ")).collect();
            assert!(!examples.is_empty(), "`{typed} --help` has no example");
            for example in examples {
                assert!(example.starts_with(typed), "`{typed} --help` has an example of another: {example}");
                assert!(
                    !example.contains(['\'', '"', '\\', '|', '>']),
                    "only plain words are split here: {example}"
                );
                let words = example.split(' ');
                let parsed = Arguments::command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        });
    }
}
