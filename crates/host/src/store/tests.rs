//! Real SQLite files in temporary folders. `opening` asks what the file may be, `tables` what goes in and comes out.

mod opening;
mod tables;

use std::path::PathBuf;

use super::*;
use crate::time::Time;

/// A folder with room for a library.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("library.db")
    }

    /// Leaves one file: a connection without our settings folds the log into it as it closes.
    fn fold(&self) {
        let connection = rusqlite::Connection::open(self.library()).unwrap();
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).unwrap();
        drop(connection);
        assert_eq!(std::fs::read_dir(self.0.path()).unwrap().count(), 1);
    }

    fn store(&self) -> Store {
        Store::open(&self.library(), quick()).unwrap()
    }
}

/// Tests that wait for a lock wait a short time; those that must get it a long one.
fn quick() -> Options {
    Options { busy: Duration::from_millis(80) }
}

fn patient() -> Options {
    Options { busy: Duration::from_secs(60) }
}

fn identity(number: u64) -> IdentityRow {
    // A number spread over the digest as a hash would be, without the hash.
    let digest = format!("{:016x}{number:048x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    IdentityRow {
        digest,
        kind: if number.is_multiple_of(2) { "mac" } else { "generic" }.to_owned(),
        canonical: format!("ecid:0x{number:016X}"),
        raw: vec![0, 0xff, 7],
        label: None,
        notes: String::new(),
        origin: "fresh".to_owned(),
        origin_detail: None,
        first_seen: Time(i64::try_from(number).unwrap()),
    }
}

fn event(kind: &str) -> NewEvent {
    NewEvent {
        at: Time(7),
        folder: None,
        name: None,
        digest: None,
        kind: kind.to_owned(),
        message: "it happened".to_owned(),
        data: serde_json::json!({}),
    }
}

fn everything() -> EventFilter {
    EventFilter { folder: None, name: None, since: None, limit: u32::MAX }
}
