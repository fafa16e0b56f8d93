//! The clock is set back. Times are for people: no decision may hang on them.

use std::process::Command;

use crate::support::{Output, TestEnv, skipped, until};

/// A command with a clock of its own, and so all that it starts. `faketime` itself would wait until all of it has ended, so
/// its library is loaded as it does that.
fn at(env: &TestEnv, time: &str, arguments: &[&str]) -> Output {
    let shown = env.other("faketime").args(["2001-01-01", "printenv", "LD_PRELOAD"]).output().unwrap();
    let mut command = env.command(["--format", "json"]);
    command.args(arguments).env("FAKETIME", format!("@{time}"));
    command.env("LD_PRELOAD", String::from_utf8(shown.stdout).unwrap().trim());
    // As when somebody sets a clock: the one that only counts is not set.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    env.finish(command)
}

#[test]
fn hazard_the_clock_is_set_back_while_a_vm_lives() {
    let env = TestEnv::new();
    let works = Command::new("faketime").args(["2001-01-01", "date", "+%Y"]).output();
    if !works.is_ok_and(|output| output.stdout == b"2001\n") {
        skipped("needs faketime (package faketime)");
        return;
    }
    env.create("web1");
    let healthy = env.run(["doctor"]).stdout;
    let identity = env.get("web1")["identity"].clone();
    env.copy("web1", "web2");
    drop(env.start("web1").ok());
    // Twenty-five years ago, everything goes on as if nothing were.
    let past = "2001-01-01 00:00:00";
    assert_eq!(at(&env, past, &["get", "web1"]).ok().json()["identity"], identity);
    drop(at(&env, past, &["run", "-d", "--paused", "web2"]).refused(5, "identity.in_use"));
    drop(at(&env, past, &["suspend", "web1"]).ok());
    drop(at(&env, past, &["run", "-d", "web1"]).ok());
    until("it runs", || env.state("web1") == "running");
    // Its supervisor lives in the past, those who ask it do not.
    drop(env.json(["pause", "web1"]).ok());
    drop(env.json(["stop", "-t", "0", "web1"]).ok());
    env.nothing_is_left();
    assert_eq!(env.get("web1")["last_run"]["end"], "forced");
    let kinds: Vec<_> = env.events("web1").into_iter().map(|event| event["kind"].clone()).collect();
    let ended = kinds.iter().filter(|kind| *kind == "vm.ended").count();
    assert_eq!(ended, 2, "both ends are told, in the order in which they came: {kinds:?}");
    assert_eq!(kinds.first(), Some(&"vm.created".into()), "{kinds:?}");
    drop(at(&env, past, &["set", "web1", "--cpus", "2"]).ok());
    drop(at(&env, past, &["rename", "web1", "web3"]).ok());
    drop(at(&env, past, &["delete", "--yes", "web3"]).ok());
    env.started("web2");
    drop(at(&env, past, &["kill", "web2"]).ok());
    env.nothing_is_left();
    assert_eq!(env.run(["doctor"]).stdout, healthy);
}
