//! The words of a command line of QEMU, and names written so that QEMU takes them for nothing else.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};
use serde_json::{Value, json};

use crate::qemu::architecture::Architecture;

/// A plan that cannot be told to QEMU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// QEMU's JSON has no place for such a name.
    #[error("the name of `{}` is not UTF-8, and QEMU takes no other names for disks and firmware", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// No file has such a name.
    #[error("`{}` is not a file name", path.as_os_str().to_string_lossy().escape_debug())]
    NotAName {
        /// The file.
        path: PathBuf,
    },
    /// A machine that has none is to start with a BIOS.
    #[error("{architecture} guests have no BIOS")]
    NoBios {
        /// The guest's architecture.
        architecture: Architecture,
    },
    /// No argument can hold such a text.
    #[error("`{}` holds a zero byte", text.escape_debug())]
    ZeroByte {
        /// The text.
        text: String,
    },
}

impl Problem for PlanError {
    fn code(&self) -> Code {
        match self {
            Self::NotUtf8 { .. } | Self::NotAName { .. } | Self::ZeroByte { .. } => Code::BundleInvalid,
            Self::NoBios { .. } => Code::BackendUnavailable,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::NotUtf8 { path } => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.and_then(Path::to_str).unwrap_or(".");
                vec![
                    Hint::run(
                        "rename the file; this shows its odd bytes",
                        format!("ls -b {}", shell_word(folder)),
                    ),
                    Hint::say(
                        "or put it into the VM's folder: of a file there, only its own name must be UTF-8",
                    ),
                ]
            }
            Self::NoBios { .. } => vec![Hint::say("choose `firmware = \"uefi\"` in the [boot] of vm.toml")],
            Self::NotAName { .. } | Self::ZeroByte { .. } => {
                vec![Hint::say("correct the name in the VM's vm.toml")]
            }
        }
    }
}

/// Arguments in the making.
#[derive(Default)]
pub(super) struct Line(Vec<OsString>);

impl Line {
    pub(super) fn word(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(word.as_ref().to_owned());
        self
    }

    pub(super) fn option(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.word(name).word(value)
    }

    pub(super) fn finish(self) -> Result<Vec<OsString>, PlanError> {
        match self.0.iter().find(|word| word.as_bytes().contains(&0)) {
            Some(word) => Err(PlanError::ZeroByte { text: word.to_string_lossy().into_owned() }),
            None => Ok(self.0),
        }
    }
}

/// A raw image that is neither a disk nor locked by QEMU.
pub(super) fn raw(node: &str, file: &Path, read_only: bool) -> Result<String, PlanError> {
    let node: Value = json!({
        "node-name": node,
        "driver": "raw",
        "read-only": read_only,
        "file": { "driver": "file", "filename": utf8(file)?, "read-only": read_only },
    });
    Ok(node.to_string())
}

/// A file's name for JSON.
pub(super) fn utf8(path: &Path) -> Result<String, PlanError> {
    let not_utf8 = |_| PlanError::NotUtf8 { path: path.to_owned() };
    plain(path)?.into_string().map_err(not_utf8)
}

/// A file's name that QEMU takes for nothing else.
pub(super) fn plain(path: &Path) -> Result<OsString, PlanError> {
    let name = path.as_os_str();
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(PlanError::NotAName { path: path.to_owned() });
    }
    let prefix = if bytes.starts_with(b"-") || (path.is_relative() && bytes.contains(&b':')) {
        "./"
    } else if bytes.starts_with(b"/dev/fdset/") {
        // QEMU would take it for one of its descriptor sets.
        "/."
    } else {
        ""
    };
    let mut plain = OsString::from(prefix);
    plain.push(name);
    Ok(plain)
}

/// Text for a place where a comma ends it.
pub(super) fn value(text: &str) -> String {
    text.replace(',', ",,")
}

/// Text without characters that would spoil a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
