//! Where the repository is.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// The repository's root.
///
/// Cargo names the manifest folder at run time; what was compiled in may be another clone's when several share one
/// target folder, so it is only for a binary started by hand.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest.parent().context("the manifest folder has no parent")?;
    Ok(root.to_path_buf())
}
