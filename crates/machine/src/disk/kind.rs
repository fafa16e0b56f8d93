//! What a file is, by its first bytes.

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// Nothing known begins like this: a disk, byte for byte.
    Raw,
    /// QEMU's format, in a version that is to be read by [`super::qcow2`].
    Qcow2,
    /// Something else that no guest could use as its disk.
    Foreign(&'static str),
}

/// How files begin that are often taken for disks: offset, bytes, what it is.
///
/// From the formats' own documents and `file`'s table; a VDI's signature stands behind 64 bytes of text.
const FOREIGN: [(usize, &[u8], &str); 12] = [
    (0, b"\xfd7zXZ\0", "compressed by xz: unpack it first"),
    (0, b"\x1f\x8b\x08", "compressed by gzip: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it first"),
    (0, b"BZh", "compressed by bzip2: unpack it first"),
    (0, b"PK\x03\x04", "a zip archive: unpack it first"),
    (0, b"KDMV", "VMware's format VMDK"),
    (0, b"# Disk DescriptorFile", "the description of a VMDK"),
    (0, b"vhdxfile", "Microsoft's format VHDX"),
    (0, b"conectix", "Microsoft's format VHD"),
    (64, b"\x7f\x10\xda\xbe", "VirtualBox's format VDI"),
    (0, b"QED\0", "QEMU's old format QED"),
    (0, b"#cloud-config", "user data, and no image"),
];

/// Says what a file is that begins so.
#[must_use]
pub fn look(head: &[u8]) -> ImageKind {
    if head.starts_with(super::qcow2::MAGIC) {
        return ImageKind::Qcow2;
    }
    let begins = |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    if let Some((.., what)) = FOREIGN.iter().find(|(at, bytes, _)| begins(*at, bytes)) {
        return ImageKind::Foreign(what);
    }
    let text = head.trim_ascii_start().get(..5).unwrap_or_default();
    if text.eq_ignore_ascii_case(b"<!doc") || text.eq_ignore_ascii_case(b"<html") {
        return ImageKind::Foreign("a web page, and no image");
    }
    ImageKind::Raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_how_they_begin() {
        assert_eq!(look(b""), ImageKind::Raw);
        assert_eq!(look(&[0; 512]), ImageKind::Raw);
        assert_eq!(look(b"QFI\xfb\0\0\0\x01"), ImageKind::Qcow2);
        assert_eq!(look(b"  <!DOCTYPE html>"), ImageKind::Foreign("a web page, and no image"));
        assert!(matches!(look(b"\xfd7zXZ\0\0"), ImageKind::Foreign(what) if what.contains("xz")));
        let mut vdi = vec![b'<'; 64];
        vdi.extend(b"\x7f\x10\xda\xbe");
        assert!(matches!(look(&vdi), ImageKind::Foreign(what) if what.contains("VDI")));
    }
}
