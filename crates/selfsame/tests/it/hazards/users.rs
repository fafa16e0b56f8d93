//! Two users of one host: each with a home, both with a copy of one VM, and the locks in common.

use std::process::Command;

use crate::support::{TestEnv, User, may_be_others};

/// An id that no list of users has.
const NOBODY_AT_ALL: u32 = 54_321;
const NOBODY: u32 = 65_534;

fn copy_to(env: &TestEnv, name: &str, user: &User, uid: u32) {
    std::fs::create_dir_all(user.home.join("vms")).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(env.folder(name)).arg(user.folder(name));
    drop(env.finish(copy).ok());
    env.give(&user.home, uid);
}

fn two_users(uid: u32) {
    let env = TestEnv::new();
    env.create("web1");
    let other = env.user(uid);
    copy_to(&env, "web1", &other, uid);
    let watch = env.watch();
    let pairs: [(&User, &User); 2] = [(&env, &other), (&other, &env)];
    for (first, second) in pairs {
        first.started("web1");
        drop(second.start("web1").refused(5, "identity.in_use"));
        assert_eq!(env.qemus().len(), 1);
        let why = second.json(["why", "web1"]);
        assert_eq!(why.code(), 10, "{why}");
        drop(first.run(["kill", "web1"]).ok());
        second.started("web1");
        drop(second.run(["kill", "web1"]).ok());
    }
    watch.never_two();
    env.nothing_is_left();
}

#[test]
fn hazard_root_and_nobody_have_copies_of_one_vm() {
    if may_be_others() {
        two_users(NOBODY);
    }
}

#[test]
fn hazard_a_user_without_an_entry_has_a_copy() {
    if may_be_others() {
        two_users(NOBODY_AT_ALL);
    }
}

#[test]
fn hazard_another_user_made_the_lock_files() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    env.create("web1");
    let other = env.user(NOBODY);
    copy_to(&env, "web1", &other, NOBODY);
    // Root meets files of another user in a sticky folder, which the kernel lets nobody open with O_CREAT.
    other.started("web1");
    drop(other.run(["kill", "web1"]).ok());
    env.started("web1");
    drop(other.start("web1").refused(5, "identity.in_use"));
}

#[test]
fn hazard_root_starts_a_vm_that_another_user_runs() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let other = env.user(NOBODY);
    other.create("web1");
    let pids = other.started("web1");
    let path = other.folder("web1");
    let error = env.start(path.to_str().unwrap()).error();
    let code = error["code"].as_str().unwrap().to_owned();
    assert!(["vm.running", "bundle.in_use"].contains(&code.as_str()), "{error}");
    assert_eq!(env.qemus().iter().map(|qemu| qemu.pid).collect::<Vec<_>>(), [pids.qemu]);
    assert_eq!(other.state("web1"), "paused");
    drop(other.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}
