//! Which QEMU runs the test guest: the one on PATH if it is new enough, else the one that `scripts/setup` has unpacked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Result, bail};

use crate::run;

const PROGRAM: &str = "qemu-system-x86_64";
const OLDEST: (u32, u32) = (7, 2);

/// The binaries there are, most wanted first. That they run, and their version, is not known yet.
pub(crate) fn candidates(guest: &Path) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).chain([guest.join("qemu/usr/bin")]).collect();
    folders.into_iter().map(|folder| folder.join(PROGRAM)).filter(|file| file.is_file()).collect()
}

/// What changes when one of them is replaced; cheaper than asking each for its version.
pub(crate) fn stamp(candidates: &[PathBuf]) -> String {
    let line = |path: &PathBuf| {
        let facts = fs::metadata(path).ok()?;
        let time = facts.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(format!("{} {} {}\n", path.display(), facts.len(), time.as_nanos()))
    };
    candidates.iter().filter_map(line).collect()
}

/// The first of them that runs and is new enough.
pub(crate) fn choose(candidates: &[PathBuf]) -> Result<&Path> {
    for candidate in candidates {
        let text = run::text(Command::new(candidate).arg("--version")).unwrap_or_default();
        if version(&text).is_some_and(|version| version >= OLDEST) {
            return Ok(candidate);
        }
    }
    bail!("there is no QEMU {}.{} or newer (`{PROGRAM}`); `scripts/setup` gets one", OLDEST.0, OLDEST.1)
}

/// The version in the answer to `--version`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("QEMU emulator version ")?.split(['.', ' ', '\n']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_not_text() {
        let debian =
            "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022";
        assert_eq!(version(debian), Some((7, 2)));
        assert_eq!(version("QEMU emulator version 10.0.2\n"), Some((10, 0)));
        assert!(version("QEMU emulator version 10.0.2\n") >= Some(OLDEST));
        assert!(version("QEMU emulator version 6.2.0 (x)") < Some(OLDEST));
        assert_eq!(version("qemu: command not found"), None);
    }

    #[test]
    fn a_binary_that_does_not_run_is_passed_over() {
        let error = choose(&[PathBuf::from("/nonexistent/qemu-system-x86_64")]).unwrap_err();
        assert!(error.to_string().contains("scripts/setup"), "{error}");
    }
}
