//! The system fails, or the program is killed, at each call that changes something on disk.
//!
//! `strace` counts those calls of a command in a run that goes well; then the command runs again for each of them, and
//! there the call fails (ENOSPC, EIO, EACCES) or the process is killed. The product has no hook for it. What must hold
//! after each: an error has a code and says what it concerns, what there was is there, whole, in its old form or its
//! new one, the next plain command goes through, `doctor` finds nothing new, and nothing is left over.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;

use crate::support::{Output, TestEnv, skipped, until};

/// The calls by which a program changes files. What a platform does not have is left out by the `?`.
const CALLS: &str = "openat,write,pwrite64,?rename,renameat,renameat2,?unlink,unlinkat,?mkdir,mkdirat,ftruncate,fallocate,\
                     fsync,fdatasync,linkat,?link,symlinkat,?symlink,copy_file_range,?chmod,fchmod,fchmodat,?rmdir,ioctl";

/// What happens at a call.
const FAULTS: [&str; 4] = ["error=ENOSPC", "error=EIO", "error=EACCES", "signal=SIGKILL"];

/// The N-th call of this name, of any process.
type Point = (String, u32);

/// One command under test.
struct Case {
    /// What is typed.
    command: &'static [&'static str],
    /// Makes what it needs, from whatever the one before has left.
    before: fn(&TestEnv),
    /// Says what must be so after a fault, and does it again without one.
    after: fn(&TestEnv, &str),
}

fn have_strace(env: &TestEnv) -> bool {
    let mut command = env.other("strace");
    command.args(["-o", "/dev/null", "true"]);
    let works = command.output().is_ok_and(|output| output.status.success());
    if !works {
        skipped("needs strace, and the right to trace (`scripts/setup` installs it)");
    }
    works
}

/// Runs a command under `strace` with more options.
fn traced(env: &TestEnv, options: &[&str], command: &[&str]) -> Output {
    let mut strace = env.other("strace");
    strace.args(["-f", "-q", "-o"]).arg(env.root().join("trace")).args(options);
    strace.arg("--").arg(&env.program).args(["--format", "json"]).args(command);
    env.finish(strace)
}

/// The calls in a trace that change something.
fn points(trace: &str) -> Vec<Point> {
    let mut counts: HashMap<(&str, &str), u32> = HashMap::new();
    let mut found = BTreeSet::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
        if !call.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            continue;
        }
        let count = counts.entry((pid, call)).or_default();
        *count += 1;
        let descriptor = arguments.split([',', ')']).next().and_then(|text| text.parse::<u32>().ok());
        let changes = match call {
            "openat" => ["O_CREAT", "O_WRONLY", "O_RDWR"].iter().any(|flag| arguments.contains(flag)),
            // What is said to people is not at stake.
            "write" => descriptor.is_some_and(|descriptor| descriptor > 2),
            "ioctl" => arguments.contains("FICLONE"),
            _ => true,
        };
        if changes && !arguments.contains("\"/dev/") {
            found.insert((call.to_owned(), *count));
        }
    }
    found.into_iter().collect()
}

/// What `doctor` complains of.
fn complaints(env: &TestEnv) -> String {
    env.json(["doctor"]).json()["complaints"].to_string()
}

fn entries(folder: &std::path::Path) -> Vec<OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

fn survives(env: &TestEnv, case: &Case) {
    if !have_strace(env) {
        return;
    }
    (case.before)(env);
    let healthy = complaints(env);
    drop(traced(env, &["-e", &format!("trace={CALLS}")], case.command).ok());
    let trace = std::fs::read_to_string(env.root().join("trace")).unwrap();
    let points = points(&trace);
    assert!(points.len() > 3, "it changes hardly anything: {trace}");
    (case.after)(env, "without a fault");
    let mut struck = 0;
    for (call, number) in &points {
        for fault in FAULTS {
            let when = format!("{call} {number} {fault} of {:?}", case.command);
            (case.before)(env);
            let inject = format!("inject={call}:{fault}:when={number}");
            let output = traced(env, &["-e", &format!("trace={call}"), "-e", &inject], case.command);
            match output.status {
                None => struck += 1,
                Some(0) => {}
                Some(_) => {
                    struck += 1;
                    let error = output.error();
                    assert!(error["code"].is_string(), "{when}: {output}");
                    let said = error.to_string();
                    assert!(
                        said.contains('`') || said.contains("library"),
                        "{when}: it names nothing: {output}"
                    );
                }
            }
            (case.after)(env, &when);
            assert_eq!(complaints(env), healthy, "{when}");
            assert_eq!(env.run_files(), Vec::<OsString>::new(), "{when}");
            let whole = |name: &OsString| {
                let name = name.to_string_lossy();
                name.ends_with(".vm") && !name.starts_with('.')
            };
            let there = entries(&env.home.join("vms"));
            assert!(there.iter().all(whole), "{when}: left over: {there:?}");
        }
    }
    assert!(struck > points.len(), "faults hardly strike: {struck} of {}", points.len() * FAULTS.len());
    env.nothing_is_left();
}

/// Gone, whatever it was.
fn gone(env: &TestEnv, name: &str) {
    let output = env.json(["delete", "--yes", name]);
    assert!(matches!(output.code(), 0 | 3), "{output}");
    assert!(!env.folder(name).exists());
}

fn there(env: &TestEnv, name: &str) {
    if !env.folder(name).exists() {
        env.create(name);
    }
}

#[test]
fn hazard_every_write_fails_while_a_vm_is_made() {
    survives(
        &TestEnv::new(),
        &Case {
            command: &["create", "web1", "--firmware", "bios", "--memory", "64MiB", "--disk-size", "1MiB"],
            before: |env| gone(env, "web1"),
            after: |env, when| {
                if env.folder("web1").exists() {
                    assert_eq!(env.state("web1"), "stopped", "{when}");
                } else {
                    env.create("web1");
                }
            },
        },
    );
}

#[test]
fn hazard_every_write_fails_while_a_vm_is_deleted() {
    survives(
        &TestEnv::new(),
        &Case {
            command: &["delete", "--yes", "web1"],
            before: |env| there(env, "web1"),
            after: |env, when| {
                if env.folder("web1").exists() {
                    // What is there is a VM, not the half of one.
                    assert_eq!(env.state("web1"), "stopped", "{when}");
                }
                gone(env, "web1");
            },
        },
    );
}

#[test]
fn hazard_every_write_fails_while_a_vm_is_renamed() {
    survives(
        &TestEnv::new(),
        &Case {
            command: &["rename", "web1", "web2"],
            before: |env| there(env, "web1"),
            after: |env, when| {
                let both = (env.folder("web1").exists(), env.folder("web2").exists());
                assert!(both.0 != both.1, "{when}: one of them is there: {both:?}");
                if both.0 {
                    drop(env.json(["rename", "web1", "web2"]).ok());
                }
                assert_eq!(env.state("web2"), "stopped", "{when}");
                drop(env.json(["rename", "web2", "web1"]).ok());
            },
        },
    );
}

#[test]
fn hazard_every_write_fails_while_a_vm_is_changed() {
    survives(
        &TestEnv::new(),
        &Case {
            command: &["set", "web1", "--cpus", "2"],
            before: |env| {
                there(env, "web1");
                drop(env.json(["set", "web1", "--cpus", "1"]).ok());
            },
            after: |env, when| {
                let cpus = env.get("web1")["cpus"].clone();
                assert!(cpus == 1 || cpus == 2, "{when}: {cpus}");
                drop(env.json(["set", "web1", "--cpus", "2"]).ok());
                assert_eq!(env.get("web1")["cpus"], 2, "{when}");
            },
        },
    );
}

#[test]
fn hazard_what_changes_nothing_is_no_point_for_a_fault() {
    let trace = "7 openat(AT_FDCWD, \"/lib/x\", O_RDONLY|O_CLOEXEC) = 3\n7 openat(AT_FDCWD, \"/a\", O_RDWR|O_CREAT, 0600) = 3\n\
                 7 write(2, \"x\", 1) = 1\n7 write(3, \"x\", 1) = 1\n7 openat(AT_FDCWD, \"/dev/null\", O_RDWR) = 4\n";
    assert_eq!(points(trace), [("openat".to_owned(), 2), ("write".to_owned(), 2)]);
}

/// Gets it to run, from whatever a fault has made of it: the next plain command does that by itself.
fn runs_again(env: &TestEnv, when: &str) {
    let up = env.json(["run", "-d", "web1"]);
    assert!(matches!(up.code(), 0 | 4), "{when}: {up}");
    until("it runs", || {
        drop(env.run(["resume", "web1"]));
        env.state("web1") == "running"
    });
    assert_eq!(env.qemus().len(), 1, "{when}");
}

fn no_state(env: &TestEnv) -> bool {
    ["State", "State.new", "State.old"].iter().all(|part| !env.folder("web1").join(part).exists())
}

/// Traces a supervisor from now on; the handle is `strace`'s, which ends with the supervisor.
fn attached(env: &TestEnv, supervisor: u32, options: &[&str]) -> std::process::Child {
    let mut strace = env.other("strace");
    strace
        .args(["-f", "-o"])
        .arg(env.root().join("trace"))
        .args(options)
        .arg("-p")
        .arg(supervisor.to_string());
    let child = strace.stderr(std::process::Stdio::null()).spawn().unwrap();
    until("it is traced", || {
        let status = std::fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
    });
    child
}

/// The calls of the supervisor alone: one kind of fault for each, in turn, for each is a start, a suspend and a start.
#[test]
fn hazard_every_write_fails_while_a_vm_is_suspended() {
    let env = TestEnv::new();
    if !have_strace(&env) {
        return;
    }
    env.create("web1");
    let watch = env.watch();
    let suspended = |options: &[&str]| {
        runs_again(&env, "before");
        let supervisor = env.supervisors().pop().unwrap();
        let mut strace = attached(&env, supervisor.pid, options);
        let output = env.json(["suspend", "web1"]);
        if env.state("web1") == "running" || env.state("web1") == "paused" {
            drop(env.run(["kill", "web1"]));
        }
        (output, move || drop(strace.wait()))
    };
    let (output, mut end) = suspended(&["-e", &format!("trace={CALLS}")]);
    drop(output.ok());
    end();
    let points = points(&std::fs::read_to_string(env.root().join("trace")).unwrap());
    assert!(points.len() > 5, "{points:?}");
    drop(env.run(["run", "-d", "web1"]).ok());
    drop(env.run(["kill", "web1"]).ok());
    let healthy = complaints(&env);
    for (index, (call, number)) in points.iter().enumerate() {
        let fault = FAULTS[index % FAULTS.len()];
        let when = format!("{call} {number} {fault}");
        let (output, mut end) = suspended(&[
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={call}:{fault}:when={number}"),
        ]);
        if output.code() != 0 {
            assert!(output.error()["code"].is_string(), "{when}: {output}");
        }
        if env.folder("web1").join("State").exists() {
            assert!(env.folder("web1").join("State/state.toml").exists(), "{when}: half a state");
        }
        runs_again(&env, &when);
        end();
        until("no state is left", || no_state(&env));
        drop(env.run(["kill", "web1"]).ok());
        env.nothing_is_left();
        assert_eq!(complaints(&env), healthy, "{when}");
    }
    watch.never_two();
}
