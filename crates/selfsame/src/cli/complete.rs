//! The hidden command that shells ask at every TAB.
//!
//! It writes what may stand in the last word, one a line, not narrowed to what was typed of it: shells quote, and know
//! best what fits. `:files` alone says that files belong there. It never fails and never waits: no supervisor is asked,
//! and what cannot be found out is left out.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command, ValueHint};
use selfsame_host::context::Context;
use selfsame_host::images::Images;
use selfsame_host::library::{Activity, glance};
use selfsame_host::time::Time;
use selfsame_machine::code::Exit;
use selfsame_machine::image::official;

use super::Outcome;

/// Say what may stand in the last word of a command line
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The words behind the program, the last one as far as it is typed
    #[arg(last = true, value_name = "WORD")]
    words: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments, mut command: Command) -> Outcome {
    command.build();
    let words: Vec<&OsStr> = arguments.words.iter().map(OsString::as_os_str).collect();
    let lines = match wanted(&command, &words) {
        Wanted::Words(words) => words,
        Wanted::Files => vec![":files".to_owned()],
        Wanted::Vms(which) => vms(which, &words),
        Wanted::Identities => labels().into_iter().chain(vms(Which::All, &[])).collect(),
        // Files are what a shell completes best, so that is offered once something is typed that is no VM's beginning.
        Wanted::Copied => copied(&words),
        Wanted::Images(whose) => images(whose),
        Wanted::Nothing => Vec::new(),
    };
    // A line is a candidate: what holds a line end is none.
    let plain = lines.into_iter().filter(|line| !line.is_empty() && !line.chars().any(char::is_control));
    crate::output::data(&plain.map(|line| format!("{line}\n")).collect::<String>());
    Ok(Exit::Ok)
}

/// What belongs into the last word.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Words(Vec<String>),
    Files,
    Vms(Which),
    Identities,
    /// A file, or `NAME:` of a running VM and a file in it.
    Copied,
    Images(Whose),
    Nothing,
}

/// VMs by what a command can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Something of them runs.
    Live,
    /// Nothing of them runs.
    Stopped,
    /// No supervisor drives them: to be started, or taken over.
    Startable,
}

/// Images by who has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Those that have a name.
    Official,
    /// Those that are kept here.
    Kept,
}

/// Walks along the words as the reader of command lines would.
fn wanted(root: &Command, words: &[&OsStr]) -> Wanted {
    let Some((last, before)) = words.split_last() else { return Wanted::Nothing };
    let last = last.to_string_lossy();
    let (mut command, mut positionals, mut options_end) = (root, 0, false);
    let mut pending: Option<&Arg> = None;
    for word in before {
        let word = word.to_string_lossy();
        if pending.take().is_some() {
        } else if !options_end && word == "--" {
            options_end = true;
        } else if !options_end && word.starts_with('-') && word.len() > 1 {
            pending = option(command, &word).filter(|_| !word.contains('='));
        } else if let Some(found) = command.find_subcommand(word.as_ref()) {
            command = found;
        } else {
            positionals += 1;
        }
    }
    if let Some(option) = pending {
        return values(command, option, "");
    }
    if !options_end && let Some((name, _)) = last.split_once('=').filter(|(name, _)| name.starts_with("--")) {
        return option(command, name)
            .map_or(Wanted::Nothing, |option| values(command, option, &format!("{name}=")));
    }
    if !options_end && last.starts_with('-') {
        let shown = command.get_arguments().filter(|option| !option.is_hide_set());
        let longs = shown.filter_map(Arg::get_long).map(|long| format!("--{long}"));
        return Wanted::Words(longs.collect());
    }
    if command.has_subcommands() {
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        return Wanted::Words(shown.map(|command| command.get_name().to_owned()).collect());
    }
    let mut all = command.get_positionals();
    let repeats = |argument: &&Arg| matches!(argument.get_action(), ArgAction::Append);
    let argument = all.nth(positionals).or_else(|| command.get_positionals().last().filter(repeats));
    argument.map_or(Wanted::Nothing, |argument| values(command, argument, ""))
}

/// The option that a word names and that takes a value.
fn option<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let name = word.split('=').next().unwrap_or(word);
    let fits = |argument: &&Arg| {
        let long = name.strip_prefix("--");
        let short = name.strip_prefix('-').and_then(|rest| rest.chars().last()).filter(|_| long.is_none());
        (long.is_some() && argument.get_long() == long) || (short.is_some() && argument.get_short() == short)
    };
    command.get_arguments().find(fits).filter(|argument| argument.get_action().takes_values())
}

/// What an argument takes; `prefix` stands before each value.
fn values(command: &Command, argument: &Arg, prefix: &str) -> Wanted {
    let possible = argument.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        return Wanted::Words(shown.map(|value| format!("{prefix}{}", value.get_name())).collect());
    }
    match (argument.get_id().as_str(), prefix) {
        ("vm" | "vms" | "subject", "") => Wanted::Vms(which(command.get_name())),
        ("image", _) => Wanted::Images(Whose::Official),
        ("kept", _) => Wanted::Images(Whose::Kept),
        ("identity" | "argument", "") => Wanted::Identities,
        ("source" | "target", "") if command.get_name() == "cp" => Wanted::Copied,
        _ if argument.get_value_hint() == ValueHint::AnyPath || argument.get_id() == "sources" => {
            Wanted::Files
        }
        _ => Wanted::Nothing,
    }
}

fn which(command: &str) -> Which {
    match command {
        "stop" | "kill" | "pause" | "resume" | "restart" | "ssh" | "ip" | "ssh-config" | "exec"
        | "console" | "screenshot" => Which::Live,
        "run" | "start" => Which::Startable,
        "delete" | "rename" => Which::Stopped,
        _ => Which::All,
    }
}

/// The VMs that fit and were not named before.
fn vms(which: Which, words: &[&OsStr]) -> Vec<String> {
    let Ok(context) = Context::from_environment() else { return Vec::new() };
    let named = words.split_last().map_or(&[][..], |(_, before)| before);
    let fits = |activity: Activity| match which {
        Which::All => true,
        Which::Live => activity != Activity::Stopped,
        Which::Stopped => activity == Activity::Stopped,
        Which::Startable => activity != Activity::Supervised,
    };
    let seen = glance(&context, Time::now()).unwrap_or_default();
    seen.into_iter()
        .filter(|vm| fits(vm.activity))
        .map(|vm| vm.word)
        .filter(|word| !named.contains(&OsStr::new(word)))
        .collect()
}

/// `NAME:` of the running VMs that begin so; where there is none, files.
fn copied(words: &[&OsStr]) -> Vec<String> {
    let typed = words.last().map(|word| word.to_string_lossy()).unwrap_or_default();
    let names = vms(Which::Live, &[]).into_iter().map(|name| format!("{name}:"));
    let fitting: Vec<String> = names.filter(|name| name.starts_with(typed.as_ref())).collect();
    if fitting.is_empty() { vec![":files".to_owned()] } else { fitting }
}

fn images(whose: Whose) -> Vec<String> {
    let kept = || {
        let context = Context::from_environment().ok()?;
        Images::of(&context.home).list().ok()
    };
    match whose {
        Whose::Official => official().iter().map(|official| official.name.to_owned()).collect(),
        Whose::Kept => kept().unwrap_or_default().into_iter().map(|here| here.file).collect(),
    }
}

fn labels() -> Vec<String> {
    let rows = Context::from_environment().ok().and_then(|context| {
        let store = context.store_for_reading().ok()?;
        store.identities().list(None).ok()
    });
    rows.into_iter().flatten().filter_map(|row| row.label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn of(line: &str) -> Wanted {
        let mut command = crate::cli::Arguments::command();
        command.build();
        let words: Vec<&OsStr> = line.split(' ').map(OsStr::new).collect();
        wanted(&command, &words)
    }

    fn words(line: &str) -> Vec<String> {
        let Wanted::Words(words) = of(line) else { panic!("`{line}` takes no words of ours") };
        words
    }

    #[test]
    fn what_is_hidden_is_not_offered() {
        let commands = words("");
        assert!(commands.contains(&"run".to_owned()) && commands.contains(&"identity".to_owned()));
        for hidden in ["man", "supervise", "complete"] {
            assert!(!commands.iter().any(|command| command == hidden), "{hidden}");
        }
    }

    #[test]
    fn each_place_takes_what_belongs_there() {
        for (line, expected) in [
            ("stop ", Wanted::Vms(Which::Live)),
            ("stop -t 5 web1 ", Wanted::Vms(Which::Live)),
            ("run ", Wanted::Vms(Which::Startable)),
            ("run -d web1 ", Wanted::Nothing),
            ("exec --env A=b ", Wanted::Vms(Which::Live)),
            ("exec web1 -- ", Wanted::Nothing),
            ("exec web1 -- ls ", Wanted::Nothing),
            ("console ", Wanted::Vms(Which::Live)),
            ("screenshot -o ", Wanted::Files),
            ("logs -f ", Wanted::Vms(Which::All)),
            ("rm ", Wanted::Vms(Which::Stopped)),
            ("--format json get ", Wanted::Vms(Which::All)),
            ("stop -- -odd", Wanted::Vms(Which::Live)),
            ("create ", Wanted::Nothing),
            ("create web2 --disk ", Wanted::Files),
            ("create web2 --dir ", Wanted::Files),
            ("run --dir ", Wanted::Files),
            ("create web2 --identity ", Wanted::Identities),
            ("create web2 --image ", Wanted::Images(Whose::Official)),
            ("create web2 --ssh-key ", Wanted::Files),
            ("image pull ", Wanted::Images(Whose::Official)),
            ("image delete ", Wanted::Images(Whose::Kept)),
            ("mid show ", Wanted::Identities),
            ("identity export -o ", Wanted::Files),
            ("identity import ", Wanted::Files),
            ("set web1 --cpus ", Wanted::Nothing),
            ("rename web1 ", Wanted::Nothing),
            ("ssh ", Wanted::Vms(Which::Live)),
            ("ssh web1 -i ", Wanted::Files),
            ("ssh web1 -- ", Wanted::Nothing),
            ("ip ", Wanted::Vms(Which::Live)),
            ("run -p 80:80 ", Wanted::Vms(Which::Startable)),
            ("cp -r ", Wanted::Copied),
            ("cp a ", Wanted::Copied),
        ] {
            assert_eq!(of(line), expected, "{line}");
        }
        assert_eq!(words("run --accel "), ["auto", "tcg", "kvm"]);
        assert_eq!(words("create web2 --arch "), ["x86_64", "aarch64"]);
        assert_eq!(words("list --format="), ["--format=text", "--format=json"]);
        assert_eq!(words("completion "), ["bash", "zsh", "fish"]);
        assert!(words("identity ").contains(&"export".to_owned()));
        let options = words("run --");
        assert!(
            ["--detach", "--accel", "--format"].iter().all(|option| options.contains(&(*option).to_owned()))
        );
    }
}
