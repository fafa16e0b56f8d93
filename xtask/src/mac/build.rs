//! Linting and building for macOS.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::toolchain::{TARGET, cargo};
use super::workshop::Workshop;
use super::{stubs, whole};

/// A program that is built, signed and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) package: &'static str,
    pub(super) name: &'static str,
    /// What its signature calls it.
    pub(super) identifier: &'static str,
}

/// The product.
pub(super) const SELFSAME: Program =
    Program { package: "selfsame", name: "selfsame", identifier: "dev.selfsame.selfsame" };
/// The framework's part alone, with commands on standard input: what the emulator runs.
pub(super) const DRIVE: Program =
    Program { package: "vz-drive", name: "vz-drive", identifier: "dev.selfsame.vz-drive" };

pub(super) const PROGRAMS: [Program; 2] = [DRIVE, SELFSAME];

/// The step `clippy`.
pub(super) fn clippy(work: &Workshop) -> Result<String> {
    let mut command = cargo(work, "clippy");
    command.args(["--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    whole::output(&mut command)?;
    Ok("no warning in the workspace".to_owned())
}

/// The step `build`.
pub(super) fn build(work: &Workshop, programs: &[Program]) -> Result<String> {
    for program in programs {
        link(work, *program).with_context(|| format!("cannot build {}", program.name))?;
    }
    let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
    Ok(format!("{}, release", names.join(" and ")))
}

fn link(work: &Workshop, program: Program) -> Result<()> {
    let sdk = stubs::folder(work)?;
    let mut command = cargo(work, "rustc");
    command.env("SDKROOT", &sdk);
    command.args(["--quiet", "--release", "--package", program.package, "--bin", program.name, "--"]);
    // The folder is named by its content. Naming it here makes cargo link again when the stubs are others; it does not
    // look into the environment.
    command.arg(format!("-Clink-arg=-L{}", sdk.join("usr/lib").display()));
    whole::output(&mut command)
}

/// Where cargo leaves a program.
pub(super) fn built(work: &Workshop, program: Program) -> PathBuf {
    work.build.join(TARGET).join("release").join(program.name)
}
