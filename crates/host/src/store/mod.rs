//! The library: what selfsame remembers of identities, VMs, runs, observations and events, in one SQLite file.
//!
//! ```text
//! identities     who exists: label, notes, origin            kept until deleted by hand
//! vms            what each bundle folder held when last read  a cache, but for the last good start
//! runs           what was started, by whom, how it ended      history
//! observations   what guests showed of themselves             history
//! events         what happened, in order                      history
//! ```
//!
//! **The file never decides whether a VM may start**: locks do. A lost library loses labels, notes and history, and no VM.
//!
//! # Invariants
//! - *One connection, one thread.* A [`Store`] is not `Sync`; a second one in the same process is fine, but **nothing else
//!   in the process may open `library.db`**: SQLite's locks are POSIX locks, and closing any descriptor of a file drops
//!   all the process's locks on it. For the same reason it is never kept open across a spawn of QEMU.
//! - *Writers begin with `BEGIN IMMEDIATE`*, so a transaction waits at its start, never fails in its middle for a lock.
//! - *Killed at any moment, nothing breaks.* A commit is one append to the write-ahead log that counts only with its last
//!   frame; a killed writer's transaction never was. With `synchronous = NORMAL` a commit survives `kill -9` at once, and
//!   a power cut may take back the last ones, never half of one. Creation is safe alike: until the first migration has
//!   committed, the file is empty and the next command begins anew; a migration and its version commit together. Closing
//!   leaves the same state as a kill does, so what follows a kill is what every command does.
//! - *Three files are one library*: `library.db`, its log `library.db-wal` and the log's index `library.db-shm`. Copy and
//!   move them together.
//! - *What cannot be understood is never written*: damaged, foreign and newer files are refused before the first write.
//! - *History is never deleted along*: no foreign key cascades; deleting an identity or forgetting a VM leaves its runs,
//!   observations and events.
//! - *Reads that may be large* are streamed or bounded by an argument.
//!
//! # Who may call
//! The command line and the supervisor. A supervisor opens the store, writes, and drops it again: it must neither hold
//! memory for it nor, by an old snapshot, keep the log from being folded into the file.

mod columns;
mod error;
mod events;
mod fingerprint;
mod holders;
mod identities;
mod observations;
mod open;
mod runs;
mod schema;
mod vms;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

pub use error::StoreError;
pub use events::{Event, EventFilter, EventId, Events, NewEvent};
pub use fingerprint::Fingerprint;
pub use holders::Holder;
pub use identities::{Identities, IdentityError, IdentityRow, is_library_id};
pub use observations::{NewObservation, Observation, Observations, Recorded};
pub use runs::{NewRun, Run, RunId, Runs};
pub use vms::{GoodStart, VmFacts, VmRow, Vms};

/// As large as a log grows by small commits before SQLite folds it: 128 pages.
const LARGE_LOG: u64 = 128 * 4096;

/// How to open the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for another process's transaction.
    pub busy: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy: Duration::from_secs(5) }
    }
}

/// An open library.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    busy: Duration,
    /// Where a private copy lies, removed after the connection has been closed (fields drop in order).
    _copy: Option<tempfile::TempDir>,
}

impl Store {
    /// Opens the library for reading and writing, and creates or migrates it where needed.
    ///
    /// # Errors
    /// [`StoreError`]: damaged, foreign, newer, held by another process, not writable, or the system refused. The file is
    /// then as it was.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        open::for_writing(path, options, schema::MIGRATIONS)
    }

    /// Opens the library for reading. Nothing of it is written, and no writing is needed: a missing one reads as empty, and
    /// one on a read-only disk, or of an older version, is read as it stands or from a private copy.
    ///
    /// In a folder that this user cannot write while another user's process does, the result is a view of one moment.
    ///
    /// # Errors
    /// As [`Store::open`]. Every later write fails with [`StoreError::ReadOnly`].
    pub fn open_for_reading(path: &Path, options: Options) -> Result<Self, StoreError> {
        open::for_reading(path, options, schema::MIGRATIONS)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks through the whole file for damage; what it finds is SQLite's own words, and nothing when all is well.
    ///
    /// # Errors
    /// When the library cannot be read so far.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        let rows = self
            .connection
            .prepare("PRAGMA quick_check(20)")
            .and_then(|mut statement| statement.query_map([], |row| row.get::<_, String>(0))?.collect())
            .map_err(self.fault("check"));
        rows.map(|rows: Vec<String>| rows.into_iter().filter(|row| row != "ok").collect())
    }

    /// The identities.
    #[must_use]
    pub fn identities(&self) -> Identities<'_> {
        Identities(self)
    }

    /// The VMs by folder.
    #[must_use]
    pub fn vms(&self) -> Vms<'_> {
        Vms(self)
    }

    /// The runs.
    #[must_use]
    pub fn runs(&self) -> Runs<'_> {
        Runs(self)
    }

    /// What guests showed.
    #[must_use]
    pub fn observations(&self) -> Observations<'_> {
        Observations(self)
    }

    /// What happened.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        Events(self)
    }

    /// Does several writes as one: all of them are kept, or, on an error or a kill, none.
    ///
    /// # Errors
    /// The work's own, or [`StoreError`] when it cannot be begun or committed.
    pub fn atomically<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write("write to", |_| work(self))
    }

    /// Runs `work` in a transaction, or in a step of the one that is open.
    fn write<T, E: From<StoreError>>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let (begin, commit, undo) = if self.connection.is_autocommit() {
            ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        } else {
            ("SAVEPOINT step", "RELEASE step", "ROLLBACK TO step; RELEASE step")
        };
        let run = |sql| self.connection.execute_batch(sql).map_err(self.fault(doing));
        run(begin)?;
        let done = work(&self.connection).and_then(|value| Ok(run(commit).map(|()| value)?));
        if done.is_err() {
            // Full disks and the like make SQLite roll back by itself; then there is nothing left to undo.
            self.connection.execute_batch(undo).ok();
        }
        done
    }

    /// What an error of SQLite's means for this library.
    fn fault(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
        move |source| StoreError::of(&self.path, self.busy, doing, source)
    }
}

/// Closing leaves a small log where it is, exactly as a kill would: folding it into the file costs three flushes of the
/// disk, more than all else a command does here, and the next commit would pay for a new one. A large log, which every
/// first opening would have to read, is worth them; the connection then folds it as it closes.
impl Drop for Store {
    fn drop(&mut self) {
        if fs::metadata(beside(&self.path, "-wal")).is_ok_and(|log| log.len() > LARGE_LOG) {
            self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).ok();
        }
    }
}

/// The name of what SQLite keeps beside a database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
