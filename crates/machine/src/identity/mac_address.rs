//! MAC addresses of guests' network cards.
//!
//! The framework's own generator yields locally administered unicast addresses (first byte: bit 1 set, bit 0 clear) and
//! prints them in lower case with colons. Source: Apple's documentation of `VZMACAddress` and five published samples.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Digest;
use crate::code::Code;
use crate::problem::{Hint, Problem};
use crate::quote::quoted;

/// A unicast MAC address that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress([u8; 6]);

/// The bit that says "assigned by this network, not by a maker".
const LOCAL: u8 = 0b10;
/// The bit that says "for a group of stations".
const GROUP: u8 = 0b01;

impl MacAddress {
    /// A locally administered unicast address from six random bytes.
    #[must_use]
    pub const fn local_from_random(random: [u8; 6]) -> Self {
        let [first, b, c, d, e, f] = random;
        Self([(first | LOCAL) & !GROUP, b, c, d, e, f])
    }

    /// The locally administered unicast address that belongs to a digest: the same one on every host and at every time.
    #[must_use]
    pub const fn from_digest(digest: &Digest) -> Self {
        let [a, b, c, d, e, f, ..] = *digest.bytes();
        Self::local_from_random([a, b, c, d, e, f])
    }

    /// The six bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Whether no maker assigned it.
    #[must_use]
    pub const fn is_locally_administered(self) -> bool {
        self.0[0] & LOCAL != 0
    }

    /// Whether it names one station. Always so: others cannot be made.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        self.0[0] & GROUP == 0
    }
}

/// Why something is no guest's MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacAddressError {
    /// Not six pairs of hexadecimal digits with colons between.
    #[error(
        "{} is no MAC address: six pairs of hexadecimal digits with colons are, like 06:e8:a3:b0:23:b4",
        quoted(text)
    )]
    Form {
        /// The refused text.
        text: String,
    },
    /// The group bit is set.
    #[error("{} names a group of stations, not one network card", colons(*bytes))]
    Multicast {
        /// The refused address.
        bytes: [u8; 6],
    },
    /// All bytes are zero.
    #[error("00:00:00:00:00:00 names no network card")]
    Zero,
}

impl Problem for MacAddressError {
    fn code(&self) -> Code {
        Code::MacInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Multicast { bytes } => {
                let near = MacAddress::local_from_random(*bytes);
                vec![Hint::say(format!("{near} would be a usable address"))]
            }
            Self::Form { .. } | Self::Zero => {
                vec![Hint::say("leave it out and selfsame chooses a locally administered address")]
            }
        }
    }
}

fn colons(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

impl TryFrom<[u8; 6]> for MacAddress {
    type Error = MacAddressError;

    fn try_from(bytes: [u8; 6]) -> Result<Self, Self::Error> {
        if bytes[0] & GROUP != 0 {
            Err(MacAddressError::Multicast { bytes })
        } else if bytes == [0; 6] {
            Err(MacAddressError::Zero)
        } else {
            Ok(Self(bytes))
        }
    }
}

impl FromStr for MacAddress {
    type Err = MacAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = |pair: &str| {
            let plain = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            if plain { u8::from_str_radix(pair, 16).ok() } else { None }
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(pair).collect();
        let bytes = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        bytes.ok_or_else(|| MacAddressError::Form { text: text.to_owned() })?.try_into()
    }
}

/// Lower case with colons.
impl fmt::Display for MacAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&colons(self.0))
    }
}

impl Serialize for MacAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn published_addresses_read_back() {
        for text in [
            "7a:47:bb:5f:97:c9",
            "06:e8:a3:b0:23:b4",
            "86:78:b6:c5:f4:ee",
            "9a:74:8c:65:6d:e0",
            "76:f1:14:93:fc:00",
        ] {
            let address: MacAddress = text.to_uppercase().parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert!(address.is_locally_administered() && address.is_unicast());
        }
        assert!(!"00:1c:42:00:00:08".parse::<MacAddress>().unwrap().is_locally_administered());
    }

    #[test]
    fn unusable_addresses_are_refused() {
        for text in [
            "",
            "7a:47:bb:5f:97",
            "7a:47:bb:5f:97:c9:00",
            "7a-47-bb-5f-97-c9",
            "7a:47:bb:5f:97:+9",
            "7:a:1:2:3:4",
        ] {
            let error = text.parse::<MacAddress>().unwrap_err();
            assert!(matches!(error, MacAddressError::Form { .. }), "{text}");
            assert_eq!(error.code(), Code::MacInvalid);
        }
        assert_eq!("00:00:00:00:00:00".parse::<MacAddress>(), Err(MacAddressError::Zero));
        let broadcast = "ff:ff:ff:ff:ff:ff".parse::<MacAddress>().unwrap_err();
        assert_eq!(
            broadcast.to_string(),
            "ff:ff:ff:ff:ff:ff names a group of stations, not one network card"
        );
        assert_eq!(broadcast.hints()[0].text, "fe:ff:ff:ff:ff:ff would be a usable address");
    }

    proptest! {
        #[test]
        fn made_addresses_are_local_unicast_and_read_back(random: [u8; 6], canonical: String) {
            for address in [MacAddress::local_from_random(random), MacAddress::from_digest(&Digest::of(&canonical))] {
                prop_assert!(address.is_locally_administered() && address.is_unicast());
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
