//! Opening: find out what the file is, and only then touch it.
//!
//! ```text
//!             for writing                    for reading
//! missing     create, migrate                an empty one in memory
//! empty       migrate                        an empty one in memory
//! older       migrate                        migrate a private copy
//! current     nothing is written             as it stands; where no shared memory file can be made beside it,
//!                                            without locks, or from a private copy when a log is left
//! newer, foreign, damaged, nothing but a log refused
//! ```

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use super::error::StoreError;
use super::schema::{self, Standing};
use super::{Options, Store, beside};

const WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE
    .union(OpenFlags::SQLITE_OPEN_CREATE)
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
const READ: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// One opening: what every step needs, for its errors above all.
struct Opening<'m> {
    path: PathBuf,
    busy: Duration,
    migrations: &'m [&'m str],
}

pub(super) fn for_writing(path: &Path, options: Options, migrations: &[&str]) -> Result<Store, StoreError> {
    let opening = Opening::new(path, options, migrations)?;
    opening.is_there()?;
    let connection = opening.connect(&opening.path, WRITE).map_err(|error| opening.fault(error))?;
    // Left to itself, the last connection to close folds the log into the file and removes it, which takes three
    // flushes of the disk (15 ms), before the file is even known to be a library. See `Store`'s `Drop`.
    let keep_log = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    keep_log.map_err(|error| opening.fault(error))?;
    let standing = opening.standing(&connection)?;
    let settle = || {
        if standing != Standing::Current {
            // SQLite falls back to reading by itself where it must not write.
            if connection.is_readonly(MAIN_DB)? {
                return Ok(false);
            }
            // Kept in the file. First, so that a library which has a version has its log, too. A file system that
            // cannot share memory answers "delete", and the library works there with a rollback journal.
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            schema::migrate(&connection, migrations)?;
        }
        configure(&connection)?;
        Ok(!connection.is_readonly(MAIN_DB)?)
    };
    match settle() {
        Ok(true) => Ok(opening.store(connection, None)),
        Ok(false) => Err(StoreError::ReadOnly { path: opening.path }),
        Err(error) => Err(opening.fault(error)),
    }
}

pub(super) fn for_reading(path: &Path, options: Options, migrations: &[&str]) -> Result<Store, StoreError> {
    let opening = Opening::new(path, options, migrations)?;
    if !opening.is_there()? {
        return opening.in_memory();
    }
    // Asked without opening: see the module's invariant on descriptors.
    rustix::fs::access(&opening.path, rustix::fs::Access::READ_OK)
        .map_err(|error| StoreError::Unreachable { path: opening.path.clone(), source: error.into() })?;

    let looked = opening.connect(&opening.path, READ).and_then(|connection| {
        let standing = schema::standing(&connection, migrations)?;
        Ok((connection, standing))
    });
    match looked {
        Ok((connection, standing)) => opening.readable(connection, standing),
        Err(error) if cannot_share(&error) => opening.without_sharing(),
        Err(error) => Err(opening.fault(error)),
    }
}

/// Whether SQLite failed for want of the shared memory file beside a library in write-ahead mode.
fn cannot_share(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    code == Some(ErrorCode::CannotOpen) || code == Some(ErrorCode::ReadOnly)
}

/// Settings that a connection does not find in the file.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 128",
    )
}

impl<'m> Opening<'m> {
    fn new(path: &Path, options: Options, migrations: &'m [&'m str]) -> Result<Self, StoreError> {
        // Absolute, because SQLite would take `file:x` for an address.
        let path = std::path::absolute(path)
            .map_err(|source| StoreError::Unreachable { path: path.to_owned(), source })?;
        Ok(Self { path, busy: options.busy, migrations })
    }

    fn fault(&self, error: rusqlite::Error) -> StoreError {
        StoreError::of(&self.path, self.busy, "open", error)
    }

    /// Whether the file holds anything. SQLite takes a single byte for nothing, too.
    fn is_there(&self) -> Result<bool, StoreError> {
        // The log first: a creator has written to the file before it begins a log.
        let log = fs::metadata(beside(&self.path, "-wal")).is_ok_and(|log| log.len() > 0);
        let is_there = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len() > 1 || !metadata.is_file(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(StoreError::Unreachable { path: self.path.clone(), source }),
        };
        if log && !is_there { Err(StoreError::OnlyLog { path: self.path.clone() }) } else { Ok(is_there) }
    }

    fn store(&self, connection: Connection, copy: Option<tempfile::TempDir>) -> Store {
        Store { connection, path: self.path.clone(), busy: self.busy, _copy: copy }
    }

    fn connect(&self, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(self.busy)?;
        Ok(connection)
    }

    /// What the file is, when it is something to work with.
    fn standing(&self, connection: &Connection) -> Result<Standing, StoreError> {
        let standing = schema::standing(connection, self.migrations).map_err(|error| self.fault(error))?;
        self.known(standing)
    }

    fn known(&self, standing: Standing) -> Result<Standing, StoreError> {
        let path = self.path.clone();
        match standing {
            Standing::Empty | Standing::Older | Standing::Current => Ok(standing),
            Standing::Newer { found, known } => Err(StoreError::Newer { path, found, known }),
            Standing::Foreign { application_id, version } => {
                Err(StoreError::Foreign { path, application_id, version })
            }
        }
    }

    fn in_memory(&self) -> Result<Store, StoreError> {
        let connection = Connection::open_in_memory().map_err(|error| self.fault(error))?;
        self.private(connection, None)
    }

    /// Migrates what nobody else sees, and closes it for writing: what is written there would be lost without a word.
    fn private(&self, connection: Connection, copy: Option<tempfile::TempDir>) -> Result<Store, StoreError> {
        schema::migrate(&connection, self.migrations)
            .and_then(|()| connection.execute_batch("PRAGMA query_only = ON"))
            .map_err(|error| self.fault(error))?;
        Ok(self.store(connection, copy))
    }

    fn readable(&self, connection: Connection, standing: Standing) -> Result<Store, StoreError> {
        match self.known(standing)? {
            Standing::Older => {
                let folder = self.folder()?;
                let copy = folder.path().join("library.db");
                connection
                    .execute("VACUUM INTO CAST(?1 AS TEXT)", [copy.as_os_str().as_bytes()])
                    .and_then(|_| self.connect(&copy, WRITE))
                    .map_err(|error| self.fault(error))
                    .and_then(|connection| self.private(connection, Some(folder)))
            }
            Standing::Empty => self.in_memory(),
            Standing::Current | Standing::Newer { .. } | Standing::Foreign { .. } => {
                Ok(self.store(connection, None))
            }
        }
    }

    /// Reads a library in a folder that cannot be written, with no shared memory file in it.
    fn without_sharing(&self) -> Result<Store, StoreError> {
        let mut left = ["-wal", "-journal"]
            .into_iter()
            .filter(|suffix| fs::metadata(beside(&self.path, suffix)).is_ok_and(|log| log.len() > 0))
            .peekable();
        if left.peek().is_some() {
            // Whoever was killed there left commits in the log, or half of one to be undone by the journal. Without
            // locks SQLite would not look at either.
            let unreachable = |source| StoreError::Unreachable { path: self.path.clone(), source };
            let folder = self.folder()?;
            let copy = folder.path().join("library.db");
            for suffix in std::iter::once("").chain(left) {
                let part = beside(&copy, suffix);
                fs::copy(beside(&self.path, suffix), &part).map_err(unreachable)?;
                // The copy has the mode of the original, and ours must be writable.
                rustix::fs::chmod(&part, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
                    .map_err(|error| unreachable(error.into()))?;
            }
            let connection = self.connect(&copy, WRITE).map_err(|error| self.fault(error))?;
            self.standing(&connection)?;
            return self.private(connection, Some(folder));
        }
        let connection = self
            .connect(&address(&self.path), READ | OpenFlags::SQLITE_OPEN_URI)
            .map_err(|error| self.fault(error))?;
        let standing = self.standing(&connection)?;
        self.readable(connection, standing)
    }

    fn folder(&self) -> Result<tempfile::TempDir, StoreError> {
        let made = tempfile::Builder::new().prefix("selfsame-library-").tempdir();
        made.map_err(|source| StoreError::Unreachable { path: self.path.clone(), source })
    }
}

/// SQLite's address of a file that will not change: it is then read without locks and without a log.
fn address(path: &Path) -> PathBuf {
    let mut address = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(byte) {
            address.push(char::from(*byte));
        } else {
            address.push_str(&format!("%{byte:02x}"));
        }
    }
    address.push_str("?immutable=1");
    PathBuf::from(address)
}
