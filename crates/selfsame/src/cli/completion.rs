//! `selfsame completion`: what a shell needs so that TAB knows commands, options, VMs and labels.
//!
//! The scripts know nothing: they ask the hidden command `complete` ([`super::complete`]) at every TAB, so that an update
//! of selfsame is one of its completions, too.

use clap::ValueEnum;
use selfsame_machine::code::Exit;

use super::Outcome;

/// Print completions for a shell
///
/// They know the names of VMs, by what a command can act on: those that run for `stop`, those that do not for `delete`.
///
/// Example: selfsame completion bash
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    crate::output::data(match arguments.shell {
        Shell::Bash => include_str!("completion/selfsame.bash"),
        Shell::Zsh => include_str!("completion/selfsame.zsh"),
        Shell::Fish => include_str!("completion/selfsame.fish"),
    });
    Ok(Exit::Ok)
}
