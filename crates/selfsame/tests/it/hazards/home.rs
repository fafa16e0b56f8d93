//! A home that can only be read, or is named in an odd way.

use crate::support::{TestEnv, may_be_others, set_mode};

const RUNNER: u32 = 54_324;

#[test]
fn hazard_the_home_can_only_be_read() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let runner = env.user(RUNNER);
    runner.create("web1");
    runner.started("web1");
    drop(runner.run(["kill", "web1"]).ok());
    let identity = runner.get("web1")["identity"].as_str().unwrap().to_owned();
    let closed = |mode: &str| {
        let mut change = std::process::Command::new("chmod");
        change.arg("-R").arg(mode).arg(&runner.home);
        drop(env.finish(change).ok());
    };
    closed("a-w");
    let reading: [&[&str]; 6] = [
        &["list"],
        &["get", "web1"],
        &["why", "web1"],
        &["identity", "show", &identity],
        &["events"],
        &["config"],
    ];
    for arguments in reading {
        drop(runner.json(arguments).ok());
    }
    drop(runner.run([] as [&str; 0]).ok());
    let writing: [&[&str]; 3] =
        [&["create", "web2", "--no-disk"], &["run", "-d", "web1"], &["identity", "new"]];
    for arguments in writing {
        let refused = runner.json(arguments);
        assert_eq!(refused.code(), 1, "{refused}");
        let error = refused.error();
        assert!(error.to_string().contains(runner.home.to_str().unwrap()), "the place is named: {error}");
        assert!(!error["hints"].as_array().unwrap().is_empty(), "{error}");
    }
    assert_eq!(env.qemus(), []);
    closed("u+w");
    runner.started("web1");
}

#[test]
fn hazard_the_home_is_a_file_or_belongs_to_somebody_else() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let runner = env.user(RUNNER);
    let file = runner.in_home(env.root().join("selfsame"));
    drop(file.json(["list"]).refused(1, "home.unusable"));
    env.create("web1");
    let foreign = runner.in_home(env.home.clone());
    let refused = foreign.json(["list"]);
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.error()["causes"].to_string().contains("Permission denied"), "{refused}");
    // A folder of sockets that another user made could be answered in by that user.
    set_mode(&env.home, 0o755);
    let error = foreign.json(["create", "web2", "--no-disk"]).error();
    assert_eq!(error["code"], "home.unusable", "{error}");
    assert_eq!(env.state("web1"), "stopped");
}

#[test]
fn hazard_the_home_and_the_locks_are_named_from_the_working_folder() {
    let env = TestEnv::new();
    env.create("web1");
    let relative = |arguments: &[&str]| {
        let mut command = env.command(arguments);
        command.env("SELFSAME_HOME", "home").env("SELFSAME_LOCK_DIR", "locks");
        env.finish(command)
    };
    drop(relative(&["run", "-d", "--paused", "web1"]).ok());
    assert_eq!(env.state("web1"), "paused", "the supervisor uses the home that the command named");
    env.copy("web1", "web2");
    drop(relative(&["--format", "json", "run", "-d", "web2"]).refused(5, "identity.in_use"));
    drop(relative(&["kill", "web1"]).ok());
    env.nothing_is_left();
}
