//! Signing: ad hoc, with the entitlement that Virtualization.framework asks for.
//!
//! The linker's own signature has no entitlements. Any edit of the file after signing breaks it, so this comes last.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::build::{Program, built};
use super::toolchain::python;
use super::whole;
use super::workshop::Workshop;

/// The entitlements of all programs here.
pub(super) const ENTITLEMENTS: &str = "mac/selfsame.entitlements";

/// The whole signer. The package is young and small: it makes what is tested here, never what users get.
const SIGNER: &str = "import sys, apple_platform\n\
    apple_platform.sign(sys.argv[1], binary_identifier=sys.argv[2], entitlements_xml_file=sys.argv[3])\n";

/// The step `sign`: copies what was built beside its place, signs it there, and puts it in its place.
pub(super) fn sign(work: &Workshop, programs: &[Program]) -> Result<String> {
    fs::create_dir_all(&work.signed).with_context(|| format!("cannot create {}", work.signed.display()))?;
    for program in programs {
        let place = signed(work, *program);
        let part = place.with_extension("part");
        let from = built(work, *program);
        fs::copy(&from, &part).with_context(|| format!("cannot copy {}", from.display()))?;
        let mut command = Command::new(python(work));
        command.args(["-c", SIGNER]).arg(&part).arg(program.identifier).arg(work.root.join(ENTITLEMENTS));
        whole::output(&mut command).with_context(|| format!("cannot sign {}", program.name))?;
        fs::rename(&part, &place).with_context(|| format!("cannot put {} in its place", place.display()))?;
    }
    Ok(format!("ad hoc, in {}", work.signed.display()))
}

/// Where a signed program is.
pub(super) fn signed(work: &Workshop, program: Program) -> PathBuf {
    work.signed.join(program.name)
}
