//! What can be wrong with the library, sorted by what a person must do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

use super::beside;
use super::holders::{self, Holder};

/// Why the library cannot be used. In every case the file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file, or a part of it, is not what SQLite or selfsame wrote.
    #[error("the library `{}` is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: rusqlite::Error,
    },
    /// The log is there, the file it belongs to is missing or empty. SQLite would remove the log.
    #[error("the library `{}` is missing or empty, but its log is still there", path.display())]
    OnlyLog {
        /// The file.
        path: PathBuf,
    },
    /// A database of something else.
    #[error(
        "`{}` is a database of something else (application id {application_id:#010x}, version {version})",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it says it is.
        application_id: i32,
        /// That application's version.
        version: i32,
    },
    /// Written by a selfsame that knows more.
    #[error(
        "the library `{}` has version {found}, and this selfsame knows versions up to {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: i32,
        /// The newest version known here.
        known: i32,
    },
    /// Another process did not let go of it in time.
    #[error(
        "the library `{}` was held by {} for longer than {} ms",
        path.display(), holders::list(holders), waited.as_millis()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// Who, as far as the system tells.
        holders: Vec<Holder>,
        /// How long was waited.
        waited: Duration,
    },
    /// It can be read only, and something was to be written.
    #[error("the library `{}` can only be read", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// SQLite failed: a full disk, a failing one, missing rights.
    #[error("cannot {doing} the library `{}`", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The system refused.
    #[error("cannot open the library `{}`", path.display())]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl StoreError {
    pub(super) fn of(path: &Path, waited: Duration, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let code = source.sqlite_error_code();
        let is = |codes: &[ErrorCode]| code.is_some_and(|code| codes.contains(&code));
        if is(&[ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase]) || is_nonsense(&source) {
            Self::Corrupt { path, source }
        } else if is(&[
            ErrorCode::DatabaseBusy,
            ErrorCode::DatabaseLocked,
            ErrorCode::FileLockingProtocolFailed,
        ]) {
            Self::Locked { holders: holders::of(&path), path, waited }
        } else if is(&[ErrorCode::ReadOnly]) {
            Self::ReadOnly { path }
        } else {
            Self::Failed { path, doing, source }
        }
    }
}

/// Whether a value read back is not one that was ever written: SQLite reads a flipped bit in a row without complaint.
fn is_nonsense(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
    )
}

/// The file with what SQLite keeps beside it, as far as it is there.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = ["", "-wal", "-shm", "-journal"].map(|suffix| beside(path, suffix)).into_iter();
    parts.filter(|part| part.symlink_metadata().is_ok()).collect()
}

impl Problem for StoreError {
    fn code(&self) -> Code {
        match self {
            Self::Corrupt { .. } | Self::OnlyLog { .. } | Self::Foreign { .. } => Code::StoreCorrupt,
            Self::Newer { .. } => Code::StoreNewer,
            Self::Locked { .. } => Code::StoreLocked,
            Self::ReadOnly { .. } | Self::Failed { .. } | Self::Unreachable { .. } => Code::StoreFailed,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let word = |path: &Path| shell_word(&path.to_string_lossy()).into_owned();
        let elsewhere = Hint::run("use another folder", "export SELFSAME_HOME=/path/to/folder");
        match self {
            Self::Corrupt { path, .. } | Self::OnlyLog { path } | Self::Foreign { path, .. } => {
                // All parts together: a log left behind belongs to the damaged file, not to the next one.
                let aside = word(&path.with_extension("damaged"));
                let parts: Vec<String> = parts(path).iter().map(|part| word(part)).collect();
                vec![
                    Hint::run(
                        "keep it aside and go on with a new one: labels, notes, history and identities that no VM has \
                         are lost to selfsame, the VMs and theirs are not",
                        format!("mkdir {aside} && mv {} {aside}", parts.join(" ")),
                    ),
                    Hint::run(
                        "see what can be read of it",
                        format!("sqlite3 -readonly {} .recover", word(path)),
                    ),
                ]
            }
            Self::Newer { .. } => {
                vec![Hint::say("use the selfsame that wrote it, or a newer one"), elsewhere]
            }
            Self::Locked { path, holders, .. } => {
                if holders.is_empty() {
                    return vec![Hint::run("see who has it open", format!("fuser -v {}", word(path)))];
                }
                let pids: Vec<String> = holders.iter().map(|holder| holder.pid.to_string()).collect();
                vec![Hint::run(
                    "see what holds it, then try again",
                    format!("ps -o pid,user,args -p {}", pids.join(",")),
                )]
            }
            Self::ReadOnly { path } | Self::Failed { path, .. } | Self::Unreachable { path, .. } => {
                let folder = word(path.parent().unwrap_or(path));
                vec![
                    Hint::run("see whose it is and whether it may be written", format!("ls -la {folder}")),
                    Hint::run("see how much space there is", format!("df -h {folder}")),
                    elsewhere,
                ]
            }
        }
    }
}
