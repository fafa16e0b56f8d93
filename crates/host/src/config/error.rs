//! What can be wrong with a configuration file, with the place in it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

use super::key::Key;

/// A place in a file, counted from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Its line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The system refused to read it.
    #[error("cannot read the configuration file `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A folder, device or pipe.
    #[error("`{}` is not a file, so it cannot be the configuration", path.display())]
    NotFile {
        /// What stands there.
        path: PathBuf,
    },
    /// More than a configuration can be.
    #[error("the configuration file `{}` is larger than {largest} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        largest: u64,
    },
    /// Others than root may have written the system's file.
    #[error(
        "`{}` speaks for all users, but it belongs to user {owner} and has mode {mode:04o}: only root may be able to write it",
        path.display()
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Not TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the reader of TOML says.
        message: String,
    },
    /// No such key.
    #[error("{place}: there is no key `{key}`")]
    UnknownKey {
        /// Where.
        place: Place,
        /// What is written there, dotted.
        key: String,
        /// What was probably meant.
        near: Option<Key>,
    },
    /// A value that the key does not take.
    #[error("{place}: `{}` takes {takes}", key.text())]
    WrongValue {
        /// Where.
        place: Place,
        /// The key.
        key: Key,
        /// What it takes.
        takes: &'static str,
    },
    /// A key that only the system's file may set.
    #[error(
        "{place}: `{}` must be the same for all users, so only the system's file may set it",
        key.text()
    )]
    NotForUsers {
        /// Where.
        place: Place,
        /// The key.
        key: Key,
    },
}

impl Problem for ConfigError {
    fn code(&self) -> Code {
        Code::ConfigInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        let word = |path: &Path| shell_word(&path.to_string_lossy()).into_owned();
        let show = |place: &Place| {
            Hint::run("look at the line", format!("sed -n {}p {}", place.line, word(&place.path)))
        };
        match self {
            Self::Unreadable { path, .. } | Self::NotFile { path } | Self::TooLarge { path, .. } => {
                vec![Hint::run("see what is there", format!("ls -ld {}", word(path)))]
            }
            Self::Untrusted { path, .. } => {
                let path = word(path);
                vec![Hint::run(
                    "make it root's once you have read it",
                    format!("sudo chown 0:0 {path} && sudo chmod 0644 {path}"),
                )]
            }
            Self::Syntax { place, .. } | Self::WrongValue { place, .. } => vec![show(place)],
            Self::UnknownKey { place, near, .. } => {
                let advice = match near {
                    Some(key) => format!("did you mean `{}`?", key.text()),
                    None => {
                        format!("the keys are {}", Key::ALL.map(|key| format!("`{}`", key.text())).join(", "))
                    }
                };
                vec![Hint::say(advice), show(place)]
            }
            Self::NotForUsers { place, .. } => {
                vec![Hint::say(format!("set it in {}", super::system_file().display())), show(place)]
            }
        }
    }
}
