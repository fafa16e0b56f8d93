//! VMs that somebody else runs, and twins of which nobody can tell.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::{TestEnv, may_be_others, set_mode, until};

const RUNNER: u32 = 54_323;

/// A QEMU that a person started by hand.
struct ByHand(Child);

impl ByHand {
    fn on(env: &TestEnv, disk: &Path, read_only: bool) -> Self {
        let node = format!(
            "{{\"driver\":\"file\",\"filename\":\"{}\",\"node-name\":\"d0\",\"read-only\":{}}}",
            disk.display(),
            read_only
        );
        let mut command = env.other(&env.files.qemu);
        command
            .args(["-S", "-machine", "q35", "-nodefaults", "-display", "none", "-m", "64", "-blockdev"])
            .arg(node)
            .args(["-device", "virtio-blk-pci,drive=d0"])
            .stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let inode = std::fs::metadata(disk).unwrap().ino();
        until("QEMU has locked the disk", || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains(&format!(":{inode} ")))
        });
        Self(child)
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn hazard_a_qemu_was_started_by_hand_on_a_copy() {
    let env = TestEnv::new();
    env.create_with("web1", &["--disk-size", "1MiB"]);
    let copy = env.copy("web1", "web2");
    let disk = copy.join("Disk.img");
    let stranger = ByHand::on(&env, &disk, false);
    let error = env.start("web1").refused(5, "identity.in_use");
    let told = error["detail"].as_str().unwrap();
    assert!(told.contains("web2 is a twin of web1"), "{told}");
    assert!(told.contains("qemu-system") && told.contains(&format!("pid {}", stranger.0.id())), "{told}");
    let why = env.json(["why", "web1"]);
    assert_eq!(why.code(), 10, "{why}");
    assert_eq!(env.qemus().len(), 1);
    drop(stranger);
    env.started("web1");
}

#[test]
fn hazard_a_qemu_was_started_by_hand_on_the_vms_own_disk() {
    let env = TestEnv::new();
    let folder = env.create_with("web1", &["--disk-size", "1MiB"]);
    let stranger = ByHand::on(&env, &folder.join("Disk.img"), false);
    let error = env.start("web1").refused(5, "disk.in_use");
    let told = error["detail"].as_str().unwrap();
    assert!(told.contains(&format!("pid {}", stranger.0.id())), "{told}");
    drop(stranger);
    env.started("web1");
}

#[test]
fn hazard_a_qemu_that_only_reads_is_in_nobodys_way() {
    let env = TestEnv::new();
    env.create_with("web1", &["--disk-size", "1MiB"]);
    let copy = env.copy("web1", "web2");
    let _reader = ByHand::on(&env, &copy.join("Disk.img"), true);
    env.started("web1");
}

#[test]
fn hazard_a_twin_cannot_be_asked_about() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let runner = env.user(RUNNER);
    runner.create_with("web1", &["--disk-size", "1MiB"]);
    let twin = runner.copy("web1", "web2");
    drop(runner.run(["list"]).ok());
    // Known as a twin, and then closed: first a disk, then the whole folder.
    env.give(&twin.join("Disk.img"), 0);
    set_mode(&twin.join("Disk.img"), 0o600);
    let closings: [&dyn Fn(); 2] = [&|| (), &|| {
        env.give(&twin, 0);
        set_mode(&twin, 0o700);
    }];
    for close in closings {
        close();
        let error = runner.start("web1").refused(5, "identity.unknown");
        let hints = error["hints"].to_string();
        assert!(hints.contains("sudo selfsame why web1") && hints.contains("--despite"), "{hints}");
        // Looking at it does not make anybody forget who it is.
        drop(runner.run(["list"]).ok());
        drop(runner.start("web1").refused(5, "identity.unknown"));
        env.nothing_is_left();
        let path = twin.to_str().unwrap();
        let up = runner.json(["run", "-d", "--paused", "web1", "--despite", path]).ok();
        assert!(up.stderr.contains("despite the twin"), "{up}");
        let events = runner.events("web1");
        assert!(events.iter().any(|event| event["data"]["despite"][0] == path), "it is written down");
        // Whoever restarts it has that word; whoever starts it again later has not.
        let again = runner.json(["restart", "-t", "0", "--paused", "web1"]).ok();
        assert!(again.stderr.contains("despite the twin"), "{again}");
        drop(runner.run(["kill", "web1"]).ok());
        drop(runner.json(["restart", "--paused", "web1"]).refused(5, "identity.unknown"));
    }
    // Gone is not unknown.
    std::fs::remove_dir_all(&twin).unwrap();
    runner.started("web1");
}

#[test]
fn hazard_a_twin_is_broken_and_running() {
    let env = TestEnv::new();
    env.create_with("web1", &["--disk-size", "1MiB"]);
    let twin = env.copy("web1", "web2");
    std::fs::write(twin.join("vm.toml"), "cpus = \n").unwrap();
    let stranger = ByHand::on(&env, &twin.join("Disk.img"), false);
    for _ in 0..2 {
        drop(env.run(["list"]).ok());
        drop(env.start("web1").refused(5, "identity.unknown"));
    }
    drop(stranger);
    std::fs::remove_file(twin.join("vm.toml")).unwrap();
    env.started("web1");
}

#[test]
fn hazard_two_identities_have_one_mac_address() {
    let env = TestEnv::new();
    let mac = ["--no-disk", "--mac-address", "52:54:00:12:34:56"];
    env.create_with("web1", &mac);
    env.create_with("db", &mac);
    env.started("web1");
    let error = env.start("db").refused(5, "mac.in_use");
    let told = error["detail"].as_str().unwrap();
    assert!(told.contains("52:54:00:12:34:56") && told.contains("web1"), "{told}");
    drop(env.run(["kill", "web1"]).ok());
    env.started("db");
    drop(env.start("web1").refused(5, "mac.in_use"));
}

#[test]
fn hazard_one_vm_is_used_from_two_homes() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let other = env.home("other-home");
    let path = folder.to_str().unwrap();
    let pids = env.started("web1");
    let refused = other.start(path);
    assert!([4, 5].contains(&refused.code()), "{refused}");
    assert_eq!(other.state(path), "foreign");
    // An orphan of one home is not adopted from another: its record and its sockets are not there.
    crate::support::send(pids.supervisor, crate::support::Signal::KILL);
    until("it is gone", || !crate::support::is_alive(pids.supervisor));
    drop(other.start(path).refused(5, "bundle.in_use"));
    assert_eq!(env.started("web1").qemu, pids.qemu);
    drop(env.run(["kill", "web1"]).ok());
    drop(other.start(path).ok());
    drop(env.start("web1"));
    assert_eq!(env.qemus().len(), 1);
}
