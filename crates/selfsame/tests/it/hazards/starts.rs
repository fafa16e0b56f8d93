//! A start that is interrupted by `kill -9` of the supervisor, at every moment from before its first lock to after its last
//! writing.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Signal, TestEnv, send, until};

#[test]
fn hazard_the_supervisor_is_killed_at_every_moment_of_a_start() {
    let env = TestEnv::new();
    env.create_with("web1", &["--disk-size", "1MiB"]);
    env.copy("web1", "web2");
    // So that the first round does not ask QEMU for its version.
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    let watch = env.watch();
    let (mut orphans, mut nothing, mut too_late) = (0, 0, 0);
    for delay in (0..=120).step_by(4) {
        let mut command = env.command(["run", "-d", "--paused", "web1"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        until("there is a supervisor", || {
            !env.supervisors().is_empty() || child.try_wait().unwrap().is_some()
        });
        std::thread::sleep(Duration::from_millis(delay));
        let supervisors = env.supervisors();
        for supervisor in &supervisors {
            send(supervisor.pid, Signal::KILL);
        }
        // A command whose supervisor dies says so, and does not hang.
        let status = child.wait().unwrap();
        too_late += usize::from(status.success());
        // A child of the killed one may be between fork and exec: what it becomes is settled when no `supervise` is left.
        until("no supervisor is left", || env.supervisors().is_empty());

        let alive = env.qemus();
        assert!(alive.len() <= 1, "{alive:?}");
        let twin = env.start("web2");
        if alive.is_empty() {
            nothing += 1;
            assert_eq!(twin.code(), 0, "after {delay} ms: nothing runs, and yet: {twin}");
            drop(env.run(["kill", "web2"]).ok());
        } else {
            orphans += 1;
            drop(twin.refused(5, "identity.in_use"));
        }
        let up = env.start("web1");
        assert_eq!(up.code(), 0, "after {delay} ms: {up}");
        let qemus = env.qemus();
        assert_eq!(qemus.len(), 1);
        if let Some(orphan) = alive.first() {
            assert_eq!(&qemus[0], orphan, "after {delay} ms: the guest was not taken over but replaced");
        }
        drop(env.run(["kill", "web1"]).ok());
        env.nothing_is_left();
    }
    watch.never_two();
    assert!(orphans > 0 && nothing > 0, "{orphans} orphans, {nothing} times nothing, {too_late} times up");
}
