//! An empty overlay: a qcow2 image of version 3 that holds nothing yet and reads all from a backing file.
//!
//! ```text
//! cluster 0   header, the backing file's format, its name
//! cluster 1   the table of reference counts: one entry, the block in cluster 2
//! cluster 2   reference counts of 16 bits, 1 for each cluster here
//! cluster 3…  the table of the first level, all zero: nothing is allocated
//! ```
//!
//! The format of the backing file is always written: QEMU would otherwise guess it from what a guest may have written
//! (`docs/interop/qcow2.rst`, "Backing file format name"; from 6.1 on QEMU refuses to make one without).

use super::qcow2::{MAGIC, MAX_L1_BYTES};
use crate::spec::DiskFormat;

/// Clusters of 64 KiB, as `qemu-img` makes them.
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// What one entry of the first level covers: 512 MiB.
const COVERED: u64 = CLUSTER * (CLUSTER / 8);
/// The header extension that names the backing file's format.
const BACKING_FORMAT: u32 = 0xE279_2ACA;
/// QEMU's limit for a name.
const MAX_NAME: usize = 1023;

/// The bytes of an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// How the file begins.
    pub head: Vec<u8>,
    /// How long the whole file is; what follows `head` is zero.
    pub length: u64,
}

/// Why there can be no such overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// The name is empty or too long.
    #[error("a backing file's name has 1 to {MAX_NAME} bytes, not {length}")]
    Name {
        /// Its length.
        length: usize,
    },
    /// No such disk can be.
    #[error("a disk of {size} bytes cannot be an overlay's")]
    Size {
        /// The size.
        size: u64,
    },
}

impl Overlay {
    /// An overlay over `backing`, whose format is `format`, for a disk of `size` bytes. A relative name is meant from
    /// the overlay's folder.
    ///
    /// # Errors
    /// When the name or the size cannot be written.
    pub fn over(backing: &str, format: DiskFormat, size: u64) -> Result<Self, OverlayError> {
        if backing.is_empty() || backing.len() > MAX_NAME {
            return Err(OverlayError::Name { length: backing.len() });
        }
        // QEMU counts disks in sectors and rounds a file's length up.
        let entries = size.div_ceil(COVERED);
        let Some(size) =
            size.checked_next_multiple_of(512).filter(|_| (1..=MAX_L1_BYTES / 8).contains(&entries))
        else {
            return Err(OverlayError::Size { size });
        };
        let l1_clusters = (entries * 8).div_ceil(CLUSTER);
        let clusters = 3 + l1_clusters;
        let mut head = Vec::with_capacity(3 << CLUSTER_BITS);
        let mut number = |bytes: &[u8]| head.extend_from_slice(bytes);
        number(MAGIC);
        number(&3_u32.to_be_bytes());
        let format = format.text().as_bytes();
        // The header, one extension with its text padded to 8 bytes, the end of extensions.
        let name_at = 104 + 8 + format.len().next_multiple_of(8) + 8;
        number(&(name_at as u64).to_be_bytes());
        number(&u32::try_from(backing.len()).unwrap_or_default().to_be_bytes());
        number(&CLUSTER_BITS.to_be_bytes());
        number(&size.to_be_bytes());
        number(&0_u32.to_be_bytes());
        number(&u32::try_from(entries).unwrap_or_default().to_be_bytes());
        number(&(3 * CLUSTER).to_be_bytes());
        number(&CLUSTER.to_be_bytes());
        number(&1_u32.to_be_bytes());
        // No snapshots, no features.
        number(&[0; 4 + 8 + 8 + 8 + 8]);
        // Counts of 2^4 bits, a header of 104 bytes.
        number(&4_u32.to_be_bytes());
        number(&104_u32.to_be_bytes());
        number(&BACKING_FORMAT.to_be_bytes());
        number(&u32::try_from(format.len()).unwrap_or_default().to_be_bytes());
        number(format);
        number(&[0; 8][..format.len().next_multiple_of(8) - format.len()]);
        number(&[0; 8]);
        number(backing.as_bytes());
        head.resize(1 << CLUSTER_BITS, 0);
        head.extend_from_slice(&(2 * CLUSTER).to_be_bytes());
        head.resize(2 << CLUSTER_BITS, 0);
        for _ in 0..clusters {
            head.extend_from_slice(&1_u16.to_be_bytes());
        }
        Ok(Self { head, length: clusters * CLUSTER })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::qcow2::{Fault, Header};

    proptest! {
        #[test]
        fn our_own_reader_finds_nothing_but_the_backing_file(
            name in "[ -~]{1,200}",
            qcow2: bool,
            size in 1_u64..(1 << 50),
        ) {
            let format = if qcow2 { DiskFormat::Qcow2 } else { DiskFormat::Raw };
            let overlay = Overlay::over(&name, format, size).unwrap();
            let (header, findings) = Header::read(&overlay.head, overlay.length);
            prop_assert_eq!(findings.iter().map(|finding| finding.fault).collect::<Vec<_>>(), [Fault::BackingFile]);
            let header = header.unwrap();
            prop_assert_eq!(header.virtual_size, size.next_multiple_of(512));
            let (at, length) = header.backing_name.unwrap();
            let at = usize::try_from(at).unwrap();
            prop_assert_eq!(&overlay.head[at..at + usize::try_from(length).unwrap()], name.as_bytes());
        }
    }

    #[test]
    fn what_qemu_would_not_open_is_not_written() {
        let over = |name: &str, size| Overlay::over(name, DiskFormat::Raw, size).map(drop);
        assert_eq!(over("", 512), Err(OverlayError::Name { length: 0 }));
        assert_eq!(over(&"x".repeat(1024), 512), Err(OverlayError::Name { length: 1024 }));
        assert_eq!(over("x", 0), Err(OverlayError::Size { size: 0 }));
        for size in [u64::MAX, COVERED * (MAX_L1_BYTES / 8) + 1] {
            assert_eq!(over("x", size), Err(OverlayError::Size { size }));
        }
        assert_eq!(over("x", COVERED * (MAX_L1_BYTES / 8)), Ok(()));
    }
}
