//! Folders that are copied, linked and moved by hand.

use std::process::Command;

use crate::support::TestEnv;

#[test]
fn hazard_a_copy_is_refused_in_either_order() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    for (first, second) in [("web1", "web2"), ("web2", "web1")] {
        env.started(first);
        let error = env.start(second).refused(5, "identity.in_use");
        let told = error["detail"].as_str().unwrap();
        assert!(told.contains(&format!("{second} is a twin of {first}, and {first} is running")), "{told}");
        assert_eq!(env.qemus().len(), 1);
        assert_eq!(env.state(first), "paused", "the one that runs is not disturbed");
        drop(env.run(["kill", first]).ok());
    }
    env.started("web2");
}

#[test]
fn hazard_a_symbolic_link_is_the_same_vm() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    std::os::unix::fs::symlink(&folder, env.folder("link")).unwrap();
    let elsewhere = env.root().join("elsewhere");
    std::os::unix::fs::symlink(&folder, &elsewhere).unwrap();
    env.started("web1");
    drop(env.start("link").refused(4, "vm.running"));
    drop(env.start(elsewhere.to_str().unwrap()).refused(4, "vm.running"));
    assert_eq!(env.state("link"), "paused");
    drop(env.run(["kill", "link"]).ok());
    assert_eq!(env.state("web1"), "stopped");
    env.started("link");
    drop(env.start("web1").refused(4, "vm.running"));
}

#[test]
fn hazard_a_copy_of_hard_links_is_a_twin() {
    let env = TestEnv::new();
    let folder = env.create_with("web1", &["--disk-size", "1MiB"]);
    let mut copy = Command::new("cp");
    copy.arg("-rl").arg(&folder).arg(env.folder("web2"));
    drop(env.finish(copy).ok());
    for (first, second) in [("web1", "web2"), ("web2", "web1")] {
        env.started(first);
        drop(env.start(second).refused(5, "identity.in_use"));
        drop(env.run(["kill", first]).ok());
    }
}

#[test]
fn hazard_a_linked_disk_under_another_identity_is_in_use() {
    let env = TestEnv::new();
    let folder = env.create_with("web1", &["--disk-size", "1MiB"]);
    let other = env.create_with("db", &["--disk-size", "1MiB"]);
    std::fs::remove_file(other.join("Disk.img")).unwrap();
    std::fs::hard_link(folder.join("Disk.img"), other.join("Disk.img")).unwrap();
    let pids = env.started("web1");
    let error = env.start("db").refused(5, "disk.in_use");
    let told = error["detail"].as_str().unwrap();
    assert!(told.contains("Disk.img") && told.contains(&format!("pid {}", pids.qemu)), "{told}");
    drop(env.run(["kill", "web1"]).ok());
    env.started("db");
}

#[test]
fn hazard_a_folder_is_renamed_while_it_runs() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    env.copy("web1", "copy");
    let pids = env.started("web1");
    std::fs::rename(&folder, env.folder("new")).unwrap();
    drop(env.json(["get", "web1"]).refused(3, "vm.not_found"));
    assert_eq!(env.state("new"), "paused", "the supervisor is found under the new name");
    drop(env.start("new").refused(4, "vm.running"));
    drop(env.start("copy").refused(5, "identity.in_use"));
    // The old name is free, and what is put there is a twin all the same.
    env.copy("copy", "web1");
    drop(env.start("web1").refused(5, "identity.in_use"));
    assert_eq!(env.qemus().iter().map(|qemu| qemu.pid).collect::<Vec<_>>(), [pids.qemu]);
    drop(env.run(["kill", "new"]).ok());
    env.started("copy");
}

#[test]
fn hazard_a_folder_is_renamed_while_its_supervisor_is_gone() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    env.copy("web1", "copy");
    let pids = env.started("web1");
    crate::support::send(pids.supervisor, crate::support::Signal::KILL);
    crate::support::until("the supervisor is gone", || !crate::support::is_alive(pids.supervisor));
    std::fs::rename(&folder, env.folder("new")).unwrap();
    drop(env.start("copy").refused(5, "identity.in_use"));
    assert_eq!(env.started("new").qemu, pids.qemu, "the same guest was taken over under its new name");
    drop(env.run(["kill", "new"]).ok());
    env.nothing_is_left();
}
