//! A console that is flooded from either side, and what lies in the place of its log.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::disk_full::Small;
use crate::support::{Sector, Signal, TestEnv, is_alive, send, until};

/// Who speaks to the supervisor itself, and is attached if it lets them.
fn attach(env: &TestEnv, read_only: bool) -> (UnixStream, Value) {
    let mut stream = UnixStream::connect(env.run_file("sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let want = serde_json::json!({ "console": { "tail": 4096, "read_only": read_only } });
    let call = serde_json::json!({ "protocol": 1, "want": want });
    stream.write_all(format!("{call}\n").as_bytes()).unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    let mut lines = 0;
    while lines < 2 {
        stream.read_exact(&mut byte).unwrap();
        lines += u32::from(byte[0] == b'\n');
        if lines == 1 {
            line.push(byte[0]);
        }
    }
    (stream, serde_json::from_slice(&line).unwrap_or_default())
}

/// Memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The time that a process has worked, in ticks.
fn worked(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn hazard_a_guest_floods_its_console() {
    let env = TestEnv::new();
    let folder = Sector::Flood.create(&env, "web1", &[]);
    // Nearly as long as it may be, from runs before.
    let (log, old) = (folder.join("Logs/console.log"), folder.join("Logs/console.log.1"));
    std::fs::create_dir_all(folder.join("Logs")).unwrap();
    std::fs::write(&log, vec![b'x'; (16 << 20) - 1000]).unwrap();
    drop(env.run(["run", "-d", "web1"]).ok());
    // One never reads, one hangs up, one reads.
    let (deaf, _) = attach(&env, false);
    let (brief, _) = attach(&env, true);
    drop(brief);
    let (mut reader, attached) = attach(&env, true);
    assert_eq!(attached, "attached");
    let mut chunk = vec![0; 10_000];
    reader.read_exact(&mut chunk).unwrap();
    let at = chunk.iter().position(|byte| *byte == b'A').unwrap();
    let in_turn = chunk[at..].iter().zip((0..=255).cycle().skip(usize::from(b'A')));
    assert!({ in_turn }.all(|(byte, expected)| *byte == expected), "bytes are missing");
    until("the log was cut", || old.exists());
    // As much as is kept, and what the guest wrote while it was copied.
    assert!((16 << 20..17 << 20).contains(&std::fs::metadata(&old).unwrap().len()));
    assert!(std::fs::metadata(&log).unwrap().len() < 1 << 20);
    let began = Instant::now();
    assert_eq!(env.state("web1"), "running");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let grown = std::fs::metadata(&log).unwrap().len();
    until("the log goes on", || std::fs::metadata(&log).unwrap().len() > grown);
    let pid = env.supervisors()[0].pid;
    assert!(resident(pid) < 64 << 10, "{} KiB", resident(pid));
    drop(deaf);
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_a_keyboard_is_flooded_that_nobody_reads() {
    let env = TestEnv::new();
    env.create("web1");
    let pids = env.started("web1");
    // A gigabyte of keys for a guest that stands still: what nobody takes stays with who typed it.
    let mut command = env.other("sh");
    command.arg("-c").arg("head -c 1000000000 /dev/zero | \"$0\" console web1").arg(&env.program);
    let mut flood = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stream, _) = attach(&env, false);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let junk: Vec<u8> = (0..1 << 20).map(|index: u64| (index * 7919 % 251) as u8).collect();
    let mut sent = 0;
    while let Ok(count @ 1..) = stream.write(&junk) {
        sent += count;
        assert!(sent < 16 << 20, "it goes on taking");
    }
    assert_eq!(env.state("web1"), "paused");
    assert!(resident(pids.supervisor) < 64 << 10, "{} KiB", resident(pids.supervisor));
    // Who hangs up while nothing can be taken does not keep the supervisor awake.
    drop(stream);
    std::thread::sleep(Duration::from_millis(200));
    let before = worked(pids.supervisor);
    std::thread::sleep(Duration::from_secs(1));
    assert!(worked(pids.supervisor) <= before + 1, "it does not sleep");
    drop(env.run(["kill", "web1"]).ok());
    until("the typing ends with the VM", || flood.try_wait().unwrap().is_some());
    env.nothing_is_left();
}

#[test]
fn hazard_three_hundred_are_attached() {
    let env = TestEnv::new();
    env.create("web1");
    env.started("web1");
    let mut all = Vec::new();
    for _ in 0..300 {
        all.push(attach(&env, true));
    }
    let admitted = all.iter().filter(|(_, reply)| reply == "attached").count();
    assert_eq!(admitted, 64);
    let refused = &all.last().unwrap().1["refused"];
    assert_eq!(refused["code"], "request.denied", "{refused}");
    // Those that were refused may ask for something else, and so they still count.
    all.retain(|(_, reply)| reply == "attached");
    assert_eq!(env.state("web1"), "paused");
    let error = env.json(["console", "web1"]).refused(9, "request.denied");
    assert!(error["detail"].as_str().unwrap().contains("64"), "{error}");
    drop(env.run(["kill", "web1"]).ok());
    for (mut stream, _) in all {
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "all are hung up on");
    }
    env.nothing_is_left();
}

#[test]
fn hazard_who_only_looks_types() {
    let env = TestEnv::new();
    Sector::Echo.create(&env, "web1", &[]);
    drop(env.run(["run", "-d", "web1"]).ok());
    let (mut stream, _) = attach(&env, true);
    drop(stream.write_all(b"rm -rf /\n"));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() <= 1, "nothing but the guest's own first byte: {rest:?}");
    let log = std::fs::read(env.folder("web1").join("Logs/console.log")).unwrap();
    assert!(!log.contains(&b'm'), "{log:?}");
}

#[test]
fn hazard_the_supervisor_is_killed_while_somebody_is_attached() {
    let env = TestEnv::new();
    let folder = Sector::Echo.create(&env, "web1", &[]);
    drop(env.run(["run", "-d", "web1"]).ok());
    let log = folder.join("Logs/console.log");
    until("the guest is up", || std::fs::read(&log).is_ok_and(|log| log.ends_with(b"R")));
    let attached: Vec<_> =
        [&["console", "web1"][..], &["console", "--read-only", "web1"], &["logs", "-f", "web1"]]
            .into_iter()
            .map(|arguments| {
                let mut command = env.command(arguments);
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().unwrap();
                // It shows what was before: it is attached.
                let mut first = [0];
                let mut out = child.stdout.take().unwrap();
                out.read_exact(&mut first).unwrap();
                (child, out)
            })
            .collect();
    let pid = env.supervisors()[0].pid;
    send(pid, Signal::KILL);
    until("it is gone", || !is_alive(pid));
    for (child, _) in attached {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(70), "{said}");
        assert!(said.contains("the supervisor of web1 is gone without a word"), "{said}");
        assert!(said.contains("selfsame console web1"), "{said}");
    }
    // As the hint says; what was before is shown, and the guest is the same.
    let mut again = env.other("sh");
    again.arg("-c").arg("printf again | \"$0\" console --linger 2 web1").arg(&env.program);
    let output = env.finish(again).ok();
    assert_eq!(output.stdout, "Ragain", "{output}");
    assert!(env.events("web1").iter().any(|event| event["kind"] == "vm.adopted"));
    assert_eq!(std::fs::read(&log).unwrap(), b"Ragain");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_the_log_goes_on_while_nobody_supervises() {
    let env = TestEnv::new();
    let folder = Sector::Flood.create(&env, "web1", &[]);
    drop(env.run(["run", "-d", "web1"]).ok());
    let log = folder.join("Logs/console.log");
    let length = || std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
    until("the guest writes", || length() > 1000);
    let pid = env.supervisors()[0].pid;
    send(pid, Signal::KILL);
    until("it is gone", || !is_alive(pid));
    let before = length();
    until("it goes on", || length() > before + 5000);
    let written = std::fs::read(&log).unwrap();
    // The bytes with which QEMU learns that its reader is gone are logged twice, or not at all.
    let breaks = written.windows(2).filter(|pair| pair[0].wrapping_add(1) != pair[1]).count();
    assert!(breaks <= 8, "{breaks} times the order is broken");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn hazard_a_log_is_replaced_by_something_else() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let target = env.root().join("precious");
    std::fs::write(&target, "mine").unwrap();
    std::fs::create_dir_all(folder.join("Logs")).unwrap();
    for name in ["Logs/console.log", "Logs/qemu.log"] {
        let log = folder.join(name);
        drop(std::fs::remove_file(&log));
        std::os::unix::fs::symlink(&target, &log).unwrap();
        let error = env.start("web1").refused(1, "file.failed");
        assert!(error["causes"].to_string().contains("it is a link"), "{error}");
        std::fs::remove_file(&log).unwrap();
        let mut fifo = Command::new("mkfifo");
        assert!(fifo.arg(&log).status().unwrap().success());
        let error = env.start("web1").refused(1, "file.failed");
        assert!(
            error["causes"].to_string().contains("plain file")
                || error["causes"].to_string().contains("No such device"),
            "{error}"
        );
        std::fs::remove_file(&log).unwrap();
        env.nothing_is_left();
    }
    // And while it runs.
    env.started("web1");
    let log = folder.join("Logs/console.log");
    std::fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink(&target, &log).unwrap();
    drop(env.json(["logs", "web1"]).refused(1, "file.failed"));
    drop(env.run(["kill", "web1"]).ok());
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
}

#[test]
fn hazard_the_disk_is_full_while_a_guest_writes() {
    let env = TestEnv::new();
    let Some(small) = Small::mount(&env, "4m") else { return };
    let at = small.0.join("web1");
    let name = at.to_str().unwrap();
    Sector::Flood.create(&env, "web1", &["--at", name]);
    drop(env.run(["run", "-d", name]).ok());
    let filler = small.0.join("filler");
    let mut fill = Command::new("sh");
    fill.arg("-c").arg("cat /dev/zero >\"$0\" 2>/dev/null").arg(&filler);
    drop(fill.status());
    // The guest does not notice, and who is attached sees it go on.
    let (stream, _) = attach(&env, true);
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    for _ in 0..50 {
        reader.read_until(b'Z', &mut bytes).unwrap();
    }
    assert_eq!(env.state(name), "running");
    std::fs::remove_file(&filler).unwrap();
    let log = at.join("Logs/console.log");
    let before = std::fs::metadata(&log).unwrap().len();
    until("the log goes on", || std::fs::metadata(&log).unwrap().len() > before);
    drop(env.run(["kill", name]).ok());
    until("all is gone", || env.qemus().is_empty() && env.supervisors().is_empty());
}
