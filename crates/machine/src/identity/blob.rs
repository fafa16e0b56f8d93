//! A machine identifier's data representation: the bytes and what they say.
//!
//! **Form.** A binary property list with one key: `ECID`, an integer of 8 bytes, or of 16 from 2^63 on (60 and 68 bytes in
//! all), or `UUID`, 16 bytes of data (70 bytes). Certain for `ECID`: every blob published by users of tart up to 2.32,
//! macosvm, the Agoda kubelet and an image of macOS 26 has exactly this form. Certain in shape for `UUID`: Lima's
//! `vz-identifier` checkers insist on it, though no blob of that kind was found in public.
//!
//! **Unknown.** How the private interface that sets a serial stores it; such a key would show as unknown here.

use plist::Value;
use uuid::Uuid;

use super::decode::{Decoded, first_difference};
use super::finding::{Finding, FindingCode, Severity};
use super::{Ecid, GenericId, Identity};
use crate::code::Code;
use crate::problem::Problem;

/// The lengths of what the framework writes.
const LENGTHS: [usize; 3] = [60, 68, 70];

/// A machine identifier as it was read.
///
/// There is an identity exactly when no finding is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The bytes as they came, to be written back untouched.
    pub raw: Vec<u8>,
    /// What they say.
    pub identity: Option<Identity>,
    /// What was noticed, errors first, then in the order of the bytes.
    pub findings: Vec<Finding>,
}

/// The data holds no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the data is not a machine identifier: {} (byte {})", finding.message, finding.offset)]
pub struct BlobError {
    /// The first finding that is an error.
    pub finding: Finding,
}

impl Problem for BlobError {
    fn code(&self) -> Code {
        Code::IdentityInvalid
    }
}

impl Blob {
    /// Reads any bytes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut findings = Vec::new();
        let identity = match Decoded::read(bytes) {
            Ok(decoded) => match identity(&decoded, &mut findings) {
                Ok(identity) => Some(identity),
                Err(finding) => {
                    findings.push(finding);
                    None
                }
            },
            Err(finding) => {
                let identity = prefix(bytes);
                if identity.is_none() {
                    findings.push(cut(bytes).unwrap_or(finding));
                }
                identity
            }
        };
        findings.extend(identity.and_then(|identity| difference(bytes, &identity.to_bytes())));
        findings.sort_by_key(|finding| (finding.severity != Severity::Error, finding.offset));
        Self { raw: bytes.to_vec(), identity, findings }
    }

    /// The identity, or the reason why there is none.
    ///
    /// # Errors
    ///
    /// The first finding that is an error.
    pub fn require(&self) -> Result<Identity, BlobError> {
        self.identity.ok_or_else(|| {
            let error = self.findings.iter().find(|finding| finding.severity == Severity::Error).cloned();
            let finding = error
                .unwrap_or_else(|| Finding::error(0, FindingCode::MissingKey, "neither an ECID nor a UUID"));
            BlobError { finding }
        })
    }
}

/// The identity that a blob of the framework's own form holds before something else begins.
///
/// A binary property list is found from its end, so one stray line feed behind it hides the whole.
fn prefix(bytes: &[u8]) -> Option<Identity> {
    LENGTHS.iter().find_map(|length| {
        let start = bytes.get(..*length)?;
        let identity = identity(&Decoded::read(start).ok()?, &mut Vec::new()).ok()?;
        (identity.to_bytes() == start).then_some(identity)
    })
}

/// The finding for the beginning of a blob of the framework's own form, which tells how long the whole would be.
fn cut(bytes: &[u8]) -> Option<Finding> {
    let starts: [&[u8]; 3] = [
        b"bplist00\xD1\x01\x02TECID\x13",
        b"bplist00\xD1\x01\x02TECID\x14",
        b"bplist00\xD1\x01\x02TUUID\x4F",
    ];
    let (_, whole) = starts.iter().zip(LENGTHS).find(|(start, _)| bytes.starts_with(start))?;
    (bytes.len() < whole).then(|| {
        let message = format!("the identifier ends after {} of {whole} bytes", bytes.len());
        Finding::error(bytes.len(), FindingCode::Truncated, message)
    })
}

fn difference(bytes: &[u8], canonical: &[u8]) -> Option<Finding> {
    let offset = first_difference(bytes, canonical);
    if bytes == canonical {
        None
    } else if offset == canonical.len() {
        let message =
            format!("bytes follow the identifier ({}); the framework may refuse it", bytes.len() - offset);
        Some(Finding::warning(offset, FindingCode::Trailing, message))
    } else {
        Some(Finding::note(
            offset,
            FindingCode::NotCanonical,
            "the framework would write other bytes from here on",
        ))
    }
}

fn identity(decoded: &Decoded, findings: &mut Vec<Finding>) -> Result<Identity, Finding> {
    findings.extend(decoded.unknown(&["ECID", "UUID"]));
    match (decoded.values.get("ECID"), decoded.values.get("UUID")) {
        (Some(value), None) => ecid(value, decoded.place("ECID"), findings).map(Identity::Mac),
        (None, Some(value)) => generic(value, decoded.place("UUID")).map(Identity::Generic),
        (Some(_), Some(_)) => {
            let place = decoded.place("ECID").max(decoded.place("UUID"));
            Err(Finding::error(
                place,
                FindingCode::Ambiguous,
                "both an ECID and a UUID: which one counts cannot be told",
            ))
        }
        (None, None) => Err(Finding::error(
            decoded.top,
            FindingCode::MissingKey,
            "the dictionary has neither an ECID nor a UUID",
        )),
    }
}

fn ecid(value: &Value, place: usize, findings: &mut Vec<Finding>) -> Result<Ecid, Finding> {
    let Value::Integer(integer) = value else {
        return Err(Finding::error(place, FindingCode::WrongType, "the ECID is no integer"));
    };
    if let Some(value) = integer.as_unsigned() {
        return Ok(Ecid::new(value));
    }
    let Some(value) = integer.as_signed() else {
        return Err(Finding::error(place, FindingCode::OutOfRange, "the ECID has more than 64 bits"));
    };
    let ecid = Ecid::new(value.cast_unsigned());
    let message = format!("the ECID is written as {value} and taken as 0x{ecid}");
    findings.push(Finding::warning(place, FindingCode::Negative, message));
    Ok(ecid)
}

fn generic(value: &Value, place: usize) -> Result<GenericId, Finding> {
    let Value::Data(data) = value else {
        return Err(Finding::error(place, FindingCode::WrongType, "the UUID is no data"));
    };
    let uuid = Uuid::from_slice(data).map_err(|_| {
        Finding::error(
            place,
            FindingCode::UuidLength,
            format!("the UUID has {} bytes instead of 16", data.len()),
        )
    })?;
    GenericId::try_from(uuid)
        .map_err(|error| Finding::error(place, FindingCode::UuidReserved, error.to_string()))
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
