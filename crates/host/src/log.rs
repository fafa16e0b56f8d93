//! The logs in a VM's folder: opened so that nobody is misled by what lies in their place, kept bounded, read from the end.
//!
//! **Invariants.** A log is a plain file: a link, a FIFO or a device in its place is refused and never written to. The
//! console's log is written by QEMU, which appends: whoever shortens it needs not tell QEMU.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use crate::bundle::{CONSOLE_LOG, CONSOLE_LOG_OLD};

/// The console's log is shortened when it is longer: about two days of a guest that writes 100 bytes a second.
pub const LIMIT: u64 = 16 << 20;
/// So much of it is copied at a time.
const CHUNK: usize = 1 << 20;

/// Opens a log to append to it, for writing only, and makes it if need be.
///
/// # Errors
/// When something else lies in its place, or what the system says.
pub fn append(path: &Path) -> io::Result<File> {
    open(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
}

/// Opens a log to read it; `None` when there is none.
///
/// # Errors
/// When something else lies in its place, or what the system says.
pub fn read(path: &Path) -> io::Result<Option<File>> {
    match open(path, OFlags::RDONLY) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map_err(|error| {
        if error == rustix::io::Errno::LOOP { not_plain("it is a link") } else { error.into() }
    })?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_plain("it is no plain file"));
    }
    // Only the opening was not to wait.
    rustix::fs::fcntl_setfl(&file, rustix::fs::fcntl_getfl(&file)?.difference(OFlags::NONBLOCK))?;
    Ok(File::from(file))
}

fn not_plain(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// The last bytes of a log, at most `count`.
///
/// # Errors
/// What the system says.
pub fn last_bytes(file: &mut File, count: u64) -> io::Result<Vec<u8>> {
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(count)))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where the last `count` lines of a log begin. An end without a line end is a line, too.
///
/// # Errors
/// What the system says.
pub fn start_of_last_lines(file: &mut File, count: u64) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut chunk = vec![0; CHUNK];
    let mut left = count;
    let mut is_last = true;
    while end > 0 {
        let size = end.min(CHUNK as u64);
        let start = end - size;
        let part = chunk.get_mut(..usize::try_from(size).unwrap_or(CHUNK)).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        for (index, byte) in part.iter().enumerate().rev() {
            // The very last line end ends the last line, and begins none.
            if *byte == b'\n' && !std::mem::take(&mut is_last) {
                left = left.saturating_sub(1);
                if left == 0 {
                    return Ok(start + index as u64 + 1);
                }
            }
            is_last = false;
        }
        end = start;
    }
    Ok(0)
}

/// Whether a console's log was shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is short enough.
    Whole,
    /// Its newest part is in `console.log.1` now, and it begins anew.
    Rotated,
    /// There was no room for its newest part, which is lost; it begins anew.
    Cut,
}

/// Opens the console's log of the VM in `folder` as [`bound`] wants it; `None` when there is none.
///
/// # Errors
/// When something else lies in its place, or what the system says.
pub fn to_bound(folder: &Path) -> io::Result<Option<File>> {
    match open(&folder.join(CONSOLE_LOG), OFlags::RDWR) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Shortens the console's log of the VM in `folder` when it is longer than [`LIMIT`]: its newest part goes to
/// `console.log.1`, in the place of what was there. Where there is no room for that, it is cut at twice the limit.
///
/// QEMU may write meanwhile. What it writes between the last look and the cut is lost to the log.
///
/// # Errors
/// What the system says; the log is then as it was.
pub fn bound(folder: &Path, log: &mut File) -> io::Result<Kept> {
    bound_to(folder, log, LIMIT)
}

fn bound_to(folder: &Path, log: &mut File, limit: u64) -> io::Result<Kept> {
    let length = log.metadata()?.len();
    if length <= limit {
        return Ok(Kept::Whole);
    }
    let kept = keep_newest(folder, log, limit);
    let outcome = if kept.is_ok() { Kept::Rotated } else { Kept::Cut };
    if let Err(error) = kept
        && length <= limit.saturating_mul(2)
    {
        return Err(error);
    }
    log.set_len(0)?;
    Ok(outcome)
}

fn keep_newest(folder: &Path, log: &mut File, limit: u64) -> io::Result<()> {
    let old = folder.join(CONSOLE_LOG_OLD);
    let parent = old.parent().unwrap_or(folder);
    let mut beside = tempfile::Builder::new().prefix(".selfsame-").tempfile_in(parent)?;
    log.seek(SeekFrom::Start(log.metadata()?.len().saturating_sub(limit)))?;
    // Up to its end, wherever that is by then.
    let mut chunk = vec![0; CHUNK];
    let mut left = limit.saturating_mul(2);
    loop {
        let count = log.read(&mut chunk)?;
        if count == 0 || left == 0 {
            break;
        }
        beside.write_all(chunk.get(..count).unwrap_or_default())?;
        left = left.saturating_sub(count as u64);
    }
    beside.persist(&old).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("Logs")).unwrap();
        let log = folder.path().join(CONSOLE_LOG);
        (folder, log)
    }

    #[test]
    fn what_is_no_plain_file_is_neither_read_nor_written() {
        let (folder, log) = folder();
        let target = folder.path().join("precious");
        std::fs::write(&target, "mine").unwrap();
        std::os::unix::fs::symlink(&target, &log).unwrap();
        assert_eq!(append(&log).unwrap_err().to_string(), "it is a link");
        assert_eq!(read(&log).unwrap_err().to_string(), "it is a link");
        assert!(to_bound(folder.path()).is_err());
        std::fs::remove_file(&log).unwrap();
        assert!(read(&log).unwrap().is_none());
        std::fs::create_dir(&log).unwrap();
        assert!(append(&log).is_err() && read(&log).is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"mine");
    }

    #[test]
    fn the_last_lines_are_found_whatever_ends_the_file() {
        let (_folder, log) = folder();
        let lines = |text: &str, count| {
            std::fs::write(&log, text).unwrap();
            let mut file = read(&log).unwrap().unwrap();
            let start = start_of_last_lines(&mut file, count).unwrap();
            text.get(usize::try_from(start).unwrap()..).unwrap().to_owned()
        };
        for (text, count, expected) in [
            ("", 3, ""),
            ("a", 1, "a"),
            ("a\nb\nc\n", 1, "c\n"),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\n\n", 1, "\n"),
        ] {
            assert_eq!(lines(text, count), expected, "{text:?}, {count}");
        }
        let long = format!("{}\nend\n", "x".repeat(3 * CHUNK));
        assert_eq!(lines(&long, 1), "end\n");
        assert_eq!(lines(&long, 2), long);
    }

    #[test]
    fn a_long_log_keeps_its_newest_part_beside_it_and_its_writer_goes_on() {
        let (folder, log) = folder();
        let old = folder.path().join(CONSOLE_LOG_OLD);
        let mut writer = append(&log).unwrap();
        let bound = || bound_to(folder.path(), &mut to_bound(folder.path()).unwrap().unwrap(), 10).unwrap();
        writer.write_all(b"0123456789").unwrap();
        assert_eq!(bound(), Kept::Whole);
        writer.write_all(b"abc").unwrap();
        assert_eq!(bound(), Kept::Rotated);
        assert_eq!(std::fs::read(&old).unwrap(), b"3456789abc");
        writer.write_all(b"next").unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), b"next");
        // No second file is left, and the second time takes the place of the first.
        writer.write_all(b"-----------").unwrap();
        assert_eq!(bound(), Kept::Rotated);
        assert_eq!(std::fs::read(&old).unwrap().len(), 10);
        assert_eq!(std::fs::read_dir(folder.path().join("Logs")).unwrap().count(), 2);
    }

    #[test]
    fn a_log_that_cannot_be_kept_is_cut_at_twice_the_limit() {
        let (folder, log) = folder();
        // A folder in the place of the old log cannot be replaced by a file.
        std::fs::create_dir(folder.path().join(CONSOLE_LOG_OLD)).unwrap();
        let bound = || bound_to(folder.path(), &mut to_bound(folder.path()).unwrap().unwrap(), 10);
        std::fs::write(&log, [b'x'; 20]).unwrap();
        assert!(bound().is_err());
        assert_eq!(std::fs::read(&log).unwrap().len(), 20);
        std::fs::write(&log, [b'x'; 21]).unwrap();
        assert_eq!(bound().unwrap(), Kept::Cut);
        assert_eq!(std::fs::read(&log).unwrap().len(), 0);
    }
}
