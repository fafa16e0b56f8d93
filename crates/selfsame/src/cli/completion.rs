//! `selfsame completion`.

use clap_complete::Shell;
use selfsame_machine::code::Exit;

use super::Outcome;

/// Print completions for a shell
///
/// Example: selfsame completion bash
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, command: &mut clap::Command) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, command, "selfsame", &mut text);
    crate::output::data(&String::from_utf8_lossy(&text));
    Ok(Exit::Ok)
}
