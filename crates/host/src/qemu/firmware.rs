//! The guest's UEFI firmware: code that all guests share, and a template of the variables that each gets a copy of.
//!
//! **Invariant.** Code and template come as a pair from one row of the table ([`Hardware`]); a 4 MB code with 2 MB variables does not
//! boot. Only raw images are listed, because QEMU is told `raw`.
//!
//! The names are those of the packages seen: Debian 12 and Ubuntu (`ovmf`, `qemu-efi-aarch64`), Fedora (`edk2-ovmf`,
//! `edk2-aarch64`), Arch (`edk2-ovmf`, `edk2-aarch64`), openSUSE (`qemu-ovmf-x86_64`, `qemu-uefi-aarch64`), Homebrew and QEMU's own (`qemu`). Of these only
//! Debian's were tried. QEMU's own descriptors (`share/qemu/firmware/*.json`) would name them all, but rank secure-boot
//! variants and demand a feature match for what is, here, one choice.

use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

use super::architecture::{Architecture, Hardware};
use super::installation::install_hints;

/// A pair of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The code, used in place and never written.
    pub code: PathBuf,
    /// The template of the variables, to be copied for each VM.
    pub variables: PathBuf,
}

/// No firmware.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// None of the known places has it.
    #[error("no UEFI firmware for {architecture} guests is installed")]
    Missing {
        /// The guest's architecture.
        architecture: Architecture,
        /// The files of code that were looked for.
        looked_for: Vec<PathBuf>,
    },
    /// What is configured does not exist.
    #[error("the configured firmware file `{}` is not there", path.display())]
    Configured {
        /// The file.
        path: PathBuf,
        /// The guest's architecture.
        architecture: Architecture,
    },
}

impl Problem for FirmwareError {
    fn code(&self) -> Code {
        Code::FirmwareMissing
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Missing { architecture, .. } => packages(*architecture),
            Self::Configured { path, architecture } => {
                let look = format!("ls -l {}", shell_word(&path.to_string_lossy()));
                let mut hints = vec![Hint::run("correct the path in the configuration", look)];
                hints.extend(packages(*architecture));
                hints
            }
        }
    }
}

fn packages(architecture: Architecture) -> Vec<Hint> {
    let (debian, fedora) = Hardware::of(architecture).firmware_packages;
    install_hints(debian, fedora)
}

impl Firmware {
    /// Takes the configured pair, or else the first that is there under `root`, which is `/` but for tests.
    ///
    /// # Errors
    /// A configured file is not there, or no pair is.
    pub fn find(
        configured: Option<Self>,
        architecture: Architecture,
        root: &Path,
    ) -> Result<Self, FirmwareError> {
        if let Some(pair) = configured {
            let absent = [&pair.code, &pair.variables].into_iter().find(|path| !path.is_file()).cloned();
            return match absent {
                Some(path) => Err(FirmwareError::Configured { path, architecture }),
                None => Ok(pair),
            };
        }
        let pairs = Hardware::of(architecture).firmware.iter().map(|(folder, code, variables)| {
            let folder = root.join(folder);
            Self { code: folder.join(code), variables: folder.join(variables) }
        });
        let mut looked_for = Vec::new();
        for pair in pairs {
            if pair.code.is_file() && pair.variables.is_file() {
                return Ok(pair);
            }
            looked_for.push(pair.code);
        }
        Err(FirmwareError::Missing { architecture, looked_for })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, []).unwrap();
    }

    #[test]
    fn a_pair_is_taken_whole() {
        let root = tempfile::tempdir().unwrap();
        let find = || Firmware::find(None, Architecture::X86_64, root.path());
        put(root.path(), "usr/share/OVMF/OVMF_CODE_4M.fd");
        put(root.path(), "usr/share/OVMF/OVMF_VARS.fd");
        let error = find().unwrap_err();
        assert_eq!(error.to_string(), "no UEFI firmware for x86_64 guests is installed");
        assert!(
            error.hints().iter().any(|hint| hint.command.as_ref().is_some_and(|run| run.contains("ovmf")))
        );

        put(root.path(), "usr/share/OVMF/OVMF_CODE.fd");
        assert!(find().unwrap().code.ends_with("OVMF_CODE.fd"));
        put(root.path(), "usr/share/OVMF/OVMF_VARS_4M.fd");
        assert!(find().unwrap().variables.ends_with("OVMF_VARS_4M.fd"));
    }

    #[test]
    fn a_configured_pair_has_to_be_there() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "code");
        let pair = Firmware { code: root.path().join("code"), variables: root.path().join("variables") };
        let error = Firmware::find(Some(pair.clone()), Architecture::X86_64, root.path()).unwrap_err();
        assert!(
            matches!(&error, FirmwareError::Configured { path, .. } if *path == pair.variables),
            "{error:?}"
        );
        put(root.path(), "variables");
        assert_eq!(Firmware::find(Some(pair.clone()), Architecture::X86_64, root.path()).unwrap(), pair);
    }
}
