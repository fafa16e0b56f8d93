//! The library's database: held, damaged, from the future.

use rusqlite::Connection;

use crate::support::TestEnv;

/// Reading commands that need the library, and one that writes.
const READING: [&[&str]; 3] = [&["list"], &["get", "web1"], &["identity", "list"]];

fn closed(env: &TestEnv) -> Connection {
    let connection = Connection::open(env.home.join("library.db")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    connection
}

#[test]
fn hazard_the_library_is_held_by_another_process() {
    let env = TestEnv::new();
    env.create("web1");
    let connection = closed(&env);
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for arguments in READING {
        drop(env.json(arguments).ok());
    }
    let error = env.start("web1").refused(1, "store.locked");
    let told = error["detail"].as_str().unwrap();
    assert!(told.contains(&std::process::id().to_string()), "the holder is named: {told}");
    env.nothing_is_left();
    connection.execute_batch("ROLLBACK").unwrap();
    env.started("web1");

    // A guest is not held up by it, and its end is written down all the same.
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let killed = env.run(["kill", "web1"]).ok();
    connection.execute_batch("ROLLBACK").unwrap();
    assert_eq!(env.qemus(), [], "{killed}");
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
    assert_eq!(env.get("web1")["last_run"]["end"], "killed");
}

#[test]
fn hazard_the_library_is_damaged() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    drop(closed(&env));
    let path = env.home.join("library.db");
    let good = std::fs::read(&path).unwrap();
    let mut damaged = good.clone();
    damaged[..4096].fill(b'x');
    std::fs::write(&path, &damaged).unwrap();
    for arguments in READING.into_iter().chain([&["create", "web2", "--no-disk"][..], &["run", "-d", "web1"]])
    {
        let error = env.json(arguments).refused(1, "store.corrupt");
        assert!(error["detail"].as_str().unwrap().contains("library.db"), "{error}");
    }
    env.nothing_is_left();
    assert_eq!(std::fs::read(&path).unwrap(), damaged, "never overwritten");
    assert!(folder.join("MachineIdentifier").exists());
    std::fs::write(&path, good).unwrap();
    env.started("web1");
}

#[test]
fn hazard_the_library_was_written_by_a_newer_selfsame() {
    let env = TestEnv::new();
    env.create("web1");
    let connection = closed(&env);
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    connection.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(connection);
    drop(closed(&env));
    let path = env.home.join("library.db");
    let before = std::fs::read(&path).unwrap();
    for arguments in READING.into_iter().chain([&["create", "web2", "--no-disk"][..], &["run", "-d", "web1"]])
    {
        let error = env.json(arguments).refused(1, "store.newer");
        assert!(error["detail"].as_str().unwrap().contains("999"), "{error}");
    }
    env.nothing_is_left();
    assert_eq!(std::fs::read(&path).unwrap(), before, "never overwritten");
    closed(&env).execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
    env.started("web1");
}
