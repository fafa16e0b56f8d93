//! What a supervisor leaves behind for its successor: `run/KEY.json`.
//!
//! It is written before QEMU is started and again when its pid is known, so that a supervisor killed at any moment leaves
//! enough to find the guest again. It proves nothing by itself: an adoption checks the process, its descriptors and the
//! guest's UUID. It says nothing about another boot.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use selfsame_machine::lifecycle::Cause;
use selfsame_machine::network::Wish;
use selfsame_machine::spec::Folder;
use serde::{Deserialize, Serialize};

use super::protocol::Link;
use crate::files::read_bounded;
use crate::lock::FolderKey;
use crate::process::ProcessId;
use crate::state::Made;

/// How the name of a record ends.
const RECORD: &str = ".json";

/// The names in `run/` that belong to one VM, all short whatever the VM is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunNames(pub FolderKey);

impl RunNames {
    /// The supervisor's socket.
    #[must_use]
    pub fn control(self) -> String {
        format!("{}.sock", self.0)
    }

    /// QEMU's monitor.
    #[must_use]
    pub fn monitor(self) -> String {
        format!("{}.qmp", self.0)
    }

    /// The port on which the guest reports.
    #[must_use]
    pub fn report(self) -> String {
        format!("{}.report", self.0)
    }

    /// The port of the guest's agent.
    #[must_use]
    pub fn agent(self) -> String {
        format!("{}.agent", self.0)
    }

    /// The lock of whoever talks to the agent.
    #[must_use]
    pub fn agent_lock(self) -> String {
        format!("{}.agent.lock", self.0)
    }

    /// The guest's serial console, where QEMU listens.
    #[must_use]
    pub fn console(self) -> String {
        format!("{}.console", self.0)
    }

    /// Where a guest that is played is poked.
    #[must_use]
    pub fn sim(self) -> String {
        format!("{}.sim", self.0)
    }

    /// The record.
    #[must_use]
    pub fn record(self) -> String {
        format!("{}{RECORD}", self.0)
    }
}

/// A run that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The VM's folder, its path's bytes.
    pub folder: Vec<u8>,
    /// The identity's canonical text.
    pub identity: String,
    /// The address of its network card.
    pub mac_address: String,
    /// The UUID that QEMU was given.
    pub qemu_uuid: String,
    /// The boot in which all of this is true.
    pub boot_id: String,
    /// The supervisor.
    pub supervisor: ProcessId,
    /// The guest's process, once it was started.
    pub qemu: Option<ProcessId>,
    /// The run's row in the store.
    pub run: i64,
    /// When the guest was started, RFC 3339.
    pub started: String,
    /// `tcg`, `kvm`, …
    pub accelerator: String,
    /// Why that one.
    pub accelerator_reason: String,
    /// The versioned machine type.
    pub machine: String,
    /// The folders of the host that the guest can mount.
    #[serde(default)]
    pub folders: Vec<Folder>,
    /// Those of them that were asked for with this run alone.
    #[serde(default)]
    pub folders_of_run: Vec<Folder>,
    /// What a saved state of it would be made with; `None` when an older selfsame started it.
    #[serde(default)]
    pub made: Option<Made>,
    /// Whether the VM is deleted when this run has ended.
    #[serde(default)]
    pub ephemeral: bool,
    /// How the guest is connected; `None` when an older selfsame started it.
    #[serde(default)]
    pub link: Option<Link>,
    /// What the start said of that: it holds for this run.
    #[serde(default)]
    pub wish: Wish,
    /// How the guest behaves, if it is one that is played.
    #[serde(default)]
    pub sim: Option<String>,
    /// Whether the guest was to stand still from its start on.
    #[serde(default)]
    pub paused: bool,
    /// How it ended, where the store could not be told.
    pub ended: Option<(Cause, String)>,
}

impl RunRecord {
    /// The VM's folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsString::from_vec(self.folder.clone()))
    }

    /// A folder's path as the record keeps it.
    #[must_use]
    pub fn folder_bytes(folder: &Path) -> Vec<u8> {
        OsStr::as_bytes(folder.as_os_str()).to_vec()
    }

    /// Reads the record of a VM; `None` when there is none or it is damaged. It may be of another boot.
    #[must_use]
    pub fn read(run: &Path, names: RunNames) -> Option<Self> {
        let data = read_bounded(&run.join(names.record()), 64 * 1024).ok()?;
        serde_json::from_slice(&data).ok()
    }

    /// The VMs of which a record lies in `run`, by what `read` wants to know them by.
    ///
    /// # Errors
    /// When the folder cannot be read; one that is missing is empty.
    pub fn keys(run: &Path) -> io::Result<HashSet<FolderKey>> {
        let entries = match std::fs::read_dir(run) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
            Err(error) => return Err(error),
        };
        let key = |entry: io::Result<std::fs::DirEntry>| {
            let name = match entry {
                Ok(entry) => entry.file_name(),
                Err(error) => return Some(Err(error)),
            };
            name.to_str()?.strip_suffix(RECORD)?.parse().ok().map(Ok)
        };
        entries.filter_map(key).collect()
    }

    /// Whether the record speaks of this boot.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        crate::process::boot_id().is_some_and(|boot| boot == self.boot_id)
    }

    /// Writes the record in one step. Not synced: after a crash of the host it means nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, run: &Path, names: RunNames) -> io::Result<()> {
        let temporary = run.join(format!("{}.new", names.record()));
        std::fs::write(&temporary, serde_json::to_vec(self)?)?;
        std::fs::rename(temporary, run.join(names.record()))
    }
}
