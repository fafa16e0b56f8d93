//! `State/state.toml`: what a state was made with, and how its bytes are told from others.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use selfsame_machine::network::Network;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use selfsame_machine::spec::Display;

use crate::qemu::version::Version;

/// The version of the file's format.
pub(super) const SCHEMA: u32 = 1;

/// So much is read at a time.
const CHUNK: usize = 1 << 20;

/// What a guest runs with that its state cannot do without. Taken down at its start: files may change while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The identity's canonical text.
    pub identity: String,
    /// The folder's device and inode in hexadecimal.
    pub folder: String,
    /// This computer, whatever it was booted how often; `None` where nothing tells it.
    pub host: Option<String>,
    /// The versioned machine type; empty where there is none.
    pub machine: String,
    /// The address of its network card: the guest keeps the one it had, so that is the one to be claimed for it.
    pub mac_address: String,
    /// To whom that leads: a guest that reached nobody must not wake up with the world before it.
    #[serde(default)]
    pub network: Network,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// `tcg`, `kvm`, …
    pub accelerator: String,
    /// QEMU's version, where it is QEMU.
    pub qemu: Option<Version>,
    /// The guest's screen. A state of an older selfsame, which gave guests none, does not say.
    #[serde(default = "no_display")]
    pub display: String,
    /// The files that hold what the guest has on its disks, as `vm.toml` names them.
    pub disks: Vec<String>,
    /// Which devices of ours it finds, beside what is chosen for each VM. Not written down at first.
    #[serde(default = "first_devices")]
    pub devices: u32,
}

/// The devices of the first version, whose states do not name them.
pub const FIRST_DEVICES: u32 = 1;

const fn first_devices() -> u32 {
    FIRST_DEVICES
}

fn no_display() -> String {
    Display::None.text().to_owned()
}

/// A disk's file as it was when the guest was suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskSeen {
    pub(super) file: String,
    /// In bytes.
    pub(super) size: u64,
    /// When its content changed last, in nanoseconds since 1970.
    pub(super) modified_ns: i64,
    /// Text, since TOML has no 64 bits without a sign.
    pub(super) inode: String,
}

impl DiskSeen {
    pub(super) fn of(folder: &Path, file: &str) -> io::Result<Self> {
        let found = std::fs::metadata(folder.join(file))?;
        Ok(Self {
            file: file.to_owned(),
            size: found.size(),
            modified_ns: found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec()),
            inode: found.ino().to_string(),
        })
    }
}

/// The file of memory and devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    /// In bytes.
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// The content of `state.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) schema: u32,
    /// When, RFC 3339.
    pub(super) suspended: String,
    pub(super) memory: Memory,
    pub(super) made: Made,
    #[serde(default)]
    pub(super) disks: Vec<DiskSeen>,
}

impl Description {
    /// Reads one; an error is a clause about the file.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        // The version is looked at first and alone: the rest of a newer one need not be understandable.
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if schema != SCHEMA {
            return Err(format!("its schema is {schema}, and this selfsame knows {SCHEMA}"));
        }
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }
}

/// SHA-256 of a file in hexadecimal, and how many bytes that were. Ends early with an error when `stop` is set.
pub(super) fn digest(file: &mut impl Read, stop: &AtomicBool) -> io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "it was called off"));
        }
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(chunk.get(..count).unwrap_or_default());
                size += u64::try_from(count).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((crate::bundle::hexadecimal(&hasher.finalize()), size))
}

/// This computer, the same at each boot: a digest of systemd's machine id, which itself is not to be shown around
/// (machine-id(5)). `None` where there is none.
#[must_use]
pub fn host() -> Option<String> {
    let id = crate::files::read_bounded(Path::new("/etc/machine-id"), 4096).ok()?;
    let id = id.trim_ascii();
    let mut hasher = Sha256::new();
    hasher.update(b"selfsame state ");
    hasher.update(id);
    (!id.is_empty()).then(|| crate::bundle::hexadecimal(&hasher.finalize()))
}
