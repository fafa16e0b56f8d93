//! Where the Mac's build takes its sources from and where it puts what it makes.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::repository;

/// Sources and output. The tests of the tests have sources and a build of their own and share the other caches.
#[derive(Debug, Clone)]
pub(super) struct Workshop {
    /// The sources: a clone of the repository.
    pub(super) root: PathBuf,
    /// Caches: the Python environment, the stubs.
    pub(super) out: PathBuf,
    /// Cargo's target folder. Never two workshops' at once: cargo tells clones of one workspace apart by nothing but the
    /// times of their files, and would take what one built for the other's.
    pub(super) build: PathBuf,
    /// Where the signed programs go.
    pub(super) signed: PathBuf,
}

impl Workshop {
    /// The repository itself, with `target/mac` below cargo's target folder.
    pub(super) fn open() -> Result<Self> {
        let root = repository::root()?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let out = root.join(target).join("mac");
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        Ok(Self { root, build: out.join("build"), signed: out.clone(), out })
    }

    /// Keeps others out of the output. The lock ends with the file.
    pub(super) fn lock(&self) -> Result<File> {
        let path = self.out.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }
}

/// The digest of several things, so that nothing can move from one to the next unseen.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(Sha256::digest(part));
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}
