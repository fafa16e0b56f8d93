//! Amounts of memory and disk.

use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::Code;
use crate::problem::{Hint, Problem};
use crate::quote::quoted;

/// A number of bytes.
///
/// Programs get the plain number; people get [`Display`](fmt::Display), and files that people edit get it too, through
/// [`Bytes::serialize_text`]. Both are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(u64);

/// Units from the largest, with their short names. All are powers of 1024: guests' memory comes in no others, and one
/// letter that means two things would be a trap.
const UNITS: [(u64, &str, &str); 4] =
    [(1 << 40, "TiB", "T"), (1 << 30, "GiB", "G"), (1 << 20, "MiB", "M"), (1 << 10, "KiB", "K")];

impl Bytes {
    /// So many bytes.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// So many MiB, at most 2^64 - 1 bytes.
    #[must_use]
    pub const fn mebibytes(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// So many GiB, at most 2^64 - 1 bytes.
    #[must_use]
    pub const fn gibibytes(count: u64) -> Self {
        Self(count.saturating_mul(1 << 30))
    }

    /// The number of bytes.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.0
    }

    /// About how much it is, for people: a number below 1024 with its unit, and one digit behind the point below 10.
    #[must_use]
    pub fn rounded(self) -> String {
        let (mut unit, mut divisor) = ("B", 1u64);
        for (larger, size) in [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)] {
            if self.0 >= size {
                (unit, divisor) = (larger, size);
            }
        }
        let tenths = u128::from(self.0) * 10 / u128::from(divisor);
        if divisor > 1 && tenths < 100 {
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        } else {
            format!("{} {unit}", tenths / 10)
        }
    }

    /// Serialises the text that people read, for use as `#[serde(serialize_with = "Bytes::serialize_text")]`.
    ///
    /// # Errors
    ///
    /// Those of the serialiser.
    pub fn serialize_text<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a whole number with a unit.
    #[error("{} is no size: a whole number and KiB, MiB, GiB or TiB are, like 4GiB", quoted(text))]
    Form {
        /// The refused text.
        text: String,
    },
    /// A unit of powers of 1000, or none that exists.
    #[error(
        "{text:?} is no size: {unit:?} is none of the units KiB, MiB, GiB and TiB (or K, M, G, T for the same)"
    )]
    Unit {
        /// The refused text.
        text: String,
        /// What follows the number.
        unit: String,
    },
    /// 2^64 bytes or more.
    #[error("{} is too large: sizes end below 16777216TiB", quoted(text))]
    TooLarge {
        /// The refused text.
        text: String,
    },
}

impl Problem for SizeError {
    fn code(&self) -> Code {
        Code::SizeInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Unit { text, unit } => {
                let number = text.strip_suffix(unit.as_str()).unwrap_or_default();
                let letter = unit.get(..1).unwrap_or_default().to_ascii_uppercase();
                let near = UNITS.iter().find(|(_, _, short)| *short == letter);
                near.map(|(_, long, _)| Hint::say(format!("write {number}{long}"))).into_iter().collect()
            }
            Self::Form { .. } | Self::TooLarge { .. } => Vec::new(),
        }
    }
}

impl FromStr for Bytes {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let end = text.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, unit) = text.split_at(end);
        if digits.is_empty() || !unit.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(SizeError::Form { text: text.to_owned() });
        }
        let named = |name: &str| name.eq_ignore_ascii_case(unit);
        let scale = match UNITS.iter().find(|(_, long, short)| named(long) || named(short)) {
            Some((scale, ..)) => *scale,
            None if unit.is_empty() => 1,
            None => return Err(SizeError::Unit { text: text.to_owned(), unit: unit.to_owned() }),
        };
        let count = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
        count.map(Self).ok_or_else(|| SizeError::TooLarge { text: text.to_owned() })
    }
}

/// In the largest unit that needs no fraction: `4GiB`, `1536MiB`, `1000`.
impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(scale, ..)| self.0 != 0 && self.0.is_multiple_of(*scale));
        match exact {
            Some((scale, long, _)) => formatter.pad(&format!("{}{long}", self.0 / scale)),
            None => formatter.pad(&self.0.to_string()),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a size such as \"4GiB\", or a number of bytes")
            }

            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Bytes, E> {
                Ok(Bytes(count))
            }

            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Bytes, E> {
                u64::try_from(count).map(Bytes).map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, count, shown) in [
            ("0", 0, "0"),
            ("1000", 1000, "1000"),
            ("4GiB", 4 << 30, "4GiB"),
            ("512MiB", 512 << 20, "512MiB"),
            ("64G", 64 << 30, "64GiB"),
            ("64g", 64 << 30, "64GiB"),
            ("2048K", 2 << 20, "2MiB"),
            ("1T", 1 << 40, "1TiB"),
            ("1536mib", 1536 << 20, "1536MiB"),
            ("18446744073709551615", u64::MAX, "18446744073709551615"),
        ] {
            let size: Bytes = text.parse().unwrap();
            assert_eq!((size.count(), size.to_string().as_str()), (count, shown), "{text}");
        }
        assert_eq!((Bytes::gibibytes(4), Bytes::mebibytes(3)), (Bytes::new(4 << 30), Bytes::new(3 << 20)));
    }

    #[test]
    fn refusals_say_why() {
        for text in ["", "GiB", "-1", "+1", "1.5GiB", "4 GiB", " 4", "0x10", "4é"] {
            let error = text.parse::<Bytes>().unwrap_err();
            let form = matches!(error, SizeError::Form { .. }) || text == "0x10";
            assert!(form, "{text}: {error}");
            assert_eq!(error.code(), Code::SizeInvalid);
        }
        for text in ["18446744073709551616", "16777216T", "99999999999999999999999"] {
            assert!(matches!(text.parse::<Bytes>(), Err(SizeError::TooLarge { .. })), "{text}");
        }
        let decimal = "64GB".parse::<Bytes>().unwrap_err();
        assert_eq!(decimal.hints()[0].text, "write 64GiB");
        assert!("1PiB".parse::<Bytes>().unwrap_err().hints().is_empty());
    }

    #[test]
    fn programs_get_numbers_and_files_get_text() {
        #[derive(Serialize, Deserialize)]
        struct Spec {
            #[serde(serialize_with = "Bytes::serialize_text")]
            memory: Bytes,
            disk: Bytes,
        }
        let spec: Spec = toml::from_str("memory = 1073741824\ndisk = \"64GiB\"").unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), r#"{"memory":"1GiB","disk":68719476736}"#);
        assert!(serde_json::from_str::<Bytes>("-1").is_err());
        assert!(serde_json::from_str::<Bytes>("\"-1\"").is_err());
        assert!(toml::from_str::<Spec>("memory = -1\ndisk = 0").is_err());
    }

    proptest! {
        #[test]
        fn every_size_reads_back(count: u64, shift in 0_u32..64) {
            let size = Bytes::new(count >> shift << shift);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn any_text_is_answered(text: String) {
            if let Err(error) = text.parse::<Bytes>() {
                error.hints();
            }
        }
    }

    #[test]
    fn rounded_sizes_are_short() {
        let rounded = |count| Bytes::new(count).rounded();
        assert_eq!(rounded(0), "0 B");
        assert_eq!(rounded(1023), "1023 B");
        assert_eq!(rounded(1024), "1.0 KiB");
        assert_eq!(rounded((10 << 20) - 1), "9.9 MiB");
        assert_eq!(rounded(700 << 20), "700 MiB");
        assert_eq!(rounded(u64::MAX), "16777215 TiB");
    }
}
