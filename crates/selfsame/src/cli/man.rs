//! `selfsame man`: the manual pages, made from the same words as `--help`.
//!
//! Hidden: those who package selfsame need it once, and `cargo xtask man` runs it.

use std::path::{Path, PathBuf};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use selfsame_host::files::{FileError, write_atomically};
use selfsame_machine::code::Exit;
use selfsame_machine::problem::Report;

use super::Outcome;

/// Write the manual pages, one file a command
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder to write them to; it is made if need be
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments, command: clap::Command) -> Outcome {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(FileError::failed("make", folder))?;
    // The page lists the commands by itself; the groups are for the help alone.
    let mut command = command.after_help(None::<&str>);
    command.build();
    page(&command, folder, true)?;
    Ok(Exit::Ok)
}

/// Writes the page of a command, and those of its commands.
fn page(command: &clap::Command, folder: &Path, root: bool) -> Result<(), Report> {
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        page(subcommand, folder, false)?;
    }
    let man =
        Man::new(command.clone()).manual("selfsame").source(concat!("selfsame ", env!("CARGO_PKG_VERSION")));
    let path = folder.join(man.get_filename());
    let mut text = Vec::new();
    man.render(&mut text)
        .and_then(|()| closing(root).to_writer(&mut text))
        .map_err(FileError::failed("write", &path))?;
    write_atomically(&path, &text).map_err(Report::from)
}

/// What every page ends with; the first one, on `selfsame` itself, tells most.
fn closing(root: bool) -> Roff {
    let mut roff = Roff::default();
    if !root {
        roff.control("SH", ["SEE ALSO"])
            .text([roman("selfsame(1), which lists the exit statuses and the files")]);
        return roff;
    }
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", []).text([roman(exit.status().to_string())]).text([roman(exit.meaning())]);
    }
    let pairs = |roff: &mut Roff, title, rows: &[(&str, &str)]| {
        roff.control("SH", [title]);
        for (name, meaning) in rows {
            roff.control("TP", []).text([roman(*name)]).text([roman(*meaning)]);
        }
    };
    pairs(
        &mut roff,
        "ENVIRONMENT",
        &[
            (
                "SELFSAME_HOME",
                "selfsame's own folder; else $XDG_DATA_HOME/selfsame on Linux where that is set, else ~/.selfsame",
            ),
            ("SELFSAME_LOCK_DIR", "moves the locks, for tests: VMs started without it are not seen"),
        ],
    );
    pairs(
        &mut roff,
        "FILES",
        &[
            ("/etc/selfsame/config.toml", "the settings of all users"),
            ("~/.selfsame/config.toml", "your settings"),
            ("~/.selfsame/library.db", "identities, runs, observations and events"),
            ("~/.selfsame/vms/NAME.vm", "a VM"),
        ],
    );
    roff
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_that_is_shown_has_a_page_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = Arguments { folder: folder.path().join("man") };
        run(&arguments, crate::cli::Arguments::command()).unwrap();
        let mut pages: Vec<String> = std::fs::read_dir(&arguments.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        for page in ["selfsame.1", "selfsame-create.1", "selfsame-identity.1", "selfsame-identity-show.1"] {
            assert!(pages.iter().any(|found| found == page), "{page} is not in {pages:?}");
        }
        assert!(!pages.iter().any(|page| page.contains("supervise") || page.contains("-man")), "{pages:?}");
        let first = std::fs::read_to_string(arguments.folder.join("selfsame.1")).unwrap();
        assert!(first.contains("EXIT STATUS") && first.contains(Exit::InUse.meaning()), "{first}");
        let show = std::fs::read_to_string(arguments.folder.join("selfsame-identity-show.1")).unwrap();
        assert!(show.contains("Example: selfsame identity show"), "{show}");
    }
}
