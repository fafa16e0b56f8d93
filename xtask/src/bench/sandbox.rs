//! Homes of their own for the measurements, and a crowd of processes. All of it goes when the values go, whether the
//! measuring ended well, failed or was interrupted.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::build::Binaries;
use crate::run;

/// A folder for everything, removed at the end.
pub(super) struct Sandbox<'b> {
    folder: tempfile::TempDir,
    binaries: &'b Binaries,
    qemu: &'b str,
    interrupted: Arc<AtomicBool>,
}

impl<'b> Sandbox<'b> {
    pub(super) fn new(binaries: &'b Binaries, qemu: &'b str) -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("cannot catch a signal")?;
        }
        let folder = tempfile::Builder::new().prefix("selfsame-bench-").tempdir();
        Ok(Self { folder: folder.context("cannot make a folder")?, binaries, qemu, interrupted })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// How many tickets lie in the folder of locks.
    pub(super) fn tickets(&self) -> Result<usize> {
        let entries = fs::read_dir(self.path().join("locks")).context("there are no locks")?.flatten();
        Ok(entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"ticket-")).count())
    }

    /// Fails once somebody has interrupted the run.
    pub(super) fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Waits, and is interrupted.
    pub(super) fn pause(&self, time: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.go_on()?;
            std::thread::sleep(Duration::from_millis(100).min(time.saturating_sub(began.elapsed())));
        }
        self.go_on()
    }

    /// A home with so many identities in its library and so many VMs, `vm0`, `vm1`, ….
    pub(super) fn home(&self, name: &str, identities: usize, vms: usize) -> Result<Home<'_>> {
        self.go_on()?;
        let home = Home { sandbox: self, name: name.to_owned() };
        let folder = self.path().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let qemu = toml::Value::String(self.qemu.to_owned());
        fs::write(folder.join("config.toml"), format!("[qemu]\nbinary = {qemu}\naccelerator = \"tcg\"\n"))
            .context("cannot write the configuration")?;
        let mut fill = home.command(&self.binaries.gate);
        run::output(fill.args(["fill", &identities.to_string(), &vms.to_string()]))?;
        Ok(home)
    }
}

/// One home.
pub(super) struct Home<'s> {
    sandbox: &'s Sandbox<'s>,
    name: String,
}

impl Home<'_> {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("SELFSAME_HOME", self.sandbox.path().join(&self.name))
            .env("SELFSAME_LOCK_DIR", self.sandbox.path().join("locks"));
        command
    }

    /// The product in this home.
    pub(super) fn selfsame(&self) -> Command {
        self.command(&self.sandbox.binaries.selfsame)
    }

    /// Lets so many guests run.
    pub(super) fn limit(&self, count: u32) -> Result<()> {
        let path = self.sandbox.path().join(&self.name).join("config.toml");
        let mut text = fs::read_to_string(&path).context("there is no configuration")?;
        text.push_str(&format!("[quota]\nlinux = {count}\n"));
        fs::write(path, text).context("cannot write the configuration")
    }

    /// Starts a VM, its guest paused.
    pub(super) fn start(&self, name: &str) -> Result<Started> {
        let text =
            run::text(self.selfsame().args(["run", "--detach", "--paused", "--format", "json", name]))?;
        let told: Value = serde_json::from_str(&text).context("`run` writes no JSON")?;
        let pid = |key: &str| {
            let pid = told.get("status")?.get(key)?.as_u64();
            pid.and_then(|pid| u32::try_from(pid).ok())
        };
        let (supervisor, qemu) =
            pid("supervisor_pid").zip(pid("backend_pid")).context("`run` names no pids")?;
        Ok(Started { name: name.to_owned(), supervisor, qemu })
    }

    /// Ends a VM.
    pub(super) fn kill(&self, started: Started) -> Result<()> {
        run::output(self.selfsame().args(["kill", &started.name])).map(drop)
    }

    /// Passes the gate so often; milliseconds.
    pub(super) fn gate(&self, name: &str, count: usize) -> Result<Vec<f64>> {
        let mut gate = self.command(&self.sandbox.binaries.gate);
        let text = run::text(gate.args(["pass", name, &count.to_string()]))?;
        text.lines().map(|line| Ok(line.parse::<f64>().context("the gate writes no number")? / 1e6)).collect()
    }
}

/// Whatever was interrupted: no VM of the home outlives it.
impl Drop for Home<'_> {
    fn drop(&mut self) {
        let Ok(text) = run::text(self.selfsame().args(["--quiet", "list", "--running"])) else { return };
        for name in text.lines() {
            // Nobody is left to tell; the VM's own supervisor said what went wrong.
            drop(run::output(self.selfsame().args(["kill", name])));
        }
    }
}

/// A VM that was started.
pub(super) struct Started {
    name: String,
    /// Its supervisor's process.
    pub(super) supervisor: u32,
    /// QEMU's.
    pub(super) qemu: u32,
}

/// Processes that do nothing but be there.
pub(super) struct Crowd(Vec<Child>);

impl Crowd {
    pub(super) fn gather(count: usize) -> Result<Self> {
        let mut crowd = Self(Vec::with_capacity(count));
        for _ in 0..count {
            // They end by themselves should nobody come to end them.
            let mut sleep = Command::new("sleep");
            let child = sleep.arg("900").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            crowd.0.push(child.context("cannot run `sleep`")?);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It fails only when the child has ended already.
            drop(child.kill());
        }
        for child in &mut self.0 {
            drop(child.wait());
        }
    }
}
