//! The header of a qcow2 image, read strictly.
//!
//! The format is QEMU's `docs/interop/qcow2.rst` (7.2 to 10.0); the limits are those of its `block/qcow2.h`. All numbers
//! are big-endian. Reading never fails: what can be told is in [`Header`], what is wrong is a [`Finding`] with the offset
//! of the field. An image without findings is opened by QEMU, and its content is in its own file alone.

use std::fmt;

/// The first four bytes.
pub const MAGIC: &[u8; 4] = b"QFI\xfb";
/// QEMU's limit for the table of the first level (`QCOW_MAX_L1_SIZE`).
pub const MAX_L1_BYTES: u64 = 32 << 20;
/// QEMU's limit for the table of reference counts (`QCOW_MAX_REFTABLE_SIZE`).
const MAX_REFCOUNT_TABLE: u64 = 8 << 20;
/// QEMU's limit for a backing file's name.
const MAX_NAME: u32 = 1023;
/// Clusters of 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;

/// What a header says of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// How large the disk is that the guest sees, in bytes.
    pub virtual_size: u64,
    /// The size of a cluster, as a power of two.
    pub cluster_bits: u32,
    /// Internal snapshots.
    pub snapshots: u32,
    /// Where the name of its backing file stands, and how long it is.
    pub backing_name: Option<(u64, u32)>,
}

/// Something that keeps an image from being used, and the offset of the field that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The offset in the file.
    pub offset: usize,
    /// What it is.
    pub fault: Fault,
}

/// What is wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends before its header does.
    Truncated,
    /// A version that is neither 2 nor 3.
    Version(u32),
    /// Clusters of an impossible size.
    ClusterBits(u32),
    /// A header shorter than its version's, or longer than a cluster.
    HeaderLength(u32),
    /// Its content is partly in another file.
    BackingFile,
    /// All its content is in another file.
    ExternalData,
    /// It is encrypted.
    Encrypted,
    /// It was not closed as it should be: its reference counts may be wrong.
    Dirty,
    /// QEMU marked it as corrupt.
    Corrupt,
    /// It needs what no known version of QEMU has.
    UnknownFeatures(u64),
    /// The disk's size is none, or above 2^63.
    VirtualSize(u64),
    /// A table larger than QEMU loads.
    HugeTable(u64),
    /// A table that is too small for the disk's size.
    ShortTable(u64),
    /// A table that does not lie on a cluster's boundary inside the file.
    Misplaced(u64),
    /// More snapshots than QEMU loads.
    Snapshots(u32),
    /// Reference counts wider than 64 bits.
    RefcountOrder(u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(formatter, "the file ends before its header does"),
            Self::Version(version) => write!(formatter, "version {version} of the format is not known"),
            Self::ClusterBits(bits) => write!(formatter, "clusters of 2^{bits} bytes are not possible"),
            Self::HeaderLength(length) => write!(formatter, "a header of {length} bytes is not possible"),
            Self::BackingFile => write!(formatter, "it has a backing file, which a copy would share"),
            Self::ExternalData => {
                write!(formatter, "it keeps its data in another file, which a copy would share")
            }
            Self::Encrypted => write!(formatter, "it is encrypted"),
            Self::Dirty => write!(formatter, "it was not closed, or is being written"),
            Self::Corrupt => write!(formatter, "it is marked as corrupt"),
            Self::UnknownFeatures(bits) => write!(formatter, "it needs unknown features ({bits:#x})"),
            Self::VirtualSize(size) => write!(formatter, "a disk of {size} bytes is not possible"),
            Self::HugeTable(size) => write!(formatter, "a table of {size} bytes is larger than QEMU loads"),
            Self::ShortTable(entries) => {
                write!(formatter, "a table of {entries} entries is too small for the disk")
            }
            Self::Misplaced(offset) => {
                write!(formatter, "a table at byte {offset} is not on a cluster's boundary in the file")
            }
            Self::Snapshots(count) => write!(formatter, "{count} snapshots are more than QEMU loads"),
            Self::RefcountOrder(order) => {
                write!(formatter, "reference counts of 2^{order} bits are not possible")
            }
        }
    }
}

/// The beginning of a file, read field by field.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&self, offset: usize) -> Option<u32> {
        let bytes = self.0.get(offset..offset.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    fn u64(&self, offset: usize) -> Option<u64> {
        let bytes = self.0.get(offset..offset.checked_add(8)?)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Header {
    /// Reads a header from the beginning of a file that is `length` bytes long. No header without a known version and
    /// a possible size of clusters.
    #[must_use]
    pub fn read(head: &[u8], length: u64) -> (Option<Self>, Vec<Finding>) {
        let mut findings = Vec::new();
        let header = read(&Fields(head), length, &mut findings);
        if header.is_none() && findings.is_empty() {
            findings.push(Finding { offset: head.len(), fault: Fault::Truncated });
        }
        findings.sort_by_key(|finding| finding.offset);
        (header, findings)
    }
}

/// `None` where the bytes end.
fn read(fields: &Fields<'_>, length: u64, findings: &mut Vec<Finding>) -> Option<Header> {
    let mut found = |offset, fault| findings.push(Finding { offset, fault });
    let version = fields.u32(4)?;
    if !(2..=3).contains(&version) {
        found(4, Fault::Version(version));
        return None;
    }
    let cluster_bits = fields.u32(20)?;
    if !CLUSTER_BITS.contains(&cluster_bits) {
        found(20, Fault::ClusterBits(cluster_bits));
        return None;
    }
    let cluster = 1_u64 << cluster_bits;
    let (backing_offset, backing_size) = (fields.u64(8)?, fields.u32(16)?);
    let backing_name = (backing_offset != 0).then_some((backing_offset, backing_size));
    if backing_name.is_some() {
        found(8, Fault::BackingFile);
        let end = backing_offset.saturating_add(u64::from(backing_size));
        if backing_size > MAX_NAME || end > cluster || end > length {
            found(16, Fault::Misplaced(backing_offset));
        }
    }
    let virtual_size = fields.u64(24)?;
    if virtual_size == 0 || virtual_size > i64::MAX.unsigned_abs() {
        found(24, Fault::VirtualSize(virtual_size));
    }
    if fields.u32(32)? != 0 {
        found(32, Fault::Encrypted);
    }
    let mut entry = 8;
    if version == 3 {
        let features = fields.u64(72)?;
        let bits = [(0, Fault::Dirty), (1, Fault::Corrupt), (2, Fault::ExternalData)];
        for (_, fault) in bits.into_iter().filter(|(bit, _)| features & (1 << bit) != 0) {
            found(72, fault);
        }
        // 3 is another way of compression, 4 are longer entries of the second level.
        if features >> 5 != 0 {
            found(72, Fault::UnknownFeatures(features >> 5 << 5));
        }
        if features & (1 << 4) != 0 {
            entry = 16;
        }
        let order = fields.u32(96)?;
        if order > 6 {
            found(96, Fault::RefcountOrder(order));
        }
        let header_length = fields.u32(100)?;
        if header_length < 104 || u64::from(header_length) > cluster || header_length % 8 != 0 {
            found(100, Fault::HeaderLength(header_length));
        }
    }
    let mut table = |size_at: usize, bytes: u64, limit: u64, offset_at: usize, offset: u64| {
        if bytes > limit {
            found(size_at, Fault::HugeTable(bytes));
        }
        let ends_inside = offset.checked_add(bytes).is_some_and(|end| end <= length);
        if bytes != 0 && (offset == 0 || !offset.is_multiple_of(cluster) || !ends_inside) {
            found(offset_at, Fault::Misplaced(offset));
        }
    };
    let entries = u64::from(fields.u32(36)?);
    table(36, entries * 8, MAX_L1_BYTES, 40, fields.u64(40)?);
    let refcount_bytes = u64::from(fields.u32(56)?).saturating_mul(cluster);
    table(56, refcount_bytes, MAX_REFCOUNT_TABLE, 48, fields.u64(48)?);
    let covered = cluster.saturating_mul(cluster / entry);
    if entries < virtual_size.div_ceil(covered) {
        found(36, Fault::ShortTable(entries));
    }
    if refcount_bytes == 0 {
        found(56, Fault::ShortTable(0));
    }
    let snapshots = fields.u32(60)?;
    if snapshots > 65_536 {
        found(60, Fault::Snapshots(snapshots));
    }
    Some(Header { version, virtual_size, cluster_bits, snapshots, backing_name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::overlay::Overlay;
    use crate::spec::DiskFormat;

    /// An image of 1 GiB without a backing file.
    fn image() -> Vec<u8> {
        let overlay = Overlay::over("base", DiskFormat::Raw, 1 << 30).unwrap();
        let mut bytes = overlay.head;
        bytes[8..20].fill(0);
        bytes.resize(usize::try_from(overlay.length).unwrap(), 0);
        bytes
    }

    fn faults(change: impl FnOnce(&mut Vec<u8>)) -> Vec<(usize, Fault)> {
        let mut bytes = image();
        change(&mut bytes);
        let (_, findings) = Header::read(&bytes, bytes.len() as u64);
        findings.into_iter().map(|finding| (finding.offset, finding.fault)).collect()
    }

    #[test]
    fn a_whole_image_has_no_findings() {
        let (header, findings) = Header::read(&image(), 1 << 20);
        assert_eq!(findings, []);
        let header = header.unwrap();
        assert_eq!((header.version, header.virtual_size, header.cluster_bits), (3, 1 << 30, 16));
        assert_eq!(header.backing_name, None);
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        let put = |at: usize, bytes: &'static [u8]| {
            faults(move |image| image[at..at + bytes.len()].copy_from_slice(bytes))
        };
        assert_eq!(put(4, b"\0\0\0\x01"), [(4, Fault::Version(1))]);
        assert_eq!(put(20, b"\0\0\0\x40"), [(20, Fault::ClusterBits(64))]);
        assert_eq!(put(8, b"\0\0\0\0\0\0\x01\0\0\0\0\x04"), [(8, Fault::BackingFile)]);
        assert_eq!(
            put(8, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            [(8, Fault::BackingFile), (16, Fault::Misplaced(u64::MAX))]
        );
        assert_eq!(put(24, &[0; 8]), [(24, Fault::VirtualSize(0))]);
        assert_eq!(put(32, b"\0\0\0\x02"), [(32, Fault::Encrypted)]);
        assert_eq!(put(79, b"\x01"), [(72, Fault::Dirty)]);
        assert_eq!(put(79, b"\x02"), [(72, Fault::Corrupt)]);
        assert_eq!(put(79, b"\x04"), [(72, Fault::ExternalData)]);
        assert_eq!(put(72, b"\x80"), [(72, Fault::UnknownFeatures(1 << 63))]);
        assert_eq!(put(36, &[0; 4]), [(36, Fault::ShortTable(0))]);
        assert_eq!(
            put(36, &[0xff; 4]),
            [(36, Fault::HugeTable(0x7_ffff_fff8)), (40, Fault::Misplaced(3 << 16))]
        );
        assert_eq!(put(47, b"\x08"), [(40, Fault::Misplaced((3 << 16) + 8))]);
        assert_eq!(put(96, b"\0\0\0\x07"), [(96, Fault::RefcountOrder(7))]);
        assert_eq!(put(100, b"\0\0\0\x01"), [(100, Fault::HeaderLength(1))]);
        assert_eq!(put(60, b"\0\x02\0\0"), [(60, Fault::Snapshots(0x2_0000))]);
    }

    #[test]
    fn every_truncation_is_found() {
        let whole = image();
        for end in 0..104 {
            let (header, findings) = Header::read(&whole[..end], end as u64);
            assert!(header.is_none() || !findings.is_empty(), "{end}");
            assert!(findings.iter().all(|finding| finding.offset <= end), "{end}: {findings:?}");
        }
    }
}
