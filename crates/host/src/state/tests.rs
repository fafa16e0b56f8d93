//! A state in a folder, without any guest: what is committed, found, refused and removed.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::description::Description;
use super::*;
use crate::bundle::Named;
use crate::lock::FolderLock;
use crate::qemu::version::Version;

fn made() -> Made {
    Made {
        identity: "uuid:35fd0b8e-7192-4d7a-9828-622e18203faa".to_owned(),
        folder: "fe00-1".to_owned(),
        host: Some("50d0".to_owned()),
        machine: "pc-q35-7.2".to_owned(),
        mac_address: "06:e8:a3:b0:23:b4".to_owned(),
        network: selfsame_machine::network::Network::Nat,
        cpus: 2,
        memory: 256 << 20,
        display: "vga".to_owned(),
        accelerator: "tcg".to_owned(),
        qemu: Some(Version { major: 7, minor: 2, micro: 22 }),
        disks: vec!["Disk.img".to_owned()],
        devices: 2,
    }
}

fn vault(folder: &Path) -> Vault {
    Vault::new(FolderLock::open(folder).unwrap(), Some(made()))
}

/// Writes and commits a state with these bytes.
fn save(folder: &Path, memory: &[u8]) {
    let mut vault = vault(folder);
    std::fs::write(vault.prepare(true).unwrap(), memory).unwrap();
    assert_eq!(unfinished(folder), Some(true));
    vault.seal().unwrap();
    assert!(vault.is_sealing() && vault.descriptor().is_some());
    let began = Instant::now();
    loop {
        if let Some(sealed) = vault.sealed() {
            sealed.unwrap();
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it is never sealed");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Disk.img"), b"disk").unwrap();
    folder
}

fn check(folder: &Path, now: &Made) -> Result<(), StateError> {
    let name = Named::of(folder, folder);
    Saved::read(folder, &name).unwrap().expect("it is suspended").check(now)
}

#[test]
fn a_state_is_whole_or_not_there_and_a_second_takes_the_place_of_the_first() {
    let folder = folder();
    let path = folder.path();
    assert_eq!(summary(path), None);
    for memory in [&b"one"[..], b"another"] {
        save(path, memory);
        check(path, &made()).unwrap();
        assert_eq!(summary(path).unwrap().size, u64::try_from(memory.len()).ok());
        assert_eq!(unfinished(path), None);
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 2, "the disk and the state");
    }
    consume(path).unwrap();
    consume(path).unwrap();
    assert_eq!(summary(path), None);
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 1, "the disk alone");
}

#[test]
fn a_state_that_is_given_up_leaves_nothing() {
    let folder = folder();
    let mut vault = vault(folder.path());
    std::fs::write(vault.prepare(false).unwrap(), vec![0; 4 << 20]).unwrap();
    assert_eq!(unfinished(folder.path()), Some(false));
    vault.seal().unwrap();
    vault.abandon();
    assert!(vault.sealed().is_none());
    assert_eq!(unfinished(folder.path()), None);
    assert_eq!(summary(folder.path()), None);
}

#[test]
fn a_disk_that_is_gone_fails_the_sealing_and_not_the_state_before() {
    let folder = folder();
    save(folder.path(), b"one");
    std::fs::remove_file(folder.path().join("Disk.img")).unwrap();
    let mut vault = vault(folder.path());
    std::fs::write(vault.prepare(false).unwrap(), b"another").unwrap();
    vault.seal().unwrap();
    let sealed = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(1));
        vault.sealed()
    });
    let report = sealed.take(20_000).flatten().next().unwrap().unwrap_err();
    assert!(report.message.contains("Disk.img"), "{report:?}");
    assert_eq!(summary(folder.path()).unwrap().size, Some(3));
}

#[test]
fn every_difference_is_named_and_a_newer_qemu_is_none() {
    let folder = folder();
    save(folder.path(), b"memory");
    type Change = fn(&mut Made);
    let changes: [(Change, Difference); 12] = [
        (|made| made.identity.push('0'), Difference::Identity),
        (|made| made.folder.push('0'), Difference::Folder),
        (|made| made.host = Some("60d0".to_owned()), Difference::Host),
        (|made| made.machine.push('0'), Difference::Machine),
        (|made| made.devices += 1, Difference::Devices),
        (|made| made.mac_address = "06:e8:a3:b0:23:b5".to_owned(), Difference::MacAddress),
        (|made| made.cpus += 1, Difference::Cpus),
        (|made| made.memory *= 2, Difference::Memory),
        (|made| made.display = "none".to_owned(), Difference::Display),
        (|made| made.accelerator = "kvm".to_owned(), Difference::Accelerator),
        (|made| made.qemu = Some(Version { major: 7, minor: 2, micro: 21 }), Difference::Version),
        (|made| made.disks.push("NVRAM".to_owned()), Difference::Disks),
    ];
    for (change, expected) in changes {
        let mut now = made();
        change(&mut now);
        let Err(StateError::Mismatch { what, .. }) = check(folder.path(), &now) else {
            panic!("{expected} is passed over");
        };
        assert_eq!(what, expected);
    }
    // One that does not tell its devices was made with the first of them.
    let path = folder.path().join(STATE).join(STATE_DESCRIPTION);
    let whole = std::fs::read_to_string(&path).unwrap();
    let before = whole.replace("devices = 2\n", "");
    assert_ne!(before, whole);
    std::fs::write(&path, before).unwrap();
    let error = check(folder.path(), &made()).unwrap_err();
    assert!(
        error.to_string().contains("its set of devices was version 1 then, and is version 2 now"),
        "{error}"
    );
    std::fs::write(&path, whole).unwrap();
    let newer = Made { qemu: Some(Version { major: 10, minor: 0, micro: 2 }), ..made() };
    check(folder.path(), &newer).unwrap();
    let unknown = Made { host: None, ..made() };
    check(folder.path(), &unknown).unwrap();
}

#[test]
fn a_state_of_an_older_selfsame_is_of_a_guest_without_a_screen() {
    let folder = folder();
    save(folder.path(), b"memory");
    let description = folder.path().join(STATE).join(STATE_DESCRIPTION);
    let text = std::fs::read_to_string(&description).unwrap();
    std::fs::write(&description, text.replace("display = \"vga\"\n", "")).unwrap();
    let error = check(folder.path(), &made()).unwrap_err();
    assert!(error.to_string().ends_with("its display was none then, and is vga now"), "{error}");
    check(folder.path(), &Made { display: "none".to_owned(), ..made() }).unwrap();
}

proptest! {
    // Each writes to the disk and waits for it.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_description_is_misread(text in any::<String>(), cut in 0_usize..600) {
        drop(Description::read(&text));
        let folder = folder();
        save(folder.path(), b"memory");
        let whole = std::fs::read_to_string(folder.path().join(STATE).join(STATE_DESCRIPTION)).unwrap();
        let read = Description::read(&whole).unwrap();
        prop_assert_eq!(Description::read(&toml::to_string(&read).unwrap()), Ok(read.clone()));
        // A piece of it is refused or, where only the list of disks is cut off, says so.
        if let Ok(half) = Description::read(whole.get(..cut.min(whole.len() - 1)).unwrap_or_default()) {
            prop_assert!(half == read || half.disks.len() < half.made.disks.len());
        }
    }
}
