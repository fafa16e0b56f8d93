use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@here";

fn seed() -> Seed {
    Seed {
        identity: "uuid:db087d0b-d366-40bc-809b-969690dcbe1e".parse().unwrap(),
        name: "Web_1".to_owned(),
        mac_address: "06:e8:a3:b0:23:b4".parse().unwrap(),
        user_data: UserData::Login { user: "debian".to_owned(), keys: vec![KEY.to_owned()] },
    }
}

#[test]
fn a_guest_is_told_its_name_its_user_and_its_network() {
    let text: String = seed()
        .files()
        .into_iter()
        .map(|(name, bytes)| format!("== {name}\n{}", String::from_utf8(bytes).unwrap()))
        .collect();
    insta::assert_snapshot!(text, @r#"
    == meta-data
    instance-id: "uuid:db087d0b-d366-40bc-809b-969690dcbe1e"
    local-hostname: "web-1"
    == network-config
    version: 2
    ethernets:
      eth0:
        match:
          macaddress: "06:e8:a3:b0:23:b4"
        set-name: eth0
        dhcp4: true
    == user-data
    #cloud-config
    users:
      - name: "debian"
        sudo: "ALL=(ALL) NOPASSWD:ALL"
        shell: "/bin/bash"
        lock_passwd: true
        ssh_authorized_keys:
          - "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@here"
    ssh_pwauth: false
    "#);
}

#[test]
fn the_same_guest_gets_the_same_bytes() {
    let image = seed().image().unwrap();
    let digest: String = Sha256::digest(&image).iter().map(|byte| format!("{byte:02x}")).collect();
    insta::assert_snapshot!(format!("{} bytes, {digest}", image.len()));
    let another = Seed { identity: "uuid:db087d0b-d366-40bc-809b-969690dcbe1f".parse().unwrap(), ..seed() };
    assert_ne!(another.image().unwrap(), image);
}

#[test]
fn what_is_given_verbatim_stays_so() {
    let bytes = b"#!/bin/sh\necho \xff\r\n".to_vec();
    let seed = Seed { user_data: UserData::Verbatim(bytes.clone()), ..seed() };
    let volume = Volume::read(&seed.image().unwrap()).unwrap();
    assert_eq!(volume.label, "CIDATA");
    assert_eq!(volume.files[2], ("user-data".to_owned(), bytes));
    let large = vec![b'x'; usize::try_from(USER_DATA_LIMIT).unwrap()];
    let seed = Seed { user_data: UserData::Verbatim(large.clone()), ..seed };
    assert_eq!(Volume::read(&seed.image().unwrap()).unwrap().files[2].1, large);
}

#[test]
fn names_become_host_names() {
    for (name, host) in [
        ("web1", "web1"),
        ("Web_1.example", "web-1-example"),
        ("--ü--", "vm"),
        ("ünter", "nter"),
        ("a--b-", "a-b"),
        ("", "vm"),
    ] {
        assert_eq!(host_name(name), host, "{name}");
    }
    assert_eq!(host_name(&format!("{}_b", "a".repeat(62))), "a".repeat(62));
}

#[test]
fn users_are_those_that_linux_takes() {
    for name in ["debian", "_x", "a-b_9", &"a".repeat(32)] {
        assert_eq!(check_user(name), Ok(()), "{name}");
    }
    for name in ["", "9a", "-a", "A", "a b", "a:b", "ä", &"a".repeat(33), "a\n"] {
        assert!(matches!(check_user(name), Err(UserError::Form { .. })), "{name}");
    }
    assert_eq!(check_user("root"), Err(UserError::Root));
}

/// The YAML reader that cloud-init itself uses reads every text as what it was.
#[test]
fn pyyaml_reads_every_quoted_text_back() {
    let texts = [
        "",
        "x",
        "yes",
        "1",
        "a: b",
        "- a",
        "#",
        "\"",
        "\\",
        "\\x41",
        "\n",
        "\t",
        "\0",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{feff}",
        "\u{2028}",
        "ü",
        "😀",
        "%",
        "{}",
        "'",
        "`",
        " x ",
        "\u{ffff}",
        "\u{10ffff}",
    ];
    let yaml: String = texts.iter().map(|text| format!("- {}\n", quoted(text))).collect();
    let script = "import json, sys, yaml\nprint(json.dumps(yaml.safe_load(sys.stdin.buffer.read())))";
    let python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else {
        eprintln!("SKIPPED: pyyaml_reads_every_quoted_text_back needs python3");
        return;
    };
    drop(python.stdin.take().unwrap().write_all(yaml.as_bytes()));
    let output = python.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("No module named 'yaml'") {
        eprintln!("SKIPPED: pyyaml_reads_every_quoted_text_back needs python3-yaml");
        return;
    }
    let read: Vec<String> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(read, texts);
}

proptest! {
    #[test]
    fn a_quoted_text_is_one_line_of_plain_ascii_with_two_open_quotes(text: String) {
        let quoted = quoted(&text);
        prop_assert!(quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let inner = &quoted[1..quoted.len() - 1];
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            prop_assert!(c != '"');
            if c == '\\' {
                chars.next();
            }
        }
    }

    #[test]
    fn every_name_becomes_a_host_name(name: String) {
        let host = host_name(&name);
        prop_assert!((1..=63).contains(&host.len()));
        prop_assert!(host.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        prop_assert!(!host.starts_with('-') && !host.ends_with('-'));
    }
}
