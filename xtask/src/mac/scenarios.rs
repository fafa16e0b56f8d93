//! The emulator's scenarios, on the signed `vz-drive`.

use std::process::Command;

use anyhow::{Result, ensure};

use super::build::DRIVE;
use super::sign::signed;
use super::toolchain::python;
use super::whole;
use super::workshop::Workshop;

/// The step `scenarios`. The emulator prints one line for each, `ok` or `FAILED` first, and ends with another status than 0 when one fails.
pub(super) fn run(work: &Workshop) -> Result<String> {
    only(work, "")
}

/// Those with `name` in their names.
pub(super) fn only(work: &Workshop, name: &str) -> Result<String> {
    let mut command = Command::new(python(work));
    // It is imported from the sources, which stay as they are.
    command.arg("-B").arg(work.root.join("tools/mac-emulator/run.py"));
    command.arg("--binary").arg(signed(work, DRIVE)).args(["--only", name]).current_dir(&work.root);
    let said = whole::text(&mut command)?;
    let count = said.lines().filter(|line| line.starts_with("ok ")).count();
    ensure!(count > 0, "the emulator ran no scenario");
    Ok(format!("{count} of them pass, against emulated frameworks"))
}
