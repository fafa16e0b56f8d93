//! selfsame's own folder: the library, the VMs, and what belongs to neither.
//!
//! ```text
//! $SELFSAME_HOME, else $XDG_DATA_HOME/selfsame (Linux, when set), else ~/.selfsame
//!   library.db   vms/NAME.vm/   images/   cache/   config.toml   known_hosts
//!   run/         sockets: 0700, ours, never a symbolic link
//! ```
//!
//! **Invariants.** [`Home::open`] creates what is missing and changes the mode of nothing but `run/`; a folder that is
//! there keeps what its owner gave it. [`Home::open_for_reading`] creates and changes nothing, so that every reading
//! command works on a read-only home. The root of an opened home is canonical: VMs are keyed by their folder, and two
//! spellings of one folder must not be two keys.
//!
//! **Who may call.** The command line and the supervisor, once each, before anything else. Locks do not live here: they
//! are shared by all users (see `Config`).

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Mode, OFlags};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

/// Reads one variable of the environment. An argument, so that tests need not change the process's own.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// selfsame's own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Says where the folder is, without looking whether it is there.
    ///
    /// A variable that is set but empty counts as not set. A relative `$SELFSAME_HOME` is taken from the working folder,
    /// once; a relative `$XDG_DATA_HOME` is ignored, as its specification asks.
    ///
    /// # Errors
    /// [`HomeError::Nowhere`] when neither the environment nor the system's list of users names a folder.
    pub fn locate(environment: Environment<'_>) -> Result<Self, HomeError> {
        // std asks the C library for the user's entry when $HOME is not set, which needs no unsafe code of ours.
        Self::locate_with(environment, &std::env::home_dir)
    }

    fn locate_with(
        environment: Environment<'_>,
        entry: &dyn Fn() -> Option<PathBuf>,
    ) -> Result<Self, HomeError> {
        let variable = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = variable("SELFSAME_HOME") {
            let root = std::path::absolute(&path).map_err(|source| HomeError::Failed { path, source })?;
            return Ok(Self { root });
        }
        if cfg!(target_os = "linux")
            && let Some(path) = variable("XDG_DATA_HOME").filter(|path| path.is_absolute())
        {
            return Ok(Self { root: path.join("selfsame") });
        }
        match variable("HOME").or_else(entry).filter(|path| path.is_absolute()) {
            Some(path) => Ok(Self { root: path.join(".selfsame") }),
            None => Err(HomeError::Nowhere { user: rustix::process::geteuid().as_raw() }),
        }
    }

    /// Opens the folder for commands that write, and creates what is missing.
    ///
    /// # Errors
    /// When a part cannot be created or is no folder, or when `run/` is not safely ours.
    pub fn open(self) -> Result<Self, HomeError> {
        // 0700 for what we create: identities and serials are nobody else's business. Folders inside are behind it.
        create(&self.root, 0o700)?;
        let home = self.canonical()?;
        for folder in [home.vms(), home.cache()] {
            create(&folder, 0o755)?;
        }
        create(&home.run(), 0o700)?;
        claim(&home.run())?;
        Ok(home)
    }

    /// Opens the folder for commands that only read. Nothing is created or changed, and nothing need exist.
    ///
    /// # Errors
    /// When the path is there and is not a folder that this user can enter.
    pub fn open_for_reading(self) -> Result<Self, HomeError> {
        match fs::metadata(&self.root) {
            Ok(metadata) if metadata.is_dir() => {
                // Said here of the folder, rather than later of the first file that cannot be reached in it.
                match rustix::fs::access(&self.root, Access::READ_OK | Access::EXEC_OK) {
                    Ok(()) => self.canonical(),
                    Err(error) => Err(HomeError::Failed { path: self.root, source: error.into() }),
                }
            }
            Ok(_) => Err(HomeError::NotFolder { path: self.root }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(self),
            Err(source) => Err(HomeError::Failed { path: self.root, source }),
        }
    }

    fn canonical(self) -> Result<Self, HomeError> {
        match fs::canonicalize(&self.root) {
            Ok(root) => Ok(Self { root }),
            Err(source) => Err(HomeError::Failed { path: self.root, source }),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The library's database.
    #[must_use]
    pub fn library(&self) -> PathBuf {
        self.root.join("library.db")
    }

    /// The user's configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Host keys of guests, in OpenSSH's format.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    /// The folder of VMs.
    #[must_use]
    pub fn vms(&self) -> PathBuf {
        self.root.join("vms")
    }

    /// What can be fetched or made again.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Images that others publish, which VMs are made of.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Sockets of running VMs.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }
}

/// Creates a folder with its parents, unless it is there. The mode is for folders created now.
fn create(path: &Path, mode: u32) -> Result<(), HomeError> {
    let failed = |source| HomeError::Failed { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(HomeError::NotFolder { path: path.to_owned() }),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(source)),
    }
    // A dangling link: creating "through" it would fail with a misleading "file exists". What is no link was made by
    // another command meanwhile.
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(HomeError::NotFolder { path: path.to_owned() });
    }
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed)
}

/// Makes sure that `run/` is a real folder of ours that nobody else can enter: whoever could put a socket there could
/// answer in a supervisor's place.
fn claim(path: &Path) -> Result<(), HomeError> {
    let failed = |source| HomeError::Failed { path: path.to_owned(), source };
    if fs::symlink_metadata(path).map_err(failed)?.file_type().is_symlink() {
        return Err(HomeError::RunLinked { path: path.to_owned() });
    }
    // From here on by descriptor: the name may be exchanged under us, the folder may not.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(folder) => fs::File::from(folder),
        Err(error) => {
            // A folder of somebody else's is most often met here: 0700 keeps us from opening it at all.
            let owner = fs::symlink_metadata(path).map_err(failed)?.uid();
            return Err(if owner == rustix::process::geteuid().as_raw() {
                failed(error.into())
            } else {
                HomeError::RunForeign { path: path.to_owned(), owner }
            });
        }
    };
    let metadata = folder.metadata().map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(HomeError::RunForeign { path: path.to_owned(), owner: metadata.uid() });
    }
    if metadata.mode() & 0o7777 != 0o700 {
        rustix::fs::fchmod(&folder, Mode::RWXU).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// Why selfsame's own folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Nothing says where it is.
    #[error(
        "user {user} has no home folder to keep VMs in: HOME is not set and the system knows no such user"
    )]
    Nowhere {
        /// The numeric user.
        user: u32,
    },
    /// Something else stands in its place.
    #[error("`{}` is not a folder", path.display())]
    NotFolder {
        /// Where.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot use the folder `{}`", path.display())]
    Failed {
        /// Which folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `run/` is a symbolic link.
    #[error("`{}` is a symbolic link, and sockets must not lead elsewhere", path.display())]
    RunLinked {
        /// Where.
        path: PathBuf,
    },
    /// `run/` belongs to somebody else.
    #[error("`{}` belongs to user {owner}, who could answer in a VM's place", path.display())]
    RunForeign {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
}

impl Problem for HomeError {
    fn code(&self) -> Code {
        Code::HomeUnusable
    }

    fn hints(&self) -> Vec<Hint> {
        let word = |path: &Path| shell_word(&path.to_string_lossy()).into_owned();
        let elsewhere = Hint::run("use another folder", "export SELFSAME_HOME=/path/to/folder");
        match self {
            Self::Nowhere { .. } => {
                vec![Hint::run("say where VMs shall be kept", "export SELFSAME_HOME=/path/to/folder")]
            }
            Self::NotFolder { path } => {
                vec![Hint::run("see what is there", format!("ls -ld {}", word(path))), elsewhere]
            }
            Self::Failed { path, .. } => {
                let nearest = path.ancestors().find(|path| path.exists()).unwrap_or(path);
                vec![
                    Hint::run("see whose folder it is", format!("ls -ld {}", word(nearest))),
                    Hint::run("see whether it can be written", format!("findmnt -T {}", word(nearest))),
                    elsewhere,
                ]
            }
            Self::RunLinked { path } => {
                vec![Hint::run(
                    "remove the link; the next command makes the folder",
                    format!("rm {}", word(path)),
                )]
            }
            Self::RunForeign { owner, .. } => {
                vec![Hint::say(format!("run the command as user {owner}, whose VMs these are")), elsewhere]
            }
        }
    }
}

#[cfg(test)]
mod tests;
