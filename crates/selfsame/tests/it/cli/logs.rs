//! `selfsame logs`.

use std::process::Stdio;

use crate::support::{Pty, Sector, TestEnv, until};

#[test]
fn the_log_of_a_vm_is_shown_whether_it_runs_or_not() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let none = env.run(["logs", "web1"]).ok();
    assert_eq!((none.stdout.as_str(), none.stderr.contains("has no log of its console yet")), ("", true));
    std::fs::create_dir_all(folder.join("Logs")).unwrap();
    std::fs::write(folder.join("Logs/console.log"), "one\ntwo\x1b[2J\nthree\n").unwrap();
    assert_eq!(env.run(["logs", "web1"]).ok().stdout, "one\ntwo\x1b[2J\nthree\n");
    assert_eq!(env.run(["logs", "-n", "1", "web1"]).ok().stdout, "three\n");
    assert_eq!(env.run(["logs", "-n", "0", "web1"]).ok().stdout, "");
    let lines = env.json(["logs", "-n", "2", "web1"]).ok().stdout;
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            serde_json::json!({ "schema": "log/1", "log": "console", "line": "two\u{1b}[2J" }),
            serde_json::json!({ "schema": "log/1", "log": "console", "line": "three" }),
        ]
    );
    // A terminal is shown nothing that it would obey, unless that is wished.
    let mut pty = Pty::start(env.command(["logs", "web1"]));
    pty.shows("two\u{fffd}[2J\r\nthree");
    let mut pty = Pty::start(env.command(["logs", "--raw", "web1"]));
    pty.shows("two\u{1b}[2J\r\nthree");
    std::fs::write(folder.join("Logs/qemu.log"), "what QEMU said\n").unwrap();
    assert_eq!(env.run(["logs", "--qemu", "web1"]).ok().stdout, "what QEMU said\n");
    assert!(env.run(["logs", "--supervisor", "web1"]).ok().stderr.contains("no log of its supervisor yet"));
    let followed = env.run(["logs", "-f", "web1"]).ok();
    assert!(
        followed.stdout.ends_with("three\n") && followed.stderr.contains("nothing follows"),
        "{followed}"
    );
}

#[test]
fn a_log_is_followed_to_the_end_of_its_vm() {
    let env = TestEnv::new();
    let folder = Sector::Echo.create(&env, "web1", &[]);
    drop(env.run(["run", "-d", "web1"]).ok());
    let log = folder.join("Logs/console.log");
    until("the guest is up", || std::fs::read(&log).is_ok_and(|log| log == b"R"));
    let mut command = env.command(["logs", "-f", "web1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // It sleeps between what comes.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(11)?.parse::<u32>().ok())
    };
    std::thread::sleep(std::time::Duration::from_millis(500));
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(ticks(), before, "it looks again and again");
    let mut typing = env.other("sh");
    typing.arg("-c").arg("printf hello | \"$0\" console --linger 1 web1").arg(&env.program);
    drop(env.finish(typing).ok());
    drop(env.run(["kill", "web1"]).ok());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Rhello");
    assert!(String::from_utf8_lossy(&output.stderr).contains("web1 ended: "));
}
