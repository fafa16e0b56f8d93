//! VMs that are made for one run: a fresh identity over a base that stays as it is.
//!
//! ```text
//!          make                         launch, tethered                          the end
//! base ───────────▶ rm-BASE-XXXXXXXX ────────────────────▶ runs ───────────────▶ deleted by its supervisor
//!   └ held until ──────────────────────────────────────────┘     └ read by its QEMU, so that nobody writes it
//! ```
//!
//! - The **base** is a VM of which nothing runs, or an image. It is never written: the guest's disk is an overlay. A VM is
//!   held from before the overlay is made until the guest is up; from then on the guest's QEMU has it open, and the gate
//!   refuses whoever would write it ([`crate::evidence::Observer::is_base`]).
//! - The **owner** is the command. It holds the lock on `run/NAME.owner` as long as it lives. A VM made for one run whose
//!   owner is gone is a leftover, wherever things stopped ([`leftovers`]); the next such command removes it. While it runs,
//!   the tether (`supervisor::tether`) ends it long before.
//!
//! **Who may call.** The command line's `run`.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Code;
use selfsame_machine::identity::Kind;
use selfsame_machine::name::VmName;
use selfsame_machine::network::Network;
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};
use selfsame_machine::seed::UserData;
use selfsame_machine::size::Bytes;
use selfsame_machine::spec::{Boot, Disk, Display, Guest, Login, Spec};

use super::create::{DiskSource, FirstStart, NewBoot, NewVm, create};
use super::fresh::{fresh_identity, fresh_mac};
use super::index::folders_in;
use super::state::{VmState, hold_stopped};
use crate::bundle::{Bundle, LOGIN_KEY, NVRAM, Named, hexadecimal, name_of};
use crate::context::Context;
use crate::disk;
use crate::files::FileError;
use crate::lock::{Claim, FolderLock};
use crate::time::Time;

/// How the names of such VMs begin. It only says where to look: `ephemeral` in `vm.toml` is what counts.
const BEGINS: &str = "rm-";
/// So much of the base's name is in it.
const BASE_LETTERS: usize = 100;

/// How long other runs over the same base may take until their guests are up.
const IN_TURN: Duration = Duration::from_secs(60);

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A VM, by its folder.
    Vm(PathBuf),
    /// An image, and whom its guest knows.
    Image {
        /// The file.
        image: PathBuf,
        /// Whose processors it is made for.
        architecture: Architecture,
        /// The user who is made in it.
        user: String,
    },
}

/// Why there is no such run.
#[derive(Debug, thiserror::Error)]
enum BaseError {
    #[error("{} is running, and what it writes would change under whoever runs over it", name.name)]
    Runs { name: Named },
    #[error("{} is suspended: its disks are in the middle of what its guest was doing", name.name)]
    Suspended { name: Named },
    #[error("{} is a macOS guest, and those have no overlays", name.name)]
    Macos { name: Named },
    #[error("`{}` cannot be named in a disk: it is no UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("no key can be made to log in with: {said}")]
    Key { said: String },
}

impl Problem for BaseError {
    fn code(&self) -> Code {
        match self {
            Self::Runs { .. } => Code::DiskInUse,
            Self::Suspended { .. } => Code::RequestDenied,
            Self::Macos { .. } => Code::BackendUnavailable,
            Self::NotText { .. } => Code::FileFailed,
            Self::Key { .. } => Code::SshMissing,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Runs { name } => vec![Hint::run("stop it first", format!("selfsame stop {}", name.word))],
            Self::Suspended { name } => vec![
                Hint::run("let it go on and stop it", format!("selfsame run -d {}", name.word)),
                Hint::run("or throw its state away", format!("selfsame suspend --discard {}", name.word)),
            ],
            Self::Macos { .. } => Vec::new(),
            Self::NotText { .. } => vec![Hint::say("give it a plain name")],
            Self::Key { .. } => {
                vec![Hint::run("see whether OpenSSH is whole", "ssh-keygen -t ed25519 -N '' -f /tmp/key")]
            }
        }
    }
}

/// A VM that was made for one run, and what keeps it from being taken for a leftover.
#[derive(Debug)]
pub struct OneRun {
    /// Its folder.
    pub folder: PathBuf,
    owner: Owner,
    base: Option<(FolderLock, Claim)>,
}

/// The lock of the command that owns a run. Its file goes with it.
#[derive(Debug)]
struct Owner {
    _lock: File,
    path: PathBuf,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A leftover of it is removed by the next command of this kind.
        drop(fs::remove_file(&self.path));
    }
}

impl OneRun {
    /// Makes the VM. It is not started.
    ///
    /// # Errors
    /// When the base cannot be one, or the VM cannot be made; then nothing is left of it.
    pub fn make(context: &Context, base: &Base, now: Time) -> Result<Self, Report> {
        let (called, held) = match base {
            Base::Vm(folder) => (name_of(folder), Some(hold(context, folder)?)),
            Base::Image { image, .. } => {
                let stem = image.file_stem().unwrap_or(OsStr::new("image"));
                (stem.to_string_lossy().into_owned(), None)
            }
        };
        let name = name(&called)?;
        let owner = own(context, &name)?;
        let new = match base {
            Base::Vm(folder) => over_vm(&Bundle::read(folder)?, name)?,
            Base::Image { image, architecture, user } => {
                over_image(context, image, *architecture, user, name)?
            }
        };
        let made = create(context, &new, now);
        drop(fs::remove_dir_all(key_place(context, new.name.as_ref())));
        Ok(Self { folder: made?.folder, owner, base: held })
    }

    /// The guest is up: its QEMU has the base open now, and the base need not be held any more.
    pub fn is_up(&mut self) {
        self.base = None;
    }

    /// Deletes the VM, if its supervisor has not.
    ///
    /// # Errors
    /// When something of it runs still, or it cannot be deleted.
    pub fn finish(self, context: &Context) -> Result<(), Report> {
        let Self { folder, owner, base } = self;
        drop(base);
        let outcome = if folder.symlink_metadata().is_ok() {
            super::delete(context, &folder, Time::now()).map(drop)
        } else {
            Ok(())
        };
        drop(owner);
        outcome
    }
}

/// The VMs that were made for one run and that nobody owns any more, by folder. Files of owners that are gone are removed.
#[must_use]
pub fn leftovers(context: &Context) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders_in(&context.home.vms()) {
        let name = name_of(&folder);
        let made_for_one_run =
            || name.starts_with(BEGINS) && Bundle::read(&folder).is_ok_and(|bundle| bundle.spec.ephemeral);
        if !made_for_one_run() {
            continue;
        }
        let path = owner_file(context, &name);
        let is_owned = File::open(&path)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        if !is_owned {
            drop(fs::remove_file(path));
            found.push(folder);
        }
    }
    forget_unborn(context);
    found
}

/// Removes what owners left who were killed before there was a VM: their locks, and keys that were made for it.
fn forget_unborn(context: &Context) {
    let entries = fs::read_dir(context.home.run()).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
        let Some(name) = name.strip_suffix(".owner").filter(|name| name.starts_with(BEGINS)) else {
            continue;
        };
        let gone = File::open(&path).is_ok_and(|file| file.try_lock_shared().is_ok());
        if gone {
            drop(fs::remove_dir_all(key_place(context, name)));
            drop(fs::remove_file(&path));
        }
    }
}

/// Removes what the owner of a VM that is deleted had to be known by.
pub(crate) fn forget_owner(context: &Context, name: &str) {
    drop(fs::remove_file(owner_file(context, name)));
}

fn owner_file(context: &Context, name: &str) -> PathBuf {
    context.home.run().join(format!("{name}.owner"))
}

fn own(context: &Context, name: &VmName) -> Result<Owner, Report> {
    let home = context.prepare()?;
    let path = home.run().join(format!("{name}.owner"));
    let lock = File::options().write(true).create_new(true).open(&path);
    let lock = lock.map_err(FileError::failed("make", &path))?;
    lock.try_lock().map_err(|error| FileError::failed("lock", &path)(error.into()))?;
    Ok(Owner { _lock: lock, path })
}

/// Holds a VM of which nothing runs, so that it stays as it is.
fn hold(context: &Context, folder: &Path) -> Result<(FolderLock, Claim), Report> {
    let name = context.named(folder);
    let bundle = Bundle::read(folder)?;
    if bundle.guest() == Guest::Macos {
        return Err(BaseError::Macos { name }.into());
    }
    let began = Instant::now();
    let held = loop {
        if let Some(held) = hold_stopped(context, folder)? {
            break held;
        }
        // Nothing of it runs, and somebody holds it: another run over it, until its guest is up.
        let state = VmState::ask(context, bundle.key, Some(&bundle.identity.digest()));
        let runs = state.map_err(FileError::failed("ask about", folder))?;
        let runs = !matches!(runs, VmState::Stopped | VmState::Suspended(_) | VmState::Foreign);
        if runs || began.elapsed() > IN_TURN {
            return Err(BaseError::Runs { name }.into());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if crate::state::summary(folder).is_some() {
        return Err(BaseError::Suspended { name }.into());
    }
    Ok(held)
}

/// A name that nobody has.
fn name(base: &str) -> Result<VmName, Report> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| {
        FileError::failed("read", Path::new("/dev/urandom"))(io::Error::other(error.to_string()))
    })?;
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    let base: String = base.chars().take(BASE_LETTERS).map(plain).collect();
    let text = format!("{BEGINS}{base}-{}", hexadecimal(&random));
    Ok(VmName::from_bytes(text.as_bytes())?)
}

/// As the base is, but for who it is: no ports of the host, which the next one could not have at the same time.
fn over_vm(base: &Bundle, name: VmName) -> Result<NewVm, Report> {
    let absolute = |file: &str| base.folder.join(file);
    let mut disks = Vec::new();
    for disk in base.disks() {
        disks.push(Disk { file: text(&absolute(&disk.file))?, ..disk });
    }
    let Spec { cpus, memory, display, network, folders, login, architecture, .. } = base.spec.clone();
    let boot = match &base.spec.boot {
        Boot::Uefi => NewBoot::Uefi,
        Boot::Bios => NewBoot::Bios,
        Boot::Kernel { kernel, initrd, append } => NewBoot::Kernel {
            kernel: absolute(kernel),
            initrd: initrd.as_deref().map(absolute),
            append: append.clone(),
        },
    };
    let login = match login {
        Some(Login { user, key }) => {
            Some(Login { user, key: key.map(|key| text(&absolute(&key))).transpose()? })
        }
        None => None,
    };
    let variables = Some(absolute(NVRAM)).filter(|path| path.exists());
    let iso = base.spec.iso.as_deref().map(absolute);
    let plain = plain(name, architecture, boot, DiskSource::Over(disks))?;
    Ok(NewVm { cpus, memory, display, network, folders, login, variables, iso, ..plain })
}

/// A guest that knows one user, who logs in with a key that was made for it.
fn over_image(
    context: &Context,
    image: &Path,
    architecture: Architecture,
    user: &str,
    name: VmName,
) -> Result<NewVm, Report> {
    let image = image.canonicalize().map_err(FileError::failed("find", image))?;
    let seen = disk::inspect(&image)?;
    let place = key_place(context, name.as_ref());
    let public = make_key(&place)?;
    let base = Disk { file: text(&image)?, format: seen.format, read_only: false, size: None };
    let user_data = UserData::Login { user: user.to_owned(), keys: vec![public] };
    let plain = plain(name, Some(architecture), NewBoot::Uefi, DiskSource::Over(vec![base]))?;
    Ok(NewVm {
        first_start: Some(FirstStart { user_data, user: Some(user.to_owned()) }),
        login: Some(Login { user: user.to_owned(), key: Some(LOGIN_KEY.to_owned()) }),
        login_key: Some(place.join(LOGIN_KEY)),
        ..plain
    })
}

fn text(path: &Path) -> Result<String, Report> {
    path.to_str().map(str::to_owned).ok_or_else(|| BaseError::NotText { path: path.to_owned() }.into())
}

fn plain(
    name: VmName,
    architecture: Option<Architecture>,
    boot: NewBoot,
    disk: DiskSource,
) -> Result<NewVm, Report> {
    let (identity, origin) = fresh_identity(Kind::Generic)?;
    Ok(NewVm {
        name,
        at: None,
        guest: Guest::Linux,
        identity,
        identifier: identity.to_bytes(),
        origin: origin.to_owned(),
        architecture,
        cpus: 2,
        memory: Bytes::gibibytes(2),
        display: Display::default(),
        mac_address: fresh_mac()?,
        network: Network::default(),
        ports: Vec::new(),
        boot,
        variables: None,
        disk,
        folders: Vec::new(),
        iso: None,
        first_start: None,
        login: None,
        login_key: None,
        ephemeral: true,
    })
}

/// Where a key lies until the VM that it belongs to is there.
fn key_place(context: &Context, name: &str) -> PathBuf {
    context.home.run().join(format!("{name}.key"))
}

/// Has OpenSSH make a pair of keys, and gives the public one.
fn make_key(place: &Path) -> Result<String, Report> {
    fs::DirBuilder::new().mode(0o700).create(place).map_err(FileError::failed("make", place))?;
    let key = place.join(LOGIN_KEY);
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "selfsame", "-f"])
        .arg(&key)
        .stdin(Stdio::null())
        .output();
    let said = match output {
        Ok(output) if output.status.success() => {
            let public = place.join(format!("{LOGIN_KEY}.pub"));
            let keys = super::read_keys(&public)?;
            return keys
                .into_iter()
                .next()
                .ok_or_else(|| BaseError::Key { said: "it is empty".into() }.into());
        }
        Ok(output) => {
            String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("it failed").to_owned()
        }
        Err(error) => format!("`ssh-keygen`: {error}"),
    };
    drop(fs::remove_dir_all(place));
    Err(BaseError::Key { said: shell_word(&said).into_owned() }.into())
}
