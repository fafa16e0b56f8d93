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

/// What guests are made of. QEMU's other machines need other devices and come with a plan of their own.
const GUEST: Architecture = Architecture::X86_64;

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

    /// The QEMU to use. What it said of itself is kept until its file changes.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub fn installation(&self) -> Result<Installation, Report> {
        let path = std::env::var_os("PATH");
        let configured = self.config.qemu_binary.as_deref();
        let binary = Installation::locate(configured, GUEST, path.as_deref())?;
        let cache = self.home.cache().join("qemu.json");
        let kept = read_bounded(&cache, 64 * 1024).ok();
        let kept: Option<Installation> = kept.and_then(|data| serde_json::from_slice(&data).ok());
        if let Some(kept) = kept.filter(|kept| kept.binary == binary && kept.is_current()) {
            return Ok(kept);
        }
        let installation = Installation::probe(configured, GUEST, path.as_deref(), PROBE_LIMIT)?;
        if let Ok(data) = serde_json::to_vec(&installation) {
            // Asking again costs a moment, so a folder that cannot be written is no reason to fail.
            drop(write_atomically(&cache, &data));
        }
        Ok(installation)
    }

    /// What runs guests' instructions: what is asked for, else what is configured, else what the rule finds.
    #[must_use]
    pub fn accelerator(&self, asked: Option<accelerator::Request>) -> Choice {
        let configured = match self.config.qemu_accelerator {
            Configured::Auto => accelerator::Request::Auto,
            Configured::Tcg => accelerator::Request::Tcg,
            Configured::Kvm => accelerator::Request::Kvm,
        };
        accelerator::choose(asked.unwrap_or(configured), GUEST, &accelerator::Facts::gather())
    }

    /// The guests' firmware.
    ///
    /// # Errors
    /// When none is installed, or what is configured is not there.
    pub fn firmware(&self) -> Result<Firmware, FirmwareError> {
        let code = self.config.qemu_firmware_code.clone();
        let configured = code.zip(self.config.qemu_firmware_variables.clone());
        let configured = configured.map(|(code, variables)| Firmware { code, variables });
        Firmware::find(configured, GUEST, Path::new("/"))
    }
}
