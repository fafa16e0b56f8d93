use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plist::Dictionary;
use proptest::prelude::*;

use super::*;
use crate::identity::MAX_BLOB;

/// Published blobs, and blobs computed from published ECIDs and UUIDs.
const VECTORS: [(&str, &str); 17] = [
    (
        "ecid:0x1661A1D30FB268D5",
        "YnBsaXN0MDDRAQJURUNJRBMWYaHTD7Jo1QgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
    ),
    (
        "ecid:0x1C4BB370C08694BB",
        "YnBsaXN0MDDRAQJURUNJRBMcS7NwwIaUuwgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
    ),
    (
        "ecid:0x1870AB6FA80BEE54",
        "YnBsaXN0MDDRAQJURUNJRBMYcKtvqAvuVAgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
    ),
    (
        "ecid:0x9CDE470A5DCF5A35",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAJzeRwpdz1o1CAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
    ),
    (
        "ecid:0xC3E7196D6B9D9883",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAMPnGW1rnZiDCAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
    ),
    (
        "ecid:0x5FADE97DCBBBEDA5",
        "YnBsaXN0MDDRAQJURUNJRBNfrel9y7vtpQgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
    ),
    (
        "ecid:0x8406CE28ECFC4DAB",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAIQGzijs/E2rCAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
    ),
    (
        "ecid:0x92C8A052857994E2",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAJLIoFKFeZTiCAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
    ),
    (
        "ecid:0x95D42C402835BDCD",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAJXULEAoNb3NCAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
    ),
    (
        "ecid:0x0123456789ABCDEF",
        "YnBsaXN0MDDRAQJURUNJRBMBI0VniavN7wgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
    ),
    (
        "ecid:0x7FFFFFFFFFFFFFFF",
        "YnBsaXN0MDDRAQJURUNJRBN//////////wgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
    ),
    (
        "ecid:0x8000000000000000",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAIAAAAAAAAAACAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
    ),
    (
        "ecid:0xFFFFFFFFFFFFFFFF",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAP//////////CAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
    ),
    (
        "uuid:db087d0b-d366-40bc-809b-969690dcbe1e",
        "YnBsaXN0MDDRAQJUVVVJRE8QENsIfQvTZkC8gJuWlpDcvh4ICxAAAAAAAAABAQAAAAAAAAADAAAAAAAAAAAAAAAAAAAAIw==",
    ),
    (
        "uuid:b9287a28-db52-4736-a491-9a26c1478f15",
        "YnBsaXN0MDDRAQJUVVVJRE8QELkoeijbUkc2pJGaJsFHjxUICxAAAAAAAAABAQAAAAAAAAADAAAAAAAAAAAAAAAAAAAAIw==",
    ),
    (
        "uuid:c4e505cf-ced1-493f-9d6f-f5e46434e9d0",
        "YnBsaXN0MDDRAQJUVVVJRE8QEMTlBc/O0Uk/nW/15GQ06dAICxAAAAAAAAABAQAAAAAAAAADAAAAAAAAAAAAAAAAAAAAIw==",
    ),
    (
        "uuid:4751f84f-531f-4993-ae7c-adad38143614",
        "YnBsaXN0MDDRAQJUVVVJRE8QEEdR+E9TH0mTrnytrTgUNhQICxAAAAAAAAABAQAAAAAAAAADAAAAAAAAAAAAAAAAAAAAIw==",
    ),
];

/// Findings as `offset code severity`.
fn findings(bytes: &[u8]) -> Vec<String> {
    let line = |finding: &Finding| format!("{} {} {:?}", finding.offset, finding.code, finding.severity);
    Blob::read(bytes).findings.iter().map(line).collect()
}

fn ecid_of(bytes: &[u8]) -> Option<u64> {
    match Blob::read(bytes).identity? {
        Identity::Mac(ecid) => Some(ecid.value()),
        Identity::Generic(_) => None,
    }
}

fn dictionary(entries: &[(&str, Value)]) -> Vec<u8> {
    let dictionary: Dictionary =
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut bytes = Vec::new();
    Value::Dictionary(dictionary).to_writer_binary(&mut bytes).unwrap();
    bytes
}

/// A blob with the given object at its end, whatever it is.
fn with_value(key: &str, object: &[u8]) -> Vec<u8> {
    let mut bytes = b"bplist00\xD1\x01\x02\x54".to_vec();
    bytes.extend(key.as_bytes());
    bytes.extend(object);
    let table = u8::try_from(bytes.len()).unwrap();
    bytes.extend([8, 0x0B, 0x10, 0, 0, 0, 0, 0, 0, 1, 1]);
    bytes.extend([[0, 0, 0, 0, 0, 0, 0, 3], [0; 8], [0, 0, 0, 0, 0, 0, 0, table]].concat());
    bytes
}

#[test]
fn vectors_are_read_and_written_byte_for_byte() {
    for (canonical, base64) in VECTORS {
        let raw = STANDARD.decode(base64).unwrap();
        let identity: Identity = canonical.parse().unwrap();
        assert_eq!(Blob::read(&raw), Blob { raw: raw.clone(), identity: Some(identity), findings: vec![] });
        assert_eq!(identity.to_bytes(), raw);
        assert_eq!(identity.to_base64(), base64);
    }
}

#[test]
fn any_width_of_integer_is_read() {
    let shortest =
        STANDARD.decode("YnBsaXN0MDDRAQJURUNJRBABCAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAABI=").unwrap();
    assert_eq!(shortest.len(), 53);
    assert_eq!(shortest, with_value("ECID", &[0x10, 1]));
    assert_eq!(
        (ecid_of(&shortest), findings(&shortest)),
        (Some(1), vec!["16 plist.not_canonical Note".to_owned()])
    );
    for object in [&[0x11, 0xFF, 0xFE][..], &[0x12, 0, 0, 0xFF, 0xFE], &[0x13, 0, 0, 0, 0, 0, 0, 0xFF, 0xFE]]
    {
        assert_eq!(ecid_of(&with_value("ECID", object)), Some(0xFFFE));
    }
    let wide = [&[0x14][..], &[0; 15], &[9]].concat();
    assert_eq!(ecid_of(&with_value("ECID", &wide)), Some(9));
}

#[test]
fn negative_ecids_are_masked_and_wider_ones_refused() {
    let negative = with_value("ECID", &[0x13, 0xC3, 0xE7, 0x19, 0x6D, 0x6B, 0x9D, 0x98, 0x83]);
    assert_eq!(ecid_of(&negative), Some(0xC3E7_196D_6B9D_9883));
    assert_eq!(findings(&negative), ["16 identifier.negative_ecid Warning", "16 plist.not_canonical Note"]);
    let wide = with_value("ECID", &[&[0x14][..], &[0, 0, 0, 0, 0, 0, 0, 1], &[0; 8]].concat());
    assert_eq!((ecid_of(&wide), findings(&wide)), (None, vec!["16 plist.malformed Error".to_owned()]));
}

#[test]
fn objects_in_any_order_and_xml_are_read() {
    // The value before the key, and the dictionary last.
    let mut bytes = b"bplist00\x10\x07\x54ECID\xD1\x01\x00".to_vec();
    bytes.extend([8, 10, 15, 0, 0, 0, 0, 0, 0, 1, 1]);
    bytes.extend([[0, 0, 0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 0, 0, 18]].concat());
    assert_eq!((ecid_of(&bytes), findings(&bytes)), (Some(7), vec!["8 plist.not_canonical Note".to_owned()]));
    let xml = b"\xEF\xBB\xBF\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><dict>\
        <key>ECID</key><integer>10796302860778061261</integer></dict></plist>\n";
    assert_eq!(ecid_of(xml), Some(0x95D4_2C40_2835_BDCD));
    assert_eq!(findings(xml), ["0 plist.not_canonical Note"]);
    let uuid = b"<plist><dict><key>UUID</key><data>2wh9C9NmQLyAm5aWkNy+Hg==</data></dict></plist>";
    assert_eq!(Blob::read(uuid).require().unwrap().canonical(), "uuid:db087d0b-d366-40bc-809b-969690dcbe1e");
}

#[test]
fn what_is_odd_is_found_at_its_place() {
    let uuid = |bytes: &[u8]| Value::Data(bytes.to_vec());
    let number = Value::Integer(5.into());
    let twice = {
        let mut bytes = b"bplist00\xD2\x01\x01\x02\x02\x54ECID\x10\x05\x08\x0D\x12".to_vec();
        bytes.extend([0, 0, 0, 0, 0, 0, 1, 1]);
        bytes.extend([[0, 0, 0, 0, 0, 0, 0, 3], [0; 8], [0, 0, 0, 0, 0, 0, 0, 20]].concat());
        bytes
    };
    let canonical = "ecid:0x5FADE97DCBBBEDA5".parse::<Identity>().unwrap().to_bytes();
    let mut page = String::new();
    for (name, bytes) in [
        ("empty", vec![]),
        ("first bytes", b"bpli".to_vec()),
        ("cut", canonical[..40].to_vec()),
        ("cut by one", canonical[..59].to_vec()),
        ("line feed behind", [&canonical[..], b"\n"].concat()),
        ("twice over", canonical.repeat(2)),
        ("text", b"web1 is a fine machine".to_vec()),
        ("too large", vec![b'<'; MAX_BLOB + 1]),
        ("both", dictionary(&[("ECID", number.clone()), ("UUID", uuid(&[1; 16]))])),
        ("neither", dictionary(&[("Serial", number.clone())])),
        ("more", dictionary(&[("ECID", number.clone()), ("SerialNumber", number.clone())])),
        ("same key twice", twice),
        (
            "no dictionary",
            [&b"bplist00\x10\x05\x08\0\0\0\0\0\0\x01\x01"[..], &[0, 0, 0, 0, 0, 0, 0, 1], &[0; 15], &[10]]
                .concat(),
        ),
        ("text for a number", dictionary(&[("ECID", Value::String("5".to_owned()))])),
        ("text for data", dictionary(&[("UUID", Value::String("5".to_owned()))])),
        ("15 bytes", dictionary(&[("UUID", uuid(&[1; 15]))])),
        ("nil", dictionary(&[("UUID", uuid(&[0; 16]))])),
        ("all ones", dictionary(&[("UUID", uuid(&[255; 16]))])),
        ("deep XML", b"<plist>".iter().copied().chain(b"<array>".repeat(9000)).collect()),
        ("broken XML", b"<plist><dict><key>ECID</key><integer>5x</integer></dict></plist>".to_vec()),
        (
            "same key twice in XML",
            b"<dict><key>ECID</key><integer>5</integer><key>ECID</key><integer>6</integer></dict>".to_vec(),
        ),
    ] {
        let blob = Blob::read(&bytes);
        page +=
            &format!("{name}: {}\n", blob.identity.map_or("-".to_owned(), |identity| identity.canonical()));
        for finding in &blob.findings {
            page += &format!(
                "  {} {} {:?}: {}\n",
                finding.offset, finding.code, finding.severity, finding.message
            );
        }
        assert_eq!(blob.require().is_ok(), blob.identity.is_some());
    }
    insta::assert_snapshot!(page, @r#"
    empty: -
      0 plist.empty Error: there is no data
    first bytes: -
      4 plist.truncated Error: the property list ends within its first eight bytes
    cut: -
      40 plist.truncated Error: the identifier ends after 40 of 60 bytes
    cut by one: -
      59 plist.truncated Error: the identifier ends after 59 of 60 bytes
    line feed behind: ecid:0x5FADE97DCBBBEDA5
      60 plist.trailing Warning: bytes follow the identifier (1); the framework may refuse it
    twice over: ecid:0x5FADE97DCBBBEDA5
      60 plist.trailing Warning: bytes follow the identifier (60); the framework may refuse it
    text: -
      0 plist.unknown_form Error: neither a binary nor an XML property list
    too large: -
      65536 plist.too_large Error: 65537 bytes are more than such data can have
    both: -
      25 identifier.ambiguous Error: both an ECID and a UUID: which one counts cannot be told
    neither: -
      8 plist.missing_key Error: the dictionary has neither an ECID nor a UUID
      18 plist.unknown_key Note: the key "Serial" is not known
    more: ecid:0x0000000000000005
      8 plist.not_canonical Note: the framework would write other bytes from here on
      31 plist.unknown_key Note: the key "SerialNumber" is not known
    same key twice: -
      18 plist.duplicate_key Error: the key "ECID" stands twice
    no dictionary: -
      8 plist.not_dictionary Error: the property list is no dictionary
    text for a number: -
      16 plist.wrong_type Error: the ECID is no integer
    text for data: -
      16 plist.wrong_type Error: the UUID is no data
    15 bytes: -
      16 identifier.uuid_length Error: the UUID has 15 bytes instead of 16
    nil: -
      16 identifier.uuid_reserved Error: the UUID 00000000-0000-0000-0000-000000000000 means "not set" to firmware
    all ones: -
      16 identifier.uuid_reserved Error: the UUID ffffffff-ffff-ffff-ffff-ffffffffffff means "not set" to firmware
    deep XML: -
      0 plist.too_deep Error: the property list has more structure than an identifier can have
    broken XML: -
      49 plist.malformed Error: the property list cannot be decoded (InvalidIntegerString)
    same key twice in XML: -
      41 plist.duplicate_key Error: the key "ECID" stands twice
    "#);
}

fn check(bytes: &[u8]) {
    let blob = Blob::read(bytes);
    assert_eq!(blob.raw, bytes);
    assert!(blob.findings.iter().all(|finding| finding.offset <= bytes.len()));
    let failed = blob.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(failed, blob.identity.is_none());
}

proptest! {
    #[test]
    fn identities_survive_their_bytes(ecid: u64, uuid: u128) {
        let generic = GenericId::try_from(Uuid::from_u128(uuid)).map(Identity::Generic);
        for identity in [Identity::Mac(Ecid::new(ecid))].into_iter().chain(generic) {
            let blob = Blob::read(&identity.to_bytes());
            prop_assert_eq!(blob.identity, Some(identity));
            prop_assert!(blob.findings.is_empty());
        }
    }

    #[test]
    fn any_bytes_are_answered_within_their_bounds(bytes: Vec<u8>, marked: Vec<u8>) {
        check(&bytes);
        check(&[b"bplist00", &marked[..]].concat());
        check(&[b"<plist>", &marked[..]].concat());
    }

    #[test]
    fn damaged_blobs_are_answered_within_their_bounds(vector in 0..VECTORS.len(), at: usize, byte: u8, cut: usize) {
        let mut raw = STANDARD.decode(VECTORS[vector].1).unwrap();
        let length = raw.len();
        raw[at % length] = byte;
        check(&raw);
        raw.truncate(cut % length);
        check(&raw);
    }

    #[test]
    fn other_writers_blobs_are_read(ecid: u64, extra in "[A-Z]{1,9}", text: String, xml: bool) {
        prop_assume!(extra != "ECID" && extra != "UUID");
        let entries = [(extra, Value::String(text)), ("ECID".to_owned(), Value::Integer(ecid.into()))];
        let value = Value::Dictionary(entries.into_iter().collect());
        let mut bytes = Vec::new();
        if xml { value.to_writer_xml(&mut bytes) } else { value.to_writer_binary(&mut bytes) }.unwrap();
        let blob = Blob::read(&bytes);
        // Control characters cannot stand in XML.
        if blob.identity.is_some() || !xml {
            prop_assert_eq!(blob.identity, Some(Identity::Mac(Ecid::new(ecid))));
        }
    }
}
