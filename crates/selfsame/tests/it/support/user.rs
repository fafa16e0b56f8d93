//! Somebody who calls selfsame: with a home, a copy of the program and perhaps another user's id.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::output::Output;

/// No command may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// One caller.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(super) root: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) program: PathBuf,
    /// Whom to become.
    pub(super) uid: Option<u32>,
}

impl User {
    /// Whom it becomes, where that is somebody else.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// The same user with another home.
    pub(crate) fn in_home(&self, home: PathBuf) -> Self {
        Self { home, ..self.clone() }
    }

    /// A command of selfsame in this user's home, not yet run.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.other(&self.program);
        command.args(arguments);
        command
    }

    /// Any program, with this user's environment and id.
    pub(crate) fn other(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.uid {
            None => Command::new(program),
            Some(uid) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={uid}")).arg(format!("--regid={uid}")).arg("--clear-groups");
                command.arg("--").arg(program);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LC_ALL", "C")
            .env("SELFSAME_HOME", &self.home)
            .env("SELFSAME_LOCK_DIR", self.root.join("locks"))
            .current_dir(&self.root)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of selfsame to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.finish(self.command(arguments))
    }

    /// The same, with errors and data as JSON.
    pub(crate) fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        let mut command = self.command(["--format", "json"]);
        command.args(arguments);
        self.finish(command)
    }

    /// Runs any command to its end, at most a minute. Its streams are files: a pipe would wait for every process that
    /// inherited it.
    pub(crate) fn finish(&self, command: Command) -> Output {
        self.finish_within(LIMIT, command)
    }

    /// The same with another limit.
    pub(crate) fn finish_within(&self, limit: Duration, mut command: Command) -> Output {
        let what = format!("{command:?}");
        let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {what}: {error}"));
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if began.elapsed() > limit {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let output = Output {
            what,
            status: status.and_then(|status| status.code()),
            stdout: text(&mut stdout),
            stderr: text(&mut stderr),
            root: self.root.to_string_lossy().into_owned(),
        };
        assert!(status.is_some(), "it took longer than {} s: {output}", limit.as_secs());
        output
    }

    /// Makes the VM that is up in 50 ms: no disk, no firmware to load, little memory.
    pub(crate) fn create(&self, name: &str) -> PathBuf {
        self.create_with(name, &["--no-disk"])
    }

    /// Makes such a VM with more said of it.
    pub(crate) fn create_with(&self, name: &str, more: &[&str]) -> PathBuf {
        let small = ["create", name, "--firmware", "bios", "--memory", "64MiB", "--cpus", "1"];
        drop(self.run(small.iter().chain(more)).ok());
        self.folder(name)
    }

    /// Copies a VM by hand.
    pub(crate) fn copy(&self, from: &str, to: &str) -> PathBuf {
        let copy = self.folder(to);
        let mut command = self.other("cp");
        command.arg("-r").arg(self.folder(from)).arg(&copy);
        drop(self.finish(command).ok());
        copy
    }

    /// Starts a VM that stands still.
    pub(crate) fn start(&self, name: &str) -> Output {
        self.json(["run", "-d", "--paused", "--", name])
    }

    /// Starts it, and gives the pids of its supervisor and its QEMU.
    #[track_caller]
    pub(crate) fn started(&self, name: &str) -> Pids {
        let status = self.start(name).ok().json()["status"].clone();
        Pids::of(&status)
    }

    /// What `get` tells.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Value {
        self.json(["get", "--", name]).ok().json()
    }

    /// What `get` says it is doing.
    #[track_caller]
    pub(crate) fn state(&self, name: &str) -> String {
        self.get(name)["state"].as_str().unwrap().to_owned()
    }

    /// The kinds of what happened to a VM, oldest first.
    #[track_caller]
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.json(["events", "--", name]).ok().stdout;
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A VM's folder.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.home.join("vms").join(format!("{name}.vm"))
    }

    /// What lies in `run/`.
    pub(crate) fn run_files(&self) -> Vec<OsString> {
        let entries = std::fs::read_dir(self.home.join("run")).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        files.sort();
        files
    }

    /// The one file in `run/` with this ending.
    #[track_caller]
    pub(crate) fn run_file(&self, ending: &str) -> PathBuf {
        let files = self.run_files();
        let fits = |name: &&OsString| Path::new(name).extension().is_some_and(|found| found == ending);
        let mut found = files.iter().filter(fits);
        let file = found.next().unwrap_or_else(|| panic!("no {ending} in {files:?}"));
        assert!(found.next().is_none(), "several: {files:?}");
        self.home.join("run").join(file)
    }
}

/// The processes of a running VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pids {
    pub(crate) supervisor: u32,
    pub(crate) qemu: u32,
}

impl Pids {
    #[track_caller]
    pub(crate) fn of(status: &Value) -> Self {
        let pid = |key: &str| status[key].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let pids = pid("supervisor_pid").zip(pid("backend_pid"));
        let (supervisor, qemu) = pids.unwrap_or_else(|| panic!("no pids in {status}"));
        Self { supervisor, qemu }
    }
}

/// Sets a file's or folder's mode.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
