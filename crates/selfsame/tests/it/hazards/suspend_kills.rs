//! `kill -9` of everything at every moment of a suspend and of going on: what is left is a VM that goes on from its state,
//! one that runs, or, where its QEMU was killed before the state was whole, one that was killed. Never two of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Pids, Signal, TestEnv, is_alive, send, until};

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Supervisor,
    Qemu,
    Both,
}

fn kill(victim: Victim, pids: Pids) {
    let doomed = match victim {
        Victim::Supervisor => vec![pids.supervisor],
        Victim::Qemu => vec![pids.qemu],
        Victim::Both => vec![pids.supervisor, pids.qemu],
    };
    doomed.iter().for_each(|pid| send(*pid, Signal::KILL));
    until("they are gone", || doomed.iter().all(|pid| !is_alive(*pid)));
}

fn copy(env: &TestEnv, from: &Path, to: &Path) {
    let mut command = env.other("cp");
    command.arg("-a").arg(from).arg(to);
    drop(env.finish(command).ok());
}

/// A VM that ran, and a copy of the state from which it would go on.
fn with_a_copy_of_its_state(env: &TestEnv) -> (PathBuf, PathBuf) {
    let folder = env.create("web1");
    env.started("web1");
    drop(env.run(["resume", "web1"]).ok());
    drop(env.run(["suspend", "web1"]).ok());
    let kept = env.root().join("state");
    copy(env, &folder.join("State"), &kept);
    (folder, kept)
}

/// Whatever it was left as, it can be run, and then runs alone with nothing left of a state.
#[track_caller]
fn runs(env: &TestEnv, when: &str) {
    // A suspend that was cut off by the death of its supervisor is brought to its end by the next one.
    for _ in 0..50 {
        let up = env.json(["run", "-d", "web1"]);
        match up.code() {
            0 if up.json()["status"]["phase"] != "suspending" => break,
            0 | 4 => std::thread::sleep(Duration::from_millis(20)),
            _ => panic!("{when}: {up}"),
        }
        if env.state("web1") == "running" {
            break;
        }
    }
    until("it runs", || {
        drop(env.run(["resume", "web1"]));
        env.state("web1") == "running"
    });
    assert_eq!(env.qemus().len(), 1, "{when}");
    let folder = env.folder("web1");
    until("no state is left", || ["State", "State.new"].iter().all(|part| !folder.join(part).exists()));
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_everything_is_killed_while_a_vm_is_suspended() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let watch = env.watch();
    for victim in [Victim::Supervisor, Victim::Qemu, Victim::Both] {
        for delay in [0, 4, 8, 13, 20, 30, 40, 50, 70, 100] {
            let when = format!("{victim:?} after {delay} ms");
            let pids = env.started("web1");
            drop(env.run(["resume", "web1"]).ok());
            let mut command = env.command(["suspend", "web1"]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut child = command.spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            // A command that lives gives an orphan another supervisor, and asks it again.
            if delay % 20 == 0 {
                child.kill().unwrap();
            }
            kill(victim, pids);
            child.wait().unwrap();
            // What looks whole is whole: it goes on. What is not whole is nothing.
            if folder.join("State").exists() {
                assert!(folder.join("State/state.toml").exists(), "{when}");
            }
            runs(&env, &when);
        }
    }
    watch.never_two();
}

#[test]
fn hazard_everything_is_killed_while_a_vm_goes_on() {
    let env = TestEnv::new();
    let (folder, kept) = with_a_copy_of_its_state(&env);
    let watch = env.watch();
    for victim in [Victim::Supervisor, Victim::Qemu, Victim::Both] {
        for delay in [5, 20, 35, 50, 65, 80, 100, 130] {
            let when = format!("{victim:?} after {delay} ms");
            if !folder.join("State").exists() {
                copy(&env, &kept, &folder.join("State"));
            }
            let mut command = env.command(["run", "-d", "web1"]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut child = command.spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            let of = |found: Vec<_>| found.first().map(|process: &crate::support::Process| process.pid);
            let (supervisor, qemu) = (of(env.supervisors()), of(env.qemus()));
            match (victim, supervisor, qemu) {
                (Victim::Supervisor | Victim::Both, Some(supervisor), None) => send(supervisor, Signal::KILL),
                (_, Some(supervisor), Some(qemu)) => kill(victim, Pids { supervisor, qemu }),
                (_, None, _) | (Victim::Qemu, Some(_), None) => {}
            }
            child.wait().unwrap();
            runs(&env, &when);
        }
    }
    watch.never_two();
}

#[test]
fn hazard_the_supervisor_is_killed_before_the_guest_stands_still() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let pids = env.started("web1");
    drop(env.run(["resume", "web1"]).ok());
    until("it runs", || env.state("web1") == "running");
    // A QEMU that gets on with it only when nobody waits any more.
    send(pids.qemu, Signal::STOP);
    let mut command = env.command(["suspend", "web1"]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    until("it is being suspended", || env.state("web1") == "suspending");
    child.kill().unwrap();
    child.wait().unwrap();
    kill(Victim::Supervisor, pids);
    send(pids.qemu, Signal::CONT);
    let again = env.json(["run", "-d", "web1"]).ok().json();
    assert_eq!(again["status"]["backend_pid"], pids.qemu);
    until("it runs as before", || env.state("web1") == "running");
    assert!(!folder.join("State").exists() && !folder.join("State.new").exists());
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_a_guest_runs_beside_the_state_that_it_came_from() {
    let env = TestEnv::new();
    let (folder, kept) = with_a_copy_of_its_state(&env);
    let pids = Pids::of(&env.json(["run", "-d", "web1"]).ok().json()["status"]);
    // As if the supervisor had been killed before it could remove the state.
    kill(Victim::Supervisor, pids);
    copy(&env, &kept, &folder.join("State"));
    let again = env.json(["run", "-d", "web1"]).ok().json();
    assert_eq!(again["status"]["backend_pid"], pids.qemu, "the guest that runs counts");
    assert!(!folder.join("State").exists());
    drop(env.run(["kill", "web1"]).ok());
}

#[test]
fn hazard_a_guest_stands_still_beside_a_whole_state() {
    let env = TestEnv::new();
    let (folder, kept) = with_a_copy_of_its_state(&env);
    for (asked, after) in [(&["run", "-d", "web1"][..], "running"), (&["stop", "web1"], "suspended")] {
        if !folder.join("State").exists() {
            copy(&env, &kept, &folder.join("State"));
        }
        let pids = env.started("web1");
        // As if it had been killed after the state was whole, or before the guest went on.
        kill(Victim::Supervisor, pids);
        assert!(folder.join("State").exists());
        drop(env.run(asked).ok());
        assert!(!is_alive(pids.qemu), "the state counts");
        assert_eq!(env.state("web1"), after);
        drop(env.run(["kill", "web1"]).ok());
    }
    // What its killed supervisor left in `run/`, the next one clears away.
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_half_a_state_is_left() {
    let env = TestEnv::new();
    let (folder, kept) = with_a_copy_of_its_state(&env);
    for part in ["State.new", "State.old"] {
        std::fs::remove_dir_all(folder.join("State")).ok();
        copy(&env, &kept, &folder.join(part));
        assert_eq!(env.state("web1"), "stopped");
        let up = env.start("web1").ok();
        assert!(!up.stderr.contains("goes on"), "{up}");
        assert!(!folder.join(part).exists());
        drop(env.run(["kill", "web1"]).ok());
    }
    env.nothing_is_left();
}

#[test]
fn hazard_a_state_is_begun_by_nobody_in_a_guest_that_went_on_from_one() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    env.started("web1");
    drop(env.run(["suspend", "web1"]).ok());
    // It stands still, and its QEMU calls the reading of its state completed from now on.
    let pids = env.started("web1");
    drop(env.run(["resume", "web1"]).ok());
    drop(env.run(["pause", "web1"]).ok());
    // A supervisor is killed between making the file and having it written.
    send(pids.supervisor, Signal::KILL);
    until("it is gone", || !is_alive(pids.supervisor));
    std::fs::create_dir(folder.join("State.new")).unwrap();
    std::fs::write(folder.join("State.new/memory"), b"").unwrap();
    drop(env.start("web1").ok());
    until("that came to nothing", || !folder.join("State.new").exists());
    assert!(!folder.join("State").exists(), "an empty file was taken for a state");
    assert_eq!(env.state("web1"), "paused");
    drop(env.run(["suspend", "web1"]).ok());
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}
