//! What a guest will show because of its identity, and how sure that is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Ecid, GenericId, Identity};

/// How well a prediction is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Source code or several independent observations.
    High,
    /// One good observation, or a condition that this program cannot see.
    Medium,
    /// An inference.
    Low,
    /// Nothing is predicted.
    None,
}

impl fmt::Display for Confidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::None => "none",
        })
    }
}

/// One predicted value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// What the guest will show, or nothing (`null`, never absent).
    pub value: Option<String>,
    /// How sure that is.
    pub confidence: Confidence,
    /// Why, or why there is no value.
    pub reason: String,
}

impl Prediction {
    fn of(value: String, confidence: Confidence, reason: &str) -> Self {
        Self { value: Some(value), confidence, reason: reason.to_owned() }
    }

    fn none(reason: &str) -> Self {
        Self { value: None, confidence: Confidence::None, reason: reason.to_owned() }
    }
}

/// Everything that is predicted of one identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predictions {
    /// The Provisioning UDID, which developer profiles name.
    pub provisioning_udid: Prediction,
    /// The Hardware UUID, which MDM servers call UDID.
    pub hardware_uuid: Prediction,
    /// The serial in a Linux guest's SMBIOS table.
    pub smbios_serial: Prediction,
    /// What Linux shows as `product_uuid`.
    pub product_uuid: Prediction,
    /// A Mac's serial number.
    pub serial: Prediction,
}

impl Predictions {
    pub(super) fn of(identity: &Identity) -> Self {
        match identity {
            Identity::Mac(ecid) => Self::mac(*ecid),
            Identity::Generic(id) => Self::generic(*id),
        }
    }

    fn mac(ecid: Ecid) -> Self {
        let smbios = "macOS guests have no SMBIOS table of this kind; it belongs to Linux guests";
        Self {
            provisioning_udid: Prediction::of(
                ecid.provisioning_udid(),
                Confidence::Medium,
                "fits guests up to macOS 14 and VMs first made before macOS 15; later ones get a host-bound UDID \
                 of 40 hexadecimal digits, which cannot be predicted",
            ),
            hardware_uuid: Prediction::of(
                ecid.hardware_uuid().hyphenated().to_string().to_uppercase(),
                Confidence::High,
                "xnu derives it by SHA-1 from the ECID and the chip id 0xFE00 (generatePlatformUUID); 21 public \
                 machines agree, two of them VMs",
            ),
            smbios_serial: Prediction::none(smbios),
            product_uuid: Prediction::none(smbios),
            serial: Prediction::none("no public algorithm; recorded once the guest shows it"),
        }
    }

    fn generic(id: GenericId) -> Self {
        let mac = "only macOS guests have one";
        Self {
            provisioning_udid: Prediction::none(mac),
            hardware_uuid: Prediction::none(mac),
            smbios_serial: Prediction::of(
                id.smbios_serial(),
                Confidence::Medium,
                "certain for QEMU guests, to whom selfsame gives it; under Virtualization.framework three published \
                 SMBIOS dumps have this form, and that its UUID is the identifier's own is inferred",
            ),
            product_uuid: Prediction::of(
                id.product_uuid().hyphenated().to_string(),
                Confidence::Medium,
                "the UUID of the SMBIOS serial with its first three groups byte-reversed; certain for QEMU guests, \
                 and three published SMBIOS dumps of Virtualization.framework guests agree",
            ),
            serial: Prediction::none(
                "a guest of this kind has no serial but the SMBIOS one, see smbios_serial",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_null_and_never_absent() {
        let predictions = Identity::Mac(Ecid::new(0x5FAD_E97D_CBBB_EDA5)).predictions();
        let json = serde_json::to_value(&predictions.serial).unwrap();
        assert_eq!(
            json.to_string(),
            r#"{"confidence":"none","reason":"no public algorithm; recorded once the guest shows it","value":null}"#
        );
        assert_eq!(predictions.hardware_uuid.value.as_deref(), Some("FF269FDC-7A93-5F12-A4B7-09923F0D1F7F"));
        assert_eq!(predictions.provisioning_udid.value.as_deref(), Some("0000FE00-5FADE97DCBBBEDA5"));
        assert_eq!(predictions.provisioning_udid.confidence, Confidence::Medium);
    }

    #[test]
    fn nothing_is_predicted_across_kinds() {
        let generic: Identity = "uuid:db087d0b-d366-40bc-809b-969690dcbe1e".parse().unwrap();
        let of = generic.predictions();
        assert_eq!(
            [of.provisioning_udid.value, of.hardware_uuid.value, of.serial.value],
            [const { None::<String> }; 3]
        );
        assert_eq!(of.product_uuid.value.as_deref(), Some("0b7d08db-66d3-bc40-809b-969690dcbe1e"));
        let mac = Identity::Mac(Ecid::new(1)).predictions();
        assert_eq!((mac.smbios_serial.value, mac.product_uuid.value), (None, None));
    }
}
