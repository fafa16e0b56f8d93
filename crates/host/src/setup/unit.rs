//! The unit that starts VMs when their user's session begins: text, and its place in systemd's folders of the user.
//!
//! `systemd.unit(5)`, `systemd.service(5)`, `systemd.kill(5)`: tried with systemd 252 (`systemd-analyze verify`).
//!
//! - One shot that stays: its start starts the VMs, its stop stops them through their guests.
//! - `KillMode=process`: supervisors and guests stay in the unit's control group; a unit that is stopped must not have them
//!   killed before, or beside, the orderly stop.
//! - The home is written into the unit: the service manager has not the environment of the user's shell.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem};

use crate::context::Context;
use crate::files::{FileError, read_bounded, write_atomically};

/// The unit's name.
const UNIT: &str = "selfsame-autostart.service";
/// The first line, by which a unit of ours is known.
const MARK: &str = "# Written by `selfsame setup autostart`; `selfsame setup autostart --off` removes it.";

/// The unit as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autostart {
    /// Its file.
    pub file: PathBuf,
    /// Whether the file is there, and ours.
    pub is_installed: bool,
    /// Whether the service manager starts it; `None` when it cannot be asked.
    pub is_enabled: Option<bool>,
}

/// The unit cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// There is no service manager that we know.
    #[error("VMs can be started with a session by systemd only, and this computer has none")]
    NoSystemd,
    /// The folder is not known.
    #[error(
        "where systemd looks for this user's units is not known: neither XDG_CONFIG_HOME nor HOME is set"
    )]
    Nowhere,
    /// A path cannot be written into a unit.
    #[error("`{}` cannot be written into a unit: it holds a line break or is no UTF-8", path.display())]
    Unwritable {
        /// The path.
        path: PathBuf,
    },
    /// A file of that name is somebody else's.
    #[error("`{}` is not selfsame's", file.display())]
    Stranger {
        /// The file.
        file: PathBuf,
    },
    /// The file cannot be written or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The service manager refused.
    #[error("`systemctl --user {verb}` failed: {said}")]
    Refused {
        /// What was asked.
        verb: &'static str,
        /// The last line that it said.
        said: String,
    },
}

impl Problem for UnitError {
    fn code(&self) -> Code {
        match self {
            Self::NoSystemd => Code::BackendUnavailable,
            Self::Nowhere | Self::Unwritable { .. } | Self::Refused { .. } => Code::SetupFailed,
            Self::Stranger { .. } => Code::FileExists,
            Self::File(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::NoSystemd => {
                vec![Hint::run("have whatever starts programs here run this", "selfsame autostart")]
            }
            Self::Nowhere | Self::Unwritable { .. } => Vec::new(),
            Self::Stranger { .. } => vec![Hint::say("move it away, and try again")],
            Self::File(error) => error.hints(),
            Self::Refused { .. } => {
                vec![Hint::run("see whether your session has a service manager", "systemctl --user status")]
            }
        }
    }
}

/// Where the unit is, and how it stands.
///
/// # Errors
/// When its folder is not known.
pub fn find() -> Result<Autostart, UnitError> {
    let file = folder(&|name| std::env::var_os(name).map(PathBuf::from))?.join(UNIT);
    let is_installed = is_ours(&file);
    let is_enabled = is_installed.then(|| ask(&["is-enabled", "--quiet", UNIT])).flatten();
    Ok(Autostart { file, is_installed, is_enabled })
}

/// Writes the unit and has it started with the user's sessions.
///
/// # Errors
/// When it cannot be written, a stranger's file is there, or the service manager refuses.
pub fn enable(context: &Context, program: &Path) -> Result<Autostart, UnitError> {
    if !Path::new("/run/systemd/system").exists() {
        return Err(UnitError::NoSystemd);
    }
    let unit = find()?;
    if unit.file.symlink_metadata().is_ok() && !unit.is_installed {
        return Err(UnitError::Stranger { file: unit.file });
    }
    let text = text(program, context.home.root())?;
    if let Some(parent) = unit.file.parent() {
        std::fs::create_dir_all(parent).map_err(FileError::failed("make", parent))?;
    }
    write_atomically(&unit.file, text.as_bytes())?;
    systemctl("daemon-reload", &["daemon-reload"])?;
    systemctl("enable", &["enable", UNIT])?;
    find()
}

/// Takes the unit away. VMs that run go on.
///
/// # Errors
/// When a stranger's file is there or it cannot be removed.
pub fn disable() -> Result<Autostart, UnitError> {
    let unit = find()?;
    if unit.is_installed {
        // The service manager may be gone, or never have known it: the file is what counts.
        drop(systemctl("disable", &["disable", UNIT]));
        std::fs::remove_file(&unit.file).map_err(FileError::failed("remove", &unit.file))?;
        drop(systemctl("daemon-reload", &["daemon-reload"]));
    } else if unit.file.symlink_metadata().is_ok() {
        return Err(UnitError::Stranger { file: unit.file });
    }
    find()
}

/// Whether a file is a unit that selfsame wrote.
#[must_use]
pub(super) fn is_ours(file: &Path) -> bool {
    read_bounded(file, 64 * 1024).is_ok_and(|data| data.starts_with(MARK.as_bytes()))
}

fn folder(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, UnitError> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    Ok(config.ok_or(UnitError::Nowhere)?.join("systemd/user"))
}

fn text(program: &Path, home: &Path) -> Result<String, UnitError> {
    let (program, home) = (quoted("", program)?, quoted("SELFSAME_HOME=", home)?);
    Ok(format!(
        "{MARK}\n\
         [Unit]\n\
         Description=Virtual machines of selfsame that start with the session\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         KillMode=process\n\
         TimeoutSec=infinity\n\
         Environment={home}\n\
         ExecStart={program} autostart\n\
         ExecStop={program} autostart --stop\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n"
    ))
}

/// A path behind some text, as systemd reads it back: in double quotes, with `%`, `\` and `"` for themselves. A `$` has no
/// meaning in the path of a program, nor in `Environment=` (`systemd.exec(5)`).
fn quoted(before: &str, path: &Path) -> Result<String, UnitError> {
    let unwritable = || UnitError::Unwritable { path: path.to_owned() };
    let text = path.to_str().filter(|text| !text.contains(char::is_control)).ok_or_else(unwritable)?;
    let mut quoted = format!("\"{before}");
    for letter in text.chars() {
        match letter {
            '%' => quoted.push_str("%%"),
            '\\' | '"' => quoted.extend(['\\', letter]),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

/// The answer to a question of yes or no; `None` when there is nobody to ask.
fn ask(arguments: &[&str]) -> Option<bool> {
    let output = Command::new("systemctl").arg("--user").args(arguments).output().ok()?;
    match output.status.code() {
        Some(0) => Some(true),
        Some(1) => Some(false),
        Some(_) | None => None,
    }
}

fn systemctl(verb: &'static str, arguments: &[&str]) -> Result<(), UnitError> {
    let refused = |said: String| UnitError::Refused { verb, said };
    let output = Command::new("systemctl").arg("--user").args(arguments).output();
    let output = output.map_err(|error: io::Error| refused(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(refused(last.chars().filter(|letter| !letter.is_control()).take(300).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_unit() {
        insta::assert_snapshot!(text(Path::new("/opt/a b/selfsame"), Path::new("/home/x/100%$\"q\\")).unwrap(), @r#"
        # Written by `selfsame setup autostart`; `selfsame setup autostart --off` removes it.
        [Unit]
        Description=Virtual machines of selfsame that start with the session

        [Service]
        Type=oneshot
        RemainAfterExit=yes
        KillMode=process
        TimeoutSec=infinity
        Environment="SELFSAME_HOME=/home/x/100%%$\"q\\"
        ExecStart="/opt/a b/selfsame" autostart
        ExecStop="/opt/a b/selfsame" autostart --stop

        [Install]
        WantedBy=default.target
        "#);
        assert!(matches!(quoted("", Path::new("/a\nb")), Err(UnitError::Unwritable { .. })));
    }

    #[test]
    fn the_folder_is_the_users_own() {
        let of = |pairs: &[(&str, &str)]| {
            folder(&|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        let home = ("HOME", "/home/x");
        assert_eq!(of(&[home]).unwrap(), Path::new("/home/x/.config/systemd/user"));
        assert_eq!(of(&[("XDG_CONFIG_HOME", "/c"), home]).unwrap(), Path::new("/c/systemd/user"));
        assert_eq!(of(&[("XDG_CONFIG_HOME", "c"), home]).unwrap(), Path::new("/home/x/.config/systemd/user"));
        assert!(matches!(of(&[]), Err(UnitError::Nowhere)));
    }

    #[test]
    fn a_strangers_unit_is_not_ours() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(UNIT);
        assert!(!is_ours(&file));
        std::fs::write(&file, "[Unit]\n").unwrap();
        assert!(!is_ours(&file));
        std::fs::write(&file, text(Path::new("/s"), Path::new("/h")).unwrap()).unwrap();
        assert!(is_ours(&file));
    }
}
