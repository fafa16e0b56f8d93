//! `run --rm`: the base stays as it is, and nothing of the run is left, whatever is killed.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::support::{Signal, TestEnv, is_alive, send, until};

const DISK: &str = "16MiB";

/// A base with something on its disk, and who it is made of.
fn base(env: &TestEnv) -> PathBuf {
    let folder = env.create_with("base", &["--disk-size", DISK]);
    fs::write(folder.join("Disk.img"), [7; 1 << 20]).unwrap();
    folder
}

/// The folders of VMs made for one run.
fn made(env: &TestEnv) -> Vec<PathBuf> {
    let vms = fs::read_dir(env.home.join("vms")).unwrap().flatten().map(|entry| entry.path());
    vms.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("rm-")).collect()
}

/// Begins one that stands still, and waits until it is up.
fn begun(env: &TestEnv) -> (Child, String) {
    let mut command = env.command(["run", "--rm", "--paused", "base"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("it is up", || env.supervisors().len() == 1 && !made(env).is_empty());
    let name = made(env)[0].file_stem().unwrap().to_string_lossy().into_owned();
    until("its supervisor answers", || env.state(&name) == "paused");
    (child, name)
}

fn nothing_is_left(env: &TestEnv) {
    until("it is deleted", || made(env).is_empty());
    env.nothing_is_left();
    assert_eq!(env.state("base"), "stopped");
    let doctor = env.run(["doctor"]);
    assert_ne!(doctor.code(), 1, "{doctor}");
    assert!(!doctor.stdout.contains("rm-"), "{doctor}");
}

#[test]
fn hazard_the_base_of_a_run_is_started_written_and_deleted() {
    let env = TestEnv::new();
    let folder = base(&env);
    let before = (fs::read(folder.join("Disk.img")).unwrap(), fs::read(folder.join("vm.toml")).unwrap());
    let (mut child, name) = begun(&env);
    let one = env.get(&name);
    assert_ne!(one["identity"], env.get("base")["identity"], "an identity of its own");
    assert_eq!(one["disks"][0]["format"], "qcow2");
    drop(env.start("base").refused(5, "disk.in_use"));
    drop(env.json(["delete", "--yes", "base"]).refused(5, "disk.in_use"));
    // A second one over the same base is nobody's trouble.
    let mut second = env.command(["run", "--rm", "--paused", "base"]);
    let mut second = second.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("both are up", || env.qemus().len() == 2);
    send(second.id(), Signal::KILL);
    second.wait().unwrap();
    until("one is left", || made(&env).len() == 1);
    drop(env.run(["kill", &name]).ok());
    child.wait().unwrap();
    nothing_is_left(&env);
    assert_eq!(
        before,
        (fs::read(folder.join("Disk.img")).unwrap(), fs::read(folder.join("vm.toml")).unwrap())
    );
    // Its identity was nobody's to keep.
    let identities = env.json(["identity", "list"]).ok().json();
    assert_eq!(identities["identities"].as_array().unwrap().len(), 1, "{identities}");
    env.started("base");
    drop(env.json(["run", "--rm", "base"]).refused(5, "disk.in_use"));
    drop(env.run(["suspend", "base"]).ok());
    drop(env.json(["run", "--rm", "base"]).refused(9, "request.denied"));
    assert_eq!(made(&env), Vec::<PathBuf>::new());
}

#[test]
fn hazard_everything_of_a_run_is_killed() {
    let env = TestEnv::new();
    base(&env);
    // The command: its supervisor ends the guest and deletes the VM, all by itself.
    let (mut child, _) = begun(&env);
    send(child.id(), Signal::KILL);
    child.wait().unwrap();
    nothing_is_left(&env);
    // The guest: the command ends.
    let (mut child, _) = begun(&env);
    send(env.qemus()[0].pid, Signal::KILL);
    assert!(!child.wait().unwrap().success());
    nothing_is_left(&env);
    // The supervisor: the command ends the guest, which nobody drives.
    let (mut child, _) = begun(&env);
    send(env.supervisors()[0].pid, Signal::KILL);
    assert!(!child.wait().unwrap().success());
    nothing_is_left(&env);
    // Command and supervisor: the guest stays, and the next command of this kind ends it.
    let (mut child, name) = begun(&env);
    let (supervisor, qemu) = (env.supervisors()[0].pid, env.qemus()[0].pid);
    send(child.id(), Signal::STOP);
    send(supervisor, Signal::KILL);
    send(child.id(), Signal::KILL);
    child.wait().unwrap();
    assert!(is_alive(qemu));
    assert_eq!(env.state(&name), "orphaned");
    let (mut next, _) = {
        let mut command = env.command(["run", "--rm", "--paused", "base"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the orphan has ended", || !is_alive(qemu));
        (child, ())
    };
    until("the next one is up", || env.qemus().len() == 1 && made(&env).len() == 1);
    send(next.id(), Signal::KILL);
    next.wait().unwrap();
    nothing_is_left(&env);
}

#[test]
fn hazard_a_command_is_run_where_none_can_be() {
    let env = TestEnv::new();
    base(&env);
    let refused = env.json(["run", "--rm", "--ready", "1s", "--net", "none", "base", "--", "true"]);
    assert_eq!(refused.status, Some(125), "{refused}");
    assert_eq!(refused.error()["code"], "request.timed_out", "{refused}");
    nothing_is_left(&env);
    let missing = env.json(["run", "--rm", "no-such-thing", "--", "true"]);
    assert_eq!((missing.status, &missing.error()["code"]), (Some(125), &"vm.not_found".into()), "{missing}");
    drop(env.json(["run", "base", "--", "true"]).refused(2, "usage.invalid"));
}

#[test]
fn hazard_an_image_is_the_base_of_a_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let env = TestEnv::new();
    let image = env.root().join("image.raw");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let mut command = env.command(["run", "--rm", "--paused"]);
    let command = command.arg(&image).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    until("it is up", || env.qemus().len() == 1 && made(&env).len() == 1);
    let folder = made(&env).remove(0);
    // OpenSSH takes no key that others may read; the guest is told of its public half.
    let mode = fs::metadata(folder.join("LoginKey")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let public = fs::read_to_string(folder.join("LoginKey.pub")).unwrap();
    let seed = String::from_utf8_lossy(&fs::read(folder.join("seed.img")).unwrap()).into_owned();
    assert!(seed.contains(public.split_whitespace().nth(1).unwrap()), "the seed has the key");
    let name = folder.file_stem().unwrap().to_str().unwrap().to_owned();
    drop(env.json(["suspend", &name]).refused(9, "request.denied"));
    send(child.id(), Signal::KILL);
    child.wait().unwrap();
    until("it is deleted", || made(&env).is_empty());
    env.nothing_is_left();
    assert_eq!(fs::read(&image).unwrap(), vec![0; 1 << 20]);
}
