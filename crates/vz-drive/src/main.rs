//! Drives guests of Virtualization.framework by commands on its standard input: what the scenarios of `make mac` run, and
//! the first thing to run on a new Mac. Never shipped.
//!
//! One command a line, `#` begins a comment. What happens is printed, one event a line; a command that fails ends it
//! with `error: …` and status 1.
//!
//! ```text
//! entitlement                          whether this program may use the framework
//! supported                            what this Mac can do
//! identifier new macos|linux FILE      an identifier made by the framework
//! identifier round macos|linux COUNT   as many identifiers, each way between the framework and our reader and writer
//! vm NAME FOLDER                       names the VM in a folder
//! start NAME [paused]                  restore NAME FILE
//! pause|resume|kill NAME               stop NAME SECONDS
//! save NAME FILE
//! wait NAME PHASE [SECONDS]            drives all VMs until this one is in that phase (30 s, if not said)
//! run SECONDS                          drives all VMs for so long
//! drop NAME                            forgets the VM, as the end of its supervisor would
//! ```

#![cfg_attr(target_os = "macos", expect(clippy::print_stdout, reason = "events are its output"))]
#![expect(clippy::print_stderr, reason = "errors are its output")]

#[cfg(target_os = "macos")]
mod commands;
#[cfg(target_os = "macos")]
mod drive;

use std::process::ExitCode;

#[cfg(target_os = "macos")]
fn main() -> ExitCode {
    commands::main()
}

#[cfg(not(target_os = "macos"))]
fn main() -> ExitCode {
    eprintln!("error: Virtualization.framework is a part of macOS");
    ExitCode::FAILURE
}
