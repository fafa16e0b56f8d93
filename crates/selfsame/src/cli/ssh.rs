//! `selfsame ssh`.

use std::ffi::OsString;

use selfsame_host::bundle::Bundle;
use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::reach::{Door, KnownHosts, Remote, Session, alias};
use selfsame_machine::code::Exit;
use selfsame_machine::problem::Report;

use super::Global;
use super::guest::{LoginOptions, Waiting};
use crate::output::note;

/// Log in to a guest, or run a command in it
///
/// Through the system's OpenSSH, with your keys and agent, and without your configuration for other hosts. Waits until the
/// guest answers. One word is a line for the guest's shell; several are a program and its arguments, which reach it as they
/// are. Ends with the command's own status, or 125 when selfsame or ssh failed.
///
/// The guest's host key is remembered for the VM's identity: when another guest answers for it, you are told.
///
/// Example: selfsame ssh web1
///
/// Example: selfsame ssh web1 -l root -- systemctl is-active nginx
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    #[command(flatten)]
    login: LoginOptions,
    #[command(flatten)]
    waiting: Waiting,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// Forget the host key that the VM's guest had, and do nothing else
    #[arg(long, conflicts_with_all = ["command", "tty"])]
    forget_host_key: bool,
    /// What to run, after `--`; a shell if there is nothing
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What ended in the guest, or why it never came to that.
pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Result<u8, Report> {
    let folder = find(context, &arguments.vm)?;
    if arguments.forget_host_key {
        let name = context.named(&folder);
        let alias = alias(&Bundle::read(&folder)?.identity.digest());
        let known = KnownHosts::of(context).forget(&alias)?;
        match (known, global.quiet) {
            (_, true) => {}
            (true, false) => note(&format!("the host key of {name} is forgotten: the next one is taken")),
            (false, false) => note(&format!("note: no host key of {name} is known")),
        }
        return Ok(Exit::Ok.status());
    }
    let door = Door::of(context, &folder)?;
    let remote = match arguments.command.as_slice() {
        [] => Remote::Shell,
        [line] => Remote::Line(line.clone()),
        words => Remote::Words(words.to_vec()),
    };
    let session = Session::ssh(&door, &arguments.login.login(), &remote, arguments.tty)?;
    arguments.waiting.attend(&door)?;
    session.run()
}
