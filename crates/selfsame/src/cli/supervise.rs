//! The hidden command that a supervisor is started with.

use std::ffi::OsString;
use std::path::PathBuf;

use selfsame_host::folders::FolderError;
use selfsame_host::gate::Overrides;
use selfsame_host::lock::TicketName;
use selfsame_host::supervisor::{Mission, Options};
use selfsame_machine::code::Exit;
use selfsame_machine::problem::Report;
use selfsame_machine::sim::Behaviour;
use selfsame_machine::spec::Folder;
use selfsame_machine::spec::folder::Request;

use super::run::Accelerator;
use super::{Outcome, net};

/// Own one running VM
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM's folder
    folder: PathBuf,
    /// Take it over or say that it is not running
    #[arg(long)]
    adopt_only: bool,
    /// Let the guest stand still
    #[arg(long)]
    paused: bool,
    #[arg(long, value_enum)]
    accel: Option<Accelerator>,
    /// Play a guest that behaves so
    #[arg(long)]
    sim: Option<Behaviour>,
    /// Take the slot that this ticket stands for; it is handed over through standard output
    #[arg(long)]
    ticket: Option<TicketName>,
    #[arg(long)]
    dir: Vec<String>,
    #[arg(long)]
    despite: Vec<PathBuf>,
    #[arg(long)]
    accept_identity: bool,
    #[command(flatten)]
    net: net::RunOptions,
    /// End the guest when standard input is closed
    #[arg(long)]
    tethered: bool,
}

/// How this program is told to be the supervisor with these options. Others know supervisors by this form: see
/// [`selfsame_host::lock::supervised_folder`].
pub(super) fn arguments(options: &Options, accel: Option<Accelerator>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["supervise".into()];
    match options.mission {
        Mission::Start { paused: false } => {}
        Mission::Start { paused: true } => arguments.push("--paused".into()),
        Mission::AdoptOnly => arguments.push("--adopt-only".into()),
    }
    if let Some(accel) = accel {
        let name = match accel {
            Accelerator::Auto => "--accel=auto",
            Accelerator::Tcg => "--accel=tcg",
            Accelerator::Kvm => "--accel=kvm",
        };
        arguments.push(name.into());
    }
    if let Some(behaviour) = &options.sim {
        arguments.push(format!("--sim={behaviour}").into());
    }
    if let Some(ticket) = &options.ticket {
        arguments.push(format!("--ticket={ticket}").into());
    }
    for folder in &options.folders {
        arguments.push(format!("--dir={folder}").into());
    }
    for path in &options.overrides.despite {
        arguments.extend(["--despite".into(), path.into()]);
    }
    if options.overrides.accept_identity {
        arguments.push("--accept-identity".into());
    }
    if options.tethered {
        arguments.push("--tethered".into());
    }
    arguments.extend(net::arguments(&options.wish).map(OsString::from));
    arguments.extend(["--".into(), (&options.folder).into()]);
    arguments
}

/// The folders as [`arguments`] wrote them.
fn folders(texts: &[String]) -> Result<Vec<Folder>, Report> {
    let folder = |text: &String| -> Result<Folder, Report> {
        let Request { tag, path, read_only } = text.parse().map_err(FolderError::Request)?;
        Ok(Folder { tag: tag.unwrap_or_default(), path, read_only })
    };
    texts.iter().map(folder).collect()
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let mission =
        if arguments.adopt_only { Mission::AdoptOnly } else { Mission::Start { paused: arguments.paused } };
    let options = Options {
        folder: arguments.folder,
        mission,
        accelerator: arguments.accel.map(Accelerator::request),
        sim: arguments.sim,
        ticket: arguments.ticket,
        folders: folders(&arguments.dir)?,
        wish: arguments.net.wish(),
        overrides: Overrides { despite: arguments.despite, accept_identity: arguments.accept_identity },
        tethered: arguments.tethered,
    };
    selfsame_host::supervisor::supervise(&options, std::io::stdout());
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use selfsame_machine::network::Wish;

    use super::*;

    #[test]
    fn a_supervisor_is_known_by_the_arguments_that_it_is_given() {
        for mission in [Mission::Start { paused: true }, Mission::AdoptOnly] {
            let overrides = Overrides { despite: vec!["/vms/--".into()], accept_identity: true };
            let folder = PathBuf::from("/vms/a b.vm");
            let shared = Folder { tag: "src".into(), path: "/a --:ro".into(), read_only: false };
            let folders = vec![shared];
            let wish = Wish { network: None, ports: Some(vec!["1:2".parse().unwrap()]) };
            let options = Options {
                folder: folder.clone(),
                mission,
                accelerator: None,
                sim: None,
                ticket: None,
                folders,
                wish,
                overrides,
                tethered: true,
            };
            let mut all: Vec<OsString> = vec!["selfsame: a b".into()];
            all.extend(super::arguments(&options, Some(Accelerator::Tcg)));
            assert_eq!(selfsame_host::lock::supervised_folder(&all), Some(folder.as_path()));
        }
    }
}
