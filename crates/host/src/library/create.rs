//! Making a VM: whole or not at all.
//!
//! The bundle is put together in a hidden folder beside its place and renamed there in one step, never over anything.
//! The hidden folder is locked while it is being filled; what a killed command left is unlocked, and the next one that
//! creates there removes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Code;
use selfsame_machine::disk::overlay::{Overlay, OverlayError};
use selfsame_machine::identity::{Identity, Kind, MacAddress};
use selfsame_machine::name::VmName;
use selfsame_machine::network::{Forward, Network};
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};
use selfsame_machine::seed::{Seed, UserData, VolumeError};
use selfsame_machine::size::Bytes;
use selfsame_machine::spec::{Boot, Disk, DiskFormat, Display, Folder, Guest, Login, Origin, SCHEMA, Spec};

use crate::bundle::{
    EXTENSION, IDENTIFIER, INITRD, KERNEL, LOGIN_KEY, NVRAM, QCOW2_DISK, RAW_DISK, SEED, SPEC,
};
use crate::context::Context;
use crate::disk::{self, DiskError};
use crate::files::{CopyMethod, FileError, copy_new};
use crate::lock::FolderLock;
use crate::store::{IdentityRow, NewEvent, Store};
use crate::time::Time;

const BEGUN: &str = ".selfsame-new-";
/// The largest disk: below what any file system here holds in one file (ext4: 16 TiB), and above what anybody has.
const LARGEST: Bytes = Bytes::gibibytes(8 << 20);
/// So often is a hidden folder begun anew that another command took for a leftover.
const BEGINNINGS: u32 = 100;

/// Where the disk's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// No disk.
    None,
    /// An empty one of this size.
    Empty(Bytes),
    /// A copy of an image, raw or qcow2.
    Image {
        /// The image.
        image: PathBuf,
        /// How large the guest's disk is to be, if not as large as the image's.
        size: Option<Bytes>,
    },
    /// What these disks hold, by absolute names; what the guest writes stays in the new VM. They must stay as they are as
    /// long as the new VM is there.
    Over(Vec<Disk>),
}

/// What the guest is told at its first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstStart {
    /// What it does.
    pub user_data: UserData,
    /// Who logs in to it afterwards, where that is known.
    pub user: Option<String>,
}

/// How the new VM boots; files are copied into the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewBoot {
    /// UEFI.
    Uefi,
    /// The PC BIOS.
    Bios,
    /// A kernel.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// The initial file system.
        initrd: Option<PathBuf>,
        /// The command line.
        append: String,
    },
}

/// What to make.
#[derive(Debug, Clone)]
pub struct NewVm {
    /// Its name.
    pub name: VmName,
    /// Its folder, if not `vms/NAME.vm`.
    pub at: Option<PathBuf>,
    /// What kind of guest.
    pub guest: Guest,
    /// Who it is.
    pub identity: Identity,
    /// The identifier's bytes, written as they are.
    pub identifier: Vec<u8>,
    /// How it came to its identity: `fresh`, or what was asked for.
    pub origin: String,
    /// The architecture of its processors; `None` for macOS guests, which have one only.
    pub architecture: Option<Architecture>,
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory: Bytes,
    /// The guest's screen.
    pub display: Display,
    /// The network card's address.
    pub mac_address: MacAddress,
    /// To whom that leads.
    pub network: Network,
    /// Ports of the host that lead into it.
    pub ports: Vec<Forward>,
    /// How it boots.
    pub boot: NewBoot,
    /// UEFI variables to begin with, if not the firmware's template.
    pub variables: Option<PathBuf>,
    /// Its disk.
    pub disk: DiskSource,
    /// Folders of the host that the guest can mount, resolved.
    pub folders: Vec<Folder>,
    /// An optical disc in the drive, by its absolute path.
    pub iso: Option<PathBuf>,
    /// What it is told at its first start, for guests with cloud-init.
    pub first_start: Option<FirstStart>,
    /// Who logs in, and with what, where the first start does not say.
    pub login: Option<Login>,
    /// A private key that was made for it, whose public half lies beside it with `.pub`; it is copied.
    pub login_key: Option<PathBuf>,
    /// Whether it is made for one run, and deleted at its end. Its identity is not kept in the library then.
    pub ephemeral: bool,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its folder.
    pub folder: PathBuf,
    /// Why making it took time or room, where it did.
    pub copied: Vec<PathBuf>,
    /// VMs that have the same identity.
    pub twins: Vec<String>,
}

/// Why it cannot be made.
#[derive(Debug, thiserror::Error)]
enum CreateError {
    #[error("there is a VM named `{name}` already")]
    Exists { name: String },
    #[error("an identity by ECID is for macOS guests; a Linux guest is known by a UUID")]
    EcidForLinux,
    #[error("an identity by UUID is for Linux guests; a macOS guest is known by an ECID")]
    UuidForMacos,
    #[error("macOS guests run on Apple silicon Macs only")]
    MacosElsewhere,
    #[error("`{}` cannot be named in `vm.toml`: its path is no UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("no disk can be made over `{}`", base.display())]
    Overlay {
        base: PathBuf,
        #[source]
        source: OverlayError,
    },
    #[error("a disk of {asked} is larger than the largest, which has {LARGEST}")]
    Huge { asked: Bytes },
    #[error("the guest cannot be told so at its first start")]
    Seed(#[source] VolumeError),
    #[error("the VM cannot be described so")]
    Spec(#[source] selfsame_machine::spec::SpecError),
}

impl Problem for CreateError {
    fn code(&self) -> Code {
        match self {
            Self::Exists { .. } => Code::VmExists,
            Self::EcidForLinux | Self::UuidForMacos => Code::IdentityUnsupported,
            Self::MacosElsewhere => Code::BackendUnavailable,
            Self::NotText { .. } | Self::Overlay { .. } => Code::FileFailed,
            Self::Huge { .. } => Code::SizeInvalid,
            Self::Seed(_) => Code::SeedInvalid,
            Self::Spec(_) => Code::UsageInvalid,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Exists { name } => {
                vec![Hint::run("see it", format!("selfsame get {}", shell_word(name)))]
            }
            Self::EcidForLinux => {
                vec![Hint::run("make one that fits", "selfsame identity new".to_owned())]
            }
            Self::UuidForMacos => {
                vec![Hint::run("make one that fits", "selfsame identity new --macos".to_owned())]
            }
            Self::MacosElsewhere => vec![Hint::say("on this host, make a Linux guest")],
            Self::NotText { .. } => vec![Hint::say("rename it, or link to it under a plain name")],
            Self::Huge { .. } => vec![Hint::say("choose a smaller one; it takes room only as it fills")],
            Self::Overlay { .. } | Self::Seed(_) | Self::Spec(_) => Vec::new(),
        }
    }
}

/// Says where a VM of this name would be, before anything costly is done for it.
///
/// # Errors
/// When something is there.
pub fn check_free(context: &Context, name: &VmName, at: Option<&Path>) -> Result<PathBuf, Report> {
    let folder = match at {
        Some(path) => std::path::absolute(path).map_err(FileError::failed("find", path))?,
        None => context.home.vms().join(format!("{name}.{EXTENSION}")),
    };
    if fs::symlink_metadata(&folder).is_ok() { Err(exists(name, at, &folder)) } else { Ok(folder) }
}

fn exists(name: &VmName, at: Option<&Path>, folder: &Path) -> Report {
    match at {
        Some(_) => FileError::Exists { path: folder.to_owned() }.into(),
        None => CreateError::Exists { name: name.to_string() }.into(),
    }
}

/// Makes a VM.
///
/// # Errors
/// When it cannot be made as asked, or a step fails; then nothing is left of it.
pub fn create(context: &Context, new: &NewVm, now: Time) -> Result<Created, Report> {
    match (new.guest, new.identity.kind()) {
        (Guest::Linux, Kind::Mac) => return Err(CreateError::EcidForLinux.into()),
        (Guest::Macos, Kind::Generic) => return Err(CreateError::UuidForMacos.into()),
        (Guest::Macos, Kind::Mac) if !cfg!(target_os = "macos") => {
            return Err(CreateError::MacosElsewhere.into());
        }
        (Guest::Linux, Kind::Generic) | (Guest::Macos, Kind::Mac) => {}
    }
    if let DiskSource::Empty(asked) | DiskSource::Image { size: Some(asked), .. } = new.disk
        && asked > LARGEST
    {
        return Err(CreateError::Huge { asked }.into());
    }
    context.prepare()?;
    let store = context.store()?;
    let folder = check_free(context, &new.name, new.at.as_deref())?;
    let exists = || exists(&new.name, new.at.as_deref(), &folder);
    let parent = folder.parent().unwrap_or(&folder);
    remove_leftovers(parent);
    let (draft, _lock) = begin(parent)?;
    let copied = fill(draft.path(), new, now)?;
    match rustix::fs::renameat_with(CWD, draft.path(), CWD, &folder, RenameFlags::NOREPLACE) {
        Ok(()) => drop(draft.keep()),
        Err(rustix::io::Errno::EXIST) => return Err(exists()),
        Err(error) => return Err(FileError::failed("make", &folder)(error.into()).into()),
    }
    sync_folder(parent)?;
    let digest = new.identity.digest().to_string();
    store.vms().forget(&folder)?;
    if !new.ephemeral {
        remember(&store, new, &digest, now)?;
    }
    super::index::refresh(context, &store, parent, now)?;
    let twins = store.vms().by_digest(&digest)?;
    let twins =
        twins.into_iter().filter(|row| row.facts.folder != folder).map(|row| row.facts.name).collect();
    store.events().append(&NewEvent {
        at: now,
        folder: Some(folder.clone()),
        name: Some(new.name.to_string()),
        digest: Some(digest),
        kind: "vm.created".to_owned(),
        message: format!("{} was made with {}", new.name, new.identity),
        data: serde_json::json!({ "identity": new.identity.canonical(), "origin": new.origin }),
    })?;
    Ok(Created { folder, copied, twins })
}

/// Puts the identity into the library.
fn remember(store: &Store, new: &NewVm, digest: &str, now: Time) -> Result<(), Report> {
    store.identities().upsert_seen(&IdentityRow {
        digest: digest.to_owned(),
        kind: new.identity.kind().text().to_owned(),
        canonical: new.identity.canonical(),
        raw: new.identifier.clone(),
        label: None,
        notes: String::new(),
        origin: new.origin.split(':').next().unwrap_or("create").to_owned(),
        origin_detail: Some(format!("create {}", new.name)),
        first_seen: now,
    })?;
    Ok(())
}

/// Makes the hidden folder and locks it.
///
/// Another command may take it for a leftover in the moment before it is locked: then it is gone, or about to go, and
/// the next one is tried.
fn begin(parent: &Path) -> Result<(tempfile::TempDir, FolderLock), Report> {
    for _ in 1..BEGINNINGS {
        if let Ok(begun) = try_begin(parent)? {
            return Ok(begun);
        }
    }
    Ok(try_begin(parent)?.map_err(FileError::failed("lock a folder in", parent))?)
}

type Begun = Result<(tempfile::TempDir, FolderLock), std::io::Error>;

/// The inner error says that the folder was taken for a leftover.
fn try_begin(parent: &Path) -> Result<Begun, FileError> {
    let draft = tempfile::Builder::new()
        .prefix(BEGUN)
        // Private to its owner, as a home is: a disk holds whatever the guest holds.
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(FileError::failed("make a folder in", parent))?;
    let lock = match FolderLock::open(draft.path()) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Err(error)),
        Err(error) => return Err(FileError::failed("open", draft.path())(error)),
    };
    if !lock.try_lock().map_err(FileError::failed("lock", draft.path()))? {
        return Ok(Err(std::io::ErrorKind::WouldBlock.into()));
    }
    // From here on nobody removes it; it may have gone just before.
    Ok(fs::symlink_metadata(draft.path()).map(|_| (draft, lock)))
}

/// Puts the bundle together.
fn fill(draft: &Path, new: &NewVm, now: Time) -> Result<Vec<PathBuf>, Report> {
    let mut copied = Vec::new();
    let mut take = |from: &Path, name: &str| -> Result<(), Report> {
        plain_file(from)?;
        if copy_new(from, &draft.join(name))? == CopyMethod::Copied {
            copied.push(from.to_owned());
        }
        Ok(())
    };
    let boot = match &new.boot {
        NewBoot::Uefi => Boot::Uefi,
        NewBoot::Bios => Boot::Bios,
        NewBoot::Kernel { kernel, initrd, append } => {
            take(kernel, KERNEL)?;
            if let Some(initrd) = initrd {
                take(initrd, INITRD)?;
            }
            Boot::Kernel {
                kernel: KERNEL.to_owned(),
                initrd: initrd.as_ref().map(|_| INITRD.to_owned()),
                append: append.clone(),
            }
        }
    };
    if let Some(variables) = &new.variables {
        take(variables, NVRAM)?;
    }
    if let Some(key) = &new.login_key {
        let target = draft.join(LOGIN_KEY);
        take(key, LOGIN_KEY)?;
        // OpenSSH takes no key that others may read.
        fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(FileError::failed("change the mode of", &target))?;
        take(&key.with_extension("pub"), &format!("{LOGIN_KEY}.pub"))?;
    }
    let disk = match &new.disk {
        DiskSource::Over(bases) => {
            return describe(draft, new, boot, overlays(draft, bases)?, now).map(|()| copied);
        }
        DiskSource::None => None,
        DiskSource::Empty(size) => {
            let path = draft.join(RAW_DISK);
            let make = File::options().write(true).create_new(true).open(&path);
            make.and_then(|file| file.set_len(size.count())).map_err(FileError::failed("make", &path))?;
            Some(Disk { file: RAW_DISK.to_owned(), format: DiskFormat::Raw, read_only: false, size: None })
        }
        DiskSource::Image { image, size } => {
            let seen = disk::inspect(image)?;
            let grown = size.filter(|size| *size != seen.virtual_size);
            if let Some(asked) = grown.filter(|asked| *asked < seen.virtual_size) {
                let is = seen.virtual_size;
                return Err(DiskError::Shrink { path: image.clone(), is, asked }.into());
            }
            let (name, later) = match seen.format {
                DiskFormat::Raw => (RAW_DISK, None),
                // QEMU does that at the first start: the tables of the format are its business.
                DiskFormat::Qcow2 => (QCOW2_DISK, grown),
            };
            take(image, name)?;
            if let (DiskFormat::Raw, Some(size)) = (seen.format, grown) {
                let path = draft.join(name);
                let opened = File::options().write(true).open(&path);
                let longer = opened.and_then(|file| file.set_len(size.count()));
                longer.map_err(FileError::failed("make", &path))?;
            }
            Some(Disk { file: name.to_owned(), format: seen.format, read_only: false, size: later })
        }
    };
    describe(draft, new, boot, disk.into_iter().collect(), now)?;
    Ok(copied)
}

/// Writes an overlay for each disk that is written. What is only read is named where it is.
fn overlays(draft: &Path, bases: &[Disk]) -> Result<Vec<Disk>, Report> {
    let mut disks = Vec::new();
    for (index, base) in bases.iter().enumerate() {
        if base.read_only {
            disks.push(base.clone());
            continue;
        }
        let path = Path::new(&base.file);
        let size = disk::virtual_size(path, base.format)?.map_or(0, Bytes::count);
        let overlay = Overlay::over(&base.file, base.format, size)
            .map_err(|source| CreateError::Overlay { base: path.to_owned(), source })?;
        let file = if index == 0 { QCOW2_DISK.to_owned() } else { format!("disk{index}.qcow2") };
        let target = draft.join(&file);
        let made = File::options().write(true).create_new(true).open(&target).and_then(|mut file| {
            std::io::Write::write_all(&mut file, &overlay.head)?;
            file.set_len(overlay.length)
        });
        made.map_err(FileError::failed("make", &target))?;
        disks.push(Disk { file, format: DiskFormat::Qcow2, read_only: false, size: base.size });
    }
    Ok(disks)
}

/// Writes the description and the identifier, and the seed that belongs to both.
fn describe(draft: &Path, new: &NewVm, boot: Boot, disks: Vec<Disk>, now: Time) -> Result<(), Report> {
    let seed = new.first_start.as_ref().map(|first| seed(draft, new, first)).transpose()?;
    let iso = new.iso.as_deref().map(text_path).transpose()?;
    let spec = Spec {
        schema: SCHEMA,
        guest: Some(new.guest),
        architecture: new.architecture,
        cpus: new.cpus,
        memory: new.memory,
        mac_address: Some(new.mac_address),
        network: new.network,
        ports: new.ports.clone(),
        display: new.display,
        machine: None,
        protected: false,
        autostart: false,
        ephemeral: new.ephemeral,
        boot,
        disks: Some(disks.into_iter().chain(seed).collect()),
        iso,
        folders: new.folders.clone(),
        login: new.login.clone().or_else(|| {
            let user = new.first_start.as_ref()?.user.clone()?;
            Some(Login { user, key: None })
        }),
        origin: Some(Origin {
            created: now.to_string(),
            by: concat!("selfsame ", env!("CARGO_PKG_VERSION")).to_owned(),
            identity: new.origin.clone(),
        }),
    };
    spec.check().map_err(CreateError::Spec)?;
    crate::files::write_new(&draft.join(SPEC), spec.write().as_bytes())?;
    crate::files::write_new(&draft.join(IDENTIFIER), &new.identifier)?;
    Ok(())
}

fn text_path(path: &Path) -> Result<String, Report> {
    plain_file(path)?;
    let absolute = std::path::absolute(path).map_err(FileError::failed("find", path))?;
    absolute.to_str().map(str::to_owned).ok_or_else(|| CreateError::NotText { path: path.to_owned() }.into())
}

/// Writes the seed, and says which disk it is: behind the guest's own, which it starts from.
fn seed(draft: &Path, new: &NewVm, first: &FirstStart) -> Result<Disk, Report> {
    let seed = Seed {
        identity: new.identity,
        name: new.name.to_string(),
        mac_address: new.mac_address,
        user_data: first.user_data.clone(),
    };
    let bytes = seed.image().map_err(CreateError::Seed)?;
    crate::files::write_new(&draft.join(SEED), &bytes)?;
    Ok(Disk { file: SEED.to_owned(), format: DiskFormat::Raw, read_only: true, size: None })
}

/// A file to copy or to name, and nothing that would wait or never end.
fn plain_file(path: &Path) -> Result<(), Report> {
    let metadata = fs::metadata(path).map_err(FileError::failed("read", path))?;
    if metadata.is_file() {
        Ok(())
    } else {
        Err(DiskError::NotPlain { path: path.to_owned(), what: "no plain file" }.into())
    }
}

/// Makes sure that a name in this folder outlives a crash of the host.
pub(super) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::failed("sync", folder))
}

/// Removes what killed commands left: half-made bundles that nobody has locked.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let begun = entry.file_name().to_string_lossy().starts_with(BEGUN);
        if begun
            && let Ok(lock) = FolderLock::open(&entry.path())
            && matches!(lock.try_lock(), Ok(true))
        {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
