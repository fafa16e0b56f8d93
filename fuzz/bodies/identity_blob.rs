//! Any bytes as a machine identifier.

use selfsame_machine::identity::{Blob, Identity, Severity, Shown};

/// The bytes are kept, findings lie within them, and there is an identity exactly when no finding is an error.
pub(crate) fn check(data: &[u8]) {
    let blob = Blob::read(data);
    assert_eq!(blob.raw, data);
    assert!(blob.findings.iter().all(|finding| finding.offset <= data.len() && !finding.message.is_empty()));
    let failed = blob.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(blob.identity.is_none(), failed);
    let Some(identity) = blob.identity else {
        assert!(blob.require().is_err());
        return;
    };

    let canonical = identity.to_bytes();
    assert!([60, 68, 70].contains(&canonical.len()));
    assert_eq!(blob.findings.is_empty(), canonical == data, "silence means the framework's own bytes");
    let again = Blob::read(&canonical);
    assert_eq!((again.identity, again.findings.len()), (Some(identity), 0));
    assert_eq!(identity.canonical().parse::<Identity>().ok(), Some(identity));

    let shown = serde_json::to_value(Shown::new(&identity, Some(data), blob.findings)).ok();
    let fields = shown.as_ref().and_then(serde_json::Value::as_object).map_or(0, serde_json::Map::len);
    assert_eq!(fields, 15);
}
