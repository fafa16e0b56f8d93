//! A thousand who wait for one slot, on guests that are played.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::sandbox::{Home, Sandbox};
use super::table::{Row, Samples};
use crate::run as program;

/// How long the waiting processes are watched.
const WATCHED: Duration = Duration::from_secs(5);
/// How many of them get their turn.
const GRANTS: usize = 20;
/// How long a thousand may take to come, and one to have its turn.
const PATIENCE: Duration = Duration::from_secs(300);
/// So many come at a time.
const AT_ONCE: usize = 16;

/// What was seen.
#[derive(Default)]
pub(super) struct Line {
    count: usize,
    ticks: Samples,
    memory: Samples,
    grants: Samples,
    disorder: Samples,
}

impl Line {
    pub(super) fn rows(&self) -> Vec<Row> {
        let count = self.count;
        vec![
            Row::new("line.ticks", format!("{count} wait, CPU ticks of all in 5 s"), "", &self.ticks)
                .at_most(0.0),
            Row::new("line.memory", format!("{count} wait, memory of all (PSS)"), "MiB", &self.memory)
                .below(1024.0),
            Row::new("line.grant", "slot freed to next VM up", "ms", &self.grants).at_most(20.0),
            Row::new("line.disorder", format!("out of order, of {GRANTS}"), "", &self.disorder).at_most(0.0),
        ]
    }
}

/// One that waits, and where it says that its turn came.
struct Waiter {
    child: Child,
    said: PathBuf,
}

impl Waiter {
    /// Whether its VM is up.
    fn is_done(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("cannot wait for selfsame")?.is_some())
    }

    /// The supervisor of its VM.
    fn supervisor(&self) -> Result<u32> {
        let text = fs::read_to_string(&self.said).context("a waiter said nothing")?;
        supervisor(&text)
    }
}

/// All that wait; ended by their pids when this goes.
struct Waiters(Vec<Waiter>);

impl Drop for Waiters {
    fn drop(&mut self) {
        for waiter in &mut self.0 {
            // It fails only when the child has ended already.
            drop(waiter.child.kill());
        }
        for waiter in &mut self.0 {
            drop(waiter.child.wait());
        }
    }
}

/// Measures with the first VMs of a home, `vm0`, `vm1`, ….
pub(super) fn measure(sandbox: &Sandbox<'_>, home: &Home<'_>, count: usize) -> Result<Line> {
    home.limit(1)?;
    let command = |index: usize| {
        let mut command = home.selfsame();
        command.args(["run", "--detach", "--format", "json", "--backend", "sim"]).arg(format!("vm{index}"));
        command
    };
    let mut runs = supervisor(&program::text(&mut command(0))?)?;
    let mut waiters = Waiters(Vec::with_capacity(count));
    let began = Instant::now();
    for index in 1..=count {
        sandbox.go_on()?;
        let said = sandbox.path().join(format!("said-{index}"));
        let mut command = command(index);
        command.arg("--wait").stdin(Stdio::null()).stderr(Stdio::null());
        command.stdout(fs::File::create(&said).context("cannot make a file")?);
        waiters.0.push(Waiter { child: command.spawn().context("cannot run selfsame")?, said });
        // Those that get their turn come one by one: their order has to be known.
        if index <= GRANTS || index.is_multiple_of(AT_ONCE) || index == count {
            until(sandbox, || Ok(sandbox.tickets()? == index))?;
        }
    }
    eprintln!("{count} stand in line after {:.0} s", began.elapsed().as_secs_f64());
    // The last has its ticket, and still looks around.
    sandbox.pause(Duration::from_secs(2))?;
    let pids: Vec<u32> = waiters.0.iter().map(|waiter| waiter.child.id()).collect();
    let before = ticks(&pids)?;
    sandbox.pause(WATCHED)?;
    let mut line = Line { count, ..Line::default() };
    line.ticks.add(ticks(&pids)? - before);
    line.memory.add(memory(&pids)?);
    let mut disorder = 0.0;
    for index in 0..GRANTS.min(count) {
        let began = Instant::now();
        // A supervisor that is killed frees its slot at once, and its guest ends with it.
        end(runs)?;
        until(sandbox, || waiters.0.get_mut(index).context("there are too few")?.is_done())?;
        line.grants.add(began.elapsed().as_secs_f64() * 1e3);
        runs = waiters.0.get(index).context("there are too few")?.supervisor()?;
        for other in waiters.0.iter_mut().skip(index + 1) {
            disorder += if other.is_done()? { 1.0 } else { 0.0 };
        }
        // The next looks around before it sleeps again.
        sandbox.pause(Duration::from_millis(100))?;
    }
    line.disorder.add(disorder);
    drop(waiters);
    end(runs)?;
    Ok(line)
}

fn until(sandbox: &Sandbox<'_>, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        sandbox.go_on()?;
        if began.elapsed() > PATIENCE {
            bail!("the line did not move within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// The supervisor's pid in what `run --format json` wrote.
fn supervisor(text: &str) -> Result<u32> {
    let told: Value = serde_json::from_str(text).context("`run` writes no JSON")?;
    let pid = told.get("status").and_then(|status| status.get("supervisor_pid")?.as_u64());
    pid.and_then(|pid| u32::try_from(pid).ok()).context("`run` names no supervisor")
}

fn end(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no pid")?;
    kill_process(pid, Signal::KILL).context("a supervisor is gone")
}

/// The CPU time of all, in clock ticks.
fn ticks(pids: &[u32]) -> Result<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a waiter is gone")?;
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        // utime and stime, fields 14 and 15 of proc(5); the state is the third.
        sum += fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(sum)
}

/// The memory of all, what they share counted once: MiB.
fn memory(pids: &[u32]) -> Result<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("a waiter is gone")?;
        let line =
            text.lines().find_map(|line| line.strip_prefix("Pss:")).context("the kernel tells no PSS")?;
        let word = line.split_ascii_whitespace().next().unwrap_or_default();
        sum += word.parse::<f64>().context("the kernel tells no PSS")?;
    }
    Ok(sum / 1024.0)
}
