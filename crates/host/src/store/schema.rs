//! The tables, and how an older library becomes a newer one.
//!
//! **Invariants.** A migration that has been released is never edited; a change is a new one at the end. Migrations add:
//! a supervisor of an older version may have the library open while a newer command migrates it, and goes on reading and
//! writing the columns it knows.

use rusqlite::Connection;

/// "self" in ASCII: by it, and not by its name, a file is known to be a library.
pub(super) const APPLICATION_ID: i32 = 0x7365_6c66;

/// One step each; the version of a library is how many it has taken.
///
/// Folders are blobs, because names of files are bytes. Inodes and devices are 64 bits, stored as SQLite's signed ones.
/// Times are nanoseconds since 1970. Ids come from AUTOINCREMENT and are never given twice. Nothing refers by foreign key
/// to `identities` or `vms`: history outlives both.
pub(super) const MIGRATIONS: &[&str] = &["
CREATE TABLE identities (
    digest TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    canonical TEXT NOT NULL,
    raw BLOB NOT NULL,
    label TEXT UNIQUE,
    notes TEXT NOT NULL,
    origin TEXT NOT NULL,
    origin_detail TEXT,
    first_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE vms (
    folder BLOB PRIMARY KEY NOT NULL,
    parent BLOB NOT NULL,
    name TEXT NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    digest TEXT,
    identity TEXT,
    cpus INTEGER,
    memory INTEGER,
    disks TEXT NOT NULL,
    mac TEXT,
    error TEXT,
    last_good_identifier TEXT,
    last_good_model TEXT,
    last_good_start INTEGER,
    last_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX vms_by_parent ON vms (parent, name);
CREATE INDEX vms_by_digest ON vms (digest) WHERE digest IS NOT NULL;
CREATE INDEX vms_by_mac ON vms (mac) WHERE mac IS NOT NULL;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    folder BLOB NOT NULL,
    name TEXT NOT NULL,
    digest TEXT,
    supervisor_pid INTEGER NOT NULL,
    qemu_pid INTEGER,
    boot_id TEXT NOT NULL,
    started INTEGER NOT NULL,
    ready INTEGER,
    ended INTEGER,
    end_reason TEXT,
    end_detail TEXT
) STRICT;
CREATE INDEX runs_by_folder ON runs (folder, id);
CREATE INDEX runs_open ON runs (id) WHERE ended IS NULL;

CREATE TABLE observations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL,
    run INTEGER REFERENCES runs (id),
    folder BLOB NOT NULL,
    observed INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    source TEXT NOT NULL,
    facts TEXT NOT NULL,
    contradictions TEXT NOT NULL
) STRICT;
CREATE INDEX observations_by_digest ON observations (digest, id);
CREATE INDEX observations_by_run ON observations (run) WHERE run IS NOT NULL;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    folder BLOB,
    name TEXT,
    digest TEXT,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_folder ON events (folder, id) WHERE folder IS NOT NULL;
CREATE INDEX events_by_name ON events (name, id) WHERE name IS NOT NULL;
"];

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing in it yet.
    Empty,
    /// A library that must be migrated first.
    Older,
    /// A library as this selfsame writes it.
    Current,
    /// A library that this selfsame cannot know.
    Newer { found: i32, known: i32 },
    /// Not a library.
    Foreign { application_id: i32, version: i32 },
}

/// Looks at the file. Reads one page, and a second only when the file says nothing of itself.
pub(super) fn standing(connection: &Connection, migrations: &[&str]) -> rusqlite::Result<Standing> {
    // One snapshot for both numbers: between two reads another process may create the library.
    let look = connection.unchecked_transaction()?;
    let application_id = number(&look, "application_id")?;
    let version = number(&look, "user_version")?;
    let known = i32::try_from(migrations.len()).unwrap_or(i32::MAX);
    Ok(match (application_id, version) {
        (0, 0)
            if look.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0 =>
        {
            Standing::Empty
        }
        (APPLICATION_ID, 1..) if version < known => Standing::Older,
        (APPLICATION_ID, 1..) if version == known => Standing::Current,
        (APPLICATION_ID, 1..) => Standing::Newer { found: version, known },
        _ => Standing::Foreign { application_id, version },
    })
}

/// Takes the steps that are missing, each with its version in one transaction.
pub(super) fn migrate(connection: &Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    loop {
        let step =
            rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
        // Asked again under the lock: several commands may start on an old library at once.
        let version = number(&step, "user_version")?;
        let Some(sql) = usize::try_from(version).ok().and_then(|version| migrations.get(version)) else {
            return Ok(());
        };
        step.execute_batch(sql)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", version + 1)?;
        step.commit()?;
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}
