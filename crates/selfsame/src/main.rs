//! selfsame: virtual machines that know who they are.
//!
//! One binary: the command line, and, as a hidden command of it, the supervisor of a running VM. It understands what is
//! asked, calls `selfsame-host`, and shows the outcome. It decides nothing about VMs itself.

mod cli;
mod output;
mod report;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
