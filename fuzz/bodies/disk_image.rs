//! Any bytes as the beginning of a disk image.

use selfsame_machine::disk::overlay::Overlay;
use selfsame_machine::disk::qcow2::{Fault, Header};
use selfsame_machine::disk::{ImageKind, look};
use selfsame_machine::spec::DiskFormat;

/// Findings lie inside of what was read; what has none says so of itself; an overlay over any image is one of ours.
pub(crate) fn check(data: &[u8]) {
    let kind = look(data);
    let length = data.len() as u64;
    let (header, findings) = Header::read(data, length);
    assert!(findings.windows(2).all(|pair| pair[0].offset <= pair[1].offset));
    assert!(
        findings.iter().all(|finding| finding.offset <= data.len() && !finding.fault.to_string().is_empty())
    );
    assert!(header.is_some() || !findings.is_empty(), "nothing is said of what cannot be read");
    let Some(header) = header else { return };
    if findings.is_empty() {
        assert!(matches!(header.version, 2 | 3) && (9..=21).contains(&header.cluster_bits));
        assert!(header.virtual_size > 0 && header.backing_name.is_none());
        assert!(kind == ImageKind::Qcow2 || !data.starts_with(b"QFI"));
    }
    if let Ok(overlay) = Overlay::over("base", DiskFormat::Qcow2, header.virtual_size) {
        let (over, findings) = Header::read(&overlay.head, overlay.length);
        assert!(over.is_some_and(|over| over.virtual_size >= header.virtual_size));
        assert!(findings.iter().all(|finding| finding.fault == Fault::BackingFile));
    }
}
