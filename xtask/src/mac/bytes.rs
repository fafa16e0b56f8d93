//! Reading numbers and parts out of a file's bytes, without ever leaving them.

use anyhow::{Context as _, Result};

/// A part of a file, with a name for complaints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a> {
    name: &'static str,
    data: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(name: &'static str, data: &'a [u8]) -> Self {
        Self { name, data }
    }

    pub(super) fn data(self) -> &'a [u8] {
        self.data
    }

    /// `length` bytes from `start`.
    pub(super) fn part(self, start: usize, length: usize) -> Result<&'a [u8]> {
        start
            .checked_add(length)
            .and_then(|end| self.data.get(start..end))
            .with_context(|| format!("{} ends before byte {start} + {length}", self.name))
    }

    /// The text from `start` to the next zero byte.
    pub(super) fn text(self, start: usize) -> Result<String> {
        let rest =
            self.data.get(start..).with_context(|| format!("{} ends before byte {start}", self.name))?;
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        Ok(String::from_utf8_lossy(rest.get(..end).unwrap_or(rest)).into_owned())
    }

    pub(super) fn byte(self, at: usize) -> Result<u8> {
        self.part(at, 1)?.first().copied().context("no byte")
    }

    /// A little-endian number, as Mach-O files of these processors have them.
    pub(super) fn le32(self, at: usize) -> Result<u32> {
        Ok(u32::from_le_bytes(self.part(at, 4)?.try_into()?))
    }

    pub(super) fn le64(self, at: usize) -> Result<u64> {
        Ok(u64::from_le_bytes(self.part(at, 8)?.try_into()?))
    }

    /// A big-endian number, as code signatures have them on all processors.
    pub(super) fn be32(self, at: usize) -> Result<u32> {
        Ok(u32::from_be_bytes(self.part(at, 4)?.try_into()?))
    }

    pub(super) fn be64(self, at: usize) -> Result<u64> {
        Ok(u64::from_be_bytes(self.part(at, 8)?.try_into()?))
    }

    /// A big-endian number that is a place or a length.
    pub(super) fn place(self, at: usize) -> Result<usize> {
        Ok(usize::try_from(self.be32(at)?)?)
    }
}
