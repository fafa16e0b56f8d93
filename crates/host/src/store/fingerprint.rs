//! Whether a VM's small files are still those that were read: asked by `stat`, so that a listing opens no file.

use rustix::fs::Stat;

use crate::files::device_and_inode;
use crate::time::Time;

/// Bytes per file: device, inode, size, and the times of the last write and change in nanoseconds.
const EACH: usize = 5 * 8;

/// What `stat` said of a few files, in a fixed order. Equal fingerprints of settled files mean equal files.
///
/// A file that is not there is a row of zeros; a fingerprint of no files equals none of some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(Vec<u8>);

impl Fingerprint {
    /// Takes down what `stat` said.
    #[must_use]
    pub fn of(files: &[Option<&Stat>]) -> Self {
        let mut bytes = Vec::with_capacity(files.len() * EACH);
        for file in files {
            let numbers = file.map_or([0; 5], |file| {
                let (device, inode) = device_and_inode(file);
                let (written, changed) = (file.st_mtime_nsec, file.st_ctime_nsec);
                #[cfg(not(target_os = "macos"))]
                let (written, changed) = (written.cast_signed(), changed.cast_signed());
                let nanoseconds =
                    |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
                [
                    device.cast_signed(),
                    inode.cast_signed(),
                    file.st_size,
                    nanoseconds(file.st_mtime, written),
                    nanoseconds(file.st_ctime, changed),
                ]
            });
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        Self(bytes)
    }

    /// Whether every file was last changed well before `now`.
    ///
    /// Within one tick of the kernel's clock (4 ms, on some file systems 2 s) a file can be written twice and look the
    /// same. What was read from a file that is not settled must not be taken from the library the next time.
    #[must_use]
    pub fn is_settled(&self, now: Time) -> bool {
        self.0.chunks_exact(EACH).all(|file| {
            let mut changed = [0; 8];
            changed.copy_from_slice(&file[EACH - 8..]);
            i64::from_le_bytes(changed) < now.0.saturating_sub(2_000_000_000)
        })
    }

    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_change_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.toml");
        fs::write(&path, "a").unwrap();
        let take = || Fingerprint::of(&[rustix::fs::stat(&path).ok().as_ref(), None]);
        let first = take();
        assert_eq!(first, take());
        assert_eq!(first.bytes().len(), 2 * EACH);
        fs::write(folder.path().join("new"), "a").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        let second = take();
        assert_ne!(first, second, "another inode");
        fs::write(&path, "ab").unwrap();
        assert_ne!(second, take(), "another size");
        fs::remove_file(&path).unwrap();
        assert_ne!(first, take(), "gone");
        assert_ne!(take(), Fingerprint::default());
    }

    #[test]
    fn a_file_written_just_now_is_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let now = Time::now();
        let taken = Fingerprint::of(&[rustix::fs::stat(folder.path()).ok().as_ref(), None]);
        assert!(!taken.is_settled(now));
        assert!(taken.is_settled(Time(now.0 + 10_000_000_000)));
    }
}
