//! Any bytes as a file of public keys, as a seed's volume, and as a name in a seed.

use selfsame_machine::seed::{PublicKeys, Volume, check_user, host_name};

/// A key is one line of plain text and reads back; a volume that is read is written the same.
pub(crate) fn check(data: &[u8]) {
    if let Ok(PublicKeys(keys)) = PublicKeys::read(data) {
        assert!(!keys.is_empty());
        for key in &keys {
            assert!(!key.chars().any(|c| c == '\n' || c == '\r'));
            assert_eq!(PublicKeys::read(key.as_bytes()), Ok(PublicKeys(vec![key.clone()])));
        }
    }
    if let Some(volume) = Volume::read(data) {
        assert_eq!(volume.write().as_deref(), Ok(data));
    }
    let text = String::from_utf8_lossy(data);
    let host = host_name(&text);
    assert!((1..=63).contains(&host.len()) && !host.starts_with('-') && !host.ends_with('-'));
    if check_user(&text).is_ok() {
        assert!(text.is_ascii() && !text.contains([' ', ':', '\n', '/']));
    }
}
