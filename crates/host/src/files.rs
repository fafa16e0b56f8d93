//! Files, read and written so that nothing a user has is lost or waited for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat};
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {verb} `{}`", path.display())]
    Failed {
        /// What was tried: `read`, `write`, `copy`, …
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The target exists and is not replaced.
    #[error("`{}` exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    /// An error of the system while doing `verb` to `path`.
    pub fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Failed { verb, path, source }
    }
}

impl Problem for FileError {
    fn code(&self) -> Code {
        match self {
            Self::Failed { .. } => Code::FileFailed,
            Self::Exists { .. } => Code::FileExists,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Failed { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec![Hint::run(
                    "look at its owner and modes",
                    format!("ls -ld {}", shell_word(&path.to_string_lossy())),
                )]
            }
            Self::Failed { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                vec![Hint::say("make room on that volume and try again; nothing was changed")]
            }
            Self::Failed { .. } => Vec::new(),
            Self::Exists { .. } => vec![Hint::say("choose another name, or remove it first")],
        }
    }
}

/// A file's device and inode as `stat` gives them: the numbers by which processes agree on a file, whatever its name.
///
/// The one place where they become 64-bit numbers: macOS has a signed device of 32 bits, of which the bits count.
#[must_use]
pub const fn device_and_inode(stat: &Stat) -> (u64, u64) {
    #[cfg(target_os = "macos")]
    let device = stat.st_dev.cast_unsigned() as u64;
    #[cfg(not(target_os = "macos"))]
    let device = stat.st_dev;
    (device, stat.st_ino)
}

/// What is looked at for zeros at a time.
const BLOCK: usize = 64 * 1024;

/// Reads a plain file of at most `limit` bytes. Never waits on a FIFO or a device.
///
/// # Errors
/// When it is no plain file, is larger than `limit`, or cannot be read.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&descriptor)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
    }
    let mut data = Vec::new();
    File::from(descriptor).take(limit.saturating_add(1)).read_to_end(&mut data)?;
    if u64::try_from(data.len()).is_ok_and(|length| length > limit) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {limit} bytes")));
    }
    Ok(data)
}

/// Replaces a file in one step: a temporary file beside it, synced, renamed over it, the folder synced.
///
/// # Errors
/// When a step fails; the old file is then still there, whole.
pub fn write_atomically(path: &Path, data: &[u8]) -> Result<(), FileError> {
    write_beside(path, data, |temporary| temporary.persist(path).map(drop).map_err(|error| error.error))
        .map_err(FileError::failed("write", path))
}

/// Writes a new file in one step, and never over an existing one.
///
/// # Errors
/// [`FileError::Exists`], or that a step failed; then there is no file.
pub fn write_new(path: &Path, data: &[u8]) -> Result<(), FileError> {
    published(path, write_beside(path, data, no_clobber(path)))
}

/// The same, with holes where there are only zeros: of 64 MiB of variables as a rule less than one is written.
///
/// # Errors
/// [`FileError::Exists`], or that a step failed; then there is no file.
pub fn write_new_sparse(path: &Path, data: &[u8]) -> Result<(), FileError> {
    let fill = |file: &mut File| {
        file.set_len(u64::try_from(data.len()).unwrap_or(u64::MAX))?;
        for (index, block) in data.chunks(BLOCK).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                let offset = u64::try_from(index.saturating_mul(BLOCK)).unwrap_or(u64::MAX);
                file.seek(SeekFrom::Start(offset))?;
                file.write_all(block)?;
            }
        }
        Ok(())
    };
    published(path, fill_beside(path, fill, no_clobber(path)))
}

fn no_clobber(path: &Path) -> impl FnOnce(tempfile::NamedTempFile) -> io::Result<()> {
    move |temporary| temporary.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

fn published(path: &Path, outcome: io::Result<()>) -> Result<(), FileError> {
    outcome.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            FileError::Exists { path: path.to_owned() }
        } else {
            FileError::failed("write", path)(error)
        }
    })
}

fn write_beside(
    path: &Path,
    data: &[u8],
    publish: impl FnOnce(tempfile::NamedTempFile) -> io::Result<()>,
) -> io::Result<()> {
    fill_beside(path, |file| file.write_all(data), publish)
}

fn fill_beside(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
    publish: impl FnOnce(tempfile::NamedTempFile) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    // What somebody closed to others stays closed when it is replaced.
    let mode = std::fs::metadata(path).map_or(0o644, |replaced| replaced.permissions().mode() & 0o777);
    remove_drafts(folder);
    let mut temporary = begin_draft(folder, mode)?;
    fill(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    publish(temporary)?;
    File::open(folder)?.sync_all()
}

const DRAFT: &str = ".selfsame-";
/// What the name of a draft ends with: so many letters and digits.
const DRAFT_LETTERS: usize = 6;
/// So often is a draft begun anew that another command took for a leftover.
const BEGINNINGS: u32 = 100;

/// Whether a file of this name is a draft: one that is renamed to its place when it is whole, or that a killed command
/// left.
#[must_use]
pub fn is_draft(name: &OsStr) -> bool {
    let letters = name.as_bytes().strip_prefix(DRAFT.as_bytes());
    letters.is_some_and(|rest| rest.len() == DRAFT_LETTERS && rest.iter().all(u8::is_ascii_alphanumeric))
}

/// Begins a file that is locked while it is filled, which tells it from a leftover.
fn begin_draft(folder: &Path, mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(DRAFT).rand_bytes(DRAFT_LETTERS).permissions(PermissionsExt::from_mode(mode));
    for _ in 0..BEGINNINGS {
        let draft = builder.tempfile_in(folder)?;
        let locked = rustix::fs::flock(draft.as_file(), FlockOperation::NonBlockingLockExclusive);
        // A file system without locks is no reason not to write: nobody can take the draft for a leftover there.
        if locked != Err(rustix::io::Errno::WOULDBLOCK) && draft.as_file().metadata()?.nlink() > 0 {
            return Ok(draft);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Removes what killed commands left: drafts that nobody has locked. What cannot be removed stays, and hurts nobody.
fn remove_drafts(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_draft(&entry.file_name())) {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file
            && let Ok(draft) = File::open(entry.path())
            && rustix::fs::flock(&draft, FlockOperation::NonBlockingLockExclusive).is_ok()
            // A draft that was renamed to its place since is not there any more, and another has not its name.
            && let (Ok(locked), Ok(named)) = (draft.metadata(), entry.path().symlink_metadata())
            && (locked.dev(), locked.ino()) == (named.dev(), named.ino())
        {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

/// How a file came to its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyMethod {
    /// The file system shares the blocks (reflink, clonefile): instant, no space.
    Shared,
    /// Copied, holes kept.
    Copied,
}

/// Copies a file to a new place: shared blocks where the file system can, else copied with its holes.
///
/// # Errors
/// When the target exists, or a step fails; a half-written target is removed.
pub fn copy_new(from: &Path, to: &Path) -> Result<CopyMethod, FileError> {
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(FileError::Exists { path: to.to_owned() });
    }
    if reflink_copy::reflink(from, to).is_ok() {
        return Ok(CopyMethod::Shared);
    }
    let copied = copy_with_holes(from, to);
    if copied.is_err() {
        drop(std::fs::remove_file(to));
    }
    copied.map(|()| CopyMethod::Copied).map_err(FileError::failed("copy", from))
}

/// Copies the data between the holes, and leaves holes where the source has them.
fn copy_with_holes(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::options().write(true).create_new(true).open(to)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut position = 0;
    while position < length {
        let data = match rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(position)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            // A file system that knows no holes: all of it is data.
            Err(_) => position,
        };
        let hole = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(data)).unwrap_or(length);
        source.seek(SeekFrom::Start(data))?;
        target.seek(SeekFrom::Start(data))?;
        io::copy(&mut (&mut source).take(hole.saturating_sub(data)), &mut target)?;
        position = hole;
    }
    target.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_nobody_fills_is_removed_by_the_next_writer() {
        let folder = tempfile::tempdir().unwrap();
        let [left, mine, folder_of_mine] =
            [".selfsame-aB3dE6", ".selfsame-mine", ".selfsame-abcdef"].map(|name| folder.path().join(name));
        std::fs::write(&left, "half").unwrap();
        std::fs::write(&mine, "").unwrap();
        std::fs::create_dir(&folder_of_mine).unwrap();
        let filled = begin_draft(folder.path(), 0o600).unwrap();
        write_new(&folder.path().join("a"), b"whole").unwrap();
        assert!(!left.exists());
        assert!(mine.exists() && folder_of_mine.exists() && filled.path().exists());
    }

    #[test]
    fn a_copy_keeps_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        let mut file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.seek(SeekFrom::Start(32 << 20)).unwrap();
        file.write_all(b"in the middle").unwrap();
        drop(file);
        copy_new(&from, &to).unwrap();
        let (a, b) = (std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
        assert!(a == b);
        assert!(std::fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20, "the holes were filled");
        assert!(matches!(copy_new(&from, &to), Err(FileError::Exists { .. })));
    }

    #[test]
    fn zeros_become_holes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("variables");
        let mut data = vec![0; (8 << 20) + 5];
        data[(4 << 20) + 1] = 1;
        write_new_sparse(&path, &data).unwrap();
        assert!(std::fs::read(&path).unwrap() == data);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20, "the holes were filled");
        assert!(matches!(write_new_sparse(&path, &data), Err(FileError::Exists { .. })));
    }

    /// Only where a FIFO can be made without another process, which would inherit what other tests are writing.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_fifo_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_new(&path, &[0; 11]).unwrap();
        assert!(read_bounded(&path, 11).is_ok());
        assert_eq!(read_bounded(&path, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(matches!(write_new(&path, b""), Err(FileError::Exists { .. })));
        assert_eq!(std::fs::read(&path).unwrap().len(), 11);
    }
}
