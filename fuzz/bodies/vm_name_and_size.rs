//! Any bytes as a VM's name and as a size.

use std::path::{Component, Path};

use selfsame_machine::identity::parse_prefixed;
use selfsame_machine::name::VmName;
use selfsame_machine::problem::Report;
use selfsame_machine::size::Bytes;

/// A name is one visible path component that is no identity; a size reads back; refusals are one short line.
pub(crate) fn check(data: &[u8]) {
    match VmName::from_bytes(data) {
        Ok(name) => {
            assert_eq!(name.as_str().as_bytes(), data);
            let components: Vec<_> = Path::new(name.as_str()).components().collect();
            assert_eq!(components, [Component::Normal(name.as_str().as_ref())]);
            assert!(!name.as_str().starts_with(['-', '.']) && data.len() <= 200);
            assert!(!name.as_str().contains(char::is_control));
            assert!(parse_prefixed(name.as_str()).is_none());
        }
        Err(error) => {
            assert!(error.offset <= data.len());
            let message = Report::from(error).message;
            assert!(message.len() < 1500 && !message.contains(char::is_control));
        }
    }

    let text = String::from_utf8_lossy(data);
    match text.parse::<Bytes>() {
        Ok(size) => {
            assert_eq!(size.to_string().parse::<Bytes>().ok(), Some(size));
            let json = serde_json::to_string(&size).unwrap_or_default();
            assert_eq!(serde_json::from_str::<Bytes>(&json).ok(), Some(size));
        }
        Err(error) => {
            let message = Report::from(error).message;
            assert!(message.len() < 2500 && !message.contains(char::is_control));
        }
    }
}
