//! Any text as an argument that names an identity.

use selfsame_machine::identity::{Digest, Identity, MacAddress, PREFIXES, parse_base64, parse_prefixed};
use selfsame_machine::problem::Report;

/// A prefix decides; an answer reads back; a refusal is one short line and says what to do.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let prefixed = PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    match parse_prefixed(&text) {
        Some(Ok(identity)) => {
            assert!(prefixed);
            assert_eq!(identity.canonical().parse::<Identity>().ok(), Some(identity));
            assert_eq!(identity.digest().to_string().parse::<Digest>().ok(), Some(identity.digest()));
            let address = MacAddress::from_digest(&identity.digest());
            assert!(address.is_unicast() && address.is_locally_administered());
        }
        Some(Err(error)) => {
            assert!(prefixed);
            let report = Report::from(error);
            assert!(report.message.len() < 1500 && !report.message.contains('\n'));
            assert!(!report.hints.is_empty());
        }
        None => assert!(!prefixed),
    }
    if let Some(blob) = parse_base64(&text) {
        assert!(!prefixed);
        assert!(blob.findings.iter().all(|finding| finding.offset <= blob.raw.len()));
    }
    if let Ok(address) = text.parse::<MacAddress>() {
        assert_eq!(address.to_string(), text.to_lowercase());
        assert!(address.is_unicast());
    }
}
