//! A real QEMU for a test, killed when the test ends.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use selfsame_host::qemu::accelerator::Accelerator;
use selfsame_host::qemu::architecture::Architecture;
use selfsame_host::qemu::arguments::{Boot, Descriptors, Ownership, Plan};
use selfsame_host::qemu::installation::Installation;
use selfsame_host::qemu::process;
use selfsame_host::qemu::qmp::Monitor;
use selfsame_machine::spec::Display;
use tempfile::TempDir;
use uuid::Uuid;

/// Long enough for a busy host, short enough for a stuck test.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// The UUID of every VM here.
pub(super) const UUID: Uuid = Uuid::from_u128(0x0b7d_08db_66d3_bc40_8000_0000_0000_0001);

/// Held while something is started: descriptors that one test passes on must not reach another test's QEMU.
pub(super) fn starting() -> MutexGuard<'static, ()> {
    static STARTING: Mutex<()> = Mutex::new(());
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The QEMU to test with. There has to be one: tests that skip themselves in silence prove nothing.
pub(super) fn installation() -> &'static Installation {
    static FOUND: OnceLock<Installation> = OnceLock::new();
    FOUND.get_or_init(|| {
        let _alone = starting();
        let path = std::env::var_os("PATH");
        Installation::probe(configured().as_deref(), Architecture::X86_64, path.as_deref(), SOON)
            .unwrap_or_else(|error| panic!("no QEMU to test with ({error}): run `make test`, which gets one"))
    })
}

/// `SELFSAME_TEST_QEMU`, else what the set-up wrote down.
fn configured() -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Guest {
        qemu: Option<PathBuf>,
    }
    if let Some(path) = std::env::var_os("SELFSAME_TEST_QEMU") {
        return Some(path.into());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest/guest.toml");
    let text = std::fs::read_to_string(file).ok()?;
    toml::from_str::<Guest>(&text).expect("target/guest/guest.toml can be read").qemu
}

/// A QEMU and the folder it runs in.
pub(super) struct Running {
    child: Child,
    pub(super) folder: TempDir,
}

impl Running {
    /// Starts a paused VM that boots nothing, changed as wanted.
    pub(super) fn start(change: impl FnOnce(&mut Plan)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change)
    }

    /// The same in a folder that holds the VM's files.
    pub(super) fn start_in(folder: TempDir, change: impl FnOnce(&mut Plan)) -> Self {
        let installation = installation();
        let name = |name: &str| folder.path().join(name);
        let monitor = UnixListener::bind(name("monitor")).unwrap();
        let report = UnixListener::bind(name("report")).unwrap();
        let agent = UnixListener::bind(name("agent")).unwrap();
        let append = |name: PathBuf| OpenOptions::new().append(true).create(true).open(name).unwrap();
        let (serial, log) = (append(name("serial.log")), append(name("log")));
        let console = std::os::unix::net::UnixListener::bind(name("console")).unwrap();
        let mut plan = Plan {
            name: "test, with = and ü".to_owned(),
            architecture: installation.architecture,
            machine: installation.machine.clone(),
            accelerator: Accelerator::Tcg,
            sandbox: installation.sandbox,
            cpus: 1,
            memory: 64 << 20,
            uuid: UUID,
            serial: "Virtualization, tested".to_owned(),
            boot: Boot::Bios,
            disks: Vec::new(),
            iso: None,
            folders: Vec::new(),
            ownership: Ownership::Own,
            network: selfsame_machine::network::Network::Nat,
            mac_addresses: vec!["52:54:00:12:34:56".to_owned()],
            forwards: Vec::new(),
            display: Display::Vga,
            descriptors: Descriptors {
                qmp: monitor.as_raw_fd(),
                report: report.as_raw_fd(),
                agent: agent.as_raw_fd(),
                console: console.as_raw_fd(),
                log: serial.as_raw_fd(),
            },
            paused: true,
            incoming: false,
        };
        change(&mut plan);
        let arguments: Vec<OsString> = plan.arguments().unwrap();
        let inherit = [monitor.as_fd(), report.as_fd(), agent.as_fd(), console.as_fd(), serial.as_fd()];
        let alone = starting();
        let child = process::spawn(&installation.binary, &arguments, folder.path(), &log, &inherit).unwrap();
        drop(alone);
        Self { child, folder }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection to the monitor.
    pub(super) fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("monitor")).unwrap()
    }

    /// The monitor, ready. A QEMU that has ended instead tells why.
    pub(super) fn monitor(&self) -> Monitor {
        Monitor::handshake(self.connect(), SOON).unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }

    /// What QEMU said on both outputs.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap()).into_owned()
    }

    /// Waits until QEMU has ended by itself.
    pub(super) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("QEMU {} has not ended: {}", self.pid(), self.log());
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended: std::io::Result<()> = self.child.kill();
        let _reaped: std::io::Result<ExitStatus> = self.child.wait();
    }
}

/// A disk of 1 MiB without content.
pub(super) fn empty_disk(path: &Path) {
    File::create_new(path).unwrap().set_len(1 << 20).unwrap();
}
