//! The decoded value of a machine identifier.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::argument::{ArgumentError, parse_prefixed};
use super::encode::{Object, binary};
use super::{Digest, Ecid, GenericId, Kind, Predictions};

/// Who a VM is. Two VMs with equal identities are twins and must not run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// A macOS guest.
    Mac(Ecid),
    /// Any other guest.
    Generic(GenericId),
}

impl Identity {
    /// Which class of identifier it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Mac(_) => Kind::Mac,
            Self::Generic(_) => Kind::Generic,
        }
    }

    /// The canonical text: `ecid:0x` and 16 upper-case digits, or `uuid:` and the lower-case UUID.
    #[must_use]
    pub fn canonical(&self) -> String {
        match self {
            Self::Mac(ecid) => format!("ecid:0x{ecid}"),
            Self::Generic(id) => format!("uuid:{id}"),
        }
    }

    /// The digest that names locks and leases.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical())
    }

    /// What tables show: the bare ECID or UUID.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::Mac(ecid) => ecid.to_string(),
            Self::Generic(id) => id.to_string(),
        }
    }

    /// The data representation, byte for byte as the framework writes it: 60, 68 or 70 bytes.
    ///
    /// An ECID below 2^32 also gets 8 bytes. None was ever seen, so whether the framework would shorten it is not
    /// known; it reads both.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let top = Object::Dictionary(&[1], &[2]);
        match self {
            Self::Mac(ecid) => binary(&[top, Object::Text("ECID"), Object::Long(ecid.value())]),
            Self::Generic(id) => binary(&[top, Object::Text("UUID"), Object::Data(id.uuid().as_bytes())]),
        }
    }

    /// The data representation as tools keep it in JSON and XML files.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.to_bytes())
    }

    /// What a guest with this identity is expected to show.
    #[must_use]
    pub fn predictions(&self) -> Predictions {
        Predictions::of(self)
    }
}

/// The canonical text.
impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.canonical())
    }
}

/// Any of the prefixed forms of [`parse_prefixed`].
impl FromStr for Identity {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_prefixed(text).unwrap_or_else(|| Err(ArgumentError::NoPrefix { text: text.to_owned() }))
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.canonical())
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_texts_name_digests_and_read_back() {
        let mac = Identity::Mac(Ecid::new(0x5FAD_E97D_CBBB_EDA5));
        assert_eq!(mac.canonical(), "ecid:0x5FADE97DCBBBEDA5");
        assert_eq!(mac.digest(), Digest::of("ecid:0x5FADE97DCBBBEDA5"));
        assert_eq!((mac.short().as_str(), mac.kind()), ("5FADE97DCBBBEDA5", Kind::Mac));
        let generic: Identity = "uuid:DB087D0B-D366-40BC-809B-969690DCBE1E".parse().unwrap();
        assert_eq!(generic.to_string(), "uuid:db087d0b-d366-40bc-809b-969690dcbe1e");
        assert_eq!((generic.short().as_str(), generic.kind()), (&generic.to_string()[5..], Kind::Generic));
        for identity in [mac, generic] {
            let json = serde_json::to_string(&identity).unwrap();
            assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
        }
    }

    #[test]
    fn every_ecid_takes_60_or_68_bytes_and_every_uuid_70() {
        let length = |ecid| Identity::Mac(Ecid::new(ecid)).to_bytes().len();
        assert_eq!([0, 1, (1 << 63) - 1, 1 << 63, u64::MAX].map(length), [60, 60, 60, 68, 68]);
        let uuid: Identity = "uuid:db087d0b-d366-40bc-809b-969690dcbe1e".parse().unwrap();
        assert_eq!(uuid.to_bytes().len(), 70);
    }
}
