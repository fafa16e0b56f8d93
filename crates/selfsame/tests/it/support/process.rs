//! Processes: those of a test, found by its folder in their environment, and what is done to them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its arguments, the program's name first.
    pub(crate) arguments: Vec<String>,
}

impl Process {
    /// Reads one; `None` when it has ended, or is a zombie.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        let arguments = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        Some(Self { pid, arguments: arguments.collect() })
    }

    /// Whether it is a QEMU: a file's name, so that no supervisor between fork and exec is taken for one.
    pub(crate) fn is_qemu(&self) -> bool {
        let program = self.arguments.first().map(Path::new).and_then(Path::file_name);
        program.is_some_and(|name| name.as_bytes().starts_with(b"qemu-system"))
    }

    pub(crate) fn is_supervisor(&self) -> bool {
        self.arguments.get(1).is_some_and(|word| word == "supervise")
    }

    /// What follows `-uuid`.
    pub(crate) fn uuid(&self) -> Option<&str> {
        let at = self.arguments.iter().position(|word| word == "-uuid")?;
        self.arguments.get(at + 1).map(String::as_str)
    }
}

/// All living processes.
pub(crate) fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc can be read").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The living processes, other than this one, that were started with this folder in their environment.
pub(crate) fn all_with(folder: &Path) -> Vec<Process> {
    let needle = folder.as_os_str().as_bytes();
    let belongs = |pid: u32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.windows(needle.len()).any(|window| window == needle))
    };
    all().filter(|pid| *pid != std::process::id() && belongs(*pid)).filter_map(Process::of).collect()
}

/// Whether a process lives. One that is ending does, until it has given back everything and is a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Sends a signal; to a process that has just ended that is no failure.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("cannot send a signal to {pid:?}: {error}"),
    }
}

/// Waits until something is so; fails when it does not become so in 20 s.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Does `work` for 0 to `count`, all at once, each in a thread, none before all are ready.
pub(crate) fn together<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    let one = |index| {
        barrier.wait();
        work(index)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|index| {
                scope.spawn({
                    let one = &one;
                    move || one(index)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread panicked")).collect()
    })
}

/// A path for the environment of a child: absolute, short.
pub(super) fn temporary() -> PathBuf {
    std::env::temp_dir().canonicalize().expect("there is a temporary folder")
}
