//! A storm: many commands about many VMs at once, while commands, supervisors and QEMUs are killed at random. Nobody
//! foresees what meets what here; the other hazards are the cases that somebody foresaw.
//!
//! | variable | what it sets | else |
//! |---|---|---|
//! | `SELFSAME_STORM_SECONDS` | how long it blows | 12 |
//! | `SELFSAME_STORM_VMS` | how many VMs there are | 20 |
//! | `SELFSAME_STORM_SEED` | the choices of each worker | the time |
//!
//! `cargo xtask storm` sets them. The seed fixes what each worker asks, not how the kernel lets them meet.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::{Signal, TestEnv, send};

const WORKERS: usize = 4;

/// The splitmix64 generator, by Vigna: no more is needed to make choices that can be made again.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = self.below(u64::try_from(all.len()).unwrap());
        &all[usize::try_from(index).unwrap()]
    }
}

/// A number from the environment.
pub(super) fn wanted(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// What happened how often.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<String, u64>>);

impl Counts {
    fn add(&self, what: impl Into<String>) {
        *self.0.lock().unwrap().entry(what.into()).or_default() += 1;
    }

    fn line(&self) -> String {
        let counts = self.0.lock().unwrap();
        counts.iter().map(|(what, count)| format!("{what}: {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// What is asked, the more often the more lines there are.
const ASKED: &[&[&str]] = &[
    &["run", "-d", "--paused"],
    &["run", "-d", "--paused"],
    &["run", "-d"],
    &["run", "-d"],
    &["kill"],
    &["stop", "-t", "0"],
    &["suspend"],
    &["suspend"],
    &["resume"],
    &["pause"],
    &["get"],
];

/// What may be refused where everybody does everything. A code that is missing here is a bug, or a reason to think.
const FORESEEN: &[&str] = &[
    "identity.in_use",
    "identity.unknown",
    "mac.in_use",
    "bundle.in_use",
    "vm.running",
    "vm.start_failed",
    "vm.failed",
    "request.denied",
    "request.timed_out",
    "supervisor.unresponsive",
    "supervisor.died",
    "qemu.failed",
    "qemu.protocol",
];

fn work(env: &TestEnv, names: &[String], seed: u64, until: Instant, counts: &Counts) {
    let mut dice = Dice(seed);
    while Instant::now() < until {
        let (name, verb) = (dice.one_of(names), *dice.one_of(ASKED));
        let asked = verb.iter().copied().chain(["--", name]);
        if dice.below(6) == 0 {
            let mut command = env.command(asked);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(dice.below(150)));
            child.kill().unwrap();
            child.wait().unwrap();
            counts.add("kill -9 of a command");
            continue;
        }
        let output = env.json(asked);
        if output.code() == 0 {
            counts.add(format!("{} done", verb[0]));
            continue;
        }
        let code = output.error()["code"].as_str().unwrap().to_owned();
        if !FORESEEN.contains(&code.as_str()) {
            counts.add(format!("NOT FORESEEN {code}"));
            crate::support::tell(&format!("not foreseen: {output}"));
        }
        counts.add(format!("{} refused {code}", verb[0]));
    }
}

/// Kills at random what runs: supervisors mostly, a QEMU sometimes.
fn slay(env: &TestEnv, seed: u64, until: Instant, counts: &Counts) {
    let mut dice = Dice(seed);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50 + dice.below(250)));
        let (who, alive) = if dice.below(4) == 0 {
            ("kill -9 of a QEMU", env.qemus())
        } else {
            ("kill -9 of a supervisor", env.supervisors())
        };
        if !alive.is_empty() {
            send(dice.one_of(&alive).pid, Signal::KILL);
            counts.add(who);
        }
    }
}

/// Files and folders below this one whose lock somebody holds.
fn locked(folder: &Path) -> Vec<std::path::PathBuf> {
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let held: Vec<u64> = locks
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.matches(':').count() == 2))
        .filter_map(|place| place.rsplit(':').next()?.parse().ok())
        .collect();
    below(folder)
        .into_iter()
        .filter(|path| path.symlink_metadata().is_ok_and(|found| held.contains(&found.ino())))
        .collect()
}

fn below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.symlink_metadata().is_ok_and(|about| about.is_dir()) {
            found.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        }
    }
    found
}

#[test]
fn hazard_a_storm_of_commands_and_kills() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = wanted("SELFSAME_STORM_SEED", now.as_secs());
    let lasting = Duration::from_secs(wanted("SELFSAME_STORM_SECONDS", 12));
    crate::support::tell(&format!("storm: SELFSAME_STORM_SEED={seed}"));
    let env = TestEnv::new();
    let names: Vec<String> =
        (0..wanted("SELFSAME_STORM_VMS", 20)).map(|number| format!("vm{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        // Of five VMs, three are twins of each other.
        if number % 5 == 1 || number % 5 == 2 {
            env.copy(&names[number / 5 * 5], name);
        } else {
            env.create(name);
        }
    }
    let before: Vec<_> = names.iter().map(|name| env.get(name)["identity"].clone()).collect();
    let watch = env.watch();
    let (counts, end) = (Counts::default(), Instant::now() + lasting);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (env, names, counts) = (&env, &names, &counts);
            let seed = seed.wrapping_mul(31).wrapping_add(u64::try_from(worker).unwrap());
            scope.spawn(move || work(env, names, seed, end, counts));
        }
        scope.spawn(|| slay(&env, !seed, end, &counts));
    });
    crate::support::tell(&format!("storm: {}", counts.line()));
    for name in &names {
        crate::support::until("it has ended", || {
            drop(env.run(["kill", "--", name]));
            matches!(env.state(name).as_str(), "stopped" | "suspended")
        });
    }
    // One more life for each, which also takes away what was left by those that were killed.
    for name in &names {
        drop(env.json(["run", "-d", "--", name]).ok());
        drop(env.run(["kill", "--", name]).ok());
    }
    watch.never_two();
    env.nothing_is_left();
    assert_eq!(locked(env.root()), Vec::<std::path::PathBuf>::new(), "locks are held");
    let half = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(".selfsame-") || matches!(&*name, "State" | "State.new" | "State.old")
    };
    let halves: Vec<_> = below(env.root()).into_iter().filter(|path| half(path)).collect();
    assert_eq!(halves, Vec::<std::path::PathBuf>::new(), "something half-made is left");
    env.doctor_is_content("after the storm");
    let after: Vec<_> = names.iter().map(|name| env.get(name)["identity"].clone()).collect();
    assert_eq!(after, before);
    assert!(!counts.line().contains("NOT FORESEEN"), "seed {seed}: {}", counts.line());
}
