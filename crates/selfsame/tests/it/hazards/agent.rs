//! Agents in guests that do not do what they should. What a guest can be brought to do is tried with a real one here; agents
//! that lie in their answers are played in `crates/host/src/agent/tests.rs`.

use std::time::{Duration, Instant};

use crate::support::{Pids, Signal, TestEnv, is_alive, send, skipped, until};

/// What a guest's first process does before it becomes that of the test guest: with the agent's port it does `deed`.
fn create(env: &TestEnv, name: &str, deed: &str) {
    let files = &env.files;
    // The first port is the report's. It is there when the test guest has loaded its modules.
    let job = format!(
        "(while [ ! -e /dev/vport*p2 ]; do busybox sleep 0.1; done; p=$(echo /dev/vport*p2); {deed})"
    );
    let append = format!(
        "console=ttyS0 panic=-1 PATH=/bin rdinit=/bin/busybox -- sh -c \"PATH=/bin; {job} & exec /init\""
    );
    let mut command = env.command(["create", name, "--no-disk", "--memory", "256MiB", "--cpus", "1"]);
    command.arg("--kernel").arg(&files.kernel).arg("--initrd").arg(&files.initrd).arg("--append").arg(append);
    drop(env.finish(command).ok());
}

fn listens(env: &TestEnv, name: &str) -> bool {
    env.get(name)["status"]["agent"] == true
}

/// Waits until a guest that boots has its port open.
#[track_caller]
fn opened(env: &TestEnv, name: &str) {
    let began = Instant::now();
    let folder = env.folder(name);
    while !listens(env, name) {
        let console = std::fs::read(folder.join("Logs/console.log")).unwrap_or_default();
        assert!(began.elapsed().as_secs() < 90, "nothing opens it: {}", String::from_utf8_lossy(&console));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn hazard_there_is_no_agent_or_no_guest_that_could_answer() {
    let env = TestEnv::new();
    env.create("web1");
    // An error of ours is 125, and its object still tells which class of error it is.
    let refused = |arguments: &[&str], code: &str| {
        let output = env.json(arguments);
        assert_eq!(output.code(), 125, "{output}");
        assert_eq!(output.stdout, "", "{output}");
        let error = output.error();
        assert_eq!(error["code"], code, "{output}");
        error["hints"].to_string()
    };
    refused(&["exec", "nobody", "--", "true"], "vm.not_found");
    let hints = refused(&["exec", "web1", "--", "true"], "request.denied");
    assert!(hints.contains("selfsame run -d web1"), "{hints}");
    drop(env.json(["run", "-d", "web1"]).ok());
    assert!(!listens(&env, "web1"));
    let hints = refused(&["exec", "web1", "--", "echo", "a b"], "agent.none");
    assert!(hints.contains("selfsame ssh web1 -- echo 'a b'"), "{hints}");
    let began = Instant::now();
    refused(&["exec", "--wait=1500ms", "web1", "--", "true"], "agent.none");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(1500) && waited < Duration::from_secs(20), "{waited:?}");
    // It ends while somebody waits for its agent.
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| env.json(["exec", "--wait", "web1", "--", "true"]));
        std::thread::sleep(Duration::from_millis(500));
        drop(env.run(["kill", "web1"]).ok());
        waiting.join().unwrap()
    });
    assert_eq!(waiting.code(), 125, "{waiting}");
    assert_eq!(waiting.error()["code"], "request.denied", "{waiting}");
    env.started("web1");
    let hints = refused(&["exec", "web1", "--", "true"], "request.denied");
    assert!(hints.contains("selfsame resume web1"), "{hints}");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_an_agent_hangs_and_a_stop_goes_by_the_button() {
    let env = TestEnv::new();
    create(&env, "web1", "exec busybox sleep 9999 3<>$p");
    let pids = Pids::of(&env.json(["run", "-d", "web1"]).ok().json()["status"]);
    // Whoever waits for it is told as soon as it listens, and then waits in vain for its answer.
    let output = env.json(["exec", "--wait=1m", "--timeout", "1s", "web1", "--", "true"]);
    assert_eq!(output.code(), 124, "{output}");
    assert_eq!(output.error()["code"], "request.timed_out", "{output}");
    opened(&env, "web1");
    // The supervisor is killed while a command waits; the next one knows that an agent listens.
    let output = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| env.json(["exec", "--timeout", "3s", "web1", "--", "true"]));
        std::thread::sleep(Duration::from_millis(500));
        send(pids.supervisor, Signal::KILL);
        until("it is gone", || !is_alive(pids.supervisor));
        waiting.join().unwrap()
    });
    assert_eq!(output.code(), 124, "it needs no supervisor: {output}");
    drop(env.json(["run", "-d", "web1"]).ok());
    assert!(listens(&env, "web1"), "a successor asks QEMU");
    until("the guest is up", || {
        let console = std::fs::read(env.folder("web1").join("Logs/console.log")).unwrap_or_default();
        String::from_utf8_lossy(&console).contains("test guest ready")
    });
    let began = Instant::now();
    let stopped = env.json(["stop", "-t", "60", "web1"]).ok().json();
    assert_eq!(stopped["ended"]["cause"], "requested", "{stopped}");
    assert_eq!(stopped["ended"]["shutdown_by"], "button", "{stopped}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let last = env.events("web1").pop().unwrap();
    assert_eq!(last["data"]["shutdown_by"], "button", "{last}");
    env.nothing_is_left();
}

#[test]
fn hazard_an_agent_floods_and_the_guest_reboots_in_a_loop() {
    let env = TestEnv::new();
    // It says nothing but nonsense for two seconds, and then the machine is reset.
    let deed = "exec 3<>$p; busybox timeout 2 busybox yes nonsense >&3; busybox reboot -f";
    create(&env, "web1", deed);
    drop(env.json(["run", "-d", "web1"]).ok());
    opened(&env, "web1");
    let output = env.json(["exec", "--timeout", "20s", "web1", "--", "true"]);
    assert!([124, 125].contains(&output.code()), "{output}");
    until("it was reset", || !listens(&env, "web1"));
    opened(&env, "web1");
    let began = Instant::now();
    let stopped = env.json(["stop", "-t", "1", "web1"]).ok().json();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // The button may win in the moment between two boots.
    let by = stopped["ended"]["shutdown_by"].as_str().unwrap();
    assert!(["force", "button"].contains(&by), "{stopped}");
    if by == "force" {
        let told = stopped["ended"]["explanation"].as_str().unwrap();
        assert!(told.contains("forced: unwritten data may be lost"), "{told}");
    } else {
        skipped("the guest was quicker than its time");
    }
    env.nothing_is_left();
}
