//! What others do to the folder of locks.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::{TestEnv, User, may_be_others, set_mode};

const RUNNER: u32 = 54_322;
const NOBODY: u32 = 65_534;

/// The lock file of the only identity in the folder.
fn identity_lock(locks: &Path) -> PathBuf {
    let files = std::fs::read_dir(locks).unwrap().flatten().map(|entry| entry.path());
    let is_digest = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
    files.into_iter().find(is_digest).expect("there is a lock file")
}

/// A VM that ran once, so that its lock files are there.
fn ran_once(user: &User) -> PathBuf {
    user.create("web1");
    user.copy("web1", "web2");
    user.started("web1");
    drop(user.run(["kill", "web1"]).ok());
    user.folder("web1")
}

#[test]
fn hazard_the_folder_of_locks_is_wiped_while_a_vm_runs() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let watch = env.watch();
    let pids = env.started("web1");
    for entry in std::fs::read_dir(env.locks()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    drop(env.start("web2").refused(5, "identity.in_use"));
    std::fs::remove_dir_all(env.locks()).unwrap();
    drop(env.start("web2").refused(5, "identity.in_use"));
    drop(env.start("web1").refused(4, "vm.running"));
    // And with the supervisor gone as well, only the names in the kernel and the folder's own lock are left.
    crate::support::send(pids.supervisor, crate::support::Signal::KILL);
    crate::support::until("it is gone", || !crate::support::is_alive(pids.supervisor));
    std::fs::remove_dir_all(env.locks()).unwrap();
    drop(env.start("web2").refused(5, "identity.in_use"));
    assert_eq!(env.started("web1").qemu, pids.qemu);
    drop(env.run(["kill", "web1"]).ok());
    env.started("web2");
    watch.never_two();
}

#[test]
fn hazard_a_lock_file_is_replaced_while_a_vm_runs() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    env.started("web1");
    let lock = identity_lock(&env.locks());
    std::fs::remove_file(&lock).unwrap();
    std::fs::write(&lock, "").unwrap();
    drop(env.start("web2").refused(5, "identity.in_use"));
    drop(env.run(["kill", "web1"]).ok());
    env.started("web2");
}

#[test]
fn hazard_a_lock_file_is_a_link_a_folder_or_a_pipe() {
    let env = TestEnv::new();
    ran_once(&env);
    let lock = identity_lock(&env.locks());
    let target = env.root().join("target");
    std::fs::write(&target, "precious").unwrap();
    let damages: [(&str, &dyn Fn()); 4] = [
        ("symbolic link", &|| symlink(&target, &lock).unwrap()),
        ("symbolic link", &|| symlink("nowhere", &lock).unwrap()),
        ("folder", &|| std::fs::create_dir(&lock).unwrap()),
        ("no plain file", &|| {
            let mut pipe = std::process::Command::new("mkfifo");
            assert!(pipe.arg(&lock).status().unwrap().success());
        }),
    ];
    std::fs::remove_file(&lock).unwrap();
    for (what, damage) in damages {
        damage();
        let error = env.start("web1").refused(1, "lock.file");
        assert!(error["detail"].as_str().unwrap().contains(what), "{error}");
        assert!(error["hints"].to_string().contains("ls -l"), "{error}");
        env.nothing_is_left();
        if lock.is_dir() && !lock.is_symlink() {
            std::fs::remove_dir(&lock).unwrap();
        } else {
            std::fs::remove_file(&lock).unwrap();
        }
    }
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    env.started("web1");
}

#[test]
fn hazard_a_lock_file_cannot_be_read() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let runner = env.user(RUNNER);
    ran_once(&runner);
    let lock = identity_lock(&env.locks());
    env.give(&lock, NOBODY);
    set_mode(&lock, 0);
    let error = runner.start("web1").refused(1, "lock.file");
    assert!(error["causes"].to_string().contains("Permission denied"), "{error}");
    env.nothing_is_left();
    assert_eq!(runner.run_files(), Vec::<std::ffi::OsString>::new());
    // Only read: that is enough to lock it, and only the note about the holder is lost.
    set_mode(&lock, 0o444);
    runner.started("web1");
    drop(runner.start("web2").refused(5, "identity.in_use"));
    drop(runner.run(["kill", "web1"]).ok());
    // Another user's own, with the modes that selfsame gives.
    set_mode(&lock, 0o666);
    runner.started("web2");
}

#[test]
fn hazard_the_folder_of_locks_is_a_link_or_a_file() {
    let env = TestEnv::new();
    ran_once(&env);
    std::fs::remove_dir_all(env.locks()).unwrap();
    let elsewhere = env.root().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, env.locks()).unwrap();
    drop(env.start("web1").refused(1, "lock.place"));
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    std::fs::remove_file(env.locks()).unwrap();
    std::fs::write(env.locks(), "").unwrap();
    drop(env.start("web1").refused(1, "lock.place"));
    env.nothing_is_left();
    std::fs::remove_file(env.locks()).unwrap();
    env.started("web1");
}

#[test]
fn hazard_the_folder_of_locks_keeps_others_out() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let runner = env.user(RUNNER);
    ran_once(&runner);
    env.give(&env.locks(), NOBODY);
    for mode in [0o700, 0o755] {
        set_mode(&env.locks(), mode);
        drop(runner.start("web1").refused(1, "lock.place"));
        env.nothing_is_left();
    }
    // A folder that somebody named is opened to all by nobody but its owner's own hand, who need not know of it.
    let owner = env.user(NOBODY);
    owner.create("db");
    drop(owner.start("db").refused(1, "lock.place"));
    set_mode(&env.locks(), 0o1777);
    owner.started("db");
    runner.started("web1");
    drop(runner.start("web2").refused(5, "identity.in_use"));
}
