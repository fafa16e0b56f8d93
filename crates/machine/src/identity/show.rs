//! The object that `identity show --format json` prints.
//!
//! **Boundary.** Programs read it: fields are never renamed or removed under `identity/1`, and each is always there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::{Digest, Finding, Identity, Kind, Predictions};

/// Everything known about one identity, in the order of its printed fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The version of this object.
    pub schema: &'static str,
    /// Which class of identifier.
    pub kind: Kind,
    /// The ECID in decimal: as text, because many readers of JSON lose digits above 2^53.
    pub ecid: Option<String>,
    /// The ECID as 16 upper-case digits.
    pub ecid_hex: Option<String>,
    /// The UUID.
    pub uuid: Option<String>,
    /// The canonical text.
    pub canonical: String,
    /// The digest of the canonical text.
    pub digest: Digest,
    /// The data representation: the bytes as they were read, else as the framework writes them.
    pub data_base64: String,
    /// The library's name for it.
    pub label: Option<String>,
    /// The library's notes.
    pub notes: Option<String>,
    /// Where the library has it from.
    pub origin: Option<String>,
    /// When the library first saw it, RFC 3339.
    pub first_seen: Option<String>,
    /// What a guest is expected to show.
    pub predicted: Predictions,
    /// What guests showed.
    pub observed: Vec<Value>,
    /// What was noticed in the data.
    pub findings: Vec<Finding>,
}

impl Shown {
    /// The object without what only the library knows, which the caller fills in.
    #[must_use]
    pub fn new(identity: &Identity, raw: Option<&[u8]>, findings: Vec<Finding>) -> Self {
        let (ecid, uuid) = match identity {
            Identity::Mac(ecid) => (Some(ecid), None),
            Identity::Generic(id) => (None, Some(id.to_string())),
        };
        Self {
            schema: "identity/1",
            kind: identity.kind(),
            ecid: ecid.map(|ecid| ecid.value().to_string()),
            ecid_hex: ecid.map(ToString::to_string),
            uuid,
            canonical: identity.canonical(),
            digest: identity.digest(),
            data_base64: raw.map_or_else(|| identity.to_base64(), |raw| STANDARD.encode(raw)),
            label: None,
            notes: None,
            origin: None,
            first_seen: None,
            predicted: identity.predictions(),
            observed: Vec::new(),
            findings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Blob;

    #[test]
    fn the_object_of_a_mac() {
        let identity = "ecid:0x5FADE97DCBBBEDA5".parse().unwrap();
        let shown = Shown::new(&identity, None, Vec::new());
        insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap(), @r#"
        {
          "schema": "identity/1",
          "kind": "mac",
          "ecid": "6894423331072372133",
          "ecid_hex": "5FADE97DCBBBEDA5",
          "uuid": null,
          "canonical": "ecid:0x5FADE97DCBBBEDA5",
          "digest": "e124fe8bf376d699058ae5f24d372852d9ebbdce6dd374dc9d27964ff01cc978",
          "data_base64": "YnBsaXN0MDDRAQJURUNJRBNfrel9y7vtpQgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
          "label": null,
          "notes": null,
          "origin": null,
          "first_seen": null,
          "predicted": {
            "provisioning_udid": {
              "value": "0000FE00-5FADE97DCBBBEDA5",
              "confidence": "medium",
              "reason": "fits guests up to macOS 14 and VMs first made before macOS 15; later ones get a host-bound UDID of 40 hexadecimal digits, which cannot be predicted"
            },
            "hardware_uuid": {
              "value": "FF269FDC-7A93-5F12-A4B7-09923F0D1F7F",
              "confidence": "high",
              "reason": "xnu derives it by SHA-1 from the ECID and the chip id 0xFE00 (generatePlatformUUID); 21 public machines agree, two of them VMs"
            },
            "smbios_serial": {
              "value": null,
              "confidence": "none",
              "reason": "macOS guests have no SMBIOS table of this kind; it belongs to Linux guests"
            },
            "product_uuid": {
              "value": null,
              "confidence": "none",
              "reason": "macOS guests have no SMBIOS table of this kind; it belongs to Linux guests"
            },
            "serial": {
              "value": null,
              "confidence": "none",
              "reason": "no public algorithm; recorded once the guest shows it"
            }
          },
          "observed": [],
          "findings": []
        }
        "#);
    }

    #[test]
    fn the_object_of_a_linux_guest() {
        let identity = "uuid:db087d0b-d366-40bc-809b-969690dcbe1e".parse().unwrap();
        let shown = Shown::new(&identity, None, Vec::new());
        insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap(), @r#"
        {
          "schema": "identity/1",
          "kind": "generic",
          "ecid": null,
          "ecid_hex": null,
          "uuid": "db087d0b-d366-40bc-809b-969690dcbe1e",
          "canonical": "uuid:db087d0b-d366-40bc-809b-969690dcbe1e",
          "digest": "2a6bb50264bb07463b0ff5eb083a8f8d6e78effccd239d06803119551de5580a",
          "data_base64": "YnBsaXN0MDDRAQJUVVVJRE8QENsIfQvTZkC8gJuWlpDcvh4ICxAAAAAAAAABAQAAAAAAAAADAAAAAAAAAAAAAAAAAAAAIw==",
          "label": null,
          "notes": null,
          "origin": null,
          "first_seen": null,
          "predicted": {
            "provisioning_udid": {
              "value": null,
              "confidence": "none",
              "reason": "only macOS guests have one"
            },
            "hardware_uuid": {
              "value": null,
              "confidence": "none",
              "reason": "only macOS guests have one"
            },
            "smbios_serial": {
              "value": "Virtualization-db087d0b-d366-40bc-809b-969690dcbe1e",
              "confidence": "medium",
              "reason": "certain for QEMU guests, to whom selfsame gives it; under Virtualization.framework three published SMBIOS dumps have this form, and that its UUID is the identifier's own is inferred"
            },
            "product_uuid": {
              "value": "0b7d08db-66d3-bc40-809b-969690dcbe1e",
              "confidence": "medium",
              "reason": "the UUID of the SMBIOS serial with its first three groups byte-reversed; certain for QEMU guests, and three published SMBIOS dumps of Virtualization.framework guests agree"
            },
            "serial": {
              "value": null,
              "confidence": "none",
              "reason": "a guest of this kind has no serial but the SMBIOS one, see smbios_serial"
            }
          },
          "observed": [],
          "findings": []
        }
        "#);
    }

    #[test]
    fn read_bytes_are_shown_as_they_were() {
        let identity: Identity = "ecid:1".parse().unwrap();
        let mut raw = identity.to_bytes();
        raw.push(b'\n');
        let blob = Blob::read(&raw);
        let shown = Shown::new(&blob.identity.unwrap(), Some(&raw), blob.findings);
        assert_eq!(STANDARD.decode(&shown.data_base64).unwrap(), raw);
        assert_eq!(shown.findings.len(), 1);
    }
}
