//! Stopping a VM in order to start it again: what would refuse the start is found before the stop where it can be.

use std::fs;

use crate::support::{Signal, TestEnv, send, until};

#[test]
fn hazard_a_vm_is_restarted() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let watch = env.watch();
    let before = env.started("web1");
    let restarted = env.json(["restart", "-t", "0", "--paused", "web1"]).ok().json();
    assert_eq!(restarted["ended"]["cause"], "forced", "{restarted}");
    assert_ne!(restarted["status"]["backend_pid"], before.qemu);
    assert_eq!(env.qemus().len(), 1);
    drop(env.start("web2").refused(5, "identity.in_use"));
    // An orphan is taken over, stopped and started.
    let pid = u32::try_from(restarted["status"]["supervisor_pid"].as_u64().unwrap()).unwrap();
    send(pid, Signal::KILL);
    until("its supervisor is gone", || env.state("web1") == "orphaned");
    let again = env.json(["restart", "-t", "0", "--paused", "web1"]).ok().json();
    assert_eq!(again["status"]["adopted"], false);
    drop(env.run(["kill", "web1"]).ok());
    // What does not run is started.
    let started = env.json(["restart", "--paused", "web1"]).ok().json();
    assert!(started["ended"].is_null(), "{started}");
    watch.never_two();
}

#[test]
fn hazard_a_vm_that_could_not_start_again_is_restarted() {
    let env = TestEnv::new();
    let path = env.create("web1").join("vm.toml");
    let pids = env.started("web1");
    let text = fs::read(&path).unwrap();
    fs::write(&path, "schema = 1\ncpu = 2\n").unwrap();
    drop(env.json(["restart", "-t", "0", "web1"]).refused(1, "bundle.invalid"));
    assert_eq!(env.qemus().iter().map(|qemu| qemu.pid).collect::<Vec<_>>(), [pids.qemu], "it runs on");
    fs::write(&path, text).unwrap();
    env.use_qemu("/no/such/qemu".as_ref());
    drop(env.json(["restart", "-t", "0", "web1"]).refused(1, "qemu.missing"));
    assert_eq!(env.state("web1"), "paused");
}

#[test]
fn hazard_a_vm_that_cannot_be_stopped_is_restarted() {
    let env = TestEnv::new();
    env.create("web1");
    let pids = env.started("web1");
    send(pids.supervisor, Signal::STOP);
    drop(env.json(["restart", "-t", "0", "web1"]).refused(1, "supervisor.unresponsive"));
    assert_eq!(
        env.qemus().iter().map(|qemu| qemu.pid).collect::<Vec<_>>(),
        [pids.qemu],
        "nothing was started"
    );
    send(pids.supervisor, Signal::CONT);
    assert_eq!(env.state("web1"), "paused");
}

#[test]
fn hazard_a_restarted_vm_cannot_start() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    env.started("web1");
    let other = env.create("other");
    fs::copy(other.join("MachineIdentifier"), folder.join("MachineIdentifier")).unwrap();
    let error = env.json(["restart", "-t", "0", "web1"]).refused(9, "identity.changed");
    let hints = error["hints"].as_array().unwrap();
    assert!(hints.iter().any(|hint| hint["text"].as_str().unwrap().contains("was stopped")), "{error}");
    env.nothing_is_left();
}
