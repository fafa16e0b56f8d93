//! A whole Debian that boots once, for all that needs systemd, an SSH server, the agent and cloud-init.
//!
//! One boot is all there is: it costs half a minute of two processors to itself. The test boots the VM [`NAME`] through
//! selfsame as anybody would, and hands it to each part in turn. To add one: a file here with a function
//! `check(debian: &Debian)`, listed among the modules and in [`PARTS`]. A part leaves the VM running, and leaves it as
//! it found it as far as the next ones see it; one that cannot belongs to the end of the list.
//!
//! Made by `cargo xtask guest --debian`; where there is none, the test says so and is skipped.

mod agent;
mod first_start;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Output, TestEnv, other_guest};

/// The VM.
const NAME: &str = "deb1";

/// The user who may log in to it, and run anything with `sudo`.
const USER: &str = "tester";

/// A loaded computer boots it ten times slower than an idle one.
const PATIENCE: Duration = Duration::from_secs(900);

type Check = fn(&Debian);

/// What is asked of the one guest, in this order.
const PARTS: [(&str, Check); 3] =
    [("first start", first_start::check), ("agent", agent::check), ("reach", reach)];

/// It leaves the guest with other host keys, so nothing comes after it.
fn reach(debian: &Debian) {
    super::reach::check(&debian.env, NAME, &debian.key);
}

/// The running VM.
#[derive(Debug)]
struct Debian {
    env: TestEnv,
    /// The private key that logs in.
    key: PathBuf,
}

impl Debian {
    /// Makes it and waits until it has booted; nothing where there is no such guest here.
    fn boot() -> Option<Self> {
        let files = other_guest("debian")?;
        let env = TestEnv::new();
        let key = env.root().join("id");
        let mut keygen = env.other("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
        drop(env.finish(keygen).ok());
        let mut create = env.command(["create", NAME, "--memory", "512MiB", "--cpus", "2", "--user", USER]);
        create.arg("--ssh-key").arg(key.with_extension("pub")).arg("--image").arg(files("disk"));
        create.arg("--kernel").arg(files("kernel")).arg("--initrd").arg(files("initrd"));
        create.arg("--append=root=LABEL=root console=ttyS0");
        drop(env.finish(create).ok());
        drop(env.run(["run", "-d", NAME]).ok());
        let debian = Self { env, key };
        debian.wait_until("cloud-init is done", " finished at ");
        let began = Instant::now();
        while !debian.env.get(NAME)["status"]["agent"].as_bool().unwrap_or_default() {
            assert!(began.elapsed() < PATIENCE, "no agent listens: {}", debian.console());
            std::thread::sleep(Duration::from_millis(500));
        }
        Some(debian)
    }

    /// Waits until the guest has said so on its console.
    fn wait_until(&self, what: &str, said: &str) {
        let began = Instant::now();
        while !self.console().contains(said) {
            assert!(began.elapsed() < PATIENCE, "not yet: {what}: {}", self.console());
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn console(&self) -> String {
        let log = self.env.folder(NAME).join("Logs/console.log");
        String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
    }

    /// Runs a line as the user, over SSH.
    fn ssh(&self, line: &str) -> Output {
        let key = self.key.to_str().unwrap();
        self.env.run(["ssh", "--wait", "50", "-i", key, NAME, "--", line])
    }
}

#[test]
fn a_whole_debian_does_what_is_promised_of_guests() {
    let began = Instant::now();
    let Some(debian) = Debian::boot() else { return };
    eprintln!("it was up after {} s", began.elapsed().as_secs());
    for (part, check) in PARTS {
        let began = Instant::now();
        check(&debian);
        eprintln!("{part}: {} s", began.elapsed().as_secs());
        assert_eq!(debian.env.state(NAME), "running", "after {part}");
    }
    let stopped = debian.env.json(["stop", "-t", "50", NAME]).ok().json();
    assert_eq!(stopped["ended"]["cause"], "requested", "{stopped}: {}", debian.console());
    debian.env.nothing_is_left();
    in_a_vm_of_its_own(&debian);
}

/// Over the disk of the one that has stopped: the second boot, and the last.
fn in_a_vm_of_its_own(debian: &Debian) {
    let key = debian.env.get(NAME)["identity"].clone();
    let script = "hostname; cat /sys/class/dmi/id/product_uuid; exit 7";
    let command = debian.env.command(["run", "--rm", "--ready", "15m", NAME, "--", "sh", "-c", script]);
    let ran = debian.env.finish_within(PATIENCE, command);
    assert_eq!(ran.status, Some(7), "{ran}");
    let mut lines = ran.stdout.lines();
    assert_eq!(lines.next(), Some(NAME), "the same disk: {ran}");
    let identity = key.as_str().unwrap().trim_start_matches("uuid:");
    assert!(lines.next().is_some_and(|uuid| uuid.len() == 36 && !uuid.ends_with(&identity[24..])), "{ran}");
    debian.env.nothing_is_left();
}
