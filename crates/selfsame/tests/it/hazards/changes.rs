//! Changing what a VM is made of: what people wrote stays, and a change is made whole or not at all.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{TestEnv, together};

#[test]
fn hazard_a_vm_toml_with_comments_is_changed() {
    let env = TestEnv::new();
    let path = env.create("web1").join("vm.toml");
    let written = fs::read_to_string(&path).unwrap();
    let mine = format!("# the front door\n{}", written.replace("cpus = 1", "cpus = 1 # slow"));
    fs::write(&path, &mine).unwrap();
    let changed = env.json(["set", "web1", "--cpus", "2", "--memory", "128MiB"]).ok().json();
    assert_eq!((&changed["cpus"], &changed["memory"]), (&2.into(), &(128 << 20).into()));
    assert_eq!(changed["awaits_start"], false);
    let expected = mine.replace("cpus = 1 #", "cpus = 2 #").replace("\"64MiB\"", "\"128MiB\"");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    // `auto` takes the address out: the one that follows from the identity counts.
    let before = env.get("web1")["mac_address"].clone();
    drop(env.run(["set", "web1", "--mac-address", "auto"]).ok());
    assert!(!fs::read_to_string(&path).unwrap().contains("mac_address"));
    assert_ne!(env.get("web1")["mac_address"], before);
    drop(env.run(["set", "web1", "--mac-address", before.as_str().unwrap(), "--label", "front-door"]).ok());
    assert_eq!(env.get("web1")["mac_address"], before);
    assert_eq!(env.json(["identity", "show", "web1"]).ok().json()["label"], "front-door");
    // The next start sees it, and adds its machine type without a loss.
    env.started("web1");
    assert!(fs::read_to_string(&path).unwrap().contains("cpus = 2 # slow"));
    assert!(!env.get("web1")["machine"].is_null());
}

#[test]
fn hazard_a_running_vm_is_changed() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    env.started("web1");
    let said = env.run(["set", "web1", "--memory", "96MiB", "--mac-address", "auto"]).ok();
    assert!(said.stderr.contains("at its next start"), "{said}");
    assert_eq!(env.state("web1"), "paused");
    drop(env.start("web2").refused(5, "identity.in_use"));
    drop(env.run(["kill", "web1"]).ok());
    env.started("web1");
    let qemu = env.qemus().pop().unwrap();
    assert!(qemu.arguments.iter().any(|word| word == "size=100663296B"), "{qemu:?}");
}

#[test]
fn hazard_a_change_that_cannot_be_changes_nothing() {
    let env = TestEnv::new();
    let path = env.create("web1").join("vm.toml");
    env.create("web2");
    drop(env.run(["identity", "set", "web2", "--label", "taken"]).ok());
    let before = fs::read(&path).unwrap();
    let calls: [(i32, &str, &[&str]); 8] = [
        (2, "usage.invalid", &["--cpus", "0"]),
        (2, "usage.invalid", &["--cpus", "257"]),
        (2, "usage.invalid", &["--memory", "16MiB"]),
        (2, "size.invalid", &["--memory", "much"]),
        (2, "mac.invalid", &["--mac-address", "ff:ff:ff:ff:ff:ff"]),
        (9, "backend.unavailable", &["--cpus", "2", "--memory", "16TiB"]),
        (4, "identity.exists", &["--cpus", "2", "--label", "taken"]),
        (2, "usage.invalid", &["--cpus", "2", "--label", "uuid:x"]),
    ];
    for (status, code, arguments) in calls {
        drop(env.json(["set", "web1"].iter().chain(arguments)).refused(status, code));
        assert_eq!(fs::read(&path).unwrap(), before, "{arguments:?}");
    }
    drop(env.json(["set", "web1"]).refused(2, "usage.invalid"));
    assert!(env.json(["identity", "show", "web1"]).ok().json()["label"].is_null());
    // A file with a mistake is its author's to mend.
    fs::write(&path, "schema = 1\ncpu = 2\n").unwrap();
    drop(env.json(["set", "web1", "--cpus", "2"]).refused(1, "bundle.invalid"));
    assert_eq!(fs::read(&path).unwrap(), b"schema = 1\ncpu = 2\n");
}

#[test]
fn hazard_many_change_one_vm_at_once() {
    let env = TestEnv::new();
    let path = env.create("web1").join("vm.toml");
    let calls: [&[&str]; 4] =
        [&["--cpus", "2"], &["--memory", "80MiB"], &["--protect", "on"], &["--mac-address", "auto"]];
    together(calls.len(), |index| drop(env.run(["set", "web1"].iter().chain(calls[index])).ok()));
    let now = env.get("web1");
    assert_eq!((&now["cpus"], &now["memory"]), (&2.into(), &(80 << 20).into()), "{now}");
    assert_eq!(now["protected"], true);
    assert!(!fs::read_to_string(path).unwrap().contains("mac_address"));
}

#[test]
fn hazard_a_change_is_killed() {
    let env = TestEnv::new();
    env.create("web1");
    let mut killed = 0;
    for delay in 0..40_u64 {
        let cpus = (2 + delay % 4).to_string();
        let mut command = env.command(["set", "web1", "--cpus", &cpus]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(delay * 250));
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().signal().is_some());
        let now = env.get("web1");
        assert!(now["cpus"].as_u64().is_some_and(|cpus| (1..=5).contains(&cpus)), "{now}");
    }
    assert!(killed > 5, "only {killed} were killed in time");
    drop(env.run(["set", "web1", "--cpus", "7"]).ok());
    assert_eq!(env.get("web1")["cpus"], 7);
}

#[test]
fn hazard_a_protected_vm_is_deleted() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    drop(env.run(["protect", "web1"]).ok());
    assert_eq!(env.get("web1")["protected"], true);
    let refused = || {
        let error = env.json(["delete", "--yes", "web1"]).refused(9, "vm.protected");
        assert_eq!(error["hints"][0]["command"], "selfsame protect --off web1", "{error}");
        assert!(folder.join("MachineIdentifier").exists());
    };
    refused();
    // A mistake in another line lifts nothing.
    let path = folder.join("vm.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("cpu = ???\n{text}")).unwrap();
    refused();
    fs::write(&path, &text).unwrap();
    // It goes with a copy, and it is no lock: the VM runs and is changed as ever.
    env.copy("web1", "web2");
    drop(env.json(["delete", "--yes", "web2"]).refused(9, "vm.protected"));
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    drop(env.run(["protect", "--off", "web1"]).ok());
    drop(env.run(["delete", "--yes", "web1"]).ok());
    assert!(!folder.exists());
    env.nothing_is_left();
}
