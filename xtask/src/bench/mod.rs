//! The promised numbers, measured on this host: a table for people, `target/bench.json` for programs.
//!
//! All arms run in turns within one run, so that what else the host does meets all of them alike. A limit that is missed
//! is shown, and fails the chore with `--strict` only: on a busy host the numbers are the host's.

mod build;
mod line;
mod plain;
mod sandbox;
mod supervisor;
mod table;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::{repository, run as program};
use build::Binaries;
use line::Line;
use plain::PlainQemu;
use sandbox::{Crowd, Home, Sandbox};
use supervisor::Watched;
use table::{Row, Samples, Table};

/// Identities in the library whose gate is measured.
const IDENTITIES: usize = 10_000;
/// Other processes that are alive meanwhile.
const PROCESSES: usize = 1_000;
/// VMs in the library that is listed.
const VMS: usize = 1_000;
/// Commands that wait for a slot.
const WAITERS: usize = 1_000;
/// Starts of each kind, as pairs.
const PAIRS: usize = 15;
/// Short commands and passages of the gate per round; there are as many rounds as pairs.
const COMMANDS: usize = 2;
const PASSAGES: usize = 14;

/// `cargo xtask bench [--quick] [--strict]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut quick, mut strict) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "--quick" => quick = true,
            "--strict" => strict = true,
            _ => bail!("usage: cargo xtask bench [--quick] [--strict]"),
        }
    }
    let root = repository::root()?;
    let qemu = qemu(&root)?;
    let binaries = Binaries::build(&root)?;
    let load_before = load();
    eprintln!("filling libraries …");
    let sandbox = Sandbox::new(&binaries, &qemu)?;
    let measured = measure(&sandbox, if quick { Duration::from_secs(10) } else { Duration::from_secs(60) })?;
    let table = measured.table(&binaries)?;
    let selfsame = program::text(Command::new(&binaries.selfsame).arg("--version"))?;
    let version = program::text(Command::new(&qemu).arg("--version"))?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    drop(sandbox);

    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load_after = load();
    print!("{}", table.text());
    println!("{cores} cores, load {load_before} before and {load_after} after");
    let document = json!({
        "schema": "bench/1",
        "quick": quick,
        "cores": cores,
        "load": { "before": load_before, "after": load_after },
        "versions": {
            "selfsame": selfsame.trim(),
            "qemu": version.lines().next().unwrap_or_default(),
            "linux": kernel.trim(),
        },
        "rows": table.json(),
    });
    let path = root.join("target/bench.json");
    fs::create_dir_all(root.join("target")).context("cannot create target")?;
    fs::write(&path, format!("{document:#}\n")).context("cannot write target/bench.json")?;
    println!("written to target/bench.json");
    match table.missed() {
        0 => Ok(()),
        missed if strict => bail!("{missed} promised numbers were missed"),
        missed => {
            println!("{missed} promised numbers were missed");
            Ok(())
        }
    }
}

/// The QEMU that the tests use.
fn qemu(root: &Path) -> Result<String> {
    let text = fs::read_to_string(root.join("target/guest/guest.toml"))
        .context("there is no test guest yet: cargo xtask guest")?;
    let table: toml::Table = text.parse().context("target/guest/guest.toml cannot be read")?;
    let qemu = table.get("qemu").and_then(toml::Value::as_str);
    Ok(qemu.context("target/guest/guest.toml names no QEMU")?.to_owned())
}

/// The host's load over the last minute, as the kernel writes it.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// What the rounds gave.
#[derive(Default)]
struct Measured {
    started: Samples,
    plain: Samples,
    list: Samples,
    help: Samples,
    gate: Vec<(usize, Samples)>,
    supervisor: Watched,
    line: Line,
    seconds: u64,
}

fn measure(sandbox: &Sandbox<'_>, watched: Duration) -> Result<Measured> {
    let mut measured = Measured { seconds: watched.as_secs(), ..Measured::default() };
    let alone = sandbox.home("alone", IDENTITIES, 1)?;
    let some = sandbox.home("some", IDENTITIES, 101)?;
    let many = sandbox.home("many", IDENTITIES, VMS)?;
    // What was written a moment ago is never taken from the library; then the first listing reads it all.
    sandbox.pause(Duration::from_secs(3))?;
    for home in [&alone, &some, &many] {
        program::output(home.selfsame().arg("list"))?;
    }
    let other = some.start("vm1")?;
    let plain = PlainQemu::like(other.qemu, sandbox.path())?;
    let supervisor = supervisor::Watch::begin(other.supervisor)?;
    let crowd = Crowd::gather(PROCESSES)?;
    let gates = [(0, &alone), (100, &some), (VMS - 1, &many)];
    measured.gate = gates.iter().map(|(siblings, _)| (*siblings, Samples::default())).collect();
    // Once each without counting: the first start of a VM writes its machine into `vm.toml`.
    alone.kill(alone.start("vm0")?)?;
    plain.start()?;
    eprintln!("measuring, {PAIRS} rounds …");
    for _ in 0..PAIRS {
        sandbox.go_on()?;
        measured.started.add(start_and_kill(&alone)?);
        measured.plain.add(milliseconds(plain.start()?));
        for _ in 0..COMMANDS {
            measured.list.add(timed(many.selfsame().args(["list", "--format", "json"]))?);
            measured.help.add(timed(many.selfsame().arg("--help"))?);
        }
        for ((_, home), (_, samples)) in gates.iter().zip(&mut measured.gate) {
            home.gate("vm0", PASSAGES)?.into_iter().for_each(|took| samples.add(took));
        }
    }
    eprintln!("watching a quiet supervisor …");
    sandbox.pause(supervisor.left(watched))?;
    measured.supervisor = supervisor.end()?;
    some.kill(other)?;
    drop(crowd);
    eprintln!("having {WAITERS} wait …");
    measured.line = line::measure(sandbox, &sandbox.home("line", 1, WAITERS + 1)?, WAITERS)?;
    Ok(measured)
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// From the start of the command to its end, which comes when QEMU's monitor has answered.
fn start_and_kill(home: &Home<'_>) -> Result<f64> {
    let began = Instant::now();
    let started = home.start("vm0")?;
    let took = began.elapsed();
    home.kill(started)?;
    Ok(milliseconds(took))
}

/// A whole command, from the start of its process to the last byte of its output.
fn timed(command: &mut Command) -> Result<f64> {
    let began = Instant::now();
    program::output(command)?;
    Ok(milliseconds(began.elapsed()))
}

impl Measured {
    fn table(&self, binaries: &Binaries) -> Result<Table> {
        let size = fs::metadata(&binaries.selfsame).context("the binary is gone")?.len();
        let mut rows = vec![
            Row::new("start.selfsame", "`run -d` to QMP ready", "ms", &self.started).beside(&self.plain),
            Row::new("start.plain", "plain QEMU, same arguments, to QMP ready", "ms", &self.plain),
            Row::new(
                "start.difference",
                "the difference, pair by pair",
                "ms",
                &self.started.minus(&self.plain),
            )
            .at_most(20.0),
        ];
        for (siblings, samples) in &self.gate {
            let name = format!("gate.beside_{siblings}");
            let what = format!("gate beside {siblings} VMs, {IDENTITIES} identities, {PROCESSES} processes");
            let row = Row::new(name, what, "ms", samples);
            rows.push(if *siblings == 0 { row.below(1.0) } else { row });
        }
        let watched = &self.supervisor;
        let seconds = self.seconds;
        rows.extend([
            Row::new("list", format!("`list --format json`, {VMS} VMs"), "ms", &self.list).below(12.0),
            Row::new("help", "`--help`", "ms", &self.help).below(5.0),
            Row::new("supervisor.resident", "supervisor, resident", "MiB", &Samples::one(watched.resident))
                .at_most(8.0),
            Row::new("supervisor.private", "supervisor, private", "MiB", &Samples::one(watched.private))
                .at_most(2.0),
            Row::new(
                "supervisor.switches",
                format!("supervisor, context switches in {seconds} s or more"),
                "",
                &Samples::one(watched.switches),
            )
            .at_most(2.0),
            Row::new("binary", "release binary", "MB", &Samples::one(megabytes(size))).below(8.0),
        ]);
        rows.extend(self.line.rows());
        Ok(Table(rows))
    }
}

fn megabytes(bytes: u64) -> f64 {
    // Far below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "the size of a program")]
    let bytes = bytes as f64;
    bytes / 1e6
}
