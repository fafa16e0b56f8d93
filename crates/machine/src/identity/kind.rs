//! The two kinds of machine identifier.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which of the framework's two identifier classes an identity belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A macOS guest: `VZMacMachineIdentifier`, one ECID.
    Mac,
    /// Any other guest: `VZGenericMachineIdentifier`, one UUID.
    Generic,
}

impl Kind {
    /// The stable text, `mac` or `generic`.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text())
    }
}

/// The text is neither `mac` nor `generic`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of identity: `mac` and `generic` are")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mac" => Ok(Self::Mac),
            "generic" => Ok(Self::Generic),
            _ => Err(UnknownKind(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back() {
        for kind in [Kind::Mac, Kind::Generic] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert_eq!("Mac".parse::<Kind>().unwrap_err(), UnknownKind("Mac".to_owned()));
    }
}
