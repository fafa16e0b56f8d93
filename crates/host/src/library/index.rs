//! Keeping the store's rows equal to the folders, at the price of a few `stat`s a folder.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, statat};
use selfsame_machine::identity::Identity;

use crate::bundle::{Bundle, BundleError, EXTENSION, IDENTIFIER, SPEC, name_of};
use crate::context::Context;
use crate::files::device_and_inode;
use crate::store::{Fingerprint, Store, StoreError, VmFacts, VmRow};
use crate::time::Time;

/// The folders directly in `parent` that hold, or are named like, a VM. Nothing when it cannot be read.
#[must_use]
pub fn folders_in(parent: &Path) -> Vec<PathBuf> {
    let Some(opened) = Parent::open(parent) else { return Vec::new() };
    opened.entries().into_iter().map(|entry| parent.join(entry.name)).collect()
}

/// A folder of VMs, opened: what lies in it is asked about by names relative to it, for which the kernel does not walk
/// the whole path again each time.
struct Parent {
    folder: OwnedFd,
    device: u64,
}

/// What a folder says of something in it, without a look at the thing itself.
struct Entry {
    name: OsString,
    /// The inode; 0 for a link, which is another file's business.
    inode: u64,
}

impl Parent {
    fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let (device, _) = device_and_inode(&rustix::fs::fstat(&folder).ok()?);
        Some(Self { folder, device })
    }

    /// Those that hold, or are named like, a VM, by name.
    fn entries(&self) -> Vec<Entry> {
        let Ok(folder) = Dir::read_from(&self.folder) else { return Vec::new() };
        let mut entries = Vec::new();
        for entry in folder.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            // What is being made or deleted has a hidden name beside the VMs.
            if matches!(name.as_bytes(), b"." | b"..") || name.as_bytes().starts_with(b".selfsame-") {
                continue;
            }
            let named = Path::new(name).extension().is_some_and(|extension| extension == EXTENSION);
            if named || look(self.folder.as_fd(), &Path::new(name).join(IDENTIFIER)).is_some() {
                let inode = if entry.file_type() == FileType::Directory { entry.ino() } else { 0 };
                entries.push(Entry { name: name.to_owned(), inode });
            }
        }
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        entries
    }

    /// Whether the files that the row was read from are still the same.
    fn is_current(&self, entry: &Entry, facts: &VmFacts, now: Time) -> bool {
        let path = Path::new(&entry.name);
        // What the parent says of a plain folder is what `stat` says of it; something mounted there has other files.
        let is_same_folder = || {
            (self.device, entry.inode) == (facts.device, facts.inode)
                || look(self.folder.as_fd(), path)
                    .is_some_and(|stat| device_and_inode(&stat) == (facts.device, facts.inode))
        };
        facts.fingerprint.is_settled(now)
            && fingerprint(self.folder.as_fd(), path) == facts.fingerprint
            && is_same_folder()
    }
}

/// The VMs directly in `parent` as they are now: remembered rows where nothing has changed, read anew where it has. In
/// no order.
///
/// What was read anew is written to the store if that is possible: losing it costs only time.
///
/// # Errors
/// When the store cannot be read.
pub fn refresh(context: &Context, store: &Store, parent: &Path, now: Time) -> Result<Vec<VmRow>, StoreError> {
    let Some(opened) = Parent::open(parent) else { return Ok(Vec::new()) };
    let mut rows = store.vms().in_parent(parent)?;
    let mut found = opened.entries().into_iter().peekable();
    let (mut new, mut gone, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    // Two lists in one order, gone through side by side.
    rows.retain_mut(|row| {
        let name = name_in(&row.facts);
        new.extend(std::iter::from_fn(|| found.next_if(|entry| entry.name.as_os_str() < name)));
        let Some(entry) = found.next_if(|entry| entry.name == name) else {
            gone.push(row.clone());
            return false;
        };
        if !opened.is_current(&entry, &row.facts, now) {
            row.facts = read_facts(&row.facts.folder, now, Some(&row.facts));
            changed.push(row.facts.clone());
        }
        true
    });
    let mut renamed = Vec::new();
    for entry in new.into_iter().chain(found) {
        let facts = read_facts(&parent.join(entry.name), now, None);
        changed.push(facts.clone());
        // A folder that was renamed is the VM that it was: by hand, or by a command that was killed before it said so.
        let before = gone.iter().position(|row| entry.inode != 0 && is_same_vm(&row.facts, &facts));
        let before = before.map(|at| gone.swap_remove(at));
        renamed.extend(before.iter().map(|row| (row.facts.folder.clone(), facts.folder.clone())));
        rows.push(VmRow { facts, good: before.and_then(|row| row.good) });
    }
    if !changed.is_empty()
        && let Ok(home) = context.prepare()
        && let Ok(writer) = Store::open(&home.library(), crate::store::Options::default())
    {
        for (old, new) in renamed {
            drop(writer.vms().rename(&old, &new));
        }
        drop(writer.vms().upsert(&changed));
    }
    Ok(rows)
}

/// Whether two folders are one with another name. The identity as well as the inode: an inode is given away again.
fn is_same_vm(one: &VmFacts, other: &VmFacts) -> bool {
    let key = |facts: &VmFacts| (facts.device, facts.inode);
    key(one) == key(other) && one.digest.is_some() && one.digest == other.digest
}

/// The folder's own name, the end of its path. By bytes: paths are compared part by part.
fn name_in(facts: &VmFacts) -> &OsStr {
    facts.folder.file_name().unwrap_or_default()
}

fn look(at: BorrowedFd<'_>, path: &Path) -> Option<Stat> {
    statat(at, path, AtFlags::empty()).ok()
}

fn fingerprint(at: BorrowedFd<'_>, folder: &Path) -> Fingerprint {
    let of = |file: &str| look(at, &folder.join(file));
    Fingerprint::of(&[of(SPEC).as_ref(), of(IDENTIFIER).as_ref()])
}

/// Reads a folder into a row. One that cannot be used becomes a row that says why.
///
/// **Invariant.** Who it is outlives that: a twin that is broken, or closed to this user, is a twin all the same. Only a
/// folder that has no identity any more, or is another folder, is nobody's twin.
pub(super) fn read_facts(folder: &Path, now: Time, before: Option<&VmFacts>) -> VmFacts {
    // Before the reading: a change meanwhile makes the row old, never wrongly new.
    let fingerprint = fingerprint(CWD, folder);
    let place = rustix::fs::stat(folder).ok().map(|stat| device_and_inode(&stat));
    let bundle = Bundle::read(folder);
    let error = bundle.as_ref().err().map(|error| {
        let report = selfsame_machine::problem::Report::of(error);
        std::iter::once(report.message).chain(report.causes).collect::<Vec<_>>().join(": ")
    });
    let remembered = || {
        let same = |facts: &&VmFacts| place == Some((facts.device, facts.inode));
        before.filter(same).and_then(|facts| facts.identity.as_deref()?.parse().ok())
    };
    let identity: Option<Identity> = match &bundle {
        Ok(bundle) => Some(bundle.identity),
        Err(BundleError::NoIdentifier { .. } | BundleError::Identifier { .. }) => None,
        Err(_) => match crate::bundle::read_identity(folder) {
            Ok(identity) => identity,
            Err(_) => remembered(),
        },
    };
    let bundle = bundle.ok();
    let (device, inode) = place.unwrap_or((0, 0));
    VmFacts {
        folder: folder.to_owned(),
        parent: folder.parent().unwrap_or(folder).to_owned(),
        name: name_of(folder),
        device,
        inode,
        fingerprint,
        digest: identity.map(|identity| identity.digest().to_string()),
        identity: identity.map(|identity| identity.canonical()),
        cpus: bundle.as_ref().map(|bundle| bundle.spec.cpus),
        memory: bundle.as_ref().map(|bundle| bundle.spec.memory.count()),
        disks: bundle
            .as_ref()
            .map(|bundle| bundle.disks().into_iter().map(|disk| disk.file).collect())
            .unwrap_or_default(),
        mac: bundle.as_ref().map(|bundle| bundle.mac_address().to_string()),
        error,
        last_seen: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn folders_come_by_name_and_links_are_followed() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b.vm", "a-b.vm", "a.vm", "other", "bare"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("bare").join(IDENTIFIER), "x").unwrap();
        std::os::unix::fs::symlink("b.vm", root.path().join("link.vm")).unwrap();
        let names: Vec<_> =
            folders_in(root.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a-b.vm", "a.vm", "b.vm", "bare", "link.vm"]);
        assert!(folders_in(&root.path().join("gone")).is_empty());
    }

    #[test]
    fn a_row_is_current_until_its_files_or_its_folder_are_others() {
        let root = tempfile::tempdir().unwrap();
        let (folder, link) = (root.path().join("a.vm"), root.path().join("b.vm"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(SPEC), "").unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let now = Time(Time::now().0 + 10_000_000_000);
        let is_current = |name: &str, facts: &VmFacts| {
            let opened = Parent::open(root.path()).unwrap();
            let entry = opened.entries().into_iter().find(|entry| entry.name == name).unwrap();
            opened.is_current(&entry, facts, now)
        };
        let facts = read_facts(&folder, now, None);
        assert!(is_current("a.vm", &facts) && is_current("b.vm", &facts));
        // Hard links: the same files in another folder.
        let other = root.path().join("c.vm");
        fs::create_dir(&other).unwrap();
        fs::hard_link(folder.join(SPEC), other.join(SPEC)).unwrap();
        let facts = read_facts(&folder, now, None);
        assert!(is_current("a.vm", &facts) && !is_current("c.vm", &facts));
        fs::write(folder.join(IDENTIFIER), "x").unwrap();
        assert!(!is_current("a.vm", &facts));
    }
}
