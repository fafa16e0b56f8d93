//! UEFI guests without anything to boot: what becomes of their variables.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::{TestEnv, User};

fn create(user: &User, name: &str) -> std::path::PathBuf {
    let arguments = ["create", name, "--disk-size", "1MiB", "--memory", "128MiB", "--cpus", "1"];
    drop(user.run(arguments).ok());
    user.folder(name)
}

/// The firmware of the tests' QEMU: the host's, where it is installed.
fn firmware() -> bool {
    let known = ["/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"];
    let there = known.iter().any(|path| Path::new(path).exists());
    if !there {
        crate::support::skipped("needs UEFI firmware (package ovmf)");
    }
    there
}

#[test]
fn a_uefi_guest_gets_variables_of_its_own_and_is_forced_to_end() {
    if !firmware() {
        return;
    }
    let env = TestEnv::new();
    let folder = create(&env, "web1");
    drop(env.run(["run", "-d", "web1"]).ok());
    let variables = folder.join("NVRAM").metadata().unwrap();
    assert!(variables.len() > 100_000, "{variables:?}");
    assert!(variables.blocks() * 512 <= variables.len() + 4096, "holes are kept");
    let stopped = env.json(["stop", "-t", "1", "web1"]).ok().json();
    assert_eq!(stopped["ended"]["cause"], "forced", "{stopped}");
    env.nothing_is_left();
    let other = create(&env, "db");
    drop(env.run(["run", "-d", "--paused", "db"]).ok());
    assert_ne!(other.join("NVRAM").metadata().unwrap().ino(), variables.ino());
}

#[test]
fn hazard_two_vms_have_one_file_of_variables() {
    if !firmware() {
        return;
    }
    let env = TestEnv::new();
    let folder = create(&env, "web1");
    let other = create(&env, "db");
    env.started("web1");
    std::fs::hard_link(folder.join("NVRAM"), other.join("NVRAM")).unwrap();
    let error = env.start("db").refused(5, "disk.in_use");
    assert!(error["detail"].as_str().unwrap().contains("NVRAM"), "{error}");
    drop(env.run(["kill", "web1"]).ok());
    env.started("db");
    drop(env.start("web1").refused(5, "disk.in_use"));
}
