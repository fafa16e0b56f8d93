//! The world of one test: a folder that holds its homes, its locks and its copy of the program.

use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::guest_files::GuestFiles;
use super::process::{Process, Signal, all_with, send, temporary};
use super::user::{User, set_mode};
use super::watch::Watch;

/// A home with the real QEMU, and a lock folder of its own. Dropping it ends by pid whatever still belongs to it, and
/// fails when something is left alive.
#[derive(Debug)]
pub(crate) struct TestEnv {
    folder: tempfile::TempDir,
    main: User,
    pub(crate) files: GuestFiles,
}

impl Deref for TestEnv {
    type Target = User;

    fn deref(&self) -> &User {
        &self.main
    }
}

impl TestEnv {
    pub(crate) fn new() -> Self {
        let files = GuestFiles::find();
        let folder = tempfile::Builder::new().prefix("ss-").tempdir_in(temporary()).unwrap();
        let root = folder.path().canonicalize().unwrap();
        let main = User {
            home: root.join("home"),
            root,
            program: PathBuf::from(env!("CARGO_BIN_EXE_selfsame")),
            uid: None,
        };
        let env = Self { folder, main, files };
        env.settle(&env.main, &env.files.qemu);
        env
    }

    /// The folder of all of it.
    pub(crate) fn root(&self) -> &Path {
        &self.main.root
    }

    /// The folder of locks.
    pub(crate) fn locks(&self) -> PathBuf {
        self.main.root.join("locks")
    }

    /// Another home of the same user.
    pub(crate) fn home(&self, name: &str) -> User {
        let user = self.main.in_home(self.root().join(name));
        self.settle(&user, &self.files.qemu);
        user
    }

    /// Another user with a home of their own, and what they need to be able to reach. Needs root.
    pub(crate) fn user(&self, uid: u32) -> User {
        set_mode(self.folder.path(), 0o755);
        // Here, unlike in /run/lock, only the owner could make it.
        if !self.locks().exists() {
            std::fs::create_dir(self.locks()).unwrap();
            set_mode(&self.locks(), 0o1777);
        }
        // Where a test was built, others need not be able to look.
        let program = self.root().join("selfsame");
        if !program.exists() {
            std::fs::copy(&self.main.program, &program).unwrap();
            set_mode(&program, 0o755);
        }
        let user = User {
            home: self.root().join(format!("home-{uid}")),
            program,
            uid: Some(uid),
            ..self.main.clone()
        };
        let qemu = self.qemu_for(&user);
        self.settle(&user, &qemu);
        self.give(&user.home, uid);
        user
    }

    /// A QEMU that this user may run: the one of the tests, or a copy of it.
    fn qemu_for(&self, user: &User) -> PathBuf {
        let mut version = user.other(&self.files.qemu);
        version.arg("-version");
        let reachable = version.output().is_ok_and(|output| output.status.success());
        let tree = self.files.qemu.ancestors().find(|path| path.ends_with("guest/qemu"));
        match tree {
            Some(tree) if !reachable => {
                let copy = self.root().join("qemu");
                if !copy.exists() {
                    let mut command = Command::new("cp");
                    self.finish_as_test(command.arg("-r").arg(tree).arg(&copy));
                }
                copy.join(self.files.qemu.strip_prefix(tree).unwrap())
            }
            Some(_) | None => self.files.qemu.clone(),
        }
    }

    fn finish_as_test(&self, command: &mut Command) {
        assert!(command.status().unwrap().success(), "{command:?} in {}", self.root().display());
    }

    /// Gives a folder with all that is in it to a user.
    pub(crate) fn give(&self, path: &Path, uid: u32) {
        self.finish_as_test(Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).arg(path));
    }

    fn settle(&self, user: &User, qemu: &Path) {
        if !user.home.exists() {
            std::fs::DirBuilder::new().mode(0o700).create(&user.home).unwrap();
        }
        configure(&user.home, qemu);
    }

    /// Sets the QEMU of the main home.
    pub(crate) fn use_qemu(&self, qemu: &Path) {
        configure(&self.main.home, qemu);
    }

    /// Watches that no two QEMUs with one UUID live at the same time.
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.root())
    }

    /// The living QEMUs of this test.
    pub(crate) fn qemus(&self) -> Vec<Process> {
        all_with(self.root()).into_iter().filter(Process::is_qemu).collect()
    }

    /// The living supervisors of this test.
    pub(crate) fn supervisors(&self) -> Vec<Process> {
        all_with(self.root()).into_iter().filter(Process::is_supervisor).collect()
    }

    /// Fails unless a failed or ended run left nothing: no process, nothing in `run/`.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        super::until("all processes have ended", || all_with(self.root()).is_empty());
        assert_eq!(self.run_files(), Vec::<std::ffi::OsString>::new());
    }

    /// Fails when `doctor` finds anything but what every test has: locks in a place of its own, and perhaps twins.
    #[track_caller]
    pub(crate) fn doctor_is_content(&self, when: &str) {
        let doctor = self.run(["doctor"]);
        let known = |line: &str| {
            let expected = line.contains("SELFSAME_LOCK_DIR") || line.contains(": twins: ");
            line.trim().is_empty() || (line.starts_with("warning: ") && expected)
        };
        let found: Vec<&str> = doctor.stdout.lines().filter(|line| !known(line)).collect();
        assert_eq!((found, doctor.status), (Vec::new(), Some(10)), "{when}{doctor}");
    }

    /// Ends all that belongs to the test, by pid.
    fn end_all(&self) -> Vec<Process> {
        let began = Instant::now();
        loop {
            let alive = all_with(self.root());
            if alive.is_empty() || began.elapsed() > Duration::from_secs(10) {
                return alive;
            }
            for process in alive {
                send(process.pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        let left = self.end_all();
        assert!(std::thread::panicking() || left.is_empty(), "cannot be ended: {left:?}");
    }
}

fn configure(home: &Path, qemu: &Path) {
    let text =
        format!("[qemu]\nbinary = {}\naccelerator = \"tcg\"\n", toml::Value::from(qemu.to_str().unwrap()));
    std::fs::write(home.join("config.toml"), text).unwrap();
}
