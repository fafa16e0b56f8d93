//! QEMU without selfsame: the same program, arguments, folder and descriptors, started by as little as will do.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::io::{FdFlags, fcntl_setfd};

/// Replaced by the number of a descriptor.
const QMP: &str = "socket,id=qmp,fd=";
const REPORT: &str = "socket,id=report,fd=";
const CONSOLE: &str = "fd=";

/// How to start it.
pub(super) struct PlainQemu {
    arguments: Vec<String>,
    program: PathBuf,
    folder: PathBuf,
    sandbox: PathBuf,
}

impl PlainQemu {
    /// Takes the arguments from a QEMU that a supervisor has started. The disks are copied: that one has locked them.
    pub(super) fn like(pid: u32, sandbox: &Path) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let line = fs::read(process.join("cmdline")).context("cannot read QEMU's command line")?;
        let line = String::from_utf8(line).context("QEMU's command line is not UTF-8")?;
        let arguments: Vec<String> =
            line.trim_end_matches('\0').split('\0').skip(1).map(str::to_owned).collect();
        let theirs = process.join("cwd").read_link().context("cannot read QEMU's folder")?;
        let folder = sandbox.join("plain");
        fs::create_dir_all(&folder).context("cannot create a folder")?;
        for entry in fs::read_dir(theirs).context("cannot read QEMU's folder")?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                fs::copy(entry.path(), folder.join(entry.file_name())).context("cannot copy a disk")?;
            }
        }
        let program = process.join("exe").read_link().context("cannot read QEMU's program")?;
        Ok(Self { arguments, program, folder, sandbox: sandbox.to_owned() })
    }

    /// Starts it, asks for its state as the first thing, ends it. Says how long it took to answer.
    pub(super) fn start(&self) -> Result<Duration> {
        let began = Instant::now();
        let monitor = self.sandbox.join("plain.qmp");
        let (qmp, report) = (listen(&monitor)?, listen(&self.sandbox.join("plain.report"))?);
        let append = |name: &str| {
            let path = self.folder.join(name);
            fs::File::options().append(true).create(true).open(path).context("cannot write a log")
        };
        let (console, log) = (append("console.log")?, append("qemu.log")?);
        let console = OwnedFd::from(console);
        let inherited = [qmp.as_fd(), report.as_fd(), console.as_fd()];
        let numbers = [qmp.as_raw_fd(), report.as_raw_fd(), console.as_raw_fd()];
        inherited.iter().try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty()))?;
        let mut command = Command::new(&self.program);
        let arguments = self.arguments.iter().map(|argument| renumbered(argument, numbers));
        command.args(arguments).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start QEMU")?;
        let mut ended = Ended(child);
        // Ours go now, so that a connection ends with QEMU.
        let connection = UnixStream::connect(&monitor).context("cannot reach QEMU's monitor")?;
        drop((qmp, report));
        let answered = ask(connection);
        let took = began.elapsed();
        ended.end();
        answered.map(|()| took)
    }
}

/// The argument with our descriptors in place of a supervisor's.
fn renumbered(argument: &str, [qmp, report, console]: [i32; 3]) -> String {
    for (before, number) in [(QMP, qmp), (REPORT, report), (CONSOLE, console)] {
        if let Some(rest) = argument.strip_prefix(before) {
            let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            return format!("{before}{number}{after}");
        }
    }
    argument.to_owned()
}

fn listen(path: &Path) -> Result<UnixListener> {
    if path.as_os_str().as_bytes().len() > 100 {
        bail!("`{}` is too long for a socket; set TMPDIR to a shorter folder", path.display());
    }
    drop(fs::remove_file(path));
    UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))
}

/// The greeting, the handshake and the answer to one question.
fn ask(mut connection: UnixStream) -> Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let mut line = move || lines.next().context("QEMU hung up")?.context("QEMU does not answer");
    line()?;
    for command in ["qmp_capabilities", "query-status"] {
        writeln!(connection, r#"{{"execute":"{command}"}}"#)?;
        // Events may come between.
        while !line()?.starts_with(r#"{"return""#) {}
    }
    Ok(())
}

/// A child that does not outlive this value.
struct Ended(Child);

impl Ended {
    fn end(&mut self) {
        // Both fail only when it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::renumbered;

    #[test]
    fn descriptors_are_renumbered_and_nothing_else() {
        let numbers = [31, 32, 33];
        assert_eq!(
            renumbered("socket,id=qmp,fd=9,server=on,wait=off", numbers),
            "socket,id=qmp,fd=31,server=on,wait=off"
        );
        assert_eq!(
            renumbered("socket,id=report,fd=10,server=on", numbers),
            "socket,id=report,fd=32,server=on"
        );
        assert_eq!(renumbered("fd=8,set=1", numbers), "fd=33,set=1");
        assert_eq!(renumbered("guest=fd=8", numbers), "guest=fd=8");
    }
}
