//! Identities in and out, byte for byte, and all that an argument can mean.

use crate::support::TestEnv;

/// Published identifiers and what follows from them: canonical text, base64 of the identifier, and what guests show.
const MACS: [(&str, &str, &str, &str); 5] = [
    (
        "ecid:0x5FADE97DCBBBEDA5",
        "YnBsaXN0MDDRAQJURUNJRBNfrel9y7vtpQgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
        "0000FE00-5FADE97DCBBBEDA5",
        "FF269FDC-7A93-5F12-A4B7-09923F0D1F7F",
    ),
    (
        "ecid:0x8406CE28ECFC4DAB",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAIQGzijs/E2rCAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
        "0000FE00-8406CE28ECFC4DAB",
        "9DDF3A21-4922-50D6-8301-993706890418",
    ),
    (
        "ecid:0x0123456789ABCDEF",
        "YnBsaXN0MDDRAQJURUNJRBMBI0VniavN7wgLEAAAAAAAAAEBAAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAZ",
        "0000FE00-0123456789ABCDEF",
        "65B59176-69F7-5C2E-88B5-23CAF4267476",
    ),
    (
        "ecid:0x8000000000000000",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAIAAAAAAAAAACAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
        "0000FE00-8000000000000000",
        "3FDC0FCD-79D1-5BD6-9D00-01D60FC9E7E4",
    ),
    (
        "ecid:0xFFFFFFFFFFFFFFFF",
        "YnBsaXN0MDDRAQJURUNJRBQAAAAAAAAAAP//////////CAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAACE=",
        "0000FE00-FFFFFFFFFFFFFFFF",
        "A92353AA-43A8-5FAD-A06B-915E35F50C77",
    ),
];

const LINUX: [(&str, &str, &str); 2] = [
    (
        "uuid:db087d0b-d366-40bc-809b-969690dcbe1e",
        "YnBsaXN0MDDRAQJUVVVJRE8QENsIfQvTZkC8gJuWlpDcvh4ICxAAAAAAAAABAQAAAAAAAAADAAAAAAAAAAAAAAAAAAAAIw==",
        "0b7d08db-66d3-bc40-809b-969690dcbe1e",
    ),
    (
        "uuid:b9287a28-db52-4736-a491-9a26c1478f15",
        "YnBsaXN0MDDRAQJUVVVJRE8QELkoeijbUkc2pJGaJsFHjxUICxAAAAAAAAABAQAAAAAAAAADAAAAAAAAAAAAAAAAAAAAIw==",
        "287a28b9-52db-3647-a491-9a26c1478f15",
    ),
];

/// A form that no tool writes and every reader takes: a one-byte number, 53 bytes.
const ODD: &str = "YnBsaXN0MDDRAQJURUNJRBABCAsQAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAABI=";

#[test]
fn predictions_are_those_of_published_machines() {
    let env = TestEnv::new();
    for (canonical, base64, udid, hardware) in MACS {
        let forms = [
            canonical.to_owned(),
            base64.to_owned(),
            format!("udid:{udid}"),
            format!("provisioning-udid:{udid}"),
        ];
        for form in forms {
            let shown = env.json(["identity", "show", &form]).ok().json();
            assert_eq!(shown["canonical"], canonical, "{form}");
            assert_eq!(shown["data_base64"], base64, "{form}");
            assert_eq!(shown["predicted"]["provisioning_udid"]["value"], udid);
            assert_eq!(shown["predicted"]["hardware_uuid"]["value"], hardware);
            assert!(shown["predicted"]["serial"]["value"].is_null());
        }
    }
    for (canonical, base64, product) in LINUX {
        let shown = env.json(["identity", "show", base64]).ok().json();
        assert_eq!(shown["canonical"], canonical);
        assert_eq!(shown["predicted"]["product_uuid"]["value"], product);
        let serial = format!("Virtualization-{}", canonical.strip_prefix("uuid:").unwrap());
        assert_eq!(shown["predicted"]["smbios_serial"]["value"], serial);
    }
}

#[test]
fn what_is_imported_is_exported_byte_for_byte() {
    let env = TestEnv::new();
    let all = MACS.iter().map(|row| row.1).chain(LINUX.iter().map(|row| row.1)).chain([ODD]);
    for (index, base64) in all.enumerate() {
        drop(env.run(["identity", "import", base64, "--label", &format!("label-{index}")]).ok());
        let file = env.root().join(format!("file-{index}"));
        let path = file.to_str().unwrap();
        drop(env.run(["identity", "export", &format!("label-{index}"), "-o", path]).ok());
        // The file shows the same bytes as the text: nothing was written anew.
        let shown = env.json(["identity", "show", path]).ok().json();
        assert_eq!(shown["data_base64"], base64);
        drop(
            env.json(["identity", "export", &format!("label-{index}"), "-o", path]).refused(4, "file.exists"),
        );
        drop(env.run(["identity", "export", "--force", &format!("label-{index}"), "-o", path]).ok());
    }
}

#[test]
fn a_folder_of_files_is_imported_and_what_is_none_is_passed_over() {
    let env = TestEnv::new();
    let folder = env.root().join("identities");
    std::fs::create_dir(&folder).unwrap();
    for (index, (canonical, ..)) in MACS.iter().enumerate() {
        let file = folder.join(index.to_string());
        drop(env.run(["identity", "export", canonical, "-o", file.to_str().unwrap()]).ok());
    }
    std::fs::write(folder.join("base64.txt"), format!("{}\n", LINUX[0].1)).unwrap();
    std::fs::write(folder.join("README"), "not one").unwrap();
    let taken = env.json(["identity", "import", folder.to_str().unwrap()]).ok();
    let rows = taken.json();
    assert_eq!(rows["identities"].as_array().unwrap().len(), MACS.len() + 1, "{taken}");
    assert!(taken.stderr.contains("README"), "{taken}");
    // Once more changes nothing.
    drop(env.json(["identity", "import", folder.to_str().unwrap()]).ok());
    let listed = env.json(["identity", "list"]).ok().json();
    assert_eq!(listed["identities"].as_array().unwrap().len(), MACS.len() + 1);
    let empty = env.root().join("empty");
    std::fs::create_dir(&empty).unwrap();
    drop(env.json(["identity", "import", empty.to_str().unwrap()]).refused(3, "identity.not_found"));
}

#[test]
fn an_argument_is_an_error_only_when_it_means_different_identities() {
    let env = TestEnv::new();
    env.create_with("web1", &["--no-disk", "--identity", LINUX[0].0]);
    assert_eq!(env.json(["identity", "show", "web1"]).ok().json()["canonical"], LINUX[0].0);
    // A label of the same name that is the same identity is no question.
    drop(env.run(["identity", "set", LINUX[0].0, "--label", "web1"]).ok());
    assert_eq!(env.json(["identity", "show", "web1"]).ok().json()["canonical"], LINUX[0].0);
    drop(env.run(["identity", "set", LINUX[0].0, "--label", ""]).ok());
    drop(env.run(["identity", "set", LINUX[1].0, "--label", "web1"]).ok());
    let file = env.root().join("web1");
    drop(env.run(["identity", "export", MACS[0].0, "-o", file.to_str().unwrap()]).ok());
    let error = env.json(["identity", "show", "web1"]).refused(2, "identity.ambiguous");
    let told = error["detail"].as_str().unwrap();
    for hit in ["label", "VM web1", "path", LINUX[0].0, LINUX[1].0, MACS[0].0] {
        assert!(told.contains(hit), "`{hit}` is not named: {told}");
    }
    // Said exactly, it is heard.
    assert_eq!(env.json(["identity", "show", "./web1"]).ok().json()["canonical"], MACS[0].0);
}

#[test]
fn what_cannot_be_chosen_is_refused_by_name() {
    let env = TestEnv::new();
    let hardware = "FF269FDC-7A93-5F12-A4B7-09923F0D1F7F";
    let udid = format!("udid:{hardware}");
    let calls: [&[&str]; 4] = [
        &["identity", "show", &udid],
        &["identity", "new", "--provisioning-udid", hardware],
        &["identity", "new", "--hardware-uuid", hardware],
        &["identity", "new", "--serial", "ZRMXJQTTFX"],
    ];
    let told: Vec<String> = calls.iter().map(|arguments| env.run(*arguments).render()).collect();
    for text in &told[..3] {
        assert!(text.contains("Hardware UUID"), "{text}");
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    exit: 9
    --- stderr
    error: "[UUID]" is a Hardware UUID, not a Provisioning UDID: it is made by SHA-1 and cannot be turned back

    hint: look for a known identity with this Hardware UUID: `selfsame identity find [UUID]`
    hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot

    exit: 9
    --- stderr
    error: "[UUID]" is a Hardware UUID, not a Provisioning UDID: it is made by SHA-1 and cannot be turned back

    hint: look for a known identity with this Hardware UUID: `selfsame identity find [UUID]`
    hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot

    exit: 9
    --- stderr
    error: no identity can be made from the Hardware UUID "[UUID]": it is made by SHA-1 and cannot be turned back

    hint: look for a known identity with this Hardware UUID: `selfsame identity find [UUID]`
    hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot

    exit: 9
    --- stderr
    error: no identity can be made from the serial number "ZRMXJQTTFX": the host derives it in a way that is not public, and choosing one needs an entitlement that only Apple gives

    hint: look for a known identity that showed this serial number: `selfsame identity find ZRMXJQTTFX`
    hint: docs/serials-and-enrolment.md explains which numbers of a VM can be chosen and which cannot
    "#);
    let zero = ["uuid:00000000-0000-0000-0000-000000000000", "uuid:ffffffff-ffff-ffff-ffff-ffffffffffff"];
    for argument in zero {
        assert_ne!(env.json(["identity", "show", argument]).code(), 0, "{argument}");
    }
    drop(
        env.json(["create", "web1", "--no-disk", "--identity", "ecid:1"]).refused(9, "identity.unsupported"),
    );
}

#[test]
fn every_command_that_takes_an_identity_takes_every_argument() {
    let env = TestEnv::new();
    drop(env.run(["identity", "import", LINUX[0].1, "--label", "mine"]).ok());
    let id = env.json(["identity", "list"]).ok().json()["identities"][0]["digest"].as_str().unwrap()[..8]
        .to_owned();
    let file = env.root().join("file");
    drop(env.run(["identity", "export", "mine", "-o", file.to_str().unwrap()]).ok());
    for (index, argument) in
        [LINUX[0].0, LINUX[0].1, "mine", &id, file.to_str().unwrap(), "vm-0"].iter().enumerate()
    {
        let name = format!("vm-{index}");
        env.create_with(&name, &["--no-disk", "--identity", argument]);
        assert_eq!(env.get(&name)["identity"], LINUX[0].0, "{argument}");
        let out = env.root().join(format!("out-{index}"));
        drop(env.run(["identity", "export", argument, "-o", out.to_str().unwrap()]).ok());
        assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&file).unwrap(), "{argument}");
    }
    let listed = env.json(["list"]).ok().json();
    assert_eq!(listed["vms"][0]["twins"].as_array().unwrap().len(), 5);
}
