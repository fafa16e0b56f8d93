//! `kill -9` of each of our processes, and what is left of the guest.

use std::process::Stdio;

use crate::support::{Signal, TestEnv, is_alive, send, until};

fn kill(pid: u32) {
    send(pid, Signal::KILL);
    until("the killed process is gone", || !is_alive(pid));
}

#[test]
fn hazard_the_supervisor_is_killed_and_run_takes_over() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let watch = env.watch();
    let before = env.started("web1");
    kill(before.supervisor);
    assert_eq!(env.state("web1"), "orphaned");
    drop(env.start("web2").refused(5, "identity.in_use"));
    let started = env.start("web1").ok().json();
    assert_eq!(started["status"]["adopted"], true);
    assert_eq!(started["status"]["backend_pid"], before.qemu, "the same guest");
    assert_ne!(started["status"]["supervisor_pid"], before.supervisor);
    drop(env.start("web1").refused(4, "vm.running"));
    drop(env.start("web2").refused(5, "identity.in_use"));
    assert!(env.events("web1").iter().any(|event| event["kind"] == "vm.adopted"));
    drop(env.run(["resume", "web1"]).ok());
    assert_eq!(env.state("web1"), "running");
    drop(env.run(["kill", "web1"]).ok());
    watch.never_two();
    env.nothing_is_left();
    env.started("web2");
}

#[test]
fn hazard_the_supervisor_is_killed_and_stop_takes_over() {
    let env = TestEnv::new();
    env.create("web1");
    for arguments in [&["stop", "-t", "0", "web1"][..], &["kill", "web1"]] {
        let pids = env.started("web1");
        kill(pids.supervisor);
        let told = env.json(arguments).ok().json();
        assert!(told["ended"]["cause"].is_string(), "{told}");
        assert!(!is_alive(pids.qemu));
        assert_eq!(env.state("web1"), "stopped");
        env.nothing_is_left();
    }
    let pids = env.started("web1");
    kill(pids.supervisor);
    drop(env.run(["pause", "web1"]).ok());
    assert_eq!(env.state("web1"), "paused");
    assert!(is_alive(pids.qemu));
}

#[test]
fn hazard_a_guest_ends_while_nobody_supervises_it() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let pids = env.started("web1");
    kill(pids.supervisor);
    drop(env.start("web2").refused(5, "identity.in_use"));
    kill(pids.qemu);
    assert_eq!(env.state("web1"), "stopped");
    drop(env.run(["stop", "web1"]).ok());
    // No command cleaned up: the twin simply starts, and then so does the VM itself.
    env.started("web2");
    drop(env.run(["kill", "web2"]).ok());
    env.started("web1");
    let last = env.json(["get", "web1"]).ok().json();
    assert_eq!(last["state"], "paused");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_qemu_is_killed() {
    let env = TestEnv::new();
    env.create("web1");
    env.copy("web1", "web2");
    let mut command = env.command(["run", "--paused", "web1"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    until("the VM runs", || env.state("web1") == "paused");
    let qemu = env.qemus().pop().unwrap();
    kill(qemu.pid);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a signal from outside ended its process"), "{said}");
    env.nothing_is_left();
    let events = env.events("web1");
    let ended = events.iter().find(|event| event["kind"] == "vm.ended").unwrap();
    assert_eq!(ended["data"]["cause"], "signal", "{ended}");
    assert_eq!(env.get("web1")["last_run"]["end"], "signal");
    env.started("web2");
}

#[test]
fn hazard_the_command_is_killed_while_the_vm_runs() {
    let env = TestEnv::new();
    env.create("web1");
    let mut command = env.command(["run", "--paused", "web1"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    until("the VM runs", || env.state("web1") == "paused");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(env.state("web1"), "paused", "a VM does not depend on the command that started it");
    drop(env.start("web1").refused(4, "vm.running"));
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_the_command_is_killed_while_the_vm_starts() {
    let env = TestEnv::new();
    env.create("web1");
    for delay in (0..60).step_by(6) {
        let mut command = env.command(["run", "-d", "--paused", "web1"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        // Either no supervisor was started yet, or it goes on by itself.
        let output = env.start("web1");
        assert!(output.code() == 0 || output.code() == 4, "{output}");
        assert_eq!(env.qemus().len(), 1);
        drop(env.run(["kill", "web1"]).ok());
        env.nothing_is_left();
    }
}

#[test]
fn hazard_the_supervisor_is_told_to_end() {
    let env = TestEnv::new();
    env.create("web1");
    let config = env.home.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[stop]\ntimeout_seconds = 0\n")).unwrap();
    for _ in 0..10 {
        // At once: the supervisor has only just told that the VM is up.
        let pids = env.started("web1");
        send(pids.supervisor, Signal::TERM);
        env.nothing_is_left();
    }
    assert_eq!(env.get("web1")["last_run"]["end"], "forced", "a signal stops the guest as `stop` does");
    env.started("web1");
}

#[test]
fn hazard_a_shell_captures_the_output_of_run() {
    let env = TestEnv::new();
    env.create("web1");
    let mut shell = env.other("sh");
    shell
        .arg("-c")
        .arg("out=$(\"$0\" run -d --paused web1 2>&1); echo \"status $? [$out]\"")
        .arg(&env.program);
    let began = std::time::Instant::now();
    let output = env.finish(shell).ok();
    assert!(output.stdout.starts_with("status 0 ["), "{output}");
    assert!(output.stdout.contains("web1 is running"), "{output}");
    assert!(began.elapsed().as_secs() < 30, "the shell waited for the VM");
    assert_eq!(env.state("web1"), "paused", "the VM lives on");
    // And through a pipe, whose other end waits for everybody who has it open.
    let mut shell = env.other("sh");
    shell
        .arg("-c")
        .arg("\"$0\" kill web1 2>&1 | cat; \"$0\" run -d --paused web1 2>&1 | cat")
        .arg(&env.program);
    drop(env.finish(shell).ok());
    assert_eq!(env.state("web1"), "paused");
}
