//! What a reader noticed in a blob.

use std::fmt;

use serde::{Serialize, Serializer};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; the framework would read the data the same.
    Note,
    /// Readable here, but the framework may refuse it.
    Warning,
    /// The data cannot be used.
    Error,
}

macro_rules! finding_codes {
    ($($variant:ident $text:literal, $doc:literal;)+) => {
        /// What a finding is about: stable text that programs may match on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingCode {
            $(#[doc = $doc] $variant,)+
        }

        impl FindingCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable text, for example `plist.truncated`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

finding_codes! {
    Empty "plist.empty", "There are no bytes.";
    TooLarge "plist.too_large", "More bytes than such data can have.";
    NotPropertyList "plist.unknown_form", "Neither a binary nor an XML property list.";
    Truncated "plist.truncated", "The data ends too early.";
    Trailing "plist.trailing", "Bytes follow the property list.";
    Malformed "plist.malformed", "The property list breaks its own format.";
    TooDeep "plist.too_deep", "More structure than such data can have.";
    NotDictionary "plist.not_dictionary", "The top object is no dictionary.";
    DuplicateKey "plist.duplicate_key", "A key stands twice.";
    UnknownKey "plist.unknown_key", "A key that is not known.";
    NotCanonical "plist.not_canonical", "The framework would have written other bytes.";
    MissingKey "plist.missing_key", "A key that must be there is not.";
    WrongType "plist.wrong_type", "A value is of another type than it must be.";
    OutOfRange "plist.out_of_range", "A number is too large or too small.";
    Ambiguous "identifier.ambiguous", "Both an ECID and a UUID.";
    Negative "identifier.negative_ecid", "The ECID was written as a negative number.";
    UuidLength "identifier.uuid_length", "The UUID has not 16 bytes.";
    UuidReserved "identifier.uuid_reserved", "The UUID means \"not set\".";
}

impl fmt::Display for FindingCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text())
    }
}

impl Serialize for FindingCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// One thing that a reader noticed, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The byte it is about, never beyond the end of the input.
    pub offset: usize,
    /// What it is about.
    pub code: FindingCode,
    /// How much it matters.
    pub severity: Severity,
    /// One line for people, without a full stop.
    pub message: String,
}

impl Finding {
    pub(super) fn note(offset: usize, code: FindingCode, message: impl Into<String>) -> Self {
        Self { offset, code, severity: Severity::Note, message: message.into() }
    }

    pub(super) fn warning(offset: usize, code: FindingCode, message: impl Into<String>) -> Self {
        Self { offset, code, severity: Severity::Warning, message: message.into() }
    }

    pub(super) fn error(offset: usize, code: FindingCode, message: impl Into<String>) -> Self {
        Self { offset, code, severity: Severity::Error, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_four_fields_in_json() {
        let finding = Finding::note(3, FindingCode::NotCanonical, "x");
        assert_eq!(
            serde_json::to_string(&finding).unwrap(),
            r#"{"offset":3,"code":"plist.not_canonical","severity":"note","message":"x"}"#
        );
    }

    #[test]
    fn codes_stand_once() {
        let mut texts: Vec<_> = FindingCode::ALL.iter().map(|code| code.text()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), FindingCode::ALL.len());
    }
}
