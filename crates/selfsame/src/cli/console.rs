//! `selfsame console`.

use std::ffi::OsString;
use std::time::Duration;

use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::supervisor::SupervisorError;

use super::attend::{Keyboard, Manner, Signals, Subject};
use super::run::names;
use super::{Global, Outcome, request};
use crate::output::note;

/// So much of what the guest wrote before is shown first.
const TAIL: u32 = 4096;

/// Talk to a guest over its serial console
///
/// Every key goes to the guest, Ctrl-C as well; Ctrl-] leaves, and the guest goes on. Any number may be attached: all see
/// the same, and all may type. It ends when the VM ends, and says how. The guest's bytes are shown as they are.
///
/// When standard input is no terminal, its bytes go to the guest until it ends; what the guest writes is followed until
/// the VM ends, or for `--linger` seconds more. A signal that would end this command leaves the console. Who reads too
/// slowly misses bytes and is told how many; the log has them all.
///
/// Example: selfsame console web1
///
/// Example: selfsame console --read-only web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM: its name, or a path
    #[arg(value_name = "NAME")]
    vm: OsString,
    /// Only look: nothing that is typed goes to the guest, and Ctrl-C leaves
    #[arg(long)]
    read_only: bool,
    /// After the end of an input that is no terminal, stay so long
    #[arg(long, value_name = "SECONDS", conflicts_with = "read_only")]
    linger: Option<u32>,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let folder = find(context, &arguments.vm)?;
    let (name, names) = (context.named(&folder), names(&folder)?);
    let not_running = || SupervisorError::NotRunning { name: name.clone() };
    // One whose supervisor is gone gets another one, which knows the way to its console.
    drop(request::reach(context, &folder, names)?.ok_or_else(not_running)?);
    let linger = arguments.linger.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let keyboard = if arguments.read_only { Keyboard::None } else { Keyboard::found(linger) };
    let manner = Manner { keyboard, signals: Signals::Leave, tail: TAIL };
    if !global.quiet {
        match keyboard {
            Keyboard::Terminal => note(&format!("the console of {name}; Ctrl-] leaves")),
            Keyboard::None => note(&format!("the console of {name}, read-only; Ctrl-C leaves")),
            Keyboard::Pipe { .. } => {}
        }
    }
    let subject = Subject { context, name: &name, names };
    subject.attend(manner, None)?.ok_or_else(|| not_running().into())
}
