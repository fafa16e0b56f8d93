//! A supervisor that is stopped, and one whose pid now belongs to somebody else.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Signal, TestEnv, is_alive, send, until};

#[test]
fn hazard_the_supervisor_is_stopped_and_continued() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let pids = env.started("web1");
    send(pids.supervisor, Signal::STOP);
    let began = Instant::now();
    let commands: [&[&str]; 3] = [&["run", "-d", "web1"], &["stop", "-t", "0", "web1"], &["kill", "web1"]];
    let asked = crate::support::together(3, |index| env.json(commands[index]));
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    for output in asked {
        let error = output.refused(1, "supervisor.unresponsive");
        let hints = error["hints"].to_string();
        assert!(hints.contains(&format!("kill -CONT {}", pids.supervisor)), "{hints}");
    }
    let listed = env.json(["list"]).ok().json();
    assert_eq!(listed["vms"][0]["state"], "silent", "{listed}");
    drop(env.start("web2").refused(5, "identity.in_use"));
    send(pids.supervisor, Signal::CONT);
    until("it answers again", || env.state("web1") != "silent");
    // What was asked while it stood still was asked: the VM may have been stopped by now.
    if env.state("web1") != "stopped" {
        drop(env.run(["kill", "web1"]).ok());
    }
    env.nothing_is_left();
    env.started("web2");
}

#[test]
fn hazard_the_pid_in_the_record_belongs_to_somebody_else() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let pids = env.started("web1");
    let mut sleeper = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap();
    send(pids.supervisor, Signal::KILL);
    until("the supervisor is gone", || !is_alive(pids.supervisor));
    let record = env.run_file("json");
    let written: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let edited = |qemu: Value| {
        let mut edited = written.clone();
        edited["qemu"] = qemu;
        std::fs::write(&record, serde_json::to_vec(&edited).unwrap()).unwrap();
    };

    // The guest lives, and the record names another process: with its own start time, and with the guest's.
    let start = start_of(sleeper.id());
    for start in [Value::from(start), written["qemu"]["start"].clone()] {
        edited(serde_json::json!({ "pid": sleeper.id(), "start": start }));
        for verb in ["run", "kill", "stop"] {
            let arguments: &[&str] = if verb == "run" { &["run", "-d", "web1"] } else { &[verb, "web1"] };
            drop(env.json(arguments).refused(5, "bundle.in_use"));
        }
        drop(env.start("web2").refused(5, "identity.in_use"));
        assert!(is_alive(sleeper.id()) && is_alive(pids.qemu));
    }

    // The guest is gone: nothing is taken for it, and the VM starts anew.
    send(pids.qemu, Signal::KILL);
    until("the guest is gone", || !is_alive(pids.qemu));
    edited(serde_json::json!({ "pid": sleeper.id(), "start": start }));
    drop(env.run(["kill", "web1"]));
    assert!(is_alive(sleeper.id()), "a stranger was killed");
    let again = env.started("web1");
    assert_ne!(again.qemu, sleeper.id());
    drop(env.run(["kill", "web1"]).ok());
    assert!(is_alive(sleeper.id()), "a stranger was killed");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

/// Field 22 of `/proc/PID/stat`.
fn start_of(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit(") ").next().unwrap();
    after.split(' ').nth(19).unwrap().parse().unwrap()
}

#[test]
fn hazard_the_record_is_damaged_or_gone() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    for damage in ["", "{", "gone"] {
        let pids = env.started("web1");
        send(pids.supervisor, Signal::KILL);
        until("the supervisor is gone", || !is_alive(pids.supervisor));
        let record = env.run_file("json");
        if damage == "gone" {
            std::fs::remove_file(&record).unwrap();
        } else {
            std::fs::write(&record, damage).unwrap();
        }
        drop(env.start("web2").refused(5, "identity.in_use"));
        drop(env.start("web1").refused(5, "bundle.in_use"));
        assert!(is_alive(pids.qemu), "what is not provably ours is not ended");
        send(pids.qemu, Signal::KILL);
        until("the guest is gone", || !is_alive(pids.qemu));
        env.started("web1");
        drop(env.run(["kill", "web1"]).ok());
        env.nothing_is_left();
    }
}
