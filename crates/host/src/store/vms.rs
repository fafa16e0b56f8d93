//! VMs by the folder of their bundle.
//!
//! The folder is the VM: these rows are what it held when it was last read, so that a listing of a thousand opens no
//! file, and a twin is found without reading every bundle. **Invariant:** a row is a cache and is to be believed only
//! while its fingerprint is that of the files; the last good start alone stands nowhere else, and nothing but
//! [`Vms::forget`] removes it.

use std::path::{Path, PathBuf};

use rusqlite::{Row, ToSql, params};

use super::columns::{Bits, Folder, Json, bytes};
use super::{Fingerprint, Store, StoreError};
use crate::time::Time;

/// What a bundle folder held when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmFacts {
    /// The bundle folder, absolute.
    pub folder: PathBuf,
    /// The folder that it lies in.
    pub parent: PathBuf,
    /// The name for people. A name that is not UTF-8 is shown lossily here; the folder stays exact.
    pub name: String,
    /// The folder's device.
    pub device: u64,
    /// The folder's inode.
    pub inode: u64,
    /// What `stat` said of the small files that the rest was read from.
    pub fingerprint: Fingerprint,
    /// The identity's digest, when it could be read.
    pub digest: Option<String>,
    /// The identity's canonical text, when it could be read.
    pub identity: Option<String>,
    /// Processors.
    pub cpus: Option<u32>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// The disks as `vm.toml` names them.
    pub disks: Vec<String>,
    /// The MAC address.
    pub mac: Option<String>,
    /// Why the bundle could not be read.
    pub error: Option<String>,
    /// When all this was so.
    pub last_seen: Time,
}

/// The last time that the VM started well, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoodStart {
    /// SHA-256 of the identifier file, hexadecimal.
    pub identifier: String,
    /// SHA-256 of the hardware model file, hexadecimal, for guests that have one.
    pub model: Option<String>,
    /// When.
    pub at: Time,
}

/// A VM as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmRow {
    /// What the folder held.
    pub facts: VmFacts,
    /// The last good start, if there was one.
    pub good: Option<GoodStart>,
}

const COLUMNS: &str = "folder, parent, name, device, inode, fingerprint, digest, identity, cpus, memory, disks, mac, error, \
                       last_seen, last_good_identifier, last_good_model, last_good_start";

fn read(row: &Row<'_>) -> rusqlite::Result<VmRow> {
    let facts = VmFacts {
        folder: row.get::<_, Folder>(0)?.0,
        parent: row.get::<_, Folder>(1)?.0,
        name: row.get(2)?,
        device: row.get::<_, Bits>(3)?.0,
        inode: row.get::<_, Bits>(4)?.0,
        fingerprint: Fingerprint::from_bytes(row.get(5)?),
        digest: row.get(6)?,
        identity: row.get(7)?,
        cpus: row.get(8)?,
        memory: row.get::<_, Option<Bits>>(9)?.map(|bits| bits.0),
        disks: row.get::<_, Json<Vec<String>>>(10)?.0,
        mac: row.get(11)?,
        error: row.get(12)?,
        last_seen: row.get(13)?,
    };
    let good = match (row.get(14)?, row.get(16)?) {
        (Some(identifier), Some(at)) => Some(GoodStart { identifier, model: row.get(15)?, at }),
        _ => None,
    };
    Ok(VmRow { facts, good })
}

/// The table of VMs.
#[derive(Debug, Clone, Copy)]
pub struct Vms<'s>(pub(super) &'s Store);

impl Vms<'_> {
    fn all(&self, rest: &str, values: &[&dyn ToSql]) -> Result<Vec<VmRow>, StoreError> {
        self.0
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM vms WHERE {rest}"))
            .and_then(|mut statement| statement.query_map(values, read)?.collect())
            .map_err(self.0.fault("read VMs from"))
    }

    /// The VM in this folder.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn get(&self, folder: &Path) -> Result<Option<VmRow>, StoreError> {
        Ok(self.all("folder = ?1", &[&bytes(folder)])?.pop())
    }

    /// All VMs with this identity: the twins.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn by_digest(&self, digest: &str) -> Result<Vec<VmRow>, StoreError> {
        self.all("digest = ?1 ORDER BY parent, name, folder", &[&digest])
    }

    /// All VMs with this MAC address.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn by_mac(&self, mac: &str) -> Result<Vec<VmRow>, StoreError> {
        self.all("mac = ?1 ORDER BY parent, name, folder", &[&mac])
    }

    /// All VMs directly in this folder, in the order of their folders' bytes: as many as the folder held when it was last
    /// read.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn in_parent(&self, parent: &Path) -> Result<Vec<VmRow>, StoreError> {
        // What begins with `parent/` stands together in the table; the index by parent, which the plus keeps SQLite from
        // taking, would lead there row by row.
        let inside = |after: u8| {
            let parent = bytes(parent);
            [parent.strip_suffix(b"/").unwrap_or(parent), &[after]].concat()
        };
        let (first, last) = (inside(b'/'), inside(b'/' + 1));
        self.all(
            "folder >= ?1 AND folder < ?2 AND +parent = ?3 ORDER BY folder",
            &[&first, &last, &bytes(parent)],
        )
    }

    /// Takes down what was read from folders, all in one transaction. Give only what changed: each row is a write.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn upsert<'f>(&self, vms: impl IntoIterator<Item = &'f VmFacts>) -> Result<(), StoreError> {
        let sql = "INSERT INTO vms (folder, parent, name, device, inode, fingerprint, digest, identity, cpus, memory, disks,
                                    mac, error, last_seen)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                   ON CONFLICT (folder) DO UPDATE SET
                       parent = excluded.parent, name = excluded.name, device = excluded.device,
                       inode = excluded.inode, fingerprint = excluded.fingerprint, digest = excluded.digest,
                       identity = excluded.identity, cpus = excluded.cpus, memory = excluded.memory, disks = excluded.disks,
                       mac = excluded.mac, error = excluded.error, last_seen = excluded.last_seen";
        let mut vms = vms.into_iter().peekable();
        if vms.peek().is_none() {
            return Ok(());
        }
        let doing = "take down VMs in";
        self.0.write(doing, |connection| {
            let mut statement = connection.prepare_cached(sql).map_err(self.0.fault(doing))?;
            for vm in vms {
                let values = params![
                    bytes(&vm.folder),
                    bytes(&vm.parent),
                    vm.name,
                    Bits(vm.device),
                    Bits(vm.inode),
                    vm.fingerprint.bytes(),
                    vm.digest,
                    vm.identity,
                    vm.cpus,
                    vm.memory.map(Bits),
                    Json(&vm.disks),
                    vm.mac,
                    vm.error,
                    vm.last_seen
                ];
                statement.execute(values).map_err(self.0.fault(doing))?;
            }
            Ok(())
        })
    }

    /// Remembers with what the VM started well. Works for a VM that was never listed, too: it gets a row whose
    /// fingerprint fits no file, so that the next reader reads the folder.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn record_good_start(&self, folder: &Path, good: &GoodStart) -> Result<(), StoreError> {
        let sql = "INSERT INTO vms (folder, parent, name, device, inode, fingerprint, disks, last_seen,
                                    last_good_identifier, last_good_model, last_good_start)
                   VALUES (?1, ?2, ?3, 0, 0, x'', '[]', ?6, ?4, ?5, ?6)
                   ON CONFLICT (folder) DO UPDATE SET
                       last_good_identifier = excluded.last_good_identifier,
                       last_good_model = excluded.last_good_model,
                       last_good_start = excluded.last_good_start";
        let parent = folder.parent().unwrap_or(folder);
        let name = folder.file_stem().unwrap_or_default().to_string_lossy();
        let values = params![bytes(folder), bytes(parent), name, good.identifier, good.model, good.at];
        let doing = "record a good start in";
        self.0
            .write(doing, |connection| connection.execute(sql, values).map(drop).map_err(self.0.fault(doing)))
    }

    /// Removes the row with its last good start; runs, observations and events stay. Says whether there was one.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn forget(&self, folder: &Path) -> Result<bool, StoreError> {
        let doing = "forget a VM in";
        self.0.write(doing, |connection| {
            let forgotten = connection.execute("DELETE FROM vms WHERE folder = ?1", [bytes(folder)]);
            Ok(forgotten.map_err(self.0.fault(doing))? > 0)
        })
    }

    /// Follows a folder that was renamed: its row, runs and observations go on under the new one. Events stay as they
    /// were told. A row of the new folder, of a VM that no longer is, gives way.
    ///
    /// # Errors
    /// When the library cannot be written.
    pub fn rename(&self, old: &Path, new: &Path) -> Result<(), StoreError> {
        if old == new {
            return Ok(());
        }
        let doing = "rename a VM in";
        let parent = new.parent().unwrap_or(new);
        let name = new.file_stem().unwrap_or_default().to_string_lossy();
        self.0.write(doing, |connection| {
            let run = |sql: &str, values: &[&dyn ToSql]| {
                connection.execute(sql, values).map_err(self.0.fault(doing))
            };
            let known = run("UPDATE vms SET folder = x'' WHERE folder = ?1", &[&bytes(old)])?;
            if known > 0 {
                run("DELETE FROM vms WHERE folder = ?1", &[&bytes(new)])?;
                run(
                    "UPDATE vms SET folder = ?1, parent = ?2, name = ?3 WHERE folder = x''",
                    &[&bytes(new), &bytes(parent), &name],
                )?;
            }
            run(
                "UPDATE runs SET folder = ?2, name = ?3 WHERE folder = ?1",
                &[&bytes(old), &bytes(new), &name],
            )?;
            run("UPDATE observations SET folder = ?2 WHERE folder = ?1", &[&bytes(old), &bytes(new)])?;
            Ok(())
        })
    }
}
