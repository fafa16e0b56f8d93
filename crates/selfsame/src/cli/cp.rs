//! `selfsame cp`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use selfsame_host::bundle::IDENTIFIER;
use selfsame_host::context::Context;
use selfsame_host::library::find;
use selfsame_host::reach::{Door, Session};
use selfsame_machine::code::Exit;
use selfsame_machine::problem::Report;

use super::guest::{LoginOptions, Waiting};
use super::{Global, Outcome, usage_problem};
use crate::output::note;

/// Copy files into a guest or out of it
///
/// One of the two is NAME:PATH. A relative path there begins in the user's home. A local file whose name looks so is written
/// with `./` before it.
///
/// Example: selfsame cp notes.txt web1:
///
/// Example: selfsame cp -r web1:/var/log logs
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to copy: PATH or NAME:PATH
    #[arg(value_name = "SOURCE", value_hint = clap::ValueHint::AnyPath)]
    source: OsString,
    /// Where to: PATH or NAME:PATH
    #[arg(value_name = "TARGET", value_hint = clap::ValueHint::AnyPath)]
    target: OsString,
    /// Copy a folder with all in it
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    login: LoginOptions,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let source = Side::of(context, &arguments.source)?;
    let target = Side::of(context, &arguments.target)?;
    let (folder, path, from_guest, local) = match (source, target) {
        (Side::Guest(folder, path), Side::Here(local)) => (folder, path, true, local),
        (Side::Here(local), Side::Guest(folder, path)) => (folder, path, false, local),
        (Side::Here(_), Side::Here(_)) => {
            return Err(usage_problem("neither side is a guest: write one of them as NAME:PATH"));
        }
        (Side::Guest(..), Side::Guest(..)) => {
            return Err(usage_problem("both sides are guests: copy to this host first, and from here on"));
        }
    };
    let door = Door::of(context, &folder)?;
    let (from, to) = if from_guest { (&path, &local) } else { (&local, &path) };
    let login = arguments.login.login();
    let session = Session::scp(&door, &login, (from_guest, from), to, arguments.recursive)?;
    arguments.waiting.attend(&door)?;
    let said = session.copy()?;
    if !global.quiet {
        said.iter().for_each(|line| note(line));
    }
    Ok(Exit::Ok)
}

/// One of the two sides.
enum Side {
    Here(OsString),
    Guest(PathBuf, OsString),
}

impl Side {
    /// A side is a guest's if it has a colon before which a VM is named. A name may itself hold one.
    fn of(context: &Context, side: &OsStr) -> Result<Self, Report> {
        let bytes = side.as_bytes();
        let mut first = None;
        for (at, _) in bytes.iter().enumerate().filter(|(at, byte)| **byte == b':' && *at > 0) {
            let (vm, path) = (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default());
            match find(context, OsStr::from_bytes(vm)) {
                Ok(folder) if folder.join(IDENTIFIER).exists() => {
                    return Ok(Self::Guest(folder, OsStr::from_bytes(path).to_owned()));
                }
                Ok(_) => {}
                Err(error) => drop(first.get_or_insert((vm.contains(&b'/'), error))),
            }
        }
        match first {
            // It reads as a VM's, and there is none.
            Some((false, error)) if !std::path::Path::new(side).exists() => Err(error.into()),
            Some(_) | None => Ok(Self::Here(side.to_owned())),
        }
    }
}
