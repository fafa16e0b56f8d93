use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<String, ArgumentError> {
    parse_prefixed(text).unwrap().map(|identity| identity.canonical())
}

#[test]
fn every_form_leads_to_its_identity() {
    for (text, canonical) in [
        ("ecid:1612748069448870101", "ecid:0x1661A1D30FB268D5"),
        ("ecid:0x1661a1d30fb268d5", "ecid:0x1661A1D30FB268D5"),
        ("ecid:0x1", "ecid:0x0000000000000001"),
        ("ecid:007", "ecid:0x0000000000000007"),
        ("ecid:0", "ecid:0x0000000000000000"),
        ("ecid:18446744073709551615", "ecid:0xFFFFFFFFFFFFFFFF"),
        ("provisioning-udid:0000FE00-5FADE97DCBBBEDA5", "ecid:0x5FADE97DCBBBEDA5"),
        ("udid:0000fe00-5fade97dcbbbeda5", "ecid:0x5FADE97DCBBBEDA5"),
        ("uuid:DB087D0B-D366-40BC-809B-969690DCBE1E", "uuid:db087d0b-d366-40bc-809b-969690dcbe1e"),
    ] {
        assert_eq!(parsed(text).as_deref(), Ok(canonical), "{text}");
    }
}

#[test]
fn other_texts_are_left_to_others() {
    for text in ["", "web1", ":", "ECID:1", " ecid:1", "json:{}", "nbd:host", "ecid", "machine-id:1"] {
        assert_eq!(parse_prefixed(text), None, "{text}");
    }
    assert!(matches!("web1".parse::<Identity>(), Err(ArgumentError::NoPrefix { .. })));
}

/// One line for each refusal: exit class, message, hints.
#[test]
fn refusals_name_what_was_pasted() {
    let mut page = String::new();
    for text in [
        "ecid:",
        "ecid:0x",
        "ecid:12x4",
        "ecid:-1",
        "ecid:1661A1D30FB268D5",
        "ecid:0x1661A1D30FB268D5F",
        "ecid:18446744073709551616",
        "udid:0000FE00",
        "provisioning-udid:00008112-000251423E78201E",
        "provisioning-udid:0000FE01-5FADE97DCBBBEDA5",
        "provisioning-udid:FF269FDC-7A93-5F12-A4B7-09923F0D1F7F",
        "udid:39b19135a46f38d132963a1166ad9b36d715325c",
        "uuid:db087d0bd36640bc809b969690dcbe1e",
        "uuid:{db087d0b-d366-40bc-809b-969690dcbe1e}",
        "uuid:00000000-0000-0000-0000-000000000000",
        "uuid:FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "serial:ZRMXJQTTFX",
        "hardware-uuid:FF269FDC-7A93-5F12-A4B7-09923F0D1F7F",
    ] {
        let report = crate::problem::Report::from(parsed(text).unwrap_err());
        page += &format!("{text}\n  {} {}\n", report.code, report.message);
        for cause in report.causes {
            page += &format!("  because {cause}\n");
        }
        for hint in report.hints {
            page += &format!("  hint: {}: {}\n", hint.text, hint.command.unwrap_or_default());
        }
    }
    insta::assert_snapshot!(page, @r#"
    ecid:
      identity.argument "" is no ECID: it has no digits
      hint: write it in decimal, or after 0x in hexadecimal: selfsame identity show ecid:0x1661A1D30FB268D5
    ecid:0x
      identity.argument "0x" is no ECID: it has no digits
      hint: write it in decimal, or after 0x in hexadecimal: selfsame identity show ecid:0x1661A1D30FB268D5
    ecid:12x4
      identity.argument "12x4" is no ECID: 'x' at byte 2 is no decimal digit
      hint: write it in decimal, or after 0x in hexadecimal: selfsame identity show ecid:0x1661A1D30FB268D5
    ecid:-1
      identity.argument "-1" is no ECID: '-' at byte 0 is no decimal digit
      hint: write it in decimal, or after 0x in hexadecimal: selfsame identity show ecid:0x1661A1D30FB268D5
    ecid:1661A1D30FB268D5
      identity.argument "1661A1D30FB268D5" is no ECID: 'A' at byte 4 is no decimal digit
      hint: hexadecimal digits need 0x before them: selfsame identity show ecid:0x1661A1D30FB268D5
    ecid:0x1661A1D30FB268D5F
      identity.argument "0x1661A1D30FB268D5F" is no ECID: it has more than 16 hexadecimal digits
      hint: write it in decimal, or after 0x in hexadecimal: selfsame identity show ecid:0x1661A1D30FB268D5
    ecid:18446744073709551616
      identity.argument "18446744073709551616" is no ECID: it has more than 64 bits, and the largest is 0xFFFFFFFFFFFFFFFF
      hint: write it in decimal, or after 0x in hexadecimal: selfsame identity show ecid:0x1661A1D30FB268D5
    udid:0000FE00
      identity.argument "0000FE00" is no Provisioning UDID of a VM: 0000FE00- and 16 hexadecimal digits are
      hint: this is what one looks like: selfsame identity show provisioning-udid:0000FE00-1661A1D30FB268D5
    provisioning-udid:00008112-000251423E78201E
      identity.unsupported "00008112-000251423E78201E" is the Provisioning UDID of a physical device: a VM's begins with 0000FE00-
      hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot: 
    provisioning-udid:0000FE01-5FADE97DCBBBEDA5
      identity.unsupported "0000FE01-5FADE97DCBBBEDA5" is the Provisioning UDID of a research VM of another board: a VM's begins with 0000FE00-
      hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot: 
    provisioning-udid:FF269FDC-7A93-5F12-A4B7-09923F0D1F7F
      identity.unsupported "FF269FDC-7A93-5F12-A4B7-09923F0D1F7F" is a Hardware UUID, not a Provisioning UDID: it is made by SHA-1 and cannot be turned back
      hint: look for a known identity with this Hardware UUID: selfsame identity find FF269FDC-7A93-5F12-A4B7-09923F0D1F7F
      hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot: 
    udid:39b19135a46f38d132963a1166ad9b36d715325c
      identity.unsupported "39b19135a46f38d132963a1166ad9b36d715325c" is a host-bound Provisioning UDID, as VMs have that were made since macOS 15: it does not come from the identity and cannot be turned back
      hint: look for a known identity that showed this Provisioning UDID: selfsame identity find 39b19135a46f38d132963a1166ad9b36d715325c
      hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot: 
    uuid:db087d0bd36640bc809b969690dcbe1e
      identity.argument "db087d0bd36640bc809b969690dcbe1e" is no UUID: 32 hexadecimal digits in groups of 8-4-4-4-12 are
      hint: this is what one looks like: selfsame identity show uuid:db087d0b-d366-40bc-809b-969690dcbe1e
    uuid:{db087d0b-d366-40bc-809b-969690dcbe1e}
      identity.argument "{db087d0b-d366-40bc-809b-969690dcbe1e}" is no UUID: 32 hexadecimal digits in groups of 8-4-4-4-12 are
      hint: this is what one looks like: selfsame identity show uuid:db087d0b-d366-40bc-809b-969690dcbe1e
    uuid:00000000-0000-0000-0000-000000000000
      identity.unsupported no identity can be made from the UUID "00000000-0000-0000-0000-000000000000"
      because the UUID 00000000-0000-0000-0000-000000000000 means "not set" to firmware
      hint: make a fresh identity: selfsame identity new
    uuid:FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF
      identity.unsupported no identity can be made from the UUID "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
      because the UUID ffffffff-ffff-ffff-ffff-ffffffffffff means "not set" to firmware
      hint: make a fresh identity: selfsame identity new
    serial:ZRMXJQTTFX
      identity.unsupported no identity can be made from the serial number "ZRMXJQTTFX": the host derives it in a way that is not public, and choosing one needs an entitlement that only Apple gives
      hint: look for a known identity that showed this serial number: selfsame identity find ZRMXJQTTFX
      hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot: 
    hardware-uuid:FF269FDC-7A93-5F12-A4B7-09923F0D1F7F
      identity.unsupported no identity can be made from the Hardware UUID "FF269FDC-7A93-5F12-A4B7-09923F0D1F7F": it is made by SHA-1 and cannot be turned back
      hint: look for a known identity with this Hardware UUID: selfsame identity find FF269FDC-7A93-5F12-A4B7-09923F0D1F7F
      hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot:
    "#);
}

#[test]
fn base64_is_taken_for_what_it_decodes_to() {
    let real = "YnBsaXN0MDDRAQJURUNJRBMWYaHTD7Jo1QgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ";
    let wrapped = format!(" {}\n{}\n", &real[..40], &real[40..]);
    for text in [real, &wrapped] {
        let blob = parse_base64(text).unwrap();
        assert_eq!(blob.identity.unwrap().canonical(), "ecid:0x1661A1D30FB268D5");
        assert!(blob.findings.is_empty());
    }
    let uuid =
        "YnBsaXN0MDDRAQJUVVVJRE8QENsIfQvTZkC8gJuWlpDcvh4ICxAAAAAAAAABAQAAAAAAAAADAAAAAAAAAAAAAAAAAAAAIw";
    assert!(parse_base64(uuid).unwrap().identity.is_some(), "padding may be missing");
    let cut = parse_base64(&real[..60]).unwrap();
    assert_eq!((cut.identity, cut.findings.len()), (None, 1));
    for text in ["", "web1", "é", "AAAA", "ecid:1", "/etc/passwd"] {
        assert_eq!(parse_base64(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn canonical_texts_and_base64_read_back(ecid: u64, uuid: u128) {
        let generic = GenericId::try_from(Uuid::from_u128(uuid)).map(Identity::Generic);
        for identity in [Identity::Mac(Ecid::new(ecid))].into_iter().chain(generic) {
            prop_assert_eq!(identity.canonical().parse(), Ok(identity));
            prop_assert_eq!(parse_base64(&identity.to_base64()).unwrap().identity, Some(identity));
        }
        let mac = Identity::Mac(Ecid::new(ecid));
        prop_assert_eq!(format!("ecid:{ecid}").parse(), Ok(mac));
        prop_assert_eq!(format!("udid:{}", Ecid::new(ecid).provisioning_udid()).parse(), Ok(mac));
    }

    #[test]
    fn any_text_is_answered(prefix in 0..PREFIXES.len(), text: String) {
        let answer = parse_prefixed(&format!("{}{text}", PREFIXES[prefix])).unwrap();
        if let Err(error) = answer {
            prop_assert!(!error.hints().is_empty());
            prop_assert!(!error.to_string().is_empty());
        }
        drop(parse_base64(&text));
    }
}
