//! `selfsame run --rm`: a VM for one run, of a base that stays as it is.
//!
//! Whatever ends first, this command, the guest or its supervisor, ends the others, and the VM is deleted. What was killed
//! at a bad moment is removed by the next command of this kind.

use std::ffi::{OsStr, OsString};
use std::sync::mpsc::channel;
use std::time::Duration;

use selfsame_host::bundle::{Bundle, Named};
use selfsame_host::context::Context;
use selfsame_host::images::{Images, Source};
use selfsame_host::library::{Base, OneRun, delete, find, leftovers};
use selfsame_host::reach::{Door, Login, Patience, Remote, Session, await_server};
use selfsame_host::supervisor::{Client, Launched, PATIENCE};
use selfsame_host::time::Time;
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Code;
use selfsame_machine::lifecycle::Request;
use selfsame_machine::problem::{Hint, Report};
use selfsame_machine::span::Span;

use super::image::ProgressLine;
use super::run::{Arguments, ended_before, names, start_or_wait};
use super::{Global, attend, exec, request};
use crate::output::{Format, note};

/// The user in an image that does not say whom it is made for.
const STRANGER: &str = "selfsame";
/// How long an agent may listen later than an SSH server does, in a guest for which nobody made a key.
const AGENT_LATER: Duration = Duration::from_secs(5);
/// How long the guest may take until commands can be run in it.
const READY: Duration = Duration::from_secs(300);
/// How long the end of the VM may take, and its deletion.
const ENDING: Duration = Duration::from_secs(30);
/// When somebody who waits is told so.
const QUIET: Duration = Duration::from_secs(5);

/// Gives the status to end with.
pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Result<u8, Report> {
    sweep(context);
    let base = base(context, global, arguments.start.vm())?;
    let mut one = OneRun::make(context, &base, Time::now())?;
    let outcome = in_it(context, global, arguments, &mut one);
    let finished = finish(context, one);
    match (outcome, finished) {
        (Ok(status), Ok(())) => Ok(status),
        (Ok(status), Err(report)) => {
            note(&format!("note: the VM could not be deleted: {}", report.message));
            Ok(status)
        }
        (Err(report), _) => Err(report),
    }
}

/// Starts it, runs in it what was asked for, and lets go of it.
fn in_it(context: &Context, global: &Global, arguments: &Arguments, one: &mut OneRun) -> Result<u8, Report> {
    let name = context.named(&one.folder);
    let log = attend::from_now(&one.folder);
    let start = arguments.start.tethered_to(one.folder.clone());
    let Launched { status: _, notes, tether } = start_or_wait(context, global.format, &start)?;
    one.is_up();
    if !global.quiet {
        notes.iter().for_each(|text| note(&format!("note: {text}")));
    }
    let status = if arguments.command.is_empty() {
        let (keyboard, signals) = arguments.hands();
        let subject = attend::Subject { context, name: &name, names: names(&one.folder)? };
        let manner = attend::Manner { keyboard, signals, tail: u32::MAX };
        note(&format!("{name} runs until you leave it, and is deleted then"));
        let exit = match subject.attend(manner, Some(log.clone()))? {
            Some(exit) => exit,
            None => ended_before(context, &name, &one.folder, log)?,
        };
        exit.status()
    } else {
        if !global.quiet && global.format == Format::Text {
            note(&format!("{name} is up; waiting until commands can be run in it"));
        }
        match ready(context, one, &name, arguments.ready.map_or(READY, Span::duration))? {
            Way::Agent => {
                exec::by_agent(context, global, &one.folder, None, Vec::new(), arguments.command.clone())?
            }
            Way::Ssh(door) => {
                let words = arguments.command.iter().map(OsString::from).collect();
                Session::ssh(&door, &Login::default(), &Remote::Words(words), false)?.run()?
            }
        }
    };
    // The guest ends with this.
    drop(tether);
    Ok(status)
}

/// How a command gets into the guest.
enum Way {
    Agent,
    Ssh(Box<Door>),
}

/// Waits until a command can be run in the guest, by whatever is there first. In a guest that has a key of its own the SSH
/// server is enough; in others an agent is better, because it asks for none.
fn ready(context: &Context, one: &OneRun, name: &Named, limit: Duration) -> Result<Way, Report> {
    let bundle = Bundle::read(&one.folder)?;
    let has_key = bundle.spec.login.is_some_and(|login| login.key.is_some());
    let run = context.home.run();
    let names = names(&one.folder)?;
    let gone =
        || -> Report { selfsame_host::supervisor::SupervisorError::Died { name: name.clone() }.into() };
    let mut client = Client::connect(&run, names, PATIENCE)?.ok_or_else(gone)?;
    if client.status()?.agent {
        return Ok(Way::Agent);
    }
    let (sender, receiver) = channel();
    let tell = sender.clone();
    std::thread::spawn(move || {
        // Nobody listens when the other was first.
        drop(tell.send(match client.wait_agent(Some(limit)) {
            Ok(Some(_)) => Ok(Way::Agent),
            Ok(None) => Err(None),
            Err(error) if error.is_time_out() => Err(None),
            Err(error) => Err(Some(Report::from(error))),
        }));
    });
    match Door::of(context, &one.folder) {
        Ok(door) => {
            std::thread::spawn(move || {
                let patience = Patience { limit, quiet: QUIET };
                drop(sender.send(match await_server(&door, patience, || ()) {
                    Ok(()) => Ok(Way::Ssh(Box::new(door))),
                    Err(error) => Err(Some(Report::from(error))),
                }));
            });
        }
        // Without a network there is only the agent.
        Err(_) => drop(sender),
    }
    let mut last = None;
    while let Ok(heard) = receiver.recv() {
        match heard {
            Ok(Way::Agent) => return Ok(Way::Agent),
            Ok(ssh @ Way::Ssh(_)) if has_key => return Ok(ssh),
            Ok(ssh @ Way::Ssh(_)) => {
                return Ok(match receiver.recv_timeout(AGENT_LATER) {
                    Ok(Ok(Way::Agent)) => Way::Agent,
                    Ok(Ok(Way::Ssh(_)) | Err(_)) | Err(_) => ssh,
                });
            }
            Err(report) => last = report.or(last),
        }
    }
    let message = format!("{name} was not ready for commands within {} s", limit.as_secs());
    Err(Report {
        code: Code::RequestTimedOut,
        message,
        causes: last.map(|report| report.message).into_iter().collect(),
        hints: vec![Hint::say(
            "give it longer by `--ready`; it needs an agent, or an SSH server that lets you in",
        )],
    })
}

/// Waits until the VM has ended and its supervisor has deleted it; what is left then is deleted here.
fn finish(context: &Context, one: OneRun) -> Result<(), Report> {
    let run = context.home.run();
    if let Ok(names) = names(&one.folder)
        && let Ok(Some(mut client)) = Client::connect(&run, names, PATIENCE)
        && client.ask_end().is_ok()
    {
        drop(client.wait_end(Some(ENDING)));
    }
    if one.folder.exists() {
        // Its supervisor was killed: whoever adopts the guest ends it.
        drop(request::ask(context, one.folder.as_os_str(), Request::Kill));
    }
    one.finish(context)
}

/// Removes what killed commands of this kind left. What cannot be removed is tried again by the next one.
fn sweep(context: &Context) {
    for folder in leftovers(context) {
        drop(request::ask(context, folder.as_os_str(), Request::Kill));
        if folder.exists() {
            drop(delete(context, &folder, Time::now()));
        }
    }
}

/// A VM where there is one of that name, else an image.
fn base(context: &Context, global: &Global, argument: &OsStr) -> Result<Base, Report> {
    let no_vm = match find(context, argument) {
        Ok(folder) => return Ok(Base::Vm(folder)),
        Err(error) => error,
    };
    let source = match Source::of(argument) {
        Ok(source) => source,
        // A plain word that is neither: that there is no such VM says more.
        Err(_) => return Err(no_vm.into()),
    };
    let user = match &source {
        Source::Official(official) => official.user.to_owned(),
        Source::Address(_) | Source::File(_) => STRANGER.to_owned(),
    };
    let architecture = Architecture::of_new_guests();
    let mut progress = ProgressLine::new(global);
    let images = Images::of(&context.prepare()?);
    let got = images.get(&source, architecture, None, false, &mut |news| progress.show(&news));
    progress.end();
    Ok(Base::Image { image: got?.path, architecture, user })
}
