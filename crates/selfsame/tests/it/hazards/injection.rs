//! Faults at each write: a disk that is full, a disk that fails, a right that is missing, `kill -9`. `strace` makes them,
//! so that the product needs no hook. A first run is only traced, which tells the calls that change something below the
//! test's folder; then each of them is made to fail in a run of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::storm::{Dice, wanted};
use crate::support::{Output, TestEnv, is_alive, skipped, until};

/// What changes something. A process lacks some of them on some machines, hence the question marks.
const CALLS: &[&str] = &[
    "openat",
    "write",
    "writev",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "copy_file_range",
    "sendfile",
    "ioctl",
    "chmod",
    "fchmod",
    "fchmodat",
];
const ERRORS: &[&str] = &["ENOSPC", "EIO", "EACCES"];

/// No operation is given more time than this, or than `SELFSAME_INJECTION_SECONDS`; what is left out then is said.
fn limit() -> Duration {
    Duration::from_secs(wanted("SELFSAME_INJECTION_SECONDS", 18))
}

/// One call that is made to fail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    call: String,
    number: usize,
}

fn can_trace() -> bool {
    let traced =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let can = traced.is_ok_and(|status| status.success());
    if !can {
        skipped("needs strace and the right to trace");
    }
    can
}

/// The calls of a trace that change something below `root`.
fn places(trace: &str, root: &Path) -> BTreeSet<Place> {
    let root = root.to_str().unwrap();
    let mut counts = std::collections::HashMap::new();
    let mut found = BTreeSet::new();
    for line in trace.lines() {
        let (pid, rest) = line.split_once(' ').unwrap_or(("", line));
        let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
        if !CALLS.contains(&call) {
            continue;
        }
        let count = counts.entry((pid.to_owned(), call.to_owned())).or_insert(0);
        *count += 1;
        let changes =
            call != "openat" || ["O_CREAT", "O_WRONLY", "O_RDWR"].iter().any(|flag| arguments.contains(flag));
        let is_ours = (arguments.contains(root) || arguments.contains("\"/proc/self/fd/"))
            && !arguments.starts_with("1<")
            && !arguments.starts_with("2<");
        if changes && is_ours && (call != "ioctl" || arguments.contains("FICLONE")) {
            found.insert(Place { call: call.to_owned(), number: *count });
        }
    }
    found
}

/// `strace` with a fault at one place, or with none.
fn strace(env: &TestEnv, fault: Option<(&Place, &str)>) -> (Command, PathBuf) {
    let log = env.root().join("trace");
    drop(std::fs::remove_file(&log));
    let mut command = env.other("strace");
    let calls: Vec<String> = CALLS.iter().map(|call| format!("?{call}")).collect();
    command.args(["-f", "-qq", "-y", "-o"]).arg(&log).arg("-e").arg(format!("trace={}", calls.join(",")));
    if let Some((place, fault)) = fault {
        command.arg("-e").arg(format!("inject={}:{fault}:when={}", place.call, place.number));
    }
    (command, log)
}

/// Each fault at each place: all places with `kill -9`, and one error each. In an order of its own every time, so that a slow
/// host, whose time is up before it has tried all, has tried all after some runs.
fn faults(places: &BTreeSet<Place>) -> Vec<(Place, String)> {
    let error = |index: usize| format!("error={}", ERRORS[index % ERRORS.len()]);
    let errors = places.iter().cloned().enumerate().map(|(index, place)| (place, error(index)));
    let kills = places.iter().cloned().map(|place| (place, "signal=SIGKILL".to_owned()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut dice = Dice(now.as_secs());
    let mut all: Vec<_> = errors.chain(kills).map(|fault| (dice.below(u64::MAX), fault)).collect();
    all.sort();
    all.into_iter().map(|(_, fault)| fault).collect()
}

/// Runs an operation once traced, and then with each fault, and gives each end to `check`.
#[track_caller]
fn each_fault(
    env: &TestEnv,
    name: &str,
    arguments: &[&str],
    prepare: impl Fn(),
    check: impl Fn(&Output, &str),
) {
    let traced = |fault: Option<(&Place, &str)>| {
        prepare();
        let (mut command, log) = strace(env, fault);
        command.arg("--").arg(&env.program).args(["--format", "json"]).args(arguments);
        let output = env.finish(command);
        (output, std::fs::read_to_string(&log).unwrap_or_default())
    };
    // The first run of a home makes what the others find.
    drop(traced(None));
    let (output, trace) = traced(None);
    check(&output.ok(), "no fault");
    let faults = faults(&places(&trace, env.root()));
    assert!(faults.len() > 8, "{name} changes something: {trace}");
    let (began, mut made, mut tried) = (Instant::now(), 0, 0);
    for (place, fault) in &faults {
        if began.elapsed() > limit() {
            break;
        }
        let (output, trace) = traced(Some((place, fault)));
        let what = format!("{name}: {fault} at {}#{}\n{trace}", place.call, place.number);
        tried += 1;
        made += usize::from(trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL"));
        if fault.starts_with("error") && output.code() != 0 {
            let error = output.error();
            assert!(error["code"].is_string(), "{what}{output}");
        }
        check(&output, &what);
        drop(env.run(["list"]).ok());
        env.doctor_is_content(&what);
    }
    crate::support::tell(&format!(
        "injection: {name}: {made} faults, {tried} of {} places, {:?}",
        faults.len(),
        began.elapsed()
    ));
    assert!(made * 10 >= tried * 9, "{name}: {made} of {tried} faults were made");
}

/// The folders in `vms/` that are VMs, and whether others are there.
fn vms(env: &TestEnv) -> Vec<String> {
    let entries = std::fs::read_dir(env.home.join("vms")).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn clear(env: &TestEnv) {
    for name in vms(env) {
        std::fs::remove_dir_all(env.home.join("vms").join(name)).unwrap();
    }
}

/// A VM with a disk whose content is known.
fn image(env: &TestEnv) -> PathBuf {
    let image = env.root().join("image");
    std::fs::write(&image, vec![7; 64 << 10]).unwrap();
    image
}

fn make(env: &TestEnv, name: &str) {
    let image = image(env);
    let small = ["create", name, "--firmware", "bios", "--memory", "64MiB", "--cpus", "1", "--disk"];
    let mut command = env.command(small);
    command.arg(image);
    drop(env.finish(command).ok());
}

/// A VM is there whole, and can be started.
#[track_caller]
fn is_whole(env: &TestEnv, name: &str, identity: &serde_json::Value, what: &str) {
    let seen = env.json(["get", "--", name]);
    assert_eq!(seen.status, Some(0), "{what}{seen}");
    assert_eq!(&seen.json()["identity"], identity, "{what}");
    let disks = below(&env.folder(name), "raw");
    assert_eq!(disks.len(), 1, "{what}{disks:?}");
    assert!(std::fs::read(&disks[0]).unwrap().starts_with(&[7; 64 << 10]), "{what}");
}

fn below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries
        .filter(|path| path.extension().is_some_and(|found| found == extension || found == "img"))
        .collect()
}

fn hidden(env: &TestEnv) -> Vec<String> {
    vms(env).into_iter().filter(|name| name.starts_with('.')).collect()
}

#[test]
fn hazard_a_fault_at_each_write_of_a_create() {
    if !can_trace() {
        return;
    }
    let env = TestEnv::new();
    let image = image(&env);
    let arguments = [
        "create",
        "web1",
        "--firmware",
        "bios",
        "--memory",
        "64MiB",
        "--cpus",
        "1",
        "--disk",
        image.to_str().unwrap(),
    ];
    each_fault(
        &env,
        "create",
        &arguments,
        || clear(&env),
        |output, what| {
            // Whole, or not there; then the same command makes it, and takes away what was left.
            if !env.folder("web1").exists() {
                assert_ne!(output.status, Some(0), "{what}{output}");
                make(&env, "web1");
            }
            is_whole(&env, "web1", &env.get("web1")["identity"], what);
            make(&env, "other");
            assert_eq!(hidden(&env), Vec::<String>::new(), "{what}");
        },
    );
    env.nothing_is_left();
}

#[test]
fn hazard_a_fault_at_each_write_of_a_delete() {
    if !can_trace() {
        return;
    }
    let env = TestEnv::new();
    let prepare = || {
        clear(&env);
        make(&env, "web1");
    };
    each_fault(&env, "delete", &["delete", "--yes", "web1"], prepare, |output, what| {
        if env.folder("web1").exists() {
            assert_ne!(output.status, Some(0), "{what}{output}");
            is_whole(&env, "web1", &env.get("web1")["identity"], what);
        } else {
            make(&env, "web1");
        }
        drop(env.run(["delete", "--yes", "web1"]).ok());
        assert_eq!(vms(&env), Vec::<String>::new(), "{what}");
    });
    env.nothing_is_left();
}

#[test]
fn hazard_a_fault_at_each_write_of_a_rename() {
    if !can_trace() {
        return;
    }
    let env = TestEnv::new();
    let identity = std::cell::RefCell::new(serde_json::Value::Null);
    let prepare = || {
        clear(&env);
        make(&env, "web1");
        identity.replace(env.get("web1")["identity"].clone());
    };
    each_fault(&env, "rename", &["rename", "web1", "web2"], prepare, |output, what| {
        let there = vms(&env);
        assert!(there == ["web1.vm"] || there == ["web2.vm"], "{what}{there:?}");
        let name = there[0].trim_end_matches(".vm");
        assert!(name == "web2" || output.status != Some(0), "{what}{output}");
        is_whole(&env, name, &identity.borrow(), what);
        let other = if name == "web1" { "web2" } else { "web3" };
        drop(env.run(["rename", name, other]).ok());
    });
    env.nothing_is_left();
}

#[test]
fn hazard_a_fault_at_each_write_of_a_set() {
    if !can_trace() {
        return;
    }
    let env = TestEnv::new();
    make(&env, "web1");
    let identity = env.get("web1")["identity"].clone();
    let (folder, spec) = (env.folder("web1"), env.folder("web1").join("vm.toml"));
    let old = std::fs::read(&spec).unwrap();
    drop(env.run(["set", "web1", "--memory", "80MiB"]).ok());
    let new = std::fs::read(&spec).unwrap();
    assert_ne!(old, new);
    let prepare = || std::fs::write(&spec, &old).unwrap();
    each_fault(&env, "set", &["set", "web1", "--memory", "80MiB"], prepare, |output, what| {
        let found = std::fs::read(&spec).unwrap();
        assert!(found == old || found == new, "{what}{}", String::from_utf8_lossy(&found));
        assert!(output.status != Some(0) || found == new, "{what}{output}");
        is_whole(&env, "web1", &identity, what);
        drop(env.run(["set", "web1", "--memory", "96MiB"]).ok());
        let left: Vec<_> =
            std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{what}{left:?}");
    });
    env.nothing_is_left();
}

/// The supervisor alone is traced, so no fault ever meets QEMU: a suspend starts no process.
#[test]
fn hazard_a_fault_at_each_write_of_a_suspend() {
    if !can_trace() {
        return;
    }
    let env = TestEnv::new();
    env.create("web1");
    let identity = env.get("web1")["identity"].clone();
    let watch = env.watch();
    let suspend = |fault: Option<(&Place, &str)>| {
        let pids = env.started("web1");
        let (mut command, log) = strace(&env, fault);
        command.arg("-p").arg(pids.supervisor.to_string()).stderr(Stdio::null());
        let mut tracer = command.spawn().unwrap();
        until("it is traced", || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", pids.supervisor)).unwrap();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        });
        let output = env.json(["suspend", "web1"]);
        drop(env.run(["kill", "web1"]));
        until("it has ended", || matches!(env.state("web1").as_str(), "stopped" | "suspended"));
        until("its supervisor has ended", || !is_alive(pids.supervisor));
        tracer.wait().unwrap();
        (output, std::fs::read_to_string(&log).unwrap())
    };
    let (output, trace) = suspend(None);
    drop(output.ok());
    let faults = faults(&places(&trace, env.root()));
    assert!(faults.len() > 8, "{trace}");
    let (began, mut tried) = (Instant::now(), 0);
    for (place, fault) in &faults {
        if began.elapsed() > limit() {
            break;
        }
        tried += 1;
        let (output, trace) = suspend(Some((place, fault)));
        let what = format!("suspend: {fault} at {}#{}\n{trace}", place.call, place.number);
        if output.code() != 0 {
            assert!(output.error()["code"].is_string(), "{what}{output}");
        }
        assert_eq!(env.get("web1")["identity"], identity, "{what}");
        let up = env.json(["run", "-d", "web1"]);
        assert_eq!(up.status, Some(0), "{what}{up}");
        drop(env.run(["kill", "web1"]).ok());
        env.doctor_is_content(&what);
        env.nothing_is_left();
        let left = ["State", "State.new", "State.old"].map(|part| env.folder("web1").join(part).exists());
        assert_eq!(left, [false; 3], "{what}");
    }
    crate::support::tell(&format!(
        "injection: suspend: {tried} of {} places, {:?}",
        faults.len(),
        began.elapsed()
    ));
    watch.never_two();
}
