//! Which QEMU this host has, and what it can do.
//!
//! A QEMU is asked once, over its monitor, with the empty machine: one process of about 40 ms tells the version, the
//! versioned name of the machine and whether the sandbox is built in. (`-version` and `-machine help` would be two
//! processes, and text meant for people.) The answer holds as long as the file is the same one, so that it may be kept:
//! see [`Installation::is_current`].
//!
//! **Invariant.** The versioned name of the machine (`pc-q35-7.2`) is what a VM stores, never the alias `q35`: a saved
//! state loads only under the name it was made with.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::architecture::{Architecture, Hardware};
use super::qmp::{Command as Ask, Monitor, QmpError, excerpt};
use super::version::Version;

/// How long a QEMU may take to answer. It takes 40 ms; a host full of booting guests takes a hundred times that.
pub const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// How much of a failing program's errors is read.
const SAID_LIMIT: u64 = 4096;

/// Tells a file from any other, and from itself after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// The time of the last change of content, in nanoseconds since 1970.
    pub modified_ns: i64,
}

impl Fingerprint {
    /// Looks at a file, through links.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = path.metadata()?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified_ns: found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec()),
        })
    }
}

/// A QEMU that can be used.
///
/// It is data to keep in a file; a path that is not UTF-8 cannot be written there, and is asked anew each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The program, absolute.
    pub binary: PathBuf,
    /// What the file was when it was asked.
    pub fingerprint: Fingerprint,
    /// What it emulates.
    pub architecture: Architecture,
    /// Its version.
    pub version: Version,
    /// The distribution's name for its build, often empty.
    pub package: String,
    /// The versioned name of its newest machine of the kind we use.
    pub machine: String,
    /// Whether it was built with `-sandbox`: on Linux as a rule, elsewhere never.
    pub sandbox: bool,
}

/// No usable QEMU.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// No folder of `PATH` holds it.
    #[error("`{}` is not installed", Hardware::of(*architecture).program)]
    Missing {
        /// What it was to emulate.
        architecture: Architecture,
    },
    /// What is configured cannot be used.
    #[error("the configured QEMU `{}` cannot be used", binary.display())]
    Configured {
        /// The configured program.
        binary: PathBuf,
        /// What it was to emulate.
        architecture: Architecture,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program does not start.
    #[error("`{}` does not start", binary.display())]
    Unstartable {
        /// The program.
        binary: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program does not behave as QEMU.
    #[error("`{}` does not answer like QEMU{}", binary.display(), said_clause(said))]
    NotQemu {
        /// The program.
        binary: PathBuf,
        /// How its output begins, made printable; may be empty.
        said: String,
        /// What was missed.
        #[source]
        source: QmpError,
    },
    /// The version is not supported.
    #[error("`{}` is QEMU {found}, and {oldest} is the oldest that works", binary.display())]
    TooOld {
        /// The program.
        binary: PathBuf,
        /// Its version.
        found: Version,
        /// The oldest supported.
        oldest: Version,
    },
    /// It lacks the machine.
    #[error("`{}` has no machine `{alias}`", binary.display())]
    NoMachine {
        /// The program.
        binary: PathBuf,
        /// The machine looked for.
        alias: &'static str,
    },
}

fn said_clause(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" but says `{said}`") }
}

impl Problem for InstallationError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } | Self::Configured { .. } => Code::QemuMissing,
            Self::TooOld { .. } => Code::QemuTooOld,
            Self::Unstartable { .. } | Self::NotQemu { .. } | Self::NoMachine { .. } => Code::QemuFailed,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Missing { architecture } => packages(*architecture),
            Self::Configured { binary, architecture, .. } => {
                let look = format!("ls -l {}", shell_word(&binary.to_string_lossy()));
                let mut hints = vec![Hint::run("correct the path in the configuration", look)];
                hints.extend(packages(*architecture));
                hints
            }
            Self::TooOld { .. } => vec![Hint::say(
                "upgrade QEMU, or install a newer one beside it and name that in the configuration",
            )],
            Self::Unstartable { binary, .. }
            | Self::NotQemu { binary, .. }
            | Self::NoMachine { binary, .. } => {
                let ask = format!("{} -version", shell_word(&binary.to_string_lossy()));
                vec![Hint::run("see what the program itself says", ask)]
            }
        }
    }
}

fn packages(architecture: Architecture) -> Vec<Hint> {
    let (debian, fedora) = Hardware::of(architecture).packages;
    install_hints(debian, fedora)
}

/// How to install something that distributions package and Homebrew's QEMU brings along.
pub(super) fn install_hints(debian: &str, fedora: &str) -> Vec<Hint> {
    let homebrew = Hint::run("with Homebrew", "brew install qemu");
    if cfg!(target_os = "macos") {
        return vec![homebrew];
    }
    vec![
        Hint::run("on Debian or Ubuntu", format!("sudo apt-get install --no-install-recommends {debian}")),
        Hint::run("on Fedora", format!("sudo dnf install {fedora}")),
        homebrew,
    ]
}

impl Installation {
    /// Finds a QEMU and asks it: the configured one, or else the first in `path`, the value of `PATH`.
    ///
    /// # Errors
    /// There is none, it does not behave as QEMU within the limit, or it is too old.
    pub fn probe(
        configured: Option<&Path>,
        architecture: Architecture,
        path: Option<&OsStr>,
        limit: Duration,
    ) -> Result<Self, InstallationError> {
        Self::ask(Self::locate(configured, architecture, path)?, architecture, limit)
    }

    /// Finds a QEMU without starting it, so that a kept answer can be compared with what would be used now.
    ///
    /// Relative entries of `path` are skipped: what runs must not depend on where one stands.
    ///
    /// # Errors
    /// There is none.
    pub fn locate(
        configured: Option<&Path>,
        architecture: Architecture,
        path: Option<&OsStr>,
    ) -> Result<PathBuf, InstallationError> {
        if let Some(binary) = configured {
            let usable = std::path::absolute(binary).and_then(|found| executable(&found).map(|()| found));
            return usable.map_err(|source| InstallationError::Configured {
                binary: binary.to_owned(),
                architecture,
                source,
            });
        }
        std::env::split_paths(path.unwrap_or_default())
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(Hardware::of(architecture).program))
            .find(|candidate| executable(candidate).is_ok())
            .ok_or(InstallationError::Missing { architecture })
    }

    /// Whether the file is still the one that was asked.
    #[must_use]
    pub fn is_current(&self) -> bool {
        Fingerprint::of(&self.binary).is_ok_and(|now| now == self.fingerprint)
    }

    fn ask(binary: PathBuf, architecture: Architecture, limit: Duration) -> Result<Self, InstallationError> {
        let unstartable = |source| InstallationError::Unstartable { binary: binary.clone(), source };
        // Taken before asking: a file replaced meanwhile is then noticed later.
        let fingerprint = Fingerprint::of(&binary).map_err(unstartable)?;
        let mut asked = Asked::start(&binary).map_err(unstartable)?;
        let answers = match asked.answers(limit) {
            Ok(answers) => answers,
            Err(source) => {
                return Err(InstallationError::NotQemu { said: asked.last_words(&source), binary, source });
            }
        };
        drop(asked);
        if answers.version < Version::OLDEST {
            return Err(InstallationError::TooOld {
                binary,
                found: answers.version,
                oldest: Version::OLDEST,
            });
        }
        let alias = Hardware::of(architecture).machine_alias;
        let Some(machine) = versioned_machine(&answers.machines, alias) else {
            return Err(InstallationError::NoMachine { binary, alias });
        };
        Ok(Self {
            binary,
            fingerprint,
            architecture,
            version: answers.version,
            package: answers.package,
            machine,
            sandbox: answers.sandbox,
        })
    }
}

fn executable(path: &Path) -> io::Result<()> {
    if path.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(access(path, Access::EXEC_OK)?)
}

fn versioned_machine(machines: &Value, alias: &str) -> Option<String> {
    let named = |machine: &&Value| machine.get("alias").and_then(Value::as_str) == Some(alias);
    machines.as_array()?.iter().find(named)?.get("name")?.as_str().map(str::to_owned)
}

struct Answers {
    version: Version,
    package: String,
    machines: Value,
    sandbox: bool,
}

/// A program being asked. It ends with this value.
struct Asked {
    child: Child,
    monitor: Option<UnixStream>,
    errors: UnixStream,
}

impl Asked {
    fn start(binary: &Path) -> io::Result<Self> {
        let (monitor, theirs) = UnixStream::pair()?;
        let (errors, their_errors) = UnixStream::pair()?;
        let child = Command::new(binary)
            .args(["-no-user-config", "-nodefaults", "-display", "none", "-machine", "none", "-qmp", "stdio"])
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::from(OwnedFd::from(their_errors)))
            .spawn()?;
        Ok(Self { child, monitor: Some(monitor), errors })
    }

    fn answers(&mut self, limit: Duration) -> Result<Answers, QmpError> {
        let started = Instant::now();
        let left = || limit.saturating_sub(started.elapsed());
        let Some(stream) = self.monitor.take() else {
            return Err(QmpError::Closed {
                waiting: super::qmp::Waiting::Greeting,
                unfinished: String::new(),
            });
        };
        let mut monitor = Monitor::handshake(stream, left())?;
        let machines = monitor.call(Ask::QueryMachines, left())?;
        let sandbox = match monitor.call(Ask::QuerySandbox, left()) {
            Ok(value) => value.as_array().is_some_and(|options| !options.is_empty()),
            Err(QmpError::Refused { .. }) => false,
            Err(error) => return Err(error),
        };
        let greeting = monitor.greeting();
        Ok(Answers { version: greeting.version, package: greeting.package.clone(), machines, sandbox })
    }

    /// What the program said instead: on its output, or else as errors.
    fn last_words(&mut self, error: &QmpError) -> String {
        if let QmpError::Closed { unfinished, .. } = error
            && !unfinished.is_empty()
        {
            return unfinished.clone();
        }
        self.end();
        let mut said = Vec::new();
        // Whatever the program started itself may hold the other end open: take what is there, wait for nothing.
        if self.errors.set_nonblocking(true).is_ok() {
            let _incomplete: io::Result<usize> = (&self.errors).take(SAID_LIMIT).read_to_end(&mut said);
        }
        excerpt(&said)
    }

    fn end(&mut self) {
        // Both fail only when it has ended already.
        let _ended: io::Result<()> = self.child.kill();
        let _reaped: io::Result<std::process::ExitStatus> = self.child.wait();
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
