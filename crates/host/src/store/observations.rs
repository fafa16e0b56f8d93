//! Observations: what guests showed of themselves, and where that contradicts what was predicted.
//!
//! **Invariant.** A guest that shows the same at every boot makes one row, with the first and the last time; anything
//! else makes a new row, and no row is ever changed but in its last time.

use std::path::PathBuf;

use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;

use super::columns::{Folder, Json, bytes};
use super::{RunId, Store, StoreError};
use crate::time::Time;

/// Something a guest showed.
#[derive(Debug, Clone, PartialEq)]
pub struct NewObservation {
    /// Whose guest.
    pub digest: String,
    /// In which run.
    pub run: Option<RunId>,
    /// In which bundle folder.
    pub folder: PathBuf,
    /// When.
    pub at: Time,
    /// How it came to us, for example `guest-report`.
    pub source: String,
    /// What was shown.
    pub facts: Value,
    /// What of it is not as predicted.
    pub contradictions: Value,
}

/// An observation as a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Its number.
    pub id: i64,
    /// The first time.
    pub first: NewObservation,
    /// The last time that the same was shown.
    pub last_seen: Time,
}

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Something new, under this number.
    New(i64),
    /// The same as the last one, which has this number.
    Same(i64),
}

const COLUMNS: &str = "id, digest, run, folder, observed, source, facts, contradictions, last_seen";

fn read(row: &Row<'_>) -> rusqlite::Result<Observation> {
    Ok(Observation {
        id: row.get(0)?,
        first: NewObservation {
            digest: row.get(1)?,
            run: row.get::<_, Option<i64>>(2)?.map(RunId),
            folder: row.get::<_, Folder>(3)?.0,
            at: row.get(4)?,
            source: row.get(5)?,
            facts: row.get::<_, Json<Value>>(6)?.0,
            contradictions: row.get::<_, Json<Value>>(7)?.0,
        },
        last_seen: row.get(8)?,
    })
}

/// The table of observations.
#[derive(Debug, Clone, Copy)]
pub struct Observations<'s>(pub(super) &'s Store);

impl Observations<'_> {
    /// Writes down what was shown, or that the same was shown again.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn record(&self, new: &NewObservation) -> Result<Recorded, StoreError> {
        let doing = "record an observation in";
        self.0.write(doing, |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM observations WHERE digest = ?1 AND folder = ?2 AND source = ?3
                 ORDER BY id DESC LIMIT 1"
            );
            let last = connection
                .query_row(&sql, params![new.digest, bytes(&new.folder), new.source], read)
                .optional()
                .map_err(self.0.fault(doing))?;
            // Compared as values: two writers of JSON may order keys differently.
            let same = |last: &Observation| {
                last.first.facts == new.facts && last.first.contradictions == new.contradictions
            };
            if let Some(last) = last.filter(same) {
                let sql = "UPDATE observations SET last_seen = max(last_seen, ?2) WHERE id = ?1";
                connection.execute(sql, params![last.id, new.at]).map_err(self.0.fault(doing))?;
                return Ok(Recorded::Same(last.id));
            }
            let sql = "INSERT INTO observations
                       (digest, run, folder, observed, source, facts, contradictions, last_seen)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?4)";
            let values = params![
                new.digest,
                new.run.map(|run| run.0),
                bytes(&new.folder),
                new.at,
                new.source,
                Json(&new.facts),
                Json(&new.contradictions)
            ];
            connection.execute(sql, values).map_err(self.0.fault(doing))?;
            Ok(Recorded::New(connection.last_insert_rowid()))
        })
    }

    /// What guests with this identity showed, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn of(&self, digest: &str, limit: u32) -> Result<Vec<Observation>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM observations WHERE digest = ?1 ORDER BY id DESC LIMIT ?2");
        self.0
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_map(params![digest, limit], read)?.collect())
            .map_err(self.0.fault("read observations from"))
    }
}
