//! A terminal with a command in it, and somebody who types.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

/// The terminal, and the command.
pub(crate) struct Pty {
    keys: File,
    /// The command's end, kept open so that the terminal stays.
    tty: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
    settings: Termios,
}

impl Pty {
    /// Starts a command in a terminal of its own.
    pub(crate) fn start(mut command: Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        #[cfg(target_os = "linux")]
        let flags = flags | OpenptFlags::CLOEXEC;
        let ours: OwnedFd = openpt(flags).unwrap();
        // macOS has no flag for it.
        rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let tty = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let settings = tcgetattr(&tty).unwrap();
        let end = || tty.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        drop(command);
        let keys = File::from(ours);
        let mut out = keys.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut chunk) {
                if sender.send(chunk[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keys, tty, screen, seen: String::new(), child, settings }
    }

    /// Types.
    pub(crate) fn keys(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// Waits until the screen shows this, behind what was waited for before.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) {
        let began = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            match self.screen.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => {
                    let late = began.elapsed() > Duration::from_secs(90);
                    assert!(!late, "it does not show `{text}` but `{}`", self.seen);
                }
            }
        }
    }

    /// Whether keys are handed on one by one, Ctrl-C as well.
    pub(crate) fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.tty).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO)
    }

    /// Fails unless the terminal is as it was.
    #[track_caller]
    pub(crate) fn is_restored(&self) {
        let now = tcgetattr(&self.tty).unwrap();
        assert_eq!(format!("{now:?}"), format!("{:?}", self.settings));
        assert!(!self.is_raw());
    }

    /// The command's pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the command's end, and gives its exit status.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it does not end; it shows `{}`", self.seen);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
