//! No room left.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{TestEnv, skipped};

/// A small file system in memory, mounted for one test.
pub(super) struct Small(pub(super) PathBuf);

impl Small {
    pub(super) fn mount(env: &TestEnv, size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("needs root to mount a small file system");
            return None;
        }
        let path = env.root().join("small");
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "small"]).arg(&path);
        if mount.output().is_ok_and(|output| output.status.success()) {
            Some(Self(path))
        } else {
            skipped("needs the right to mount, which root in a container may lack");
            None
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

#[test]
fn hazard_the_disk_is_full_while_a_vm_is_made() {
    let env = TestEnv::new();
    let image = env.root().join("image");
    std::fs::write(&image, vec![7; 4 << 20]).unwrap();
    let Some(small) = Small::mount(&env, "6m") else { return };
    let filler = small.0.join("filler");
    std::fs::write(&filler, vec![0; 3 << 20]).unwrap();
    let at = small.0.join("web1");
    let arguments = ["create", "web1", "--firmware", "bios", "--memory", "64MiB", "--disk"];
    let create = || {
        let mut command = env.command(["--format", "json"]);
        command.args(arguments).arg(&image).arg("--at").arg(&at);
        env.finish(command)
    };
    let error = create().refused(1, "file.failed");
    assert!(error["causes"].to_string().contains("No space left"), "{error}");
    let left: Vec<_> =
        std::fs::read_dir(&small.0).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["filler"], "no half VM");
    std::fs::remove_file(&filler).unwrap();
    drop(create().ok());
    env.started(at.to_str().unwrap());
    drop(env.run(["kill", at.to_str().unwrap()]).ok());
}

#[test]
fn hazard_the_disk_is_full_while_a_vm_is_suspended() {
    let env = TestEnv::new();
    let Some(small) = Small::mount(&env, "2m") else { return };
    let at = small.0.join("web1");
    let name = at.to_str().unwrap();
    env.create_with("web1", &["--no-disk", "--at", name]);
    let pids = env.started(name);
    drop(env.run(["resume", name]).ok());
    let filler = small.0.join("filler");
    let mut fill = Command::new("sh");
    fill.arg("-c").arg("cat /dev/zero >\"$0\" 2>/dev/null").arg(&filler);
    drop(fill.status());
    let error = env.json(["suspend", name]).refused(1, "qemu.failed");
    assert!(error["detail"].as_str().unwrap().contains("was not suspended, and is as before"), "{error}");
    assert!(error["hints"].to_string().contains("room"), "{error}");
    crate::support::until("it runs again", || env.state(name) == "running");
    assert!(!at.join("State").exists() && !at.join("State.new").exists(), "half a state is left");
    assert!(env.events(name).iter().any(|event| event["kind"] == "vm.state_failed"));
    // The same of one that stood still: it stands still again.
    drop(env.run(["pause", name]).ok());
    crate::support::until("it stands still", || env.state(name) == "paused");
    drop(env.json(["suspend", name]).refused(1, "qemu.failed"));
    crate::support::until("it stands still again", || env.state(name) == "paused");
    std::fs::remove_file(&filler).unwrap();
    drop(env.run(["suspend", name]).ok());
    assert!(!crate::support::is_alive(pids.qemu));
    env.started(name);
    drop(env.run(["kill", name]).ok());
}

#[test]
fn hazard_the_disk_of_the_home_is_full() {
    let env = TestEnv::new();
    let Some(small) = Small::mount(&env, "4m") else { return };
    let user = env.home("small/home");
    let folder = user.create("web1");
    let filler = small.0.join("filler");
    // As much as fits.
    let mut fill = Command::new("sh");
    fill.arg("-c").arg("cat /dev/zero >\"$0\" 2>/dev/null").arg(&filler);
    drop(fill.status());
    let refused = user.start("web1");
    assert_eq!(refused.code(), 1, "{refused}");
    let error = refused.error();
    let code = error["code"].as_str().unwrap().to_owned();
    assert!(code.starts_with("store.") || code.starts_with("file.") || code.starts_with("qemu."), "{error}");
    drop(user.run(["list"]).ok());
    std::fs::remove_file(&filler).unwrap();
    assert!(folder.join("MachineIdentifier").exists());
    user.started("web1");
    drop(user.run(["kill", "web1"]).ok());
    crate::support::until("all is gone", || env.qemus().is_empty() && env.supervisors().is_empty());
}
