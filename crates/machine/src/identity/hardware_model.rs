//! A Mac VM's hardware model: which virtual board, and from which macOS on.
//!
//! **Form.** A binary property list of three keys in this order: `DataRepresentationVersion`, `PlatformVersion`,
//! `MinimumSupportedOS` (an array of three integers). Version 1 stores its own number as a 16-byte integer and takes 150
//! bytes (hosts of the macOS 12 and early 13 era: macosvm, vfkit, the Agoda kubelet); version 2 takes 132 bytes (every
//! tart and lume sample of 2025 and 2026). Certain for minimum versions `N.0.0`; with other numbers the order of shared
//! objects is inferred from how Core Foundation writes property lists.
//!
//! **Unknown.** The names of the keys that the private descriptor's variant and initial guest version may add. Custom
//! boards add `BoardID` and `ISA`, which are read over without a note.

use plist::Value;

use super::decode::{Decoded, first_difference};
use super::encode::{Object, binary};
use super::finding::{Finding, FindingCode, Severity};

const REPRESENTATION: &str = "DataRepresentationVersion";
const PLATFORM: &str = "PlatformVersion";
const MINIMUM: &str = "MinimumSupportedOS";

/// A hardware model as it was read or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardwareModel {
    /// The bytes as they came, to be written back untouched.
    pub raw: Vec<u8>,
    /// 1 or 2 in what is known.
    pub data_representation_version: Option<u64>,
    /// 2 is VirtualMac2,1; 1 and 3 are boards that only special firmware starts.
    pub platform_version: Option<u64>,
    /// Major, minor and patch of the lowest macOS that the model names; 12.0.0 marks models of Monterey's time.
    pub minimum_supported_os: Option<[u64; 3]>,
    /// What was noticed, errors first, then in the order of the bytes.
    pub findings: Vec<Finding>,
}

impl HardwareModel {
    /// Reads any bytes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut model = Self {
            raw: bytes.to_vec(),
            data_representation_version: None,
            platform_version: None,
            minimum_supported_os: None,
            findings: Vec::new(),
        };
        match Decoded::read(bytes) {
            Ok(decoded) => model.fill(&decoded),
            Err(finding) => model.findings.push(finding),
        }
        model.findings.extend(model.difference());
        model.findings.sort_by_key(|finding| (finding.severity != Severity::Error, finding.offset));
        model
    }

    /// The form of the first representation, 150 bytes for any `N.0.0`.
    #[must_use]
    pub fn v1(platform_version: u64, minimum_supported_os: [u64; 3]) -> Self {
        Self::made(1, platform_version, minimum_supported_os)
    }

    /// The form of the second representation, 132 bytes for VirtualMac2,1 and any `N.0.0`.
    #[must_use]
    pub fn v2(platform_version: u64, minimum_supported_os: [u64; 3]) -> Self {
        Self::made(2, platform_version, minimum_supported_os)
    }

    /// Whether all three values were found.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }

    fn made(representation: u64, platform: u64, minimum: [u64; 3]) -> Self {
        Self {
            raw: write(representation, platform, minimum),
            data_representation_version: Some(representation),
            platform_version: Some(platform),
            minimum_supported_os: Some(minimum),
            findings: Vec::new(),
        }
    }

    fn fill(&mut self, decoded: &Decoded) {
        self.findings.extend(decoded.unknown(&[REPRESENTATION, PLATFORM, MINIMUM, "BoardID", "ISA"]));
        self.data_representation_version = self.number(decoded, REPRESENTATION);
        self.platform_version = self.number(decoded, PLATFORM);
        self.minimum_supported_os = self.version(decoded);
    }

    /// The value of a key; its absence is an error finding.
    fn value<'a>(&mut self, decoded: &'a Decoded, key: &str) -> Option<&'a Value> {
        let value = decoded.values.get(key);
        if value.is_none() {
            let message = format!("the dictionary has no {key}");
            self.findings.push(Finding::error(decoded.top, FindingCode::MissingKey, message));
        }
        value
    }

    fn number(&mut self, decoded: &Decoded, key: &str) -> Option<u64> {
        let value = self.value(decoded, key)?;
        let number = value.as_unsigned_integer();
        if number.is_none() {
            let message = format!("{key} is no integer from 0 to 2^64 - 1");
            self.findings.push(Finding::error(decoded.place(key), FindingCode::WrongType, message));
        }
        number
    }

    fn version(&mut self, decoded: &Decoded) -> Option<[u64; 3]> {
        let value = self.value(decoded, MINIMUM)?;
        let numbers = || {
            let items = value.as_array()?;
            let numbers: Option<Vec<u64>> = items.iter().map(Value::as_unsigned_integer).collect();
            numbers?.try_into().ok()
        };
        let version = numbers();
        if version.is_none() {
            let message = format!("{MINIMUM} is no array of three integers");
            self.findings.push(Finding::error(decoded.place(MINIMUM), FindingCode::WrongType, message));
        }
        version
    }

    fn difference(&self) -> Option<Finding> {
        let representation = self.data_representation_version?;
        let (platform, minimum) = (self.platform_version?, self.minimum_supported_os?);
        if representation != 1 && representation != 2 {
            let message = format!("representation {representation} is not known");
            return Some(Finding::note(0, FindingCode::OutOfRange, message));
        }
        let canonical = write(representation, platform, minimum);
        (self.raw != canonical).then(|| {
            let offset = first_difference(&self.raw, &canonical);
            Finding::note(
                offset,
                FindingCode::NotCanonical,
                "the framework would write other bytes from here on",
            )
        })
    }
}

/// Objects in the order of Core Foundation: dictionary, keys, values, and each small integer only once.
fn write(representation: u64, platform: u64, minimum: [u64; 3]) -> Vec<u8> {
    let mut objects = vec![Object::Text(REPRESENTATION), Object::Text(PLATFORM), Object::Text(MINIMUM)];
    let mut seen: Vec<(u64, u8)> = Vec::new();
    let mut next = 4;
    let mut place = |object: Option<u64>| match object {
        Some(value) => match seen.iter().find(|(other, _)| *other == value) {
            Some((_, index)) => (*index, None),
            None => {
                seen.push((value, next));
                next += 1;
                (next - 1, Some(Object::Integer(value)))
            }
        },
        None => {
            next += 1;
            (next - 1, None)
        }
    };
    let first = if representation == 1 {
        objects.push(Object::Wide(1));
        place(None).0
    } else {
        let (index, object) = place(Some(representation));
        objects.extend(object);
        index
    };
    let (second, object) = place(Some(platform));
    objects.extend(object);
    let third = place(None).0;
    let numbers = minimum.map(|number| place(Some(number)));
    let items = [numbers[0].0, numbers[1].0, numbers[2].0];
    let values = [first, second, third];
    objects.push(Object::Array(&items));
    objects.extend(numbers.into_iter().filter_map(|(_, object)| object));
    objects.insert(0, Object::Dictionary(&[1, 2, 3], &values));
    binary(&objects)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const V1_12: &str = "YnBsaXN0MDDTAQIDBAUGXxAZRGF0YVJlcHJlc2VudGF0aW9uVmVyc2lvbl8QD1BsYXRmb3JtVmVyc2lvbl8QEk1pbmltdW1TdXBwb3J0ZWRPUxQAAAAAAAAAAAAAAAAAAAABEAKjBwgIEAwQAAgPKz1SY2VpawAAAAAAAAEBAAAAAAAAAAkAAAAAAAAAAAAAAAAAAABt";
    const V1_13: &str = "YnBsaXN0MDDTAQIDBAUGXxAZRGF0YVJlcHJlc2VudGF0aW9uVmVyc2lvbl8QD1BsYXRmb3JtVmVyc2lvbl8QEk1pbmltdW1TdXBwb3J0ZWRPUxQAAAAAAAAAAAAAAAAAAAABEAKjBwgIEA0QAAgPKz1SY2VpawAAAAAAAAEBAAAAAAAAAAkAAAAAAAAAAAAAAAAAAABt";
    const V2_13: &str = "YnBsaXN0MDDTAQIDBAQFXxAZRGF0YVJlcHJlc2VudGF0aW9uVmVyc2lvbl8QD1BsYXRmb3JtVmVyc2lvbl8QEk1pbmltdW1TdXBwb3J0ZWRPUxACowYHBxANEAAIDys9UlRYWgAAAAAAAAEBAAAAAAAAAAgAAAAAAAAAAAAAAAAAAABc";

    #[test]
    fn published_models_are_written_byte_for_byte() {
        for (text, made, length) in [
            (V1_12, HardwareModel::v1(2, [12, 0, 0]), 150),
            (V1_13, HardwareModel::v1(2, [13, 0, 0]), 150),
            (V2_13, HardwareModel::v2(2, [13, 0, 0]), 132),
        ] {
            let raw = STANDARD.decode(text).unwrap();
            assert_eq!(raw.len(), length);
            assert_eq!(HardwareModel::read(&raw), made);
        }
    }

    #[test]
    fn broken_models_say_what_is_missing_and_keep_their_bytes() {
        let raw = STANDARD.decode(V2_13).unwrap();
        let cut = HardwareModel::read(&raw[..60]);
        assert!(!cut.is_complete());
        assert_eq!(cut.raw, raw[..60]);
        let xml = b"<plist><dict><key>PlatformVersion</key><string>2</string>\
            <key>MinimumSupportedOS</key><array><integer>13</integer></array><key>VariantID</key><integer>1</integer></dict></plist>";
        let model = HardwareModel::read(xml);
        let codes: Vec<_> =
            model.findings.iter().map(|finding| (finding.offset, finding.code.text())).collect();
        insta::assert_debug_snapshot!(codes, @r#"
        [
            (
                0,
                "plist.missing_key",
            ),
            (
                13,
                "plist.wrong_type",
            ),
            (
                57,
                "plist.wrong_type",
            ),
            (
                122,
                "plist.unknown_key",
            ),
        ]
        "#);
    }

    proptest! {
        #[test]
        fn made_models_read_back(platform: u64, minimum: [u64; 3], small: [u8; 3]) {
            for minimum in [minimum, small.map(u64::from)] {
                for model in [HardwareModel::v1(platform, minimum), HardwareModel::v2(platform, minimum)] {
                    prop_assert_eq!(HardwareModel::read(&model.raw), model);
                }
            }
        }

        #[test]
        fn the_plist_crate_writes_the_same_second_form(platform in 0_u64..4, minimum: [u8; 3]) {
            let integer = |value: u64| Value::Integer(value.into());
            let mut dictionary = plist::Dictionary::new();
            dictionary.insert(REPRESENTATION.to_owned(), integer(2));
            dictionary.insert(PLATFORM.to_owned(), integer(platform));
            dictionary.insert(MINIMUM.to_owned(), Value::Array(minimum.map(|n| integer(n.into())).to_vec()));
            let mut theirs = Vec::new();
            Value::Dictionary(dictionary).to_writer_binary(&mut theirs).unwrap();
            prop_assert_eq!(HardwareModel::v2(platform, minimum.map(u64::from)).raw, theirs);
        }

        #[test]
        fn any_bytes_are_answered_within_their_bounds(bytes: Vec<u8>) {
            let model = HardwareModel::read(&bytes);
            prop_assert!(model.findings.iter().all(|finding| finding.offset <= bytes.len()));
        }
    }
}
