//! Configuration: built-in defaults, over them the system's file, over it the user's.
//!
//! **Invariants.** A file is read whole or not at all: one unknown key, wrong type or syntax error refuses the command
//! with the place in the file, because a setting that is silently ignored is worse than none. The system's file counts
//! only when root alone can have written it. What concerns all users (`locks.directory`) is taken from the system's file
//! only: were it a user's choice, two users could lock in two places and never meet.
//!
//! **Who may call.** The command line and the supervisor, once each. The keys are one table in `key.rs`; a new key is a
//! row there and a field here.

mod error;
mod file;
mod key;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{ConfigError, Place};
pub use key::Key;

use key::Value;
use selfsame_machine::spec::Guest;

/// Where the system's configuration lies on this kind of computer.
#[must_use]
pub fn system_file() -> &'static Path {
    Path::new(if cfg!(target_os = "macos") {
        "/Library/Application Support/selfsame/config.toml"
    } else {
        "/etc/selfsame/config.toml"
    })
}

/// Which accelerator QEMU is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// KVM where it works, else emulation.
    Auto,
    /// Emulation, also where KVM works.
    Tcg,
    /// KVM, or no start.
    Kvm,
}

impl Accelerator {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Tcg, Self::Kvm];

    /// The word that the configuration and the command line use.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// Who said a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody: it is built in.
    Default,
    /// The system's file.
    System(PathBuf),
    /// The user's file.
    User(PathBuf),
}

/// `default`, or the file.
impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::System(path) | Self::User(path) => path.display().fmt(formatter),
        }
    }
}

/// One line of `selfsame config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The dotted key.
    pub key: &'static str,
    /// The value as TOML shows it; none where the default is to look on this computer.
    pub value: Option<String>,
    /// Who said so.
    pub source: Source,
    /// What the key is for.
    pub about: &'static str,
}

/// The resolved configuration. A `None` means: look on this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The QEMU for x86_64 guests.
    pub qemu_binary: Option<PathBuf>,
    /// How it runs guests.
    pub qemu_accelerator: Accelerator,
    /// OVMF's code.
    pub qemu_firmware_code: Option<PathBuf>,
    /// The template of OVMF's variables.
    pub qemu_firmware_variables: Option<PathBuf>,
    /// The QEMU for aarch64 guests.
    pub qemu_binary_aarch64: Option<PathBuf>,
    /// AAVMF's code.
    pub qemu_firmware_code_aarch64: Option<PathBuf>,
    /// The template of AAVMF's variables.
    pub qemu_firmware_variables_aarch64: Option<PathBuf>,
    /// The folder of locks, when the system's file moves it.
    pub locks_directory: Option<PathBuf>,
    /// How long a guest may take to shut down before it is forced.
    pub stop_timeout: Duration,
    quota_linux: Option<u32>,
    quota_macos: Option<u32>,
    rows: Vec<Row>,
}

impl Default for Config {
    fn default() -> Self {
        let rows = Key::ALL.iter().map(|key| Row {
            key: key.text(),
            value: key.default_text().map(ToOwned::to_owned),
            source: Source::Default,
            about: key.about(),
        });
        Self {
            qemu_binary: None,
            qemu_accelerator: Accelerator::Auto,
            qemu_firmware_code: None,
            qemu_firmware_variables: None,
            qemu_binary_aarch64: None,
            qemu_firmware_code_aarch64: None,
            qemu_firmware_variables_aarch64: None,
            locks_directory: None,
            stop_timeout: Duration::from_secs(30),
            quota_linux: None,
            quota_macos: None,
            rows: rows.collect(),
        }
    }
}

impl Config {
    /// Reads both files; a file that is not there says nothing.
    ///
    /// # Errors
    /// [`ConfigError`], with the file and the place in it.
    pub fn load(system: &Path, user: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(settings) = file::read(system, file::Owner::Root)? {
            config.take(settings, &Source::System(system.to_owned()));
        }
        if let Some(settings) = file::read(user, file::Owner::Anyone)? {
            config.take(settings, &Source::User(user.to_owned()));
        }
        Ok(config)
    }

    /// Every key with its value and who said it, in the order of the table.
    #[must_use]
    pub fn list(&self) -> &[Row] {
        &self.rows
    }

    /// How many guests of a kind may run, and who said so; `None` for as many as there is room for.
    #[must_use]
    pub fn quota(&self, guest: Guest) -> (Option<u32>, Source) {
        let key = match guest {
            Guest::Linux => Key::QuotaLinux,
            Guest::Macos => Key::QuotaMacos,
        };
        let row = self.rows.iter().find(|row| row.key == key.text());
        (self.limit(key), row.map_or(Source::Default, |row| row.source.clone()))
    }

    fn limit(&self, key: Key) -> Option<u32> {
        if key == Key::QuotaMacos { self.quota_macos } else { self.quota_linux }
    }

    fn take(&mut self, settings: Vec<(Key, Value)>, source: &Source) {
        for (key, value) in settings {
            if let Value::Guests(limit) = value
                && self.limit(key).is_some_and(|system| system < limit)
            {
                // A user lowers the limit of all users, and does not raise it.
                continue;
            }
            let row = self.rows.iter_mut().find(|row| row.key == key.text());
            if let Some(row) = row {
                row.value = Some(value.to_string());
                row.source = source.clone();
            }
            match value {
                Value::Path(path) => match key {
                    Key::QemuBinary => self.qemu_binary = Some(path),
                    Key::QemuFirmwareCode => self.qemu_firmware_code = Some(path),
                    Key::QemuFirmwareVariables => self.qemu_firmware_variables = Some(path),
                    Key::QemuBinaryAarch64 => self.qemu_binary_aarch64 = Some(path),
                    Key::QemuFirmwareCodeAarch64 => self.qemu_firmware_code_aarch64 = Some(path),
                    Key::QemuFirmwareVariablesAarch64 => self.qemu_firmware_variables_aarch64 = Some(path),
                    Key::LocksDirectory => self.locks_directory = Some(path),
                    Key::QemuAccelerator | Key::StopTimeoutSeconds | Key::QuotaLinux | Key::QuotaMacos => {}
                },
                Value::Accelerator(accelerator) => self.qemu_accelerator = accelerator,
                Value::Guests(limit) if key == Key::QuotaMacos => self.quota_macos = Some(limit),
                Value::Guests(limit) => self.quota_linux = Some(limit),
                Value::Seconds(seconds) => self.stop_timeout = Duration::from_secs(seconds.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
