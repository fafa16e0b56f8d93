//! A storm: many VMs, some of them twins, started, stopped, suspended and killed by several at once, while supervisors
//! and commands are killed at random. `cargo xtask storm --minutes N` has it blow for longer than the tests do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::{Signal, TestEnv, send, together, until};

const VMS: usize = 20;

/// Every fifth VM is a copy of the one before it.
const TWINS: usize = 5;

/// Those who type, and one who kills.
const WORKERS: usize = 4;

/// Numbers that look random and are the same in every run (Knuth's MMIX generator, its upper bits).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[test]
fn hazard_a_storm_of_commands_and_kills() {
    let seconds = std::env::var("SELFSAME_STORM_SECONDS").ok().map_or(20, |text| text.parse().unwrap());
    let env = TestEnv::new();
    let names: Vec<String> = (0..VMS).map(|number| format!("vm{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        if number % TWINS == TWINS - 1 {
            env.copy(&names[number - 1], name);
        } else {
            env.create(name);
        }
    }
    let watch = env.watch();
    let began = Instant::now();
    let counts: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let count = |what: String| *counts.lock().unwrap().entry(what).or_default() += 1;
    together(WORKERS + 1, |worker| {
        let mut numbers = Numbers(u64::try_from(worker).unwrap() + 1);
        while began.elapsed() < Duration::from_secs(seconds) {
            if worker == WORKERS {
                std::thread::sleep(Duration::from_millis(50));
                let supervisors = env.supervisors();
                if !supervisors.is_empty() {
                    send(supervisors[numbers.below(supervisors.len())].pid, Signal::KILL);
                    count("supervisors killed".to_owned());
                }
                continue;
            }
            let name = names[numbers.below(VMS)].as_str();
            let arguments: &[&str] = match numbers.below(9) {
                0..=2 => &["run", "-d", name],
                3 => &["run", "-d", "--paused", name],
                4 => &["stop", "-t", "0", name],
                5 => &["suspend", name],
                6 => &["resume", name],
                7 => &["pause", name],
                _ => &["kill", name],
            };
            let output = env.json(arguments);
            let status = output.code();
            let what = if status == 0 {
                "done".to_owned()
            } else {
                output.error()["code"].as_str().unwrap().to_owned()
            };
            assert_ne!(what, "internal", "{output}");
            count(format!("{} {what}", arguments[0]));
        }
    });
    // The wind drops. Whatever state each VM is in, it can be ended by one plain command.
    for name in &names {
        drop(env.json(["kill", name]));
        until("it has ended", || {
            let state = env.state(name);
            let ended = matches!(state.as_str(), "stopped" | "suspended");
            if !ended {
                drop(env.json(["kill", name]));
            }
            ended
        });
    }
    watch.never_two();
    // One more life each, so that what killed supervisors left is cleared by who comes next.
    for name in &names {
        env.started(name);
        drop(env.run(["kill", name]).ok());
    }
    env.nothing_is_left();
    let folder = env.home.join("vms");
    for entry in folder.read_dir().unwrap().flatten() {
        let left: Vec<OsString> =
            entry.path().read_dir().unwrap().flatten().map(|entry| entry.file_name()).collect();
        let fits = |name: &OsString| {
            !name.to_string_lossy().starts_with("State.") && !name.to_string_lossy().starts_with('.')
        };
        assert!(left.iter().all(fits), "left in {}: {left:?}", entry.path().display());
    }
    let complaints = env.json(["doctor"]).json()["complaints"].to_string();
    assert!(!complaints.contains("\"error\""), "{complaints}");
    let counts = counts.into_inner().unwrap();
    eprintln!("storm of {seconds} s: {counts:?}");
    assert!(counts.get("run done").is_some_and(|runs| *runs > 5), "hardly a storm: {counts:?}");
    assert!(counts.contains_key("supervisors killed"), "{counts:?}");
}
