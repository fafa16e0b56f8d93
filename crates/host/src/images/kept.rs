//! Images that are here: what is known of each, the list, and deleting one.

use std::path::{Path, PathBuf};

use selfsame_machine::image::checksum::Checksum;
use selfsame_machine::size::Bytes;
use serde::{Deserialize, Serialize};

use super::{ImageError, Images, with_suffix};
use crate::files::{FileError, read_bounded};

pub(super) const SCHEMA: u32 = 1;
const LIMIT: u64 = 16 * 1024;

/// Who says that an image is what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vouched {
    /// Its publisher's checksum file.
    ByPublisher,
    /// Whoever named the hash when it was fetched.
    ByCaller,
    /// Nobody.
    Nobody,
}

impl Vouched {
    /// In words, for a table.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::ByPublisher => "publisher's checksum file",
            Self::ByCaller => "hash given by hand",
            Self::Nobody => "nobody",
        }
    }
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub(super) schema: u32,
    /// Where it came from.
    pub url: String,
    /// Its hash.
    pub checksum: Option<Checksum>,
    /// Who vouches for it.
    pub vouched: Vouched,
    /// When it was fetched, RFC 3339.
    pub fetched: String,
}

impl Kept {
    /// What stands beside an image; nothing for one that somebody put there.
    pub(super) fn read(image: &Path) -> Option<Self> {
        let bytes = read_bounded(&with_suffix(image, ".toml"), LIMIT).ok()?;
        let kept: Self = toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()?;
        (kept.schema == SCHEMA).then_some(kept)
    }

    pub(super) fn write(&self) -> String {
        // Nothing in it that TOML cannot hold.
        toml::to_string(self).unwrap_or_default()
    }
}

/// A file among the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Its name.
    pub file: String,
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes it has.
    pub size: Bytes,
    /// What is known of it.
    pub kept: Option<Kept>,
    /// Whether it is not whole yet.
    pub partial: bool,
}

impl Images {
    /// What is here, by name.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Here>, FileError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FileError::failed("read", &self.folder)(error)),
        };
        let mut here = Vec::new();
        for entry in entries {
            let entry = entry.map_err(FileError::failed("read", &self.folder))?;
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            if !metadata.is_file() || name.starts_with('.') || name.ends_with(".toml") {
                continue;
            }
            let (path, size) = (entry.path(), Bytes::new(metadata.len()));
            let partial = name.ends_with(".part");
            let file = name.strip_suffix(".part").unwrap_or(&name).to_owned();
            here.push(Here { kept: Kept::read(&path), file, path, size, partial });
        }
        here.sort_by(|a, b| (&a.file, a.partial).cmp(&(&b.file, b.partial)));
        Ok(here)
    }

    /// Deletes an image and what there is of it in part. VMs that were made of it have copies of their own.
    ///
    /// # Errors
    /// When there is none of that name, or it is being fetched.
    pub fn delete(&self, file: &str) -> Result<(), ImageError> {
        let not_kept = || ImageError::NotKept { name: file.to_owned() };
        if file.is_empty() || file.contains('/') || file.starts_with('.') {
            return Err(not_kept());
        }
        let path = self.folder.join(file);
        let parts = ["", ".part", ".toml", ".part.toml"].map(|suffix| with_suffix(&path, suffix));
        let there = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
        if !parts.iter().take(2).any(there) {
            return Err(not_kept());
        }
        let (lock, name) = self.open_lock(&path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(ImageError::Busy { file: path }),
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(FileError::failed("lock", &name)(error).into());
            }
        }
        for part in parts.iter().filter(|part| there(part)) {
            std::fs::remove_file(part).map_err(FileError::failed("delete", part))?;
        }
        Ok(())
    }
}
