//! What there is of selfsame on this computer, and where.

use std::path::{Path, PathBuf};

use selfsame_machine::size::Bytes;

use super::unit;
use crate::config::system_file;
use crate::context::Context;

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    Present,
    /// It is not.
    Absent,
    /// It is there, and not in effect.
    Idle,
}

impl Presence {
    /// The word that people and programs see.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Idle => "idle",
        }
    }
}

/// Something of selfsame's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub what: &'static str,
    /// Where it is, or would be.
    pub path: PathBuf,
    /// Whether it is there.
    pub presence: Presence,
    /// The room that it takes on the disk, where that is worth knowing.
    pub size: Option<Bytes>,
}

/// Looks at everything, and changes nothing.
#[must_use]
pub fn status(context: &Context) -> Vec<Item> {
    let home = &context.home;
    let item = |what, path: PathBuf, sized: bool| {
        let presence = if path.symlink_metadata().is_ok() { Presence::Present } else { Presence::Absent };
        let size = (sized && presence == Presence::Present).then(|| room(&path));
        Item { what, path, presence, size }
    };
    let mut items = vec![
        item("home", home.root().to_owned(), false),
        item("VMs", home.vms(), true),
        item("library", home.library(), true),
        item("images", home.images(), true),
        item("cache", home.cache(), true),
        item("host keys of guests", home.known_hosts(), false),
        item("your settings", home.config(), false),
        item("the system's settings", system_file().to_owned(), false),
        item("locks, shared by all users", context.lock_path().to_owned(), false),
    ];
    if let Ok(unit) = unit::find() {
        let presence = match (unit.is_installed, unit.is_enabled) {
            (false, _) => Presence::Absent,
            (true, Some(true)) => Presence::Present,
            (true, Some(false) | None) => Presence::Idle,
        };
        items.push(Item { what: "autostart of VMs", path: unit.file, presence, size: None });
    }
    items
}

/// The room that a file or a folder with all that is in it takes on the disk, as far as it can be read. Links are not
/// followed, and what has two names counts twice.
pub(super) fn room(path: &Path) -> Bytes {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = path.symlink_metadata() else { return Bytes::new(0) };
    let own = metadata.blocks().saturating_mul(512);
    if !metadata.is_dir() {
        return Bytes::new(own);
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let inside: u64 = entries.map(|entry| room(&entry.path()).count()).fold(0, u64::saturating_add);
    Bytes::new(own.saturating_add(inside))
}
