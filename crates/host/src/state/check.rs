//! Whether a VM can go on from its state: everything is compared, and what differs is named.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use selfsame_machine::size::Bytes;
use selfsame_machine::spec::Folder;

use super::description::{Description, DiskSeen, Made, digest};
use super::{DESCRIPTION_LIMIT, Difference, StateError};
use crate::bundle::{Named, STATE, STATE_DESCRIPTION, STATE_MEMORY};
use crate::files::read_bounded;

/// The state of a suspended VM, read and not yet checked.
#[derive(Debug)]
pub struct Saved {
    name: Named,
    folder: PathBuf,
    description: Description,
}

impl Saved {
    /// Reads the state in a VM's folder; `None` when the VM is not suspended.
    ///
    /// # Errors
    /// When there is one that cannot be understood.
    pub fn read(folder: &Path, name: &Named) -> Result<Option<Self>, StateError> {
        let state = folder.join(STATE);
        if !state.is_dir() {
            return Ok(None);
        }
        let path = state.join(STATE_DESCRIPTION);
        let damaged = |why: String| StateError::Damaged { name: name.clone(), path: path.clone(), why };
        let text = read_bounded(&path, DESCRIPTION_LIMIT).map_err(|error| damaged(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|_| damaged("it is no UTF-8 text".to_owned()))?;
        let description = Description::read(&text).map_err(damaged)?;
        Ok(Some(Self { name: name.clone(), folder: folder.to_owned(), description }))
    }

    /// When the VM was suspended, RFC 3339.
    #[must_use]
    pub fn since(&self) -> &str {
        &self.description.suspended
    }

    /// The size of the memory's file in bytes, as it was written.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.description.memory.size
    }

    /// The file of memory and devices.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.folder.join(STATE).join(STATE_MEMORY)
    }

    /// Compares what the guest would be started with, with what it was suspended with; then its disks; then every byte of
    /// the state, which takes about a second for each gigabyte.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, now: &Made) -> Result<(), StateError> {
        if let Some((what, saved, now)) = difference(&self.description.made, now) {
            return Err(StateError::Mismatch { name: self.name.clone(), what, saved, now });
        }
        let described = self.description.disks.iter().map(|disk| &disk.file);
        if !described.eq(&self.description.made.disks) {
            return Err(StateError::Damaged {
                name: self.name.clone(),
                path: self.folder.join(STATE).join(STATE_DESCRIPTION),
                why: "it does not describe every disk".to_owned(),
            });
        }
        self.description.disks.iter().try_for_each(|disk| self.check_disk(disk))?;
        self.check_memory()
    }

    /// Refuses folders of the host: a guest that uses some is not suspended, so this one had none.
    ///
    /// # Errors
    /// There are some.
    pub fn check_folders(&self, now: &[Folder]) -> Result<(), StateError> {
        if now.is_empty() {
            return Ok(());
        }
        let tags: Vec<&str> = now.iter().map(|folder| folder.tag.as_str()).collect();
        Err(StateError::Mismatch {
            name: self.name.clone(),
            what: Difference::Folders,
            saved: "empty".to_owned(),
            now: format!("`{}`", tags.join(", ")),
        })
    }

    fn check_disk(&self, saved: &DiskSeen) -> Result<(), StateError> {
        let named = |then: String, now: String| StateError::Mismatch {
            what: Difference::Disk { file: saved.file.clone() },
            name: self.name.clone(),
            saved: then,
            now,
        };
        let now = DiskSeen::of(&self.folder, &saved.file)
            .map_err(|error| named("there".to_owned(), format!("not to be read ({error})")))?;
        if now.size != saved.size {
            return Err(named(format!("{} bytes long", saved.size), format!("{} bytes", now.size)));
        }
        if now.inode != saved.inode {
            return Err(named(format!("the inode {}", saved.inode), format!("the inode {}", now.inode)));
        }
        if now.modified_ns != saved.modified_ns {
            return Err(named(changed(saved.modified_ns), changed(now.modified_ns)));
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), StateError> {
        let path = self.memory();
        let damaged = |why: String| StateError::Damaged { name: self.name.clone(), path: path.clone(), why };
        let mut file = File::open(&path).map_err(|error| damaged(error.to_string()))?;
        let length = file.metadata().map_err(|error| damaged(error.to_string()))?.len();
        let saved = &self.description.memory;
        if length != saved.size {
            return Err(damaged(format!("it has {length} bytes, and {} were written", saved.size)));
        }
        let read = digest(&mut file, &AtomicBool::new(false)).map_err(|error| damaged(error.to_string()))?;
        if read != (saved.sha256.clone(), saved.size) {
            return Err(damaged("its bytes are not those that were written".to_owned()));
        }
        Ok(())
    }
}

fn changed(nanoseconds: i64) -> String {
    format!("changed last at {}", crate::time::Time(nanoseconds))
}

/// The first difference that matters, with both values. A newer QEMU with the same machine type is none.
fn difference(saved: &Made, now: &Made) -> Option<(Difference, String, String)> {
    let memory = |bytes: u64| Bytes::new(bytes).to_string();
    let list = |disks: &[String]| if disks.is_empty() { "none".to_owned() } else { disks.join(", ") };
    let version = |devices: u32| format!("version {devices}");
    let compared = [
        (Difference::Identity, saved.identity.clone(), now.identity.clone()),
        (Difference::Folder, saved.folder.clone(), now.folder.clone()),
        (Difference::Machine, saved.machine.clone(), now.machine.clone()),
        (Difference::Devices, version(saved.devices), version(now.devices)),
        (Difference::MacAddress, saved.mac_address.clone(), now.mac_address.clone()),
        (Difference::Network, saved.network.to_string(), now.network.to_string()),
        (Difference::Cpus, saved.cpus.to_string(), now.cpus.to_string()),
        (Difference::Memory, memory(saved.memory), memory(now.memory)),
        (Difference::Display, saved.display.clone(), now.display.clone()),
        (Difference::Accelerator, saved.accelerator.clone(), now.accelerator.clone()),
        (Difference::Disks, list(&saved.disks), list(&now.disks)),
    ];
    if let Some(found) = compared.into_iter().find(|(_, saved, now)| saved != now) {
        return Some(found);
    }
    if let (Some(saved), Some(now)) = (&saved.host, &now.host)
        && saved != now
    {
        return Some((Difference::Host, short(saved), short(now)));
    }
    match (saved.qemu, now.qemu) {
        (Some(saved), Some(now)) if now < saved => {
            Some((Difference::Version, saved.to_string(), now.to_string()))
        }
        (Some(saved), None) => {
            Some((Difference::Version, format!("QEMU {saved}"), "none of QEMU".to_owned()))
        }
        (None, Some(now)) => Some((Difference::Version, "none of QEMU".to_owned(), format!("QEMU {now}"))),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// Enough of a digest to tell two apart.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}
