//! Looking at disk images on this computer.
//!
//! Nothing is changed and nothing waited for: a FIFO or a device is told from a file without reading it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use selfsame_machine::code::Code;
use selfsame_machine::disk::qcow2::{Fault, Finding, Header};
use selfsame_machine::disk::{HEAD, ImageKind, look};
use selfsame_machine::problem::{Hint, Problem, shell_word};
use selfsame_machine::size::Bytes;
use selfsame_machine::spec::DiskFormat;

use crate::files::FileError;

/// A file that can be a guest's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Its format.
    pub format: DiskFormat,
    /// How large the guest's disk is.
    pub virtual_size: Bytes,
}

/// Why a file cannot be a guest's disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A folder, a device, a FIFO or a socket.
    #[error("`{}` is {what}, and no file that could be copied", path.display())]
    NotPlain {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Nothing in it.
    #[error("`{}` is empty", path.display())]
    Empty {
        /// Where.
        path: PathBuf,
    },
    /// Another format.
    #[error("`{}` is {what}", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What it is, a clause.
        what: &'static str,
    },
    /// A qcow2 image that cannot be copied alone, or opened at all.
    #[error("`{}` cannot be used as qcow2: byte {}: {}", path.display(), finding.offset, finding.fault)]
    Qcow2 {
        /// Where.
        path: PathBuf,
        /// The first thing that is wrong.
        finding: Finding,
    },
    /// Smaller than it is.
    #[error("the disk in `{}` has {is}, and is not cut down to {asked}: what is behind that would be lost", path.display())]
    Shrink {
        /// Where.
        path: PathBuf,
        /// Its size.
        is: Bytes,
        /// The size that was asked for.
        asked: Bytes,
    },
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Problem for DiskError {
    fn code(&self) -> Code {
        match self {
            Self::NotPlain { .. } | Self::Empty { .. } | Self::Foreign { .. } | Self::Qcow2 { .. } => {
                Code::ImageInvalid
            }
            Self::Shrink { .. } => Code::SizeInvalid,
            Self::File(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Qcow2 { path, finding } => {
                let word = |path: &Path| shell_word(&path.to_string_lossy()).into_owned();
                match finding.fault {
                    Fault::BackingFile | Fault::ExternalData | Fault::Encrypted => {
                        let whole = path.with_extension("whole.qcow2");
                        let convert = format!("qemu-img convert -O qcow2 {} {}", word(path), word(&whole));
                        vec![Hint::run("make one that stands alone", convert)]
                    }
                    Fault::Dirty | Fault::Corrupt => {
                        vec![Hint::run(
                            "check it while nothing uses it",
                            format!("qemu-img check {}", word(path)),
                        )]
                    }
                    Fault::Truncated
                    | Fault::Version(_)
                    | Fault::ClusterBits(_)
                    | Fault::HeaderLength(_)
                    | Fault::UnknownFeatures(_)
                    | Fault::VirtualSize(_)
                    | Fault::HugeTable(_)
                    | Fault::ShortTable(_)
                    | Fault::Misplaced(_)
                    | Fault::Snapshots(_)
                    | Fault::RefcountOrder(_) => {
                        vec![Hint::run("look at the image", format!("qemu-img info {}", word(path)))]
                    }
                }
            }
            Self::NotPlain { .. } | Self::Empty { .. } | Self::Foreign { .. } => {
                vec![Hint::say("give a disk image, raw or qcow2")]
            }
            Self::Shrink { is, .. } => vec![Hint::say(format!("ask for at least {is}, or for no size"))],
            Self::File(error) => error.hints(),
        }
    }
}

/// Opens a plain file and reads how it begins.
fn head(path: &Path) -> Result<(Vec<u8>, u64), DiskError> {
    let failed = || FileError::failed("read", path);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let descriptor = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => descriptor,
        // A socket cannot be opened at all.
        Err(rustix::io::Errno::NXIO) => {
            return Err(DiskError::NotPlain { path: path.to_owned(), what: "a socket" });
        }
        Err(error) => return Err(failed()(error.into()).into()),
    };
    let stat = rustix::fs::fstat(&descriptor).map_err(|error| failed()(error.into()))?;
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a folder"),
        FileType::BlockDevice | FileType::CharacterDevice => Some("a device"),
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket | FileType::Symlink | FileType::Unknown => Some("no plain file"),
    };
    if let Some(what) = what {
        return Err(DiskError::NotPlain { path: path.to_owned(), what });
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(HEAD).unwrap_or(u64::MAX);
    let read: io::Result<usize> = File::from(descriptor).take(limit).read_to_end(&mut bytes);
    read.map_err(failed())?;
    Ok((bytes, u64::try_from(stat.st_size).unwrap_or_default()))
}

/// Looks at an image that is to be copied: it must be whole in its own file.
///
/// # Errors
/// When it cannot be a guest's disk.
pub fn inspect(path: &Path) -> Result<Image, DiskError> {
    let (head, length) = head(path)?;
    if length == 0 {
        return Err(DiskError::Empty { path: path.to_owned() });
    }
    match look(&head) {
        ImageKind::Raw => Ok(Image { format: DiskFormat::Raw, virtual_size: Bytes::new(length) }),
        ImageKind::Foreign(what) => Err(DiskError::Foreign { path: path.to_owned(), what }),
        ImageKind::Qcow2 => match Header::read(&head, length) {
            (Some(header), findings) if findings.is_empty() => {
                Ok(Image { format: DiskFormat::Qcow2, virtual_size: Bytes::new(header.virtual_size) })
            }
            (_, findings) => {
                let truncated = Finding { offset: head.len(), fault: Fault::Truncated };
                let finding = findings.first().copied().unwrap_or(truncated);
                Err(DiskError::Qcow2 { path: path.to_owned(), finding })
            }
        },
    }
}

/// How large the guest's disk in a VM's own file is, whatever else is to be said of the file; `None` where it does not
/// tell.
///
/// # Errors
/// When it cannot be read.
pub fn virtual_size(path: &Path, format: DiskFormat) -> Result<Option<Bytes>, DiskError> {
    let (head, length) = head(path)?;
    Ok(match format {
        DiskFormat::Raw => Some(Bytes::new(length)),
        DiskFormat::Qcow2 => Header::read(&head, length).0.map(|header| Bytes::new(header.virtual_size)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfsame_machine::disk::overlay::Overlay;

    fn refused(path: &Path) -> String {
        let error = inspect(path).unwrap_err();
        assert_eq!(error.code(), Code::ImageInvalid);
        error.to_string()
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, b"").unwrap();
        assert!(refused(&path).ends_with("is empty"));
        std::fs::write(&path, b"\x1f\x8b\x08rest").unwrap();
        assert!(refused(&path).contains("compressed by gzip"));
        std::fs::write(&path, b"QFI\xfb").unwrap();
        assert!(refused(&path).contains("byte 4: the file ends before its header does"));
        assert!(refused(folder.path()).contains("is a folder"));
        assert!(refused(Path::new("/dev/null")).contains("is a device"));
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(refused(&socket).contains("socket"));
        assert_eq!(inspect(&folder.path().join("none")).unwrap_err().code(), Code::FileFailed);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_fifo_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(refused(&path).contains("is a FIFO"));
    }

    #[test]
    fn an_overlay_is_refused_for_its_backing_file_and_its_size_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o v.qcow2");
        let overlay = Overlay::over("../base", DiskFormat::Raw, 3 << 20).unwrap();
        std::fs::write(&path, &overlay.head).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(overlay.length).unwrap();
        let error = inspect(&path).unwrap_err();
        assert!(error.to_string().contains("byte 8: it has a backing file"), "{error}");
        let command = error.hints()[0].command.clone().unwrap();
        assert!(command.starts_with("qemu-img convert -O qcow2 '") && command.ends_with("o v.whole.qcow2'"));
        assert_eq!(virtual_size(&path, DiskFormat::Qcow2).unwrap(), Some(Bytes::mebibytes(3)));
    }
}
