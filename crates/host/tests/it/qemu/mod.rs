//! Against a real QEMU, always with its translator, and without a guest: `-S` and no kernel, 30 ms each.

mod names;
mod running;

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_getfd};
use selfsame_host::qemu::arguments::{Boot, Disk, DiskFormat, Flash};
use selfsame_host::qemu::process;
use selfsame_host::qemu::qmp::{Cause, Command, Message, Monitor, QmpError, QmpEvent, RunState, Waiting};
use selfsame_host::qemu::version::Version;

use running::{Running, SOON, UUID, empty_disk, installation, starting};

/// Polls and drains, as a supervisor does, until an event is there.
fn wait_for(monitor: &mut Monitor, wanted: &QmpEvent) {
    let deadline = Instant::now() + SOON;
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        let drained = monitor.drain();
        for message in drained.messages {
            if let Message::Event(event) = message {
                seen.push(event.read());
            }
        }
        if seen.contains(wanted) {
            return;
        }
        assert!(drained.end.is_none(), "{:?} after {seen:?}", drained.end);
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        poll(&mut [PollFd::new(&*monitor, PollFlags::IN)], Some(&second)).unwrap();
    }
    panic!("no {wanted:?} among {seen:?}");
}

/// Polls and drains until QEMU hangs up.
fn wait_for_end(monitor: &mut Monitor) -> (Vec<Message>, QmpError) {
    let mut messages = Vec::new();
    loop {
        let drained = monitor.drain();
        messages.extend(drained.messages);
        if let Some(end) = drained.end {
            return (messages, end);
        }
        let limit = Timespec::try_from(SOON).unwrap();
        assert_ne!(poll(&mut [PollFd::new(&*monitor, PollFlags::IN)], Some(&limit)).unwrap(), 0, "no end");
    }
}

fn disk(file: &str) -> Disk {
    Disk { file: file.into(), format: DiskFormat::Raw, read_only: false }
}

#[test]
fn the_installation_is_known() {
    let found = installation();
    assert!(found.version >= Version::OLDEST);
    let versioned = format!("pc-q35-{}.{}", found.version.major, found.version.minor);
    assert_eq!(found.machine, versioned);
    assert!(found.is_current());
}

#[test]
fn the_monitor_answers_over_an_inherited_socket() {
    let running = Running::start(|_| {});
    let mut monitor = running.monitor();
    assert_eq!(monitor.greeting().version, installation().version);
    assert_eq!(monitor.uuid(SOON).unwrap(), UUID.hyphenated().to_string());
    assert_eq!(monitor.run_state(SOON).unwrap(), RunState::Prelaunch);
    assert!(monitor.call(Command::QueryVersion, SOON).unwrap().get("qemu").is_some());
    assert!(monitor.drain().end.is_none());
}

#[test]
fn a_guest_runs_stops_and_goes_on() {
    let running = Running::start(|_| {});
    let mut monitor = running.monitor();
    for (command, event, state) in [
        (Command::Cont, QmpEvent::Resume, RunState::Running),
        (Command::Stop, QmpEvent::Stop, RunState::Paused),
        (Command::Cont, QmpEvent::Resume, RunState::Running),
        (Command::SystemPowerdown, QmpEvent::Powerdown, RunState::Running),
    ] {
        monitor.send(command, SOON).unwrap();
        wait_for(&mut monitor, &event);
        assert_eq!(monitor.run_state(SOON).unwrap(), state);
    }
}

#[test]
fn quit_is_answered_and_explained_and_takes_the_sockets_along() {
    let mut running = Running::start(|_| {});
    let mut monitor = running.monitor();
    let id = monitor.send(Command::Quit, SOON).unwrap();
    let (messages, end) = wait_for_end(&mut monitor);
    assert!(end.is_closed(), "{end:?}");
    assert!(
        messages
            .iter()
            .any(|message| matches!(message, Message::Reply { id: Some(of), outcome: Ok(_) } if *of == id))
    );
    let quit = QmpEvent::Shutdown { guest: false, cause: Cause::HostQuit };
    assert!(messages.iter().any(|message| matches!(message, Message::Event(event) if event.read() == quit)));
    assert_eq!(running.ended().code(), Some(0), "{}", running.log());
    // QEMU removes the names that the inherited sockets were bound to. Whoever binds them counts on that.
    assert!(
        !running.folder.path().join("monitor").exists() && !running.folder.path().join("report").exists()
    );
}

#[test]
fn a_killed_qemu_closes_the_monitor() {
    let mut running = Running::start(|_| {});
    let mut monitor = running.monitor();
    running.kill();
    let (_messages, end) = wait_for_end(&mut monitor);
    assert!(end.is_closed(), "{end:?}");
    assert!(monitor.drain().end.is_some_and(|end| end.is_closed()), "it stays closed");
    let error = monitor.call(Command::QueryStatus, SOON).unwrap_err();
    assert!(error.is_closed(), "{error:?}");
    assert_eq!(running.ended().signal(), Some(9));
}

#[test]
fn a_second_client_waits_in_vain_until_the_first_has_gone() {
    let running = Running::start(|_| {});
    let first = running.monitor();
    let error = Monitor::handshake(running.connect(), Duration::from_millis(200)).unwrap_err();
    assert!(matches!(error, QmpError::TimedOut { waiting: Waiting::Greeting, .. }), "{error:?}");
    drop(first);
    assert_eq!(running.monitor().uuid(SOON).unwrap(), UUID.hyphenated().to_string());
}

#[test]
fn a_missing_disk_ends_qemu_with_the_reason_in_the_log() {
    let mut running = Running::start(|plan| plan.disks = vec![disk("absent, or not.img")]);
    assert_eq!(running.ended().code(), Some(1));
    let log = running.log();
    assert!(log.contains("absent, or not.img") && log.contains("No such file"), "{log}");
}

#[test]
fn a_disk_is_written_by_one_qemu_at_a_time() {
    let first = Running::start_in(folder_with_disk(), |plan| plan.disks = vec![disk("Disk.img")]);
    drop(first.monitor());
    let path = first.folder.path().join("Disk.img");
    let mut second = Running::start(|plan| {
        plan.disks = vec![Disk { file: path, format: DiskFormat::Raw, read_only: false }];
    });
    assert_eq!(second.ended().code(), Some(1));
    assert!(second.log().contains("lock"), "{}", second.log());
}

#[test]
fn qemu_lets_disks_be_read_together_and_does_not_lock_flash() {
    let folder = folder_with_disk();
    let name = |name: &str| folder.path().join(name);
    let (shared, code, variables) = (name("Disk.img"), name("code"), name("NVRAM"));
    std::fs::write(&code, vec![0; 3_653_632]).unwrap();
    std::fs::write(&variables, vec![0; 540_672]).unwrap();
    let start = || {
        Running::start(|plan| {
            plan.disks = vec![Disk { file: shared.clone(), format: DiskFormat::Raw, read_only: true }];
            plan.boot = Boot::Uefi(Flash { code: code.clone(), variables: variables.clone() });
        })
    };
    let (first, second) = (start(), start());
    for running in [&first, &second] {
        assert_eq!(running.monitor().run_state(SOON).unwrap(), RunState::Prelaunch);
    }
}

fn folder_with_disk() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    empty_disk(&folder.path().join("Disk.img"));
    folder
}

#[test]
fn flash_disks_and_a_cd_are_taken_together() {
    let folder = folder_with_disk();
    let name = |name: &str| folder.path().join(name);
    std::fs::write(name("code, 4M.fd"), vec![0; 3_653_632]).unwrap();
    std::fs::write(name("NVRAM"), vec![0; 540_672]).unwrap();
    std::fs::write(name("install.iso"), vec![0; 1 << 20]).unwrap();
    std::fs::write(name("data.img"), vec![0; 1 << 20]).unwrap();
    let running = Running::start_in(folder, |plan| {
        plan.boot = Boot::Uefi(Flash { code: "code, 4M.fd".into(), variables: "NVRAM".into() });
        plan.disks = vec![disk("Disk.img"), Disk { read_only: true, ..disk("data.img") }];
        plan.iso = Some("install.iso".into());
        plan.mac_addresses.push("52:54:00:12:34:57".to_owned());
        plan.cpus = 2;
    });
    assert_eq!(running.monitor().run_state(SOON).unwrap(), RunState::Prelaunch);
}

#[test]
fn a_child_gets_the_descriptors_it_is_given_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
    let (log, given, kept) = (file("log"), file("given"), file("kept"));
    let sleep = Path::new("/bin/sleep");
    let alone = starting();
    let mut child =
        process::spawn(sleep, &["60".into()], folder.path(), &log, &[given.as_fd(), given.as_fd()]).unwrap();
    drop(alone);
    for fd in [given.as_fd(), kept.as_fd(), log.as_fd()] {
        assert_eq!(fcntl_getfd(fd).unwrap(), FdFlags::CLOEXEC, "{fd:?}");
    }
    let theirs = Path::new("/proc").join(child.id().to_string()).join("fd");
    let inode = |fd: i32| std::fs::metadata(theirs.join(fd.to_string())).map(|found| found.ino()).ok();
    let (passed, closed) = (inode(given.as_raw_fd()), inode(kept.as_raw_fd()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(passed, Some(given.metadata().unwrap().ino()));
    assert_ne!(closed, Some(kept.metadata().unwrap().ino()));
}

#[test]
fn a_program_that_cannot_start_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let alone = starting();
    let error = process::spawn(Path::new("/absent"), &[], folder.path(), &log, &[log.as_fd()]).unwrap_err();
    drop(alone);
    assert_eq!(error.to_string(), format!("cannot start `/absent` in `{}`", folder.path().display()));
    assert_eq!(fcntl_getfd(&log).unwrap(), FdFlags::CLOEXEC);
}
