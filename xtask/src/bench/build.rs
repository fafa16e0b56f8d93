//! What is measured, built as it is released.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run;

/// The programs.
pub(super) struct Binaries {
    /// The product.
    pub(super) selfsame: PathBuf,
    /// The example that measures the gate from inside.
    pub(super) gate: PathBuf,
}

impl Binaries {
    pub(super) fn build(root: &Path) -> Result<Self> {
        eprintln!("building the release …");
        let selfsame = executable(root, &["--package", "selfsame"])?;
        let gate = executable(root, &["--package", "selfsame-host", "--example", "gate"])?;
        Ok(Self { selfsame, gate })
    }
}

/// Builds one program and gives its path, wherever cargo's target folder is.
fn executable(root: &Path, what: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--message-format", "json"]).args(what).current_dir(root);
    let messages = run::text(&mut command)?;
    let path = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back();
    path.with_context(|| format!("cargo names no program for {}", what.join(" ")))
}
