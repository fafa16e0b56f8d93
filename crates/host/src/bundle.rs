//! A VM on disk in our own layout, which is that of Apple's sample: read whole, changed by nobody here.
//!
//! ```text
//! NAME.vm/  MachineIdentifier   who it is (the framework's property list)
//!           vm.toml             what it is made of; every field has a default
//!           Disk.img            its disk, or disk.qcow2
//!           NVRAM               UEFI variables            HardwareModel, AuxiliaryStorage   (macOS guests)
//!           Kernel, Initrd      for a guest without firmware
//!           Logs/               the serial console and what QEMU said
//!           State/              memory and devices of a suspended guest
//! ```

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Code;
use selfsame_machine::identity::{Blob, Identity, Kind, MacAddress, Severity};
use selfsame_machine::problem::{Hint, Problem, shell_word};
use selfsame_machine::spec::{Disk, DiskFormat, Guest, Spec, SpecError};
use sha2::{Digest as _, Sha256};

use crate::files::read_bounded;
use crate::lock::FolderKey;

pub use selfsame_machine::layout::*;

/// The small files are small: an identifier has 70 bytes, a description a few hundred.
const SMALL_FILE: u64 = 64 * 1024;

/// Why a folder cannot be used as a VM.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The folder itself cannot be opened.
    #[error("cannot open the VM's folder `{}`", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of it cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no identifier: this is no VM, or a damaged one.
    #[error("`{}` has no `MachineIdentifier`", folder.display())]
    NoIdentifier {
        /// The folder.
        folder: PathBuf,
    },
    /// The identifier cannot be decoded.
    #[error("`{}` is no machine identifier: byte {offset}: {message}", path.display())]
    Identifier {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: usize,
        /// What is wrong there.
        message: String,
    },
    /// The description cannot be used.
    #[error("`{}` cannot be used", path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        #[source]
        source: SpecError,
    },
    /// An identifier and nothing that could run.
    #[error("`{}` has neither a `vm.toml` nor a disk: an identifier alone is no VM", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// The description is no UTF-8.
    #[error("`{}` is no UTF-8 text: byte {offset}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is none.
        offset: usize,
    },
}

impl Problem for BundleError {
    fn code(&self) -> Code {
        match self {
            Self::Folder { source, .. } if source.kind() == io::ErrorKind::NotFound => Code::VmNotFound,
            Self::Identifier { .. } => Code::IdentityInvalid,
            Self::Folder { .. }
            | Self::File { .. }
            | Self::NoIdentifier { .. }
            | Self::Empty { .. }
            | Self::Spec { .. }
            | Self::NotText { .. } => Code::BundleInvalid,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let edit = |path: &Path| shell_word(&path.to_string_lossy()).into_owned();
        match self {
            Self::Folder { folder, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec![Hint::run("look at its owner and modes", format!("ls -ld {}", edit(folder)))]
            }
            Self::Folder { .. } => vec![Hint::run("see which VMs there are", "selfsame list")],
            Self::File { path, .. } => {
                vec![Hint::run("look at its owner and modes", format!("ls -l {}", edit(path)))]
            }
            Self::NoIdentifier { folder } => vec![Hint::run(
                "if its identity is known, write it back",
                format!("selfsame identity export ID -o {}", edit(&folder.join(IDENTIFIER))),
            )],
            Self::Empty { .. } => vec![Hint::run("make a VM", "selfsame create --help")],
            Self::Identifier { path, .. } => vec![Hint::run(
                "if its identity is known, move the file away and write it back",
                format!("selfsame identity export ID -o {}", edit(path)),
            )],
            Self::Spec { path, .. } | Self::NotText { path, .. } => {
                vec![Hint::run("mend it at that place", format!("${{EDITOR:-vi}} {}", edit(path)))]
            }
        }
    }
}

/// A VM on disk.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// The folder's device and inode.
    pub key: FolderKey,
    /// What it is called: its folder's name without `.vm`, made printable.
    pub name: String,
    /// The identifier's file, decoded.
    pub identifier: Blob,
    /// Who it is.
    pub identity: Identity,
    /// What it is made of.
    pub spec: Spec,
    /// Whether it has a `vm.toml` that says so.
    pub described: bool,
    /// The hardware model's file, if there is one.
    pub hardware_model: Option<Vec<u8>>,
}

impl Bundle {
    /// Reads a folder.
    ///
    /// # Errors
    /// The first thing that makes it unusable; what is odd but usable is in `identifier.findings`.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        let folder = std::path::absolute(folder)
            .map_err(|source| BundleError::Folder { folder: folder.to_owned(), source })?;
        let stat = rustix::fs::stat(&folder)
            .map_err(|error| BundleError::Folder { folder: folder.clone(), source: error.into() })?;
        let identifier_path = folder.join(IDENTIFIER);
        let Some(raw) = read_small(&identifier_path)? else {
            return Err(BundleError::NoIdentifier { folder });
        };
        let identifier = Blob::read(&raw);
        let Some(identity) = identifier.identity else {
            let worst = identifier.findings.iter().find(|finding| finding.severity == Severity::Error);
            return Err(BundleError::Identifier {
                path: identifier_path,
                offset: worst.map_or(0, |finding| finding.offset),
                message: worst
                    .map_or_else(|| "it holds no identity".into(), |finding| finding.message.clone()),
            });
        };
        let described = folder.join(SPEC).exists();
        let spec = read_spec(&folder.join(SPEC))?;
        let hardware_model = read_small(&folder.join(HARDWARE_MODEL))?;
        Ok(Self {
            key: FolderKey::of(&stat),
            name: name_of(&folder),
            identifier,
            identity,
            spec,
            described,
            hardware_model,
            folder,
        })
    }

    /// The kind of guest: what `vm.toml` says, else what the identifier is made for.
    #[must_use]
    pub fn guest(&self) -> Guest {
        self.spec.guest.unwrap_or(match self.identity.kind() {
            Kind::Mac => Guest::Macos,
            Kind::Generic => Guest::Linux,
        })
    }

    /// The architecture of the guest's processors.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.spec.architecture_on(Architecture::of_new_guests())
    }

    /// The network card's address: what `vm.toml` says, else one that follows from the identity.
    #[must_use]
    pub fn mac_address(&self) -> MacAddress {
        self.spec.mac_address.unwrap_or_else(|| MacAddress::from_digest(&self.identity.digest()))
    }

    /// The disks: what `vm.toml` lists, else what lies in the folder under its usual name.
    #[must_use]
    pub fn disks(&self) -> Vec<Disk> {
        if let Some(disks) = &self.spec.disks {
            return disks.clone();
        }
        let usual = [(RAW_DISK, DiskFormat::Raw), (QCOW2_DISK, DiskFormat::Qcow2)];
        usual
            .into_iter()
            .filter(|(file, _)| self.folder.join(file).exists())
            .map(|(file, format)| Disk { file: file.to_owned(), format, read_only: false, size: None })
            .collect()
    }

    /// The files that a running VM writes: what a user of the bundle has open.
    #[must_use]
    pub fn written_files(&self) -> Vec<PathBuf> {
        let disks = self.disks().into_iter().filter(|disk| !disk.read_only).map(|disk| disk.file);
        let small = [NVRAM, AUXILIARY_STORAGE].map(str::to_owned);
        disks.chain(small).map(|file| self.folder.join(file)).collect()
    }

    /// The files whose content a saved state counts on: all disks, and the variables where there are any.
    #[must_use]
    pub fn remembered_files(&self) -> Vec<String> {
        let variables = self.folder.join(NVRAM).exists().then(|| NVRAM.to_owned());
        self.disks().into_iter().map(|disk| disk.file).chain(variables).collect()
    }

    /// SHA-256 of the identifier's file.
    #[must_use]
    pub fn identifier_digest(&self) -> String {
        hex(&self.identifier.raw)
    }

    /// SHA-256 of the hardware model's file; empty when there is none.
    #[must_use]
    pub fn model_digest(&self) -> String {
        self.hardware_model.as_deref().map(hex).unwrap_or_default()
    }
}

/// The name that goes with a folder, made printable.
#[must_use]
pub fn name_of(folder: &Path) -> String {
    let stem = if folder.extension().is_some_and(|extension| extension == EXTENSION) {
        folder.file_stem()
    } else {
        folder.file_name()
    };
    let lossy = stem.unwrap_or(folder.as_os_str()).to_string_lossy();
    lossy.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// How people call a VM, and how a command can name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// What it is called.
    pub name: String,
    /// What a command takes: its name, or its path if it is not in the home; quoted for a shell.
    pub word: String,
}

impl Named {
    /// The VM in `folder`, seen from the home whose VMs are in `vms`.
    #[must_use]
    pub fn of(folder: &Path, vms: &Path) -> Self {
        let name = name_of(folder);
        let at_home = vms.join(format!("{name}.{EXTENSION}")) == folder;
        let word = if at_home { name.clone() } else { folder.to_string_lossy().into_owned() };
        Self { word: shell_word(&word).into_owned(), name }
    }
}

/// The name.
impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.name)
    }
}

/// Reads who a VM is, and nothing else of it; `None` when its identifier is missing or says nothing.
///
/// # Errors
/// When the identifier cannot be read.
pub fn read_identity(folder: &Path) -> Result<Option<Identity>, BundleError> {
    Ok(read_small(&folder.join(IDENTIFIER))?.and_then(|raw| Blob::read(&raw).identity))
}

/// Reads `vm.toml`; a missing one is complete.
fn read_spec(path: &Path) -> Result<Spec, BundleError> {
    let Some(bytes) = read_small(path)? else { return Ok(Spec::default()) };
    let text = String::from_utf8(bytes).map_err(|error| BundleError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    Spec::read(&text).map_err(|source| BundleError::Spec { path: path.to_owned(), source })
}

fn read_small(path: &Path) -> Result<Option<Vec<u8>>, BundleError> {
    match read_bounded(path, SMALL_FILE) {
        Ok(data) => Ok(Some(data)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BundleError::File { path: path.to_owned(), source }),
    }
}

fn hex(data: &[u8]) -> String {
    hexadecimal(&Sha256::digest(data))
}

/// Bytes in hexadecimal digits.
pub(crate) fn hexadecimal(data: &[u8]) -> String {
    use std::fmt::Write as _;
    data.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ok = write!(text, "{byte:02x}");
        text
    })
}
