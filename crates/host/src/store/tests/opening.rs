use super::*;

use std::fs::{self, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use selfsame_machine::code::Code;
use selfsame_machine::problem::Problem;

use crate::store::{open, schema};

fn raw(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// Both ways to open must refuse alike, and leave every byte.
fn refused(place: &Place) -> StoreError {
    let before = fs::read(place.library()).unwrap();
    let reading = Store::open_for_reading(&place.library(), quick()).unwrap_err();
    let writing = Store::open(&place.library(), quick()).unwrap_err();
    assert_eq!(reading.code(), writing.code(), "{reading:?} {writing:?}");
    assert!(fs::read(place.library()).unwrap() == before, "the file was changed");
    writing
}

#[test]
fn a_missing_library_is_created_in_write_ahead_mode_and_opened_again_without_a_write() {
    let place = Place::new();
    assert_eq!(place.store().identities().list(None).unwrap(), []);
    let connection = raw(&place.library());
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), id), ("wal", schema::APPLICATION_ID));
    drop(connection);
    let before = fs::metadata(place.library()).unwrap().modified().unwrap();
    let store = place.store();
    let synchronous: i32 =
        store.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 1);
    drop(store);
    assert_eq!(fs::metadata(place.library()).unwrap().modified().unwrap(), before);
}

#[test]
fn reading_a_missing_or_empty_library_creates_nothing_and_forgets_nothing_silently() {
    let place = Place::new();
    for _ in 0..2 {
        let store = Store::open_for_reading(&place.library(), quick()).unwrap();
        assert_eq!(store.vms().by_mac("x").unwrap(), []);
        let error = store.events().append(&event("x")).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
        drop(store);
        if !place.library().exists() {
            assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 0);
        }
        // What a creator that was killed at once leaves behind.
        fs::write(place.library(), "").unwrap();
    }
    place.store().events().append(&event("x")).unwrap();
}

#[test]
fn every_older_version_is_migrated_and_keeps_its_rows() {
    let steps = ["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (x INTEGER)", "INSERT INTO b SELECT x FROM a"];
    for version in 0..=steps.len() {
        let place = Place::new();
        let old = open::for_writing(&place.library(), quick(), &steps[..version]).unwrap();
        if version > 0 {
            old.connection.execute("INSERT INTO a VALUES (42)", []).unwrap();
        }
        drop(old);
        let before = fs::read(place.library()).unwrap();
        let sums = |store: &Store| -> Vec<Option<i64>> {
            ["a", "b"]
                .map(|table| {
                    let sql = format!("SELECT sum(x) FROM {table}");
                    store.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
                })
                .to_vec()
        };
        let expected = match version {
            0 => vec![None, None],
            3 => vec![Some(42), None],
            _ => vec![Some(42), Some(42)],
        };
        let reading = open::for_reading(&place.library(), quick(), &steps).unwrap();
        assert_eq!(sums(&reading), expected, "reading version {version}");
        let error = reading.write("x", |c| c.execute("DELETE FROM a", []).map_err(reading.fault("x")));
        assert!(matches!(error, Err(StoreError::ReadOnly { .. })), "{error:?}");
        drop(reading);
        assert!(fs::read(place.library()).unwrap() == before, "reading changed version {version}");

        let writing = open::for_writing(&place.library(), quick(), &steps).unwrap();
        assert_eq!(sums(&writing), expected, "version {version}");
        let now: i64 = writing.connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(usize::try_from(now).unwrap(), steps.len());
    }
}

#[test]
fn a_migration_that_fails_leaves_the_old_version() {
    let place = Place::new();
    let good = ["CREATE TABLE a (x INTEGER)"];
    drop(open::for_writing(&place.library(), quick(), &good).unwrap());
    let bad = [good[0], "CREATE TABLE b (x INTEGER); CREATE TABLE a (x INTEGER)"];
    assert!(open::for_writing(&place.library(), quick(), &bad).is_err());
    let store = open::for_writing(&place.library(), quick(), &good).unwrap();
    let tables: i64 =
        store.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn sixteen_creators_at_once_make_one_library() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let path = place.library();
            scope.spawn(move || {
                let store = Store::open(&path, patient()).unwrap();
                store.identities().insert(&identity(number)).unwrap();
            });
        }
    });
    assert_eq!(place.store().identities().list(None).unwrap().len(), 16);
}

#[test]
fn what_is_no_database_is_kept_and_named() {
    let place = Place::new();
    let zeros = [0; 8192];
    for bytes in [&b"garbage, not a database"[..], &b"x".repeat(9000), &zeros] {
        fs::write(place.library(), bytes).unwrap();
        let error = refused(&place);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }
    // The hint is a command: it moves everything aside, and the next command works.
    fs::write(place.0.path().join("library.db-wal"), "old").unwrap();
    let command = refused(&place).hints()[0].command.clone().unwrap();
    assert!(Command::new("sh").arg("-ec").arg(&command).status().unwrap().success(), "{command}");
    assert!(fs::read(place.0.path().join("library.damaged/library.db")).unwrap() == zeros);
    assert!(place.0.path().join("library.damaged/library.db-wal").exists());
    place.store().events().append(&event("x")).unwrap();
}

#[test]
fn a_library_cut_short_is_damaged() {
    let place = Place::new();
    let store = place.store();
    store.atomically(|store| (0..2000).try_for_each(|n| store.identities().insert(&identity(n)))).unwrap();
    drop(store);
    place.fold();
    let whole = fs::read(place.library()).unwrap();
    for length in [whole.len() - 4096, whole.len() / 2, 4096, 1000, 99, 2] {
        fs::write(place.library(), &whole[..length]).unwrap();
        let error = refused(&place);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{length}: {error:?}");
    }
}

#[test]
fn damage_found_later_is_damage_too() {
    let place = Place::new();
    let store = place.store();
    store.atomically(|store| (0..2000).try_for_each(|n| store.identities().insert(&identity(n)))).unwrap();
    drop(store);
    place.fold();
    let whole = fs::read(place.library()).unwrap();
    let rows: Vec<IdentityRow> = (0..2000).map(identity).collect();
    let mut found = 0;
    for page in 1..whole.len() / 4096 {
        let mut file = fs::File::create(place.library()).unwrap();
        file.write_all(&whole).unwrap();
        file.seek(SeekFrom::Start(page as u64 * 4096)).unwrap();
        file.write_all(&[0xa5; 64]).unwrap();
        drop(file);
        // A page is met at opening, in a statement, or not at all; wrong rows are never given out.
        let all = Store::open(&place.library(), quick()).and_then(|store| {
            store.events().list(&everything())?;
            store.identities().list(None)
        });
        match all {
            Ok(all) => assert!(all == rows, "page {page}"),
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt { .. }), "page {page}: {error:?}");
                found += 1;
            }
        }
    }
    assert!(found > 50, "{found} pages");
}

#[test]
fn a_refused_library_keeps_its_log() {
    // SQLite folds the log into the file, and removes it, when the last connection closes: not into a damaged one.
    let (place, left) = (Place::new(), Place::new());
    let store = place.store();
    store.events().append(&event("x")).unwrap();
    let known = i32::try_from(schema::MIGRATIONS.len()).unwrap();
    store.connection.pragma_update(None, "user_version", known + 1).unwrap();
    let log = left.0.path().join("library.db-wal");
    fs::copy(place.library(), left.library()).unwrap();
    fs::copy(place.0.path().join("library.db-wal"), &log).unwrap();
    let before = fs::read(&log).unwrap();
    assert!(before.len() > 4096);
    assert!(matches!(refused(&left), StoreError::Newer { .. }));
    assert!(fs::read(&log).unwrap() == before);
}

#[test]
fn a_log_without_its_library_is_kept() {
    let place = Place::new();
    place.store().events().append(&event("x")).unwrap();
    let log = place.0.path().join("library.db-wal");
    let before = fs::read(&log).unwrap();
    assert!(before.len() > 4096, "closing left the log");
    for bytes in [&b""[..], b"S"] {
        fs::write(place.library(), bytes).unwrap();
        assert!(matches!(refused(&place), StoreError::OnlyLog { .. }));
    }
    fs::remove_file(place.library()).unwrap();
    for error in [
        Store::open_for_reading(&place.library(), quick()).unwrap_err(),
        Store::open(&place.library(), quick()).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::OnlyLog { .. }), "{error:?}");
        assert_eq!(error.code(), Code::StoreCorrupt);
    }
    assert!(fs::read(&log).unwrap() == before && !place.library().exists());
    let command = Store::open(&place.library(), quick()).unwrap_err().hints()[0].command.clone().unwrap();
    assert!(Command::new("sh").arg("-ec").arg(&command).status().unwrap().success(), "{command}");
    place.store();
}

#[test]
fn a_large_log_is_folded_at_closing_and_a_small_one_kept() {
    let place = Place::new();
    let log = || fs::metadata(place.0.path().join("library.db-wal")).map_or(0, |log| log.len());
    let store = place.store();
    store.events().append(&event("x")).unwrap();
    drop(store);
    let small = log();
    assert!(small > 0 && small < 512 * 1024, "{small}");
    let store = place.store();
    store.atomically(|store| (0..6000).try_for_each(|n| store.identities().insert(&identity(n)))).unwrap();
    assert!(log() > 512 * 1024);
    drop(store);
    assert_eq!(log(), 0);
    assert_eq!(place.store().identities().list(None).unwrap().len(), 6000);
}

#[test]
fn a_foreign_database_is_not_taken_over() {
    let place = Place::new();
    raw(&place.library()).execute_batch("CREATE TABLE theirs (x)").unwrap();
    let error = refused(&place);
    assert!(matches!(error, StoreError::Foreign { application_id: 0, version: 0, .. }), "{error:?}");
    raw(&place.library()).execute_batch("PRAGMA application_id = 7; PRAGMA user_version = 1").unwrap();
    let error = refused(&place);
    assert!(matches!(error, StoreError::Foreign { application_id: 7, version: 1, .. }), "{error:?}");
}

#[test]
fn a_newer_library_is_refused_with_both_versions() {
    let place = Place::new();
    drop(place.store());
    let known = i32::try_from(schema::MIGRATIONS.len()).unwrap();
    raw(&place.library()).pragma_update(None, "user_version", known + 3).unwrap();
    let error = refused(&place);
    assert!(matches!(error, StoreError::Newer { found, known: k, .. } if found == known + 3 && k == known));
    assert_eq!(error.code(), Code::StoreNewer);
    let says = format!("has version {}, and this selfsame knows versions up to {known}", known + 3);
    assert!(error.to_string().ends_with(&says), "{error}");
}

#[test]
fn a_held_library_names_its_holder_and_reading_goes_on() {
    let place = Place::new();
    drop(place.store());
    let other = raw(&place.library());
    other.execute_batch("BEGIN EXCLUSIVE; DELETE FROM events").unwrap();

    // In write-ahead mode a writer keeps only writers out.
    let store = place.store();
    assert_eq!(store.events().list(&everything()).unwrap(), []);
    let error = store.events().append(&event("x")).unwrap_err();
    let StoreError::Locked { holders, waited, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*waited, quick().busy);
    assert_eq!(error.code(), Code::StoreLocked);
    if cfg!(target_os = "linux") {
        assert_eq!(holders.iter().map(|holder| holder.pid).collect::<Vec<_>>(), [std::process::id()]);
        let command = error.hints()[0].command.clone().unwrap();
        assert!(Command::new("sh").arg("-ec").arg(&command).output().unwrap().status.success(), "{command}");
    }
    other.execute_batch("COMMIT").unwrap();
    store.events().append(&event("x")).unwrap();
    drop((store, other));

    // A rollback journal, or an exclusive locking mode, keeps everybody out, at opening already.
    let other = raw(&place.library());
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM events").unwrap();
    let error = refused_without_looking(&place);
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    drop(other);
    assert_eq!(place.store().events().list(&everything()).unwrap().len(), 1);
}

/// Reading the file's bytes here would drop this process's own locks on it.
fn refused_without_looking(place: &Place) -> StoreError {
    let reading = Store::open_for_reading(&place.library(), quick()).unwrap_err();
    assert_eq!(reading.code(), Code::StoreLocked, "{reading:?}");
    Store::open(&place.library(), quick()).unwrap_err()
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let place = Place::new();
    drop(place.store());
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let path = place.library();
            scope.spawn(move || {
                let store = Store::open(&path, patient()).unwrap();
                for number in 0..200 {
                    store.identities().insert(&identity(writer * 1000 + number)).unwrap();
                    store.events().append(&event("identity.kept")).unwrap();
                }
            });
        }
    });
    let store = place.store();
    assert_eq!(store.identities().list(None).unwrap().len(), 400);
    let ids: Vec<i64> = store.events().list(&everything()).unwrap().iter().map(|event| event.id.0).collect();
    assert_eq!(ids, (1..=400).collect::<Vec<_>>());
}

/// Runs as another process: `nobody` when we are root, since root is stopped by no permission.
fn unprivileged(test: &str, library: &Path) -> bool {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy);
        command
    } else {
        Command::new(&copy)
    };
    let output = command
        .args(["--exact", &format!("store::tests::opening::{test}"), "--ignored", "--nocapture"])
        .env("SELFSAME_TEST_LIBRARY", library)
        .current_dir("/")
        .output();
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            true
        }
        Err(error) => {
            eprintln!("SKIPPED: root is stopped by no permission, and setpriv cannot be run: {error}");
            false
        }
    }
}

fn read_only(place: &Place, body: impl FnOnce()) {
    for entry in fs::read_dir(place.0.path()).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o444)).unwrap();
    }
    fs::set_permissions(place.0.path(), Permissions::from_mode(0o555)).unwrap();
    body();
    fs::set_permissions(place.0.path(), Permissions::from_mode(0o755)).unwrap();
}

#[test]
#[ignore = "a part of the tests of read-only folders, run by them as another process"]
fn as_one_who_can_only_read() {
    let Some(library) = std::env::var_os("SELFSAME_TEST_LIBRARY") else { return };
    let library = Path::new(&library);
    let store = Store::open_for_reading(library, quick()).unwrap();
    let kinds: Vec<String> =
        store.events().list(&everything()).unwrap().into_iter().map(|event| event.what.kind).collect();
    assert_eq!(kinds, ["first", "second"]);
    assert!(matches!(store.events().append(&event("x")), Err(StoreError::ReadOnly { .. })));
    drop(store);
    let error = Store::open(library, quick()).map(|store| store.events().append(&event("x")).unwrap_err());
    let error = error.unwrap_or_else(|error| error);
    assert_eq!(error.code(), Code::StoreFailed, "{error:?}");
}

#[test]
fn a_read_only_folder_is_read() {
    let place = Place(tempfile::Builder::new().prefix("a #?%41 ").tempdir().unwrap());
    let store = place.store();
    store.events().append(&event("first")).unwrap();
    store.events().append(&event("second")).unwrap();
    drop(store);
    place.fold();
    read_only(&place, || {
        unprivileged("as_one_who_can_only_read", &place.library());
    });
}

#[test]
fn a_log_left_by_a_killed_writer_is_read_in_a_read_only_folder() {
    for shared_memory in [true, false] {
        // A copy taken beside an open store is what a kill leaves behind: the second event is in the log only.
        let (place, left) = (Place::new(), Place::new());
        place.store().events().append(&event("first")).unwrap();
        let store = place.store();
        store.events().append(&event("second")).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let name = format!("library.db{suffix}");
            if suffix != "-shm" || shared_memory {
                fs::copy(place.0.path().join(&name), left.0.path().join(&name)).unwrap();
            }
        }
        read_only(&left, || {
            unprivileged("as_one_who_can_only_read", &left.library());
        });
    }
}

#[test]
fn half_a_commit_in_a_read_only_folder_is_not_read() {
    // Where memory cannot be shared, SQLite keeps a rollback journal; a kill leaves it beside a half-written file.
    let (place, left) = (Place::new(), Place::new());
    let store = place.store();
    store.events().append(&event("first")).unwrap();
    store.events().append(&event("second")).unwrap();
    drop(store);
    let writer = raw(&place.library());
    writer.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN").unwrap();
    for _ in 0..500 {
        let sql =
            "INSERT INTO events (at, kind, message, data) VALUES (1, 'third', hex(randomblob(99)), '{}')";
        writer.execute(sql, []).unwrap();
    }
    for suffix in ["", "-journal"] {
        let name = format!("library.db{suffix}");
        fs::copy(place.0.path().join(&name), left.0.path().join(&name)).unwrap();
    }
    assert!(fs::metadata(left.library()).unwrap().len() > 20 * 4096, "half of it is in the file");
    read_only(&left, || {
        unprivileged("as_one_who_can_only_read", &left.library());
    });
}

#[test]
fn another_users_live_library_is_read() {
    let place = Place::new();
    let store = place.store();
    store.events().append(&event("first")).unwrap();
    store.events().append(&event("second")).unwrap();
    read_only(&place, || {
        unprivileged("as_one_who_can_only_read", &place.library());
    });
}

#[test]
fn nothing_is_left_by_private_copies() {
    let place = Place::new();
    drop(open::for_writing(&place.library(), quick(), &["CREATE TABLE a (x)"]).unwrap());
    let store = open::for_reading(&place.library(), quick(), &["", "CREATE TABLE b (x)"]).unwrap();
    let copy = store._copy.as_ref().unwrap().path().to_owned();
    assert!(copy.exists());
    drop(store);
    assert!(!copy.exists());
}
