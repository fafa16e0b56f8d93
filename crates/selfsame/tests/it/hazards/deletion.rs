//! Deleting what is no VM, or not only one: a path is quickly mistyped, and what is deleted is gone.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::TestEnv;

#[test]
fn hazard_a_folder_that_is_no_vm_is_deleted() {
    let env = TestEnv::new();
    let precious = env.root().join("precious");
    fs::create_dir_all(precious.join("deep")).unwrap();
    fs::write(precious.join("deep/thesis.txt"), "years").unwrap();
    let path = precious.to_str().unwrap();
    let error = env.json(["delete", "--yes", path]).refused(3, "vm.not_found");
    assert!(error["detail"].as_str().unwrap().contains("is no VM"), "{error}");
    // An identifier beside it does not make it a VM alone.
    fs::write(precious.join("MachineIdentifier"), "x").unwrap();
    let error = env.json(["delete", "--yes", path]).refused(9, "request.denied");
    assert!(error["detail"].as_str().unwrap().contains("deep"), "{error}");
    assert_eq!(fs::read(precious.join("deep/thesis.txt")).unwrap(), b"years");
}

#[test]
fn hazard_a_link_to_a_vm_is_deleted() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let link = folder.with_file_name("alias.vm");
    symlink(&folder, &link).unwrap();
    let error = env.json(["delete", "--yes", "alias"]).refused(9, "request.denied");
    assert!(error["detail"].as_str().unwrap().contains("is a link"), "{error}");
    assert!(folder.join("vm.toml").exists());
    drop(env.run(["delete", "--yes", "web1"]).ok());
    assert!(!folder.exists());
}

#[test]
fn hazard_a_vm_elsewhere_is_run_listed_and_deleted() {
    let env = TestEnv::new();
    let folder = env.root().join("elsewhere");
    let path = folder.to_str().unwrap();
    drop(
        env.run(["create", "p1", "--firmware", "bios", "--no-disk", "--memory", "64MiB", "--at", path]).ok(),
    );
    drop(env.json(["create", "p2", "--at", path]).refused(4, "file.exists"));
    drop(env.run(["run", "-d", "--paused", path]).ok());
    let listed = env.json(["list"]).ok().json();
    assert_eq!(listed["vms"][0]["path"], path, "what runs is listed wherever it lies");
    drop(env.json(["delete", "--yes", path]).refused(9, "request.denied"));
    drop(env.run(["kill", path]).ok());
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    drop(env.json(["delete", "--yes", path]).refused(9, "request.denied"));
    fs::remove_file(folder.join("notes.txt")).unwrap();
    drop(env.run(["delete", "--yes", path]).ok());
    assert!(!folder.exists());
}

#[test]
fn hazard_an_identifier_alone_is_run() {
    let env = TestEnv::new();
    let vm = env.create("web1");
    let folder = env.root().join("files");
    fs::create_dir(&folder).unwrap();
    fs::copy(vm.join("MachineIdentifier"), folder.join("MachineIdentifier")).unwrap();
    drop(env.json(["run", "-d", folder.to_str().unwrap()]).refused(1, "bundle.invalid"));
    assert_eq!(fs::read_dir(&folder).unwrap().flatten().filter(|e| e.file_name() != "Logs").count(), 1);
    env.nothing_is_left();
}

#[test]
fn hazard_the_output_cannot_be_written() {
    let env = TestEnv::new();
    drop(env.create("web1"));
    let mut command = env.command(["list", "--format", "json"]);
    command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(command.status().unwrap().code(), Some(1), "half a document must not look like a whole one");
}
