//! `selfsame events`: from where, and on and on.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{TestEnv, until};

#[test]
fn events_begin_at_a_number_or_at_a_time() {
    let env = TestEnv::new();
    for name in ["web1", "web2", "web3"] {
        env.create(name);
    }
    let all = env.events("web2");
    let (id, at) = (all[0]["id"].as_i64().unwrap(), all[0]["at"].as_str().unwrap().to_owned());
    let names = |arguments: &[&str]| -> Vec<Value> {
        let lines = env.json(arguments).ok().stdout;
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone()).collect()
    };
    assert_eq!(names(&["events", "--since", &id.to_string()]), ["web3"]);
    assert_eq!(names(&["events", "--since", &at]), ["web2", "web3"]);
    assert_eq!(names(&["events", "--since", "2999-01-01T00:00:00Z"]), Vec::<Value>::new());
    assert_eq!(names(&["events", "--since", "1999-01-01T00:00:00Z", "-n", "1"]), ["web1"]);
    assert_eq!(env.json(["events", "--since", "yesterday"]).code(), 2);
}

#[test]
fn events_are_followed_as_they_happen_and_without_looking_again_and_again() {
    let env = TestEnv::new();
    env.create("web1");
    let mut command = env.command(["--format", "json", "events", "-f", "-n", "0"]);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(11)?.parse::<u32>().ok())
    };
    until("it waits", || {
        let before = ticks();
        std::thread::sleep(std::time::Duration::from_millis(300));
        ticks() == before
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    env.create("web2");
    let first = next();
    assert_eq!((&first["kind"], &first["name"]), (&"vm.created".into(), &"web2".into()), "{first}");
    drop(env.run(["rename", "web2", "web3"]).ok());
    assert_eq!(next()["kind"], "vm.renamed");
    // Nobody reads it any more: it ends.
    drop(lines);
    until("it ends", || child.try_wait().unwrap().is_some());
}
