//! Writes the "new ASCII" cpio archive that a Linux kernel unpacks as its initial file system.
//!
//! The format is described in the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`: per entry a
//! header of a magic and 13 numbers of 8 hexadecimal digits, the name with a closing NUL, and the content, both padded
//! to 4 bytes; at the end an entry named `TRAILER!!!`. Owner, time and device are all zero here, so equal content makes
//! an equal archive.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;

/// An archive being written. Folders come before what is in them.
pub(crate) struct Archive<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    /// Begins an archive.
    pub(crate) const fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// Adds a folder that all may read.
    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY | 0o755, &[], (0, 0))
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(name, REGULAR | permissions, content, (0, 0))
    }

    /// Adds a character device, by its major and minor number.
    pub(crate) fn device(&mut self, name: &str, permissions: u32, number: (u32, u32)) -> io::Result<()> {
        self.entry(name, CHARACTER | permissions, &[], number)
    }

    /// Ends the archive and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[], (0, 0))?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8], device: (u32, u32)) -> io::Result<()> {
        self.entries += 1;
        let too_long =
            |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is too long for cpio"));
        let size = u32::try_from(content.len()).map_err(too_long)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        let inode = self.entries;
        let numbers = [inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        let mut header = String::from("070701");
        for number in numbers {
            header.push_str(&format!("{number:08x}"));
        }
        self.padded(&[header.as_bytes(), name.as_bytes(), b"\0"].concat())?;
        self.padded(content)
    }

    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.out.write_all(b"\0\0\0".get(..padding).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_laid_out_as_the_kernel_describes() {
        let mut archive = Archive::new(Vec::new());
        archive.file("init", 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let expected = concat!(
            "070701000000010000",
            "81ed00000000000000000000000100000000",
            "00000005",
            "00000000000000000000000000000000",
            "00000005",
            "00000000",
            "init\0\0",
            "hello\0\0\0",
            "07070100000002",
        );
        assert_eq!(String::from_utf8_lossy(&bytes[..expected.len()]), expected);
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn devices_carry_their_numbers_and_folders_their_mode() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("dev").unwrap();
        archive.device("dev/console", 0o600, (5, 1)).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(&bytes[14..22], b"000041ed");
        // 110 bytes of header and "dev\0" make 114, padded to 116.
        let console = &bytes[116..];
        assert_eq!(&console[14..22], b"00002180");
        assert_eq!(&console[78..94], b"0000000500000001");
    }
}
