//! Checksum files, in the three forms that publishers use.
//!
//! ```text
//! GNU coreutils   0f3a…  name          or   0f3a… *name     (`sha256sum`, text and binary)
//! BSD             SHA256 (name) = 0f3a…                     (`sha256sum --tag`, `shasum`)
//! plain           0f3a…                                     (one hash, of the one file beside it)
//! ```
//!
//! Lines of other kinds are passed over: a clear-signed file has armour around its lines and comments between them. The
//! signature itself is not checked; what the file says is trusted as far as the connection that brought it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// No publisher's file is larger: Debian's has 10 KiB.
pub const LIMIT: usize = 1 << 20;

/// A hash of a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// SHA-256.
    Sha256(Box<[u8; 32]>),
    /// SHA-512.
    Sha512(Box<[u8; 64]>),
}

/// A text is no hash of 64 or 128 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 (SHA-256) or 128 (SHA-512) hexadecimal digits")]
pub struct NoChecksum;

impl FromStr for Checksum {
    type Err = NoChecksum;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.rsplit_once(':').map_or(text, |(_, digits)| digits);
        let bytes: Option<Vec<u8>> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                let pair = std::str::from_utf8(pair).ok().filter(|_| pair.iter().all(u8::is_ascii_hexdigit));
                pair.filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())
            })
            .collect();
        let bytes = bytes.ok_or(NoChecksum)?;
        let checksum = match bytes.len() {
            32 => bytes.try_into().map(|bytes| Self::Sha256(Box::new(bytes))).map_err(drop),
            64 => bytes.try_into().map(|bytes| Self::Sha512(Box::new(bytes))).map_err(drop),
            _ => Err(()),
        };
        let checksum: Self = checksum.map_err(|()| NoChecksum)?;
        let named = text.rsplit_once(':').map(|(name, _)| name);
        if named.is_none_or(|name| name.eq_ignore_ascii_case(checksum.algorithm())) {
            Ok(checksum)
        } else {
            Err(NoChecksum)
        }
    }
}

impl Checksum {
    /// `sha256` or `sha512`.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }
}

/// `sha256:0f3a…`, which is read as well.
impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha256(bytes) => bytes.as_slice(),
            Self::Sha512(bytes) => bytes.as_slice(),
        };
        write!(formatter, "{}:", self.algorithm())?;
        bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Serialize for Checksum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a checksum file does not tell a file's hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// It does not name the file.
    #[error("it has no line for `{file}` (it names {named} others)")]
    NoEntry {
        /// The file.
        file: String,
        /// How many files it names.
        named: usize,
    },
    /// It names the file twice, with different hashes of one kind.
    #[error("line {line} gives `{file}` another hash than a line before")]
    Conflict {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
}

/// Finds the hash of `file` in the text of a checksum file: the stronger one, where it has two.
///
/// # Errors
/// When it does not tell, or tells two things.
pub fn find(text: &str, file: &str) -> Result<Checksum, ChecksumError> {
    let mut found: Option<Checksum> = None;
    let mut named = 0;
    let mut lone = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (name, checksum) = match entry(line.trim_end()) {
            Some(Entry::Of(name, checksum)) => (name, checksum),
            Some(Entry::Lone(checksum)) => {
                lone.push(checksum);
                continue;
            }
            None => continue,
        };
        named += 1;
        if name.strip_prefix("./").unwrap_or(name) != file {
            continue;
        }
        found = match found {
            Some(before) if before.algorithm() == checksum.algorithm() => {
                if before != checksum {
                    return Err(ChecksumError::Conflict { file: file.to_owned(), line: index + 1 });
                }
                Some(before)
            }
            Some(before @ Checksum::Sha512(_)) => Some(before),
            Some(Checksum::Sha256(_)) | None => Some(checksum),
        };
    }
    // A hash alone is that of the file beside it only where it is all that the file says.
    match (found, lone.pop()) {
        (Some(checksum), _) => Ok(checksum),
        (None, Some(checksum)) if named == 0 && lone.is_empty() => Ok(checksum),
        (None, _) => Err(ChecksumError::NoEntry { file: file.to_owned(), named }),
    }
}

enum Entry<'a> {
    Of(&'a str, Checksum),
    Lone(Checksum),
}

fn entry(line: &str) -> Option<Entry<'_>> {
    if let Some((algorithm, rest)) = line.split_once(" (") {
        // The last `) = `: a name may hold anything.
        let (name, digits) = rest.rsplit_once(") = ")?;
        let checksum: Checksum = digits.parse().ok()?;
        let tag = algorithm.replace('-', "");
        return tag.eq_ignore_ascii_case(checksum.algorithm()).then_some(Entry::Of(name, checksum));
    }
    let Some((digits, rest)) = line.split_once(' ') else {
        return line.parse().ok().map(Entry::Lone);
    };
    let checksum = digits.parse().ok()?;
    let name = rest.strip_prefix([' ', '*'])?;
    (!name.is_empty()).then_some(Entry::Of(name, checksum))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(digit: char, count: usize) -> String {
        digit.to_string().repeat(count)
    }

    fn told(text: &str) -> Result<String, ChecksumError> {
        find(text, "a.qcow2").map(|checksum| checksum.to_string())
    }

    #[test]
    fn the_three_forms_are_read() {
        let (a, b) = (hash('a', 64), hash('b', 128));
        let expected = Ok(format!("sha256:{a}"));
        assert_eq!(told(&format!("{}  other.qcow2\n{a}  a.qcow2\n", hash('c', 64))), expected);
        assert_eq!(told(&format!("{a} *a.qcow2\r\n")), expected);
        assert_eq!(told(&format!("{}  ./a.qcow2\n", a.to_uppercase())), expected);
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# a.qcow2: 12 bytes\nSHA256 (a.qcow2) = {a}\n\
             -----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n=ABCD\n-----END PGP SIGNATURE-----\n"
        );
        assert_eq!(told(&signed), expected);
        assert_eq!(told(&format!("{a}\n")), expected);
        assert_eq!(told(&format!("SHA512 (a.qcow2) = {b}")), Ok(format!("sha512:{b}")));
        // The stronger of two.
        assert_eq!(told(&format!("{a}  a.qcow2\n{b}  a.qcow2\n{a}  a.qcow2\n")), Ok(format!("sha512:{b}")));
    }

    #[test]
    fn what_tells_nothing_or_two_things_is_refused() {
        let (a, c) = (hash('a', 64), hash('c', 64));
        let none = |named| Err(ChecksumError::NoEntry { file: "a.qcow2".into(), named });
        assert_eq!(told(""), none(0));
        assert_eq!(told("<html>404</html>"), none(0));
        assert_eq!(told(&format!("{a}  a.qcow2.sig\n{c}  xa.qcow2\n")), none(2));
        assert_eq!(told(&format!("{a}\n{c}\n")), none(0));
        assert_eq!(told(&format!("{a}\n{c}  b.qcow2\n")), none(1));
        // A tag that is not that of its digits, digits of MD5, digits that are none.
        assert_eq!(told(&format!("SHA512 (a.qcow2) = {a}")), none(0));
        assert_eq!(told(&format!("{}  a.qcow2", hash('a', 32))), none(0));
        assert_eq!(told(&format!("{}  a.qcow2", hash('x', 64))), none(0));
        assert_eq!(told(&format!("{}  a.qcow2", hash('+', 64))), none(0));
        let twice = format!("{a}  a.qcow2\n{c}  a.qcow2\n");
        assert_eq!(told(&twice), Err(ChecksumError::Conflict { file: "a.qcow2".into(), line: 2 }));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text: String, file: String) {
            drop(find(&text, &file));
        }

        #[test]
        fn what_is_written_reads_back(bytes: [u8; 32]) {
            let checksum = Checksum::Sha256(Box::new(bytes));
            prop_assert_eq!(checksum.to_string().parse::<Checksum>(), Ok(checksum.clone()));
            let line = checksum.to_string().replace("sha256:", "");
            prop_assert_eq!(find(&format!("{line}  x"), "x"), Ok(checksum));
        }
    }
}
