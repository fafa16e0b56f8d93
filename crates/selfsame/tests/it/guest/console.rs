//! The console of a guest: its keys, its bytes, its end.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Pty, Sector, Signal, TestEnv, send, until};

fn console_log(env: &TestEnv, name: &str) -> Vec<u8> {
    std::fs::read(env.folder(name).join("Logs/console.log")).unwrap_or_default()
}

/// An echoing guest that is up.
fn echo(env: &TestEnv) {
    Sector::Echo.create(env, "web1", &[]);
    drop(env.run(["run", "-d", "web1"]).ok());
    until("the guest is up", || console_log(env, "web1").ends_with(b"R"));
}

fn attached(env: &TestEnv, arguments: &[&str]) -> Pty {
    let mut pty = Pty::start(env.command(arguments));
    pty.shows("Ctrl-] leaves");
    pty.shows("R");
    pty
}

#[test]
fn every_key_goes_to_the_guest_but_the_one_that_leaves() {
    let env = TestEnv::new();
    echo(&env);
    let mut pty = attached(&env, &["console", "web1"]);
    assert!(pty.is_raw());
    pty.keys(b"abc\x03\x1a\x04\x11\x13def");
    pty.shows("abc\x03\x1a\x04\x11\x13def");
    let mut second = attached(&env, &["console", "web1"]);
    second.shows("abc");
    second.keys(b"from another");
    pty.shows("from another");
    pty.keys(b"last\x1dnever");
    assert_eq!(pty.ended(), Some(0));
    pty.is_restored();
    pty.shows("left the console of web1; it goes on");
    second.shows("last");
    second.keys(b"\x1d");
    assert_eq!(second.ended(), Some(0));
    assert_eq!(env.state("web1"), "running");
    let log = console_log(&env, "web1");
    assert!(log.ends_with(b"from anotherlast"), "{}", String::from_utf8_lossy(&log));
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn the_terminal_is_given_back_whatever_ends_the_console() {
    let env = TestEnv::new();
    echo(&env);
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut pty = attached(&env, &["console", "web1"]);
        assert!(pty.is_raw());
        send(pty.pid(), signal);
        assert_eq!(pty.ended(), Some(0), "{signal:?}");
        pty.is_restored();
    }
    let mut pty = attached(&env, &["console", "web1"]);
    let mut watching = Pty::start(env.command(["console", "--read-only", "web1"]));
    watching.shows("read-only; Ctrl-C leaves");
    assert!(!watching.is_raw());
    drop(env.run(["kill", "web1"]).ok());
    for pty in [&mut pty, &mut watching] {
        assert_eq!(pty.ended(), Some(0));
        pty.is_restored();
        pty.shows("web1 ended: ");
    }
    let error = env.json(["console", "web1"]).refused(9, "request.denied");
    assert!(error["hints"].to_string().contains("selfsame run -d web1"), "{error}");
}

#[test]
fn a_foreground_run_shows_its_guest_and_hands_it_the_keys_when_asked() {
    let env = TestEnv::new();
    Sector::Echo.create(&env, "web1", &[]);
    let mut pty = Pty::start(env.command(["run", "web1"]));
    pty.shows("Ctrl-C stops it, twice kills it");
    pty.shows("R");
    assert!(!pty.is_raw());
    // What is typed stays in the terminal.
    pty.keys(b"typed");
    send(pty.pid(), Signal::INT);
    pty.shows("asking the guest to power down");
    send(pty.pid(), Signal::INT);
    pty.shows("web1 ended: ");
    assert_eq!(pty.ended(), Some(0));
    assert_eq!(console_log(&env, "web1").iter().filter(|byte| **byte == b't').count(), 0);

    let mut pty = attached(&env, &["run", "-it", "web1"]);
    assert!(pty.is_raw());
    pty.keys(b"hello\x03");
    pty.shows("hello\x03");
    pty.keys(b"\x1d");
    assert_eq!(pty.ended(), Some(0));
    pty.is_restored();
    assert_eq!(env.state("web1"), "running");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn a_pipe_is_typed_to_its_end_and_the_answer_followed() {
    let env = TestEnv::new();
    echo(&env);
    let mut command = env.command(["console", "--linger", "1", "web1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // More than fits anywhere on the way, and a key that would leave a terminal.
    let long: Vec<u8> =
        (0..20_000_u32).map(|index| if index == 9 { 0x1d } else { b'a' + (index % 26) as u8 }).collect();
    let mut keys = child.stdin.take().unwrap();
    let typed = long.clone();
    let typist = std::thread::spawn(move || keys.write_all(&typed).unwrap());
    let output = child.wait_with_output().unwrap();
    typist.join().unwrap();
    assert!(output.status.success());
    let shown = output.stdout.strip_prefix(b"R").map_or(output.stdout.as_slice(), |rest| rest);
    // What the guest was still to echo when the time was over is missing, and nothing in between.
    assert!(shown.len() > 100 && long.starts_with(shown), "{} bytes", shown.len());
    // To the end of the VM.
    let mut command = env.command(["console", "web1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    drop(env.run(["kill", "web1"]).ok());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("web1 ended: "));
}

#[test]
fn an_interrupt_reaches_what_runs_in_the_guests_shell() {
    let env = TestEnv::new();
    let files = &env.files;
    let shell = "console=ttyS0 quiet rdinit=/bin/busybox -- sh -c \"/bin/busybox mkdir -p /dev; \
                 /bin/busybox mount -t devtmpfs dev /dev; /bin/busybox --install -s /bin; \
                 while :; do setsid -c sh -i </dev/ttyS0 >/dev/ttyS0 2>&1; done\"";
    let mut command = env.command(["create", "web1", "--no-disk", "--memory", "256MiB", "--cpus", "1"]);
    command.arg("--kernel").arg(&files.kernel).arg("--initrd").arg(&files.initrd).arg("--append").arg(shell);
    drop(env.finish(command).ok());
    let mut pty = Pty::start(env.command(["run", "-it", "web1"]));
    pty.shows("/ # ");
    pty.keys(b"echo be$((20+3)); sleep 1000\n");
    pty.shows("be23");
    pty.keys(b"\x03");
    pty.shows("/ # ");
    pty.keys(b"echo back$((40+2))\n");
    pty.shows("back42");
    pty.keys(b"\x1d");
    assert_eq!(pty.ended(), Some(0));
    pty.is_restored();
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}
