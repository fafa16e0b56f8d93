//! What a supervisor costs while nothing happens.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// What was seen of it.
#[derive(Default)]
pub(super) struct Watched {
    /// Resident memory, MiB.
    pub(super) resident: f64,
    /// Of it, memory that no file backs, MiB.
    pub(super) private: f64,
    /// Context switches of all its threads.
    pub(super) switches: f64,
}

/// A supervisor under observation.
pub(super) struct Watch {
    pid: u32,
    began: Instant,
    switches: f64,
}

impl Watch {
    pub(super) fn begin(pid: u32) -> Result<Self> {
        // The command came back when the guest was up; the supervisor then still lets go of what it told it by.
        std::thread::sleep(Duration::from_secs(1));
        Ok(Self { pid, began: Instant::now(), switches: switches(pid)? })
    }

    /// How much is left of the time.
    pub(super) fn left(&self, time: Duration) -> Duration {
        time.saturating_sub(self.began.elapsed())
    }

    pub(super) fn end(self) -> Result<Watched> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the supervisor is gone")?;
        let mib = |key| number(&status, key).map(|kib| kib / 1024.0);
        Ok(Watched {
            resident: mib("VmRSS:")?,
            private: mib("RssAnon:")?,
            switches: switches(self.pid)? - self.switches,
        })
    }
}

/// The context switches of all threads so far.
fn switches(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("the supervisor is gone")?.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).context("a thread is gone")?;
        sum += number(&status, "voluntary_ctxt_switches:")? + number(&status, "nonvoluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// The number in the line that begins with `key`.
fn number(status: &str, key: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let word = line.and_then(|line| line.split_ascii_whitespace().next());
    word.and_then(|word| word.parse().ok()).with_context(|| format!("the kernel says nothing of {key}"))
}
