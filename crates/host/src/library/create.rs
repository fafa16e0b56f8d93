//! Making a VM: whole or not at all.
//!
//! The bundle is put together in a hidden folder beside its place and renamed there in one step, never over anything.
//! The hidden folder is locked while it is being filled; what a killed command left is unlocked, and the next one that
//! creates there removes it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Code;
use selfsame_machine::identity::{Identity, Kind, MacAddress};
use selfsame_machine::name::VmName;
use selfsame_machine::network::{Forward, Network};
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};
use selfsame_machine::size::Bytes;
use selfsame_machine::spec::{Boot, Disk, DiskFormat, Display, Folder, Guest, Origin, SCHEMA, Spec};

use crate::bundle::{EXTENSION, IDENTIFIER, INITRD, KERNEL, QCOW2_DISK, RAW_DISK, SPEC};
use crate::context::Context;
use crate::files::{CopyMethod, FileError, copy_new};
use crate::lock::FolderLock;
use crate::store::{IdentityRow, NewEvent, Store};
use crate::time::Time;

const BEGUN: &str = ".selfsame-new-";
/// So often is a hidden folder begun anew that another command took for a leftover.
const BEGINNINGS: u32 = 100;

/// Where the disk's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// No disk.
    None,
    /// An empty one of this size.
    Empty(Bytes),
    /// A copy of this image, raw or qcow2.
    Image(PathBuf),
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
    /// Its disk.
    pub disk: DiskSource,
    /// Folders of the host that the guest can mount, resolved.
    pub folders: Vec<Folder>,
    /// An optical disc in the drive, by its absolute path.
    pub iso: Option<PathBuf>,
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
    #[error("`{}` {what}", path.display())]
    Image { path: PathBuf, what: &'static str },
    #[error("`{}` cannot be named in `vm.toml`: its path is no UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("the VM cannot be described so")]
    Spec(#[source] selfsame_machine::spec::SpecError),
}

impl Problem for CreateError {
    fn code(&self) -> Code {
        match self {
            Self::Exists { .. } => Code::VmExists,
            Self::EcidForLinux | Self::UuidForMacos => Code::IdentityUnsupported,
            Self::MacosElsewhere => Code::BackendUnavailable,
            Self::Image { .. } | Self::NotText { .. } => Code::FileFailed,
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
            Self::Image { path, .. } => vec![Hint::run(
                "look at the image",
                format!("qemu-img info {}", shell_word(&path.to_string_lossy())),
            )],
            Self::NotText { .. } => vec![Hint::say("rename it, or link to it under a plain name")],
            Self::Spec(_) => Vec::new(),
        }
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
    let home = context.prepare()?;
    let store = context.store()?;
    let folder = match &new.at {
        Some(path) => std::path::absolute(path).map_err(FileError::failed("find", path))?,
        None => home.vms().join(format!("{}.{EXTENSION}", new.name)),
    };
    let exists = || match &new.at {
        Some(_) => Report::from(FileError::Exists { path: folder.clone() }),
        None => CreateError::Exists { name: new.name.to_string() }.into(),
    };
    if fs::symlink_metadata(&folder).is_ok() {
        return Err(exists());
    }
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
    let disk = match &new.disk {
        DiskSource::None => None,
        DiskSource::Empty(size) => {
            let path = draft.join(RAW_DISK);
            let make = File::options().write(true).create_new(true).open(&path);
            make.and_then(|file| file.set_len(size.count())).map_err(FileError::failed("make", &path))?;
            Some((RAW_DISK, DiskFormat::Raw))
        }
        DiskSource::Image(image) => {
            let (name, format) = match image_format(image)? {
                DiskFormat::Raw => (RAW_DISK, DiskFormat::Raw),
                DiskFormat::Qcow2 => (QCOW2_DISK, DiskFormat::Qcow2),
            };
            take(image, name)?;
            Some((name, format))
        }
    };
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
        disks: Some(
            disk.into_iter()
                .map(|(file, format)| Disk { file: file.to_owned(), format, read_only: false })
                .collect(),
        ),
        iso,
        folders: new.folders.clone(),
        login: None,
        origin: Some(Origin {
            created: now.to_string(),
            by: concat!("selfsame ", env!("CARGO_PKG_VERSION")).to_owned(),
            identity: new.origin.clone(),
        }),
    };
    spec.check().map_err(CreateError::Spec)?;
    crate::files::write_new(&draft.join(SPEC), spec.write().as_bytes())?;
    crate::files::write_new(&draft.join(IDENTIFIER), &new.identifier)?;
    Ok(copied)
}

fn text_path(path: &Path) -> Result<String, Report> {
    plain_file(path)?;
    let absolute = std::path::absolute(path).map_err(FileError::failed("find", path))?;
    absolute.to_str().map(str::to_owned).ok_or_else(|| CreateError::NotText { path: path.to_owned() }.into())
}

fn plain_file(path: &Path) -> Result<(), Report> {
    let metadata = fs::metadata(path).map_err(FileError::failed("read", path))?;
    if metadata.is_file() {
        Ok(())
    } else {
        Err(CreateError::Image { path: path.to_owned(), what: "is no plain file" }.into())
    }
}

/// Tells an image's format by its first bytes (QEMU, `docs/interop/qcow2.txt`): magic, version, offset of the name of a
/// backing file.
fn image_format(path: &Path) -> Result<DiskFormat, Report> {
    plain_file(path)?;
    let refused = |what| -> Report { CreateError::Image { path: path.to_owned(), what }.into() };
    let mut header = [0; 80];
    let mut file = File::open(path).map_err(FileError::failed("read", path))?;
    let length = file.metadata().map_err(FileError::failed("read", path))?.len();
    if length == 0 {
        return Err(refused("is empty"));
    }
    let read = usize::try_from(length.min(80)).unwrap_or(80);
    let begins = header.get_mut(..read).is_some_and(|begin| file.read_exact(begin).is_ok());
    if !begins || !header.starts_with(b"QFI\xfb") {
        return Ok(DiskFormat::Raw);
    }
    // Version 3 has incompatible features in bytes 72 to 79; bit 2 is an external data file.
    let (version, features) = (header.iter().skip(4).take(4), header.get(79).copied().unwrap_or_default());
    if version.copied().ne([0, 0, 0, 2]) && features & 0b100 != 0 {
        return Err(refused(
            "keeps its data in another file, which a copy would share: convert it with `qemu-img convert`",
        ));
    }
    if header.iter().skip(8).take(8).any(|byte| *byte != 0) {
        return Err(refused(
            "has a backing file, which a copy would share: flatten it first with `qemu-img convert`",
        ));
    }
    Ok(DiskFormat::Qcow2)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let format = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            image_format(&path).map_err(|report| report.message)
        };
        assert_eq!(format(b"tiny"), Ok(DiskFormat::Raw));
        assert_eq!(format(&[0; 512]), Ok(DiskFormat::Raw));
        let mut qcow2 = [0; 104];
        qcow2[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        assert_eq!(format(&qcow2), Ok(DiskFormat::Qcow2));
        qcow2[79] = 0b101;
        assert!(format(&qcow2).unwrap_err().contains("in another file"));
        qcow2[79] = 1;
        assert_eq!(format(&qcow2), Ok(DiskFormat::Qcow2));
        qcow2[15] = 0x70;
        assert!(format(&qcow2).unwrap_err().contains("backing file"));
        assert!(format(b"").unwrap_err().contains("is empty"));
        assert!(image_format(folder.path()).unwrap_err().message.contains("no plain file"));
    }
}
