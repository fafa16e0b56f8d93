//! Runs: what was started, by whom, and how it ended.
//!
//! **Invariant.** A run is begun before its effect and ended after it, so a run without an end is one of three things: it
//! goes on, its supervisor was killed, or the host went down (another `boot_id`). An end is written once. The library
//! never says that a VM runs; locks do.

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, Row, ToSql, params};

use super::columns::{Folder, bytes};
use super::{Store, StoreError};
use crate::time::Time;

/// The number of a run, never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub i64);

/// A run about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// The bundle folder.
    pub folder: PathBuf,
    /// The VM's name for people.
    pub name: String,
    /// Its identity.
    pub digest: Option<String>,
    /// Who supervises it.
    pub supervisor_pid: u32,
    /// The host's boot session.
    pub boot_id: String,
    /// When it was begun.
    pub started: Time,
}

/// A run as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// What was known when it began.
    pub begun: NewRun,
    /// QEMU, once it was there.
    pub qemu_pid: Option<u32>,
    /// When QEMU answered.
    pub ready: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// Why, in a word that programs match on.
    pub end_reason: Option<String>,
    /// Why, for people.
    pub end_detail: Option<String>,
}

const COLUMNS: &str = "id, folder, name, digest, supervisor_pid, boot_id, started, qemu_pid, ready, ended, end_reason, \
                       end_detail";

fn read(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: RunId(row.get(0)?),
        begun: NewRun {
            folder: row.get::<_, Folder>(1)?.0,
            name: row.get(2)?,
            digest: row.get(3)?,
            supervisor_pid: row.get(4)?,
            boot_id: row.get(5)?,
            started: row.get(6)?,
        },
        qemu_pid: row.get(7)?,
        ready: row.get(8)?,
        ended: row.get(9)?,
        end_reason: row.get(10)?,
        end_detail: row.get(11)?,
    })
}

/// The table of runs.
#[derive(Debug, Clone, Copy)]
pub struct Runs<'s>(pub(super) &'s Store);

impl Runs<'_> {
    fn change(&self, doing: &'static str, sql: &str, values: &[&dyn ToSql]) -> Result<bool, StoreError> {
        self.0
            .write(doing, |connection| Ok(connection.execute(sql, values).map_err(self.0.fault(doing))? > 0))
    }

    /// Writes down that a run is about to begin.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn begin(&self, new: &NewRun) -> Result<RunId, StoreError> {
        let sql = "INSERT INTO runs (folder, name, digest, supervisor_pid, boot_id, started)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let doing = "begin a run in";
        self.0.write(doing, |connection| {
            let values = params![
                bytes(&new.folder),
                new.name,
                new.digest,
                new.supervisor_pid,
                new.boot_id,
                new.started
            ];
            connection.execute(sql, values).map_err(self.0.fault(doing))?;
            Ok(RunId(connection.last_insert_rowid()))
        })
    }

    /// Writes down that QEMU answered. Says whether the run was there and open.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn ready(&self, run: RunId, qemu_pid: u32, at: Time) -> Result<bool, StoreError> {
        let sql = "UPDATE runs SET qemu_pid = ?2, ready = ?3 WHERE id = ?1 AND ended IS NULL";
        self.change("write to a run in", sql, &[&run.0, &qemu_pid, &at])
    }

    /// Writes down that another supervisor took over. Says whether the run was there and open.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn adopted(&self, run: RunId, supervisor_pid: u32) -> Result<bool, StoreError> {
        let sql = "UPDATE runs SET supervisor_pid = ?2 WHERE id = ?1 AND ended IS NULL";
        self.change("write to a run in", sql, &[&run.0, &supervisor_pid])
    }

    /// Writes down the end. The first one counts; says whether this was it.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn end(&self, run: RunId, at: Time, reason: &str, detail: Option<&str>) -> Result<bool, StoreError> {
        let sql =
            "UPDATE runs SET ended = ?2, end_reason = ?3, end_detail = ?4 WHERE id = ?1 AND ended IS NULL";
        self.change("end a run in", sql, &[&run.0, &at, &reason, &detail])
    }

    /// Every run without an end, oldest first: as many as VMs run, and those whose end nobody saw.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        self.0
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE ended IS NULL ORDER BY id"))
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(self.0.fault("read runs from"))
    }

    /// The runs of an identity since a moment, in other folders than this, oldest first; at most ten.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn of_others_since(&self, digest: &str, folder: &Path, since: Time) -> Result<Vec<Run>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE digest = ?1 AND folder <> ?2 AND (ended IS NULL OR ended >= ?3)
             AND ready IS NOT NULL ORDER BY id LIMIT 10"
        );
        let values: [&dyn ToSql; 3] = [&digest, &bytes(folder), &since];
        self.0
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_map(&values[..], read)?.collect())
            .map_err(self.0.fault("read runs from"))
    }

    /// The last run in this folder. A VM made anew in the folder of a deleted one finds that one's: compare the digest.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn last(&self, folder: &Path) -> Result<Option<Run>, StoreError> {
        self.0
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE folder = ?1 ORDER BY id DESC LIMIT 1"))
            .and_then(|mut statement| statement.query_row([bytes(folder)], read).optional())
            .map_err(self.0.fault("read a run from"))
    }
}
