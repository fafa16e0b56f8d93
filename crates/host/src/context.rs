//! What a command starts from: the folder, the settings, the places. Read from the environment once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use selfsame_machine::problem::Report;

use crate::bundle::Named;
use crate::config::{self, Accelerator as Configured, Config};
use crate::files::{read_bounded, write_atomically};
use crate::home::Home;
use crate::lock::{LockError, LockPlace, PlaceSource};
use crate::qemu::accelerator::{self, Choice};
use crate::qemu::architecture::Architecture;
use crate::qemu::firmware::{Firmware, FirmwareError};
use crate::qemu::installation::{Installation, PROBE_LIMIT};
use crate::store::{Options, Store, StoreError};

/// The variable that moves the lock files, for tests only.
pub const LOCK_DIRECTORY: &str = "SELFSAME_LOCK_DIR";

/// Where a command finds everything.
#[derive(Debug)]
pub struct Context {
    /// selfsame's own folder; nothing of it need exist yet.
    pub home: Home,
    /// The settings.
    pub config: Config,
    lock_path: PathBuf,
    lock_source: PlaceSource,
}

impl Context {
    /// Reads the environment and the configuration files. Makes nothing.
    ///
    /// # Errors
    /// When the folder cannot be found out or a configuration file cannot be used.
    pub fn from_environment() -> Result<Self, Report> {
        Self::new(&|name| std::env::var_os(name))
    }

    fn new(environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Report> {
        let home = Home::locate(environment)?.open_for_reading()?;
        let config = Config::load(config::system_file(), &home.config())?;
        let moved = environment(LOCK_DIRECTORY).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (lock_path, lock_source) = LockPlace::choose(moved.as_deref(), config.locks_directory.as_deref());
        let lock_path = std::path::absolute(&lock_path).unwrap_or(lock_path);
        Ok(Self { home, config, lock_path, lock_source })
    }

    /// Makes what is missing of the folder, for a command that writes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare(&self) -> Result<Home, Report> {
        Ok(self.home.clone().open()?)
    }

    /// The same with the folder made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepared(self) -> Result<Self, Report> {
        Ok(Self { home: self.home.open()?, ..self })
    }

    /// Opens the library for writing, and makes it if need be.
    ///
    /// # Errors
    /// When the folder or the library cannot be used.
    pub fn store(&self) -> Result<Store, Report> {
        Ok(Store::open(&self.prepare()?.library(), Options::default())?)
    }

    /// Opens the library for reading. Nothing is made or written.
    ///
    /// # Errors
    /// When there is a library that cannot be used.
    pub fn store_for_reading(&self) -> Result<Store, StoreError> {
        Store::open_for_reading(&self.home.library(), Options::default())
    }

    /// Opens the folder of locks, and makes it if need be.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn locks(&self) -> Result<LockPlace, LockError> {
        LockPlace::open(self.lock_path.clone(), self.lock_source)
    }

    /// How the VM in this folder is called and named.
    #[must_use]
    pub fn named(&self, folder: &Path) -> Named {
        Named::of(folder, &self.home.vms())
    }

    /// Where the locks are, without opening them.
    #[must_use]
    pub fn lock_path(&self) -> &Path {
        &self.lock_path
    }

    /// Why they are there.
    #[must_use]
    pub const fn lock_source(&self) -> PlaceSource {
        self.lock_source
    }

    /// The QEMU to use for guests of an architecture. What it said of itself is kept until its file changes.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub fn installation(&self, guest: Architecture) -> Result<Installation, Report> {
        let path = std::env::var_os("PATH");
        let configured = match guest {
            Architecture::X86_64 => self.config.qemu_binary.as_deref(),
            Architecture::Aarch64 => self.config.qemu_binary_aarch64.as_deref(),
        };
        let binary = Installation::locate(configured, guest, path.as_deref())?;
        let cache = self.home.cache().join(format!("qemu-{guest}.json"));
        let kept = read_bounded(&cache, 64 * 1024).ok();
        let kept: Option<Installation> = kept.and_then(|data| serde_json::from_slice(&data).ok());
        let is_it =
            |kept: &Installation| kept.binary == binary && kept.architecture == guest && kept.is_current();
        if let Some(kept) = kept.filter(is_it) {
            return Ok(kept);
        }
        let installation = Installation::probe(configured, guest, path.as_deref(), PROBE_LIMIT)?;
        if let Ok(data) = serde_json::to_vec(&installation) {
            // Asking again costs a moment, so a folder that cannot be written is no reason to fail.
            drop(write_atomically(&cache, &data));
        }
        Ok(installation)
    }

    /// What runs the instructions of guests of an architecture: what is asked for, else what is configured, else what the rule finds.
    #[must_use]
    pub fn accelerator(&self, guest: Architecture, asked: Option<accelerator::Request>) -> Choice {
        let configured = match self.config.qemu_accelerator {
            Configured::Auto => accelerator::Request::Auto,
            Configured::Tcg => accelerator::Request::Tcg,
            Configured::Kvm => accelerator::Request::Kvm,
        };
        accelerator::choose(asked.unwrap_or(configured), guest, &accelerator::Facts::gather())
    }

    /// The firmware of guests of an architecture.
    ///
    /// # Errors
    /// When none is installed, or what is configured is not there.
    pub fn firmware(&self, guest: Architecture) -> Result<Firmware, FirmwareError> {
        let config = &self.config;
        let (code, variables) = match guest {
            Architecture::X86_64 => (&config.qemu_firmware_code, &config.qemu_firmware_variables),
            Architecture::Aarch64 => {
                (&config.qemu_firmware_code_aarch64, &config.qemu_firmware_variables_aarch64)
            }
        };
        let configured = code.clone().zip(variables.clone());
        let configured = configured.map(|(code, variables)| Firmware { code, variables });
        Firmware::find(configured, guest, Path::new("/"))
    }
}
