//! The one folder that holds the lock files.
//!
//! It is chosen by facts that every caller sees alike, never by what this caller may write: on Linux
//! `/run/lock/selfsame` where `/run/lock` has mode 1777, else `/tmp/.selfsame-locks`; on macOS
//! `/Users/Shared/.selfsame/locks`. `$TMPDIR` never counts: it differs by user. Only the system's configuration (and,
//! for tests, `SELFSAME_LOCK_DIR`) moves it.
//!
//! **Invariant.** Each level that is selfsame's own has mode 1777 and is no link. That is one on Linux, where the folder
//! around it is the system's, and two on macOS: whoever made `.selfsame` with modes of their own could otherwise keep
//! other users from making `locks` anew, or take it away from under them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, RawMode};
use rustix::io::Errno;

use super::LockError;

/// Any user may make a file here, and nobody may remove another's.
const OPEN_TO_ALL: RawMode = 0o1777;

/// A folder of this name around the folder of locks is selfsame's as well.
const OWN: &str = ".selfsame";

/// How long another user may take between the two steps of making the folder.
const BEING_MADE: Duration =
    if cfg!(target_os = "macos") { Duration::from_millis(200) } else { Duration::ZERO };

/// Where the choice of the folder came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceSource {
    /// The rule of this module.
    Rule,
    /// The system's configuration file.
    Configuration,
    /// `SELFSAME_LOCK_DIR`: for tests only, and every start says so.
    Environment,
}

/// The opened folder of locks.
#[derive(Debug)]
pub struct LockPlace {
    path: PathBuf,
    source: PlaceSource,
    folder: OwnedFd,
}

impl LockPlace {
    /// Chooses the folder.
    ///
    /// `environment` is the value of `SELFSAME_LOCK_DIR`, `configured` that of the system's configuration.
    #[must_use]
    pub fn choose(environment: Option<&Path>, configured: Option<&Path>) -> (PathBuf, PlaceSource) {
        if let Some(path) = environment {
            (path.to_owned(), PlaceSource::Environment)
        } else if let Some(path) = configured {
            (path.to_owned(), PlaceSource::Configuration)
        } else {
            (Self::by_rule(), PlaceSource::Rule)
        }
    }

    #[cfg(target_os = "macos")]
    fn by_rule() -> PathBuf {
        PathBuf::from("/Users/Shared/.selfsame/locks")
    }

    #[cfg(not(target_os = "macos"))]
    fn by_rule() -> PathBuf {
        let shared = Path::new("/run/lock");
        match rustix::fs::lstat(shared) {
            Ok(stat) if stat.st_mode & 0o177_777 == 0o040_000 | OPEN_TO_ALL => shared.join("selfsame"),
            Ok(_) | Err(_) => PathBuf::from("/tmp/.selfsame-locks"),
        }
    }

    /// Opens the folder, and makes it if it is missing.
    ///
    /// # Errors
    /// When it is a link or no folder, when its modes would keep other users out, or when it cannot be made.
    pub fn open(path: PathBuf, source: PlaceSource) -> Result<Self, LockError> {
        if let Some(around) = path.parent().filter(|around| around.ends_with(OWN)) {
            drop(open_level(around, source)?);
        }
        let folder = open_level(&path, source)?;
        Ok(Self { path, source, folder })
    }

    /// The folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the choice came from.
    #[must_use]
    pub const fn source(&self) -> PlaceSource {
        self.source
    }
}

impl AsFd for LockPlace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// Opens one folder that all users may use, and makes it if it is missing.
fn open_level(path: &Path, source: PlaceSource) -> Result<OwnedFd, LockError> {
    let failed = |error: io::Error| LockError::PlaceFailed { path: path.to_owned(), source: error };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::open(path, flags, Mode::empty());
    let mut opened = open();
    let missing = matches!(opened, Err(Errno::NOENT));
    let made = missing && make_open_to_all(path).map_err(failed)?;
    if missing {
        opened = open();
    }
    let folder = opened.map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => {
            LockError::Place { path: path.to_owned(), what: "is a link or no folder" }
        }
        error => failed(error.into()),
    })?;
    let began = Instant::now();
    while !is_open_to_all(&folder).map_err(failed)? {
        // A folder that keeps users out would split the host in two. Ours is repaired by its owner; one that somebody
        // named is not opened to all without a word.
        let repaired = (made || source == PlaceSource::Rule)
            && rustix::fs::fchmod(&folder, Mode::from_raw_mode(OPEN_TO_ALL)).is_ok();
        if repaired {
            break;
        }
        // macOS makes no folder with its sticky bit: it may be another user's who is about to set it.
        if began.elapsed() >= BEING_MADE {
            let what = "is not open to all users (its mode must be 1777)";
            return Err(LockError::Place { path: path.to_owned(), what });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(folder)
}

fn is_open_to_all(folder: &OwnedFd) -> io::Result<bool> {
    Ok(rustix::fs::fstat(folder)?.st_mode & OPEN_TO_ALL == OPEN_TO_ALL)
}

/// Makes a folder that all users may use, with its modes from the first moment on; `false` when it is there meanwhile.
///
/// macOS leaves out the sticky bit (XNU, `bsd/vfs/vfs_syscalls.c`: `mkdir` masks with `ACCESSPERMS`): whoever made the
/// folder sets it afterwards.
fn make_open_to_all(path: &Path) -> io::Result<bool> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match with_open_umask(|| rustix::fs::mkdir(path, Mode::from_raw_mode(OPEN_TO_ALL))) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Runs `make` under an empty umask, so that what it makes has its modes at once and no other user meets it closed.
pub(super) fn with_open_umask<T>(make: impl FnOnce() -> T) -> T {
    let before = rustix::process::umask(Mode::empty());
    let made = make();
    rustix::process::umask(before);
    made
}
