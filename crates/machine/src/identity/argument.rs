//! The prefixed texts that name an identity on a command line.
//!
//! | form | meaning |
//! |---|---|
//! | `ecid:1612748069448870101`, `ecid:0x1661A1D30FB268D5` | the ECID itself |
//! | `provisioning-udid:0000FE00-1661A1D30FB268D5` (short `udid:`) | the ECID behind a guest's Provisioning UDID |
//! | `uuid:db087d0b-d366-40bc-809b-969690dcbe1e` | the UUID of a Linux guest |
//! | `serial:…`, `hardware-uuid:…` | refused: neither leads back to an identity |
//!
//! Everything that cannot be turned into an identity is refused by its own name, because people paste what their MDM
//! server shows, and "invalid" would leave them guessing.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use uuid::Uuid;

use super::decode::BINARY;
use super::{Blob, Ecid, GenericId, GenericIdError, Identity, MAX_BLOB};
use crate::code::Code;
use crate::problem::{Hint, Problem};
use crate::quote::quoted;

/// The prefixes that make a text an identity argument and nothing else; no VM's name starts with one.
pub const PREFIXES: [&str; 6] =
    ["ecid:", "provisioning-udid:", "udid:", "uuid:", "serial:", "hardware-uuid:"];

/// The page that explains what cannot be chosen.
const PAGE: &str =
    "docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot";

/// Why a text names no identity. Every variant holds the text without its prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// No prefix.
    #[error("{} has none of the prefixes ecid:, uuid: and provisioning-udid:", quoted(text))]
    NoPrefix {
        /// The whole text.
        text: String,
    },
    /// Something else than digits.
    #[error("{} is no ECID: {}", quoted(text), ecid_fault(text))]
    EcidForm {
        /// The text after `ecid:`.
        text: String,
    },
    /// More than 64 bits.
    #[error("{} is no ECID: it has more than 64 bits, and the largest is 0xFFFFFFFFFFFFFFFF", quoted(text))]
    EcidTooLarge {
        /// The text after `ecid:`.
        text: String,
    },
    /// Not a Provisioning UDID at all.
    #[error("{} is no Provisioning UDID of a VM: 0000FE00- and 16 hexadecimal digits are", quoted(text))]
    UdidForm {
        /// The text after the prefix.
        text: String,
    },
    /// A Provisioning UDID of another chip.
    #[error("{} is the Provisioning UDID of {}: a VM's begins with 0000FE00-", quoted(text), owner(chip))]
    UdidOfOtherChip {
        /// The text after the prefix.
        text: String,
        /// Its first eight digits, upper-case.
        chip: String,
    },
    /// A Hardware UUID where a Provisioning UDID belongs.
    #[error(
        "{} is a Hardware UUID, not a Provisioning UDID: it is made by SHA-1 and cannot be turned back",
        quoted(text)
    )]
    UdidIsHardwareUuid {
        /// The text after the prefix.
        text: String,
    },
    /// The host-bound form since macOS 15.
    #[error(
        "{} is a host-bound Provisioning UDID, as VMs have that were made since macOS 15: it does not come from \
         the identity and cannot be turned back",
        quoted(text)
    )]
    UdidIsHostBound {
        /// The text after the prefix.
        text: String,
    },
    /// Not a UUID.
    #[error("{} is no UUID: 32 hexadecimal digits in groups of 8-4-4-4-12 are", quoted(text))]
    UuidForm {
        /// The text after `uuid:`.
        text: String,
    },
    /// A UUID that is no identity.
    #[error("no identity can be made from the UUID {}", quoted(text))]
    UuidReserved {
        /// The text after `uuid:`.
        text: String,
        /// Why.
        #[source]
        source: GenericIdError,
    },
    /// A serial number.
    #[error(
        "no identity can be made from the serial number {}: the host derives it in a way that is not public, and \
         choosing one needs an entitlement that only Apple gives",
        quoted(text)
    )]
    Serial {
        /// The text after `serial:`.
        text: String,
    },
    /// A Hardware UUID.
    #[error(
        "no identity can be made from the Hardware UUID {}: it is made by SHA-1 and cannot be turned back",
        quoted(text)
    )]
    HardwareUuid {
        /// The text after `hardware-uuid:`.
        text: String,
    },
}

/// What stands in the way of reading an ECID.
fn ecid_fault(text: &str) -> String {
    let (digits, hexadecimal) = text.strip_prefix("0x").map_or((text, false), |digits| (digits, true));
    let digit = |c: char| if hexadecimal { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
    match digits.char_indices().find(|(_, c)| !digit(*c)) {
        None if digits.is_empty() => "it has no digits".to_owned(),
        None => "it has more than 16 hexadecimal digits".to_owned(),
        Some((at, c)) => {
            let base = if hexadecimal { "hexadecimal" } else { "decimal" };
            format!("{c:?} at byte {} is no {base} digit", at + text.len() - digits.len())
        }
    }
}

/// Whose Provisioning UDID has this chip id.
fn owner(chip: &str) -> &'static str {
    if chip == "0000FE01" { "a research VM of another board" } else { "a physical device" }
}

impl Problem for ArgumentError {
    fn code(&self) -> Code {
        match self {
            Self::NoPrefix { .. }
            | Self::EcidForm { .. }
            | Self::EcidTooLarge { .. }
            | Self::UdidForm { .. }
            | Self::UuidForm { .. } => Code::IdentityArgument,
            Self::UdidOfOtherChip { .. }
            | Self::UdidIsHardwareUuid { .. }
            | Self::UdidIsHostBound { .. }
            | Self::UuidReserved { .. }
            | Self::Serial { .. }
            | Self::HardwareUuid { .. } => Code::IdentityUnsupported,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        // Only what looks like a number is worth looking for, and is safe to put into a command.
        let find = |what: &'static str, text: &str| -> Vec<Hint> {
            let plain =
                text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let found = plain && text.starts_with(|c: char| c.is_ascii_alphanumeric());
            let look = found.then(|| Hint::run(what, format!("selfsame identity find {text}")));
            look.into_iter().chain([Hint::say(PAGE)]).collect()
        };
        match self {
            Self::NoPrefix { .. } => {
                vec![Hint::run("see the identities of the library", "selfsame identity list")]
            }
            Self::EcidForm { text } if is_hexadecimal(text, 1..=16) => vec![Hint::run(
                "hexadecimal digits need 0x before them",
                format!("selfsame identity show ecid:0x{text}"),
            )],
            Self::EcidForm { .. } | Self::EcidTooLarge { .. } => {
                vec![Hint::run(
                    "write it in decimal, or after 0x in hexadecimal",
                    "selfsame identity show ecid:0x1661A1D30FB268D5",
                )]
            }
            Self::UdidForm { .. } => vec![Hint::run(
                "this is what one looks like",
                "selfsame identity show provisioning-udid:0000FE00-1661A1D30FB268D5",
            )],
            Self::UuidForm { .. } => vec![Hint::run(
                "this is what one looks like",
                "selfsame identity show uuid:db087d0b-d366-40bc-809b-969690dcbe1e",
            )],
            Self::UuidReserved { source, .. } => source.hints(),
            Self::UdidOfOtherChip { .. } => vec![Hint::say(PAGE)],
            Self::UdidIsHardwareUuid { text } | Self::HardwareUuid { text } => {
                find("look for a known identity with this Hardware UUID", text)
            }
            Self::UdidIsHostBound { text } => {
                find("look for a known identity that showed this Provisioning UDID", text)
            }
            Self::Serial { text } => find("look for a known identity that showed this serial number", text),
        }
    }
}

/// Reads a text with one of the [`PREFIXES`]; `None` if it has none of them.
///
/// Prefixes are lower-case; digits may be of any case.
///
/// # Errors
///
/// The text after the prefix names no identity, or none that can be made.
#[must_use]
pub fn parse_prefixed(text: &str) -> Option<Result<Identity, ArgumentError>> {
    let (prefix, rest) = text.split_once(':')?;
    match prefix {
        "ecid" => Some(ecid(rest)),
        "provisioning-udid" | "udid" => Some(provisioning_udid(rest)),
        "uuid" => Some(uuid(rest)),
        "serial" => Some(Err(ArgumentError::Serial { text: rest.to_owned() })),
        "hardware-uuid" => Some(Err(ArgumentError::HardwareUuid { text: rest.to_owned() })),
        _ => None,
    }
}

/// Reads base64 text that holds a property list; `None` if it is something else.
///
/// White space is ignored and the padding may be missing, as configuration files and terminals leave it. Short texts of
/// any kind are base64 by accident, so what they decode to decides.
#[must_use]
pub fn parse_base64(text: &str) -> Option<Blob> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    if text.len() > 2 * MAX_BLOB {
        return None;
    }
    let dense: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = ENGINE.decode(dense).ok()?;
    let known = bytes.starts_with(BINARY) || bytes.starts_with(b"<?xml") || bytes.starts_with(b"<plist");
    known.then(|| Blob::read(&bytes))
}

fn is_hexadecimal(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn ecid(text: &str) -> Result<Identity, ArgumentError> {
    let value = match text.strip_prefix("0x") {
        Some(digits) if is_hexadecimal(digits, 1..=16) => u64::from_str_radix(digits, 16).ok(),
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let value = text.parse().ok();
            if value.is_none() {
                return Err(ArgumentError::EcidTooLarge { text: text.to_owned() });
            }
            value
        }
        Some(_) | None => None,
    };
    value
        .map(|value| Identity::Mac(Ecid::new(value)))
        .ok_or_else(|| ArgumentError::EcidForm { text: text.to_owned() })
}

fn provisioning_udid(text: &str) -> Result<Identity, ArgumentError> {
    if hyphenated(text).is_some() {
        return Err(ArgumentError::UdidIsHardwareUuid { text: text.to_owned() });
    }
    if is_hexadecimal(text, 40..=40) {
        return Err(ArgumentError::UdidIsHostBound { text: text.to_owned() });
    }
    let parts = text
        .split_once('-')
        .filter(|(chip, ecid)| is_hexadecimal(chip, 8..=8) && is_hexadecimal(ecid, 16..=16));
    let Some((chip, ecid)) = parts else {
        return Err(ArgumentError::UdidForm { text: text.to_owned() });
    };
    let chip = chip.to_ascii_uppercase();
    if chip != "0000FE00" {
        return Err(ArgumentError::UdidOfOtherChip { text: text.to_owned(), chip });
    }
    let value = u64::from_str_radix(ecid, 16);
    value
        .map(|value| Identity::Mac(Ecid::new(value)))
        .map_err(|_| ArgumentError::UdidForm { text: text.to_owned() })
}

fn uuid(text: &str) -> Result<Identity, ArgumentError> {
    let uuid = hyphenated(text).ok_or_else(|| ArgumentError::UuidForm { text: text.to_owned() })?;
    let id = GenericId::try_from(uuid)
        .map_err(|source| ArgumentError::UuidReserved { text: text.to_owned(), source })?;
    Ok(Identity::Generic(id))
}

/// A UUID in its hyphenated form only: the others that the parser knows are ambiguous with other arguments.
fn hyphenated(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

#[cfg(test)]
#[path = "argument_tests.rs"]
mod tests;
