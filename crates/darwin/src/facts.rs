//! The values of `sysctl`: text and numbers.

use crate::bytes::{array, before_nul};

/// A value that is text: what stands before its NUL, without white space around it. `None` when nothing is left or it is
/// no UTF-8.
#[must_use]
pub fn text(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(before_nul(value)).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A value that is a number, of 4 or of 8 bytes; `None` for any other length.
#[must_use]
pub fn number(value: &[u8]) -> Option<i64> {
    match value.len() {
        4 => array(value, 0).map(|bytes| i64::from(i32::from_le_bytes(bytes))),
        8 => array(value, 0).map(i64::from_le_bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_ends_at_its_nul() {
        assert_eq!(text(b"25A354\0").as_deref(), Some("25A354"));
        assert_eq!(text(b"VirtualMac2,1").as_deref(), Some("VirtualMac2,1"));
        assert_eq!(text(b"\0rest"), None);
        assert_eq!(text(b""), None);
        assert_eq!(text(b"\xff\0"), None);
    }

    #[test]
    fn numbers_have_four_or_eight_bytes() {
        assert_eq!(number(&1_i32.to_le_bytes()), Some(1));
        assert_eq!(number(&(-1_i32).to_le_bytes()), Some(-1));
        assert_eq!(number(&(1_i64 << 40).to_le_bytes()), Some(1 << 40));
        assert_eq!(number(&[1, 0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(text(&bytes).is_none_or(|text| !text.contains('\0')));
            prop_assert_eq!(number(&bytes).is_some(), matches!(bytes.len(), 4 | 8));
        }
    }
}
