//! Events: what happened, in the order in which it was written down.
//!
//! **Invariant.** Events are only ever added. Their order is that of their numbers; a clock that was set back changes
//! times, never the order. They name VMs as they were called at the time.

use std::path::PathBuf;

use rusqlite::{Row, ToSql, params};
use serde_json::Value;

use super::columns::{Folder, Json, bytes};
use super::{Store, StoreError};
use crate::time::Time;

/// The number of an event, never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub i64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When.
    pub at: Time,
    /// To the VM in which folder.
    pub folder: Option<PathBuf>,
    /// To the VM of which name.
    pub name: Option<String>,
    /// To which identity.
    pub digest: Option<String>,
    /// What, in dotted text that programs match on, for example `vm.started`.
    pub kind: String,
    /// What, for people.
    pub message: String,
    /// What goes with it.
    pub data: Value,
}

/// An event as a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// What happened.
    pub what: NewEvent,
}

/// Which events to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Of the VM in this folder only.
    pub folder: Option<PathBuf>,
    /// Of VMs of this name only.
    pub name: Option<String>,
    /// Those after this one; without it, the newest ones.
    pub since: Option<EventId>,
    /// At most so many.
    pub limit: u32,
}

const COLUMNS: &str = "id, at, folder, name, digest, kind, message, data";

fn read(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: EventId(row.get(0)?),
        what: NewEvent {
            at: row.get(1)?,
            folder: row.get::<_, Option<Folder>>(2)?.map(|folder| folder.0),
            name: row.get(3)?,
            digest: row.get(4)?,
            kind: row.get(5)?,
            message: row.get(6)?,
            data: row.get::<_, Json<Value>>(7)?.0,
        },
    })
}

/// The table of events.
#[derive(Debug, Clone, Copy)]
pub struct Events<'s>(pub(super) &'s Store);

impl Events<'_> {
    /// Adds an event.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn append(&self, new: &NewEvent) -> Result<EventId, StoreError> {
        let doing = "add an event to";
        let sql = "INSERT INTO events (at, folder, name, digest, kind, message, data)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.0.write(doing, |connection| {
            let values = params![
                new.at,
                new.folder.as_deref().map(bytes),
                new.name,
                new.digest,
                new.kind,
                new.message,
                Json(&new.data)
            ];
            connection
                .prepare_cached(sql)
                .and_then(|mut statement| statement.execute(values))
                .map_err(self.0.fault(doing))?;
            Ok(EventId(connection.last_insert_rowid()))
        })
    }

    /// The last event before a time, if there is any.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn last_before(&self, time: Time) -> Result<Option<EventId>, StoreError> {
        self.0
            .connection
            .prepare_cached("SELECT max(id) FROM events WHERE at < ?1")
            .and_then(|mut statement| statement.query_row([time], |row| row.get::<_, Option<i64>>(0)))
            .map(|id| id.map(EventId))
            .map_err(self.0.fault("read events from"))
    }

    /// Events in their order: the first `limit` after `since`, or without it the last `limit`.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn list(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        // The text names only what is asked for: `?1 IS NULL OR …` would keep SQLite from using the index.
        let folder = filter.folder.as_deref().map(bytes);
        let since = filter.since.map(|id| id.0);
        let mut conditions = vec!["1"];
        let mut values: Vec<(&str, &dyn ToSql)> = vec![(":limit", &filter.limit)];
        if let Some(folder) = &folder {
            conditions.push("folder = :folder");
            values.push((":folder", folder));
        }
        if let Some(name) = &filter.name {
            conditions.push("name = :name");
            values.push((":name", name));
        }
        if let Some(since) = &since {
            conditions.push("id > :since");
            values.push((":since", since));
        }
        let order = if since.is_some() { "ASC" } else { "DESC" };
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE {} ORDER BY id {order} LIMIT :limit",
            conditions.join(" AND ")
        );
        let mut events: Vec<Event> = self
            .0
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_map(&*values, read)?.collect())
            .map_err(self.0.fault("read events from"))?;
        if since.is_none() {
            events.reverse();
        }
        Ok(events)
    }
}
