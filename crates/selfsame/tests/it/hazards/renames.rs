//! Another name for a VM: the folder is the VM, and what is known of it follows.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Signal, TestEnv, send, together, until};

#[test]
fn hazard_a_vm_is_renamed_and_its_history_follows() {
    let env = TestEnv::new();
    let old = env.create("web1");
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    let before = env.get("web1");
    let renamed = env.json(["rename", "web1", "front"]).ok().json();
    assert_eq!((&renamed["from"], &renamed["name"]), (&"web1".into(), &"front".into()));
    assert!(!old.exists());
    let after = env.get("front");
    for key in ["digest", "mac_address", "machine", "last_run", "memory"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert!(!after["last_run"].is_null());
    drop(env.json(["get", "web1"]).refused(3, "vm.not_found"));
    assert!(env.events("front").iter().any(|event| event["kind"] == "vm.renamed"));
    // The last good start follows, too: another identifier is noticed under the new name.
    let other = env.create("other");
    fs::copy(other.join("MachineIdentifier"), env.folder("front").join("MachineIdentifier")).unwrap();
    drop(env.run(["delete", "--yes", "other"]).ok());
    drop(env.start("front").refused(9, "identity.changed"));
}

#[test]
fn hazard_a_name_that_is_taken_is_given() {
    let env = TestEnv::new();
    env.create("web1");
    let other = env.create("web2");
    let before = fs::read(other.join("MachineIdentifier")).unwrap();
    drop(env.json(["rename", "web1", "web2"]).refused(4, "vm.exists"));
    drop(env.json(["rename", "web1", "web1"]).refused(4, "vm.exists"));
    drop(env.run(["protect", "web2"]).ok());
    drop(env.json(["rename", "web1", "web2"]).refused(9, "vm.protected"));
    drop(env.json(["rename", "web1", "a/b"]).refused(2, "name.invalid"));
    drop(env.json(["rename", "nobody", "web3"]).refused(3, "vm.not_found"));
    fs::write(env.folder("web4"), "a file").unwrap();
    drop(env.json(["rename", "web1", "web4"]).refused(4, "file.exists"));
    std::os::unix::fs::symlink(&other, env.folder("alias")).unwrap();
    drop(env.json(["rename", "alias", "web5"]).refused(9, "request.denied"));
    assert_eq!(fs::read(other.join("MachineIdentifier")).unwrap(), before);
    assert!(env.folder("web1").join("vm.toml").exists());
    // Protection is about deletion: the VM itself may be called otherwise.
    drop(env.run(["rename", "web2", "web6"]).ok());
    drop(env.json(["delete", "--yes", "web6"]).refused(9, "vm.protected"));
}

#[test]
fn hazard_a_running_vm_is_renamed() {
    let env = TestEnv::new();
    env.create("web1");
    let pids = env.started("web1");
    drop(env.json(["rename", "web1", "front"]).refused(9, "request.denied"));
    // Without its supervisor it runs all the same.
    send(pids.supervisor, Signal::KILL);
    until("its supervisor is gone", || env.state("web1") == "orphaned");
    drop(env.json(["rename", "web1", "front"]).refused(9, "request.denied"));
    drop(env.run(["kill", "web1"]).ok());
    drop(env.run(["rename", "web1", "front"]).ok());
    env.started("front");
}

#[test]
fn hazard_a_rename_is_killed() {
    let env = TestEnv::new();
    env.create("a");
    env.started("a");
    drop(env.run(["kill", "a"]).ok());
    let before = env.get("a");
    let (mut now, mut next, mut killed) = ("a", "b", 0);
    for delay in 0..30_u64 {
        let mut command = env.command(["rename", now, next]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(delay * 300));
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().signal().is_some());
        if env.folder(next).exists() {
            (now, next) = (next, now);
        }
        assert!(env.folder(now).exists() && !env.folder(next).exists());
        let listed = env.json(["list"]).ok().json();
        assert_eq!(listed["vms"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(env.get(now)["last_run"], before["last_run"], "its history follows, whoever was killed");
    }
    assert!(killed > 3, "only {killed} were killed in time");
    drop(env.run(["rename", now, "c"]).ok());
    env.started("c");
}

#[test]
fn hazard_a_folder_is_renamed_by_hand() {
    let env = TestEnv::new();
    let old = env.create("web1");
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    drop(env.run(["list"]).ok());
    fs::rename(&old, env.folder("front")).unwrap();
    drop(env.run(["list"]).ok());
    assert!(!env.get("front")["last_run"].is_null());
}

#[test]
fn hazard_many_want_one_name() {
    let env = TestEnv::new();
    for index in 0..6 {
        env.create(&format!("web{index}"));
    }
    let codes = together(6, |index| env.run(["rename", &format!("web{index}"), "front"]).code());
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 4).count(), 5, "{codes:?}");
    assert_eq!(env.json(["list"]).ok().json()["vms"].as_array().unwrap().len(), 6);
}
