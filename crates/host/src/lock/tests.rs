//! Locks against the real kernel, in a folder of the test's own. Other processes are played by other open file
//! descriptions, which is what `flock` tells apart; other users by the hazards of the binary.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use selfsame_machine::identity::{Digest, Identity};

use super::*;

fn place() -> (tempfile::TempDir, LockPlace) {
    let folder = tempfile::tempdir().unwrap();
    let place = LockPlace::open(folder.path().join("locks"), PlaceSource::Environment).unwrap();
    (folder, place)
}

fn digest() -> Digest {
    let uuid = format!("uuid:{}", uuid::Uuid::new_v4());
    uuid.parse::<Identity>().unwrap().digest()
}

fn note() -> Note {
    Note { pid: 7, folder: "/vms/a.vm".into() }
}

fn taken(attempt: Attempt) -> Claim {
    match attempt {
        Attempt::Taken(claim) => claim,
        Attempt::Held => panic!("it is held"),
    }
}

fn is_held(place: &LockPlace, subject: &Subject) -> bool {
    matches!(Claim::attempt(place, subject, &note()).unwrap(), Attempt::Held)
}

#[test]
fn the_place_is_open_to_all_whatever_the_umask_and_repaired_by_its_owner() {
    let (folder, place) = place();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(place.path()), 0o1777);
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o700)).unwrap();
    LockPlace::open(place.path().to_owned(), PlaceSource::Rule).unwrap();
    assert_eq!(mode(place.path()), 0o1777);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn both_levels_of_selfsames_own_are_open_to_all_and_neither_is_a_link() {
    let root = tempfile::tempdir().unwrap();
    let around = root.path().join(".selfsame");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let place = LockPlace::open(around.join("locks"), PlaceSource::Rule).unwrap();
    assert_eq!((mode(&around), mode(place.path())), (0o1777, 0o1777));
    fs::set_permissions(&around, PermissionsExt::from_mode(0o755)).unwrap();
    LockPlace::open(around.join("locks"), PlaceSource::Rule).unwrap();
    assert_eq!(mode(&around), 0o1777, "its owner repairs it");

    let elsewhere = root.path().join("elsewhere");
    fs::rename(&around, &elsewhere).unwrap();
    symlink(&elsewhere, &around).unwrap();
    let error = LockPlace::open(around.join("locks"), PlaceSource::Rule).unwrap_err();
    assert!(matches!(error, LockError::Place { path, .. } if path == around));
}

#[test]
fn a_place_that_is_a_link_or_a_file_is_refused() {
    let (folder, place) = place();
    let link = folder.path().join("link");
    symlink(place.path(), &link).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [link, file] {
        let error = LockPlace::open(path, PlaceSource::Rule).unwrap_err();
        assert!(matches!(error, LockError::Place { .. }), "{error:?}");
    }
}

#[test]
fn the_environment_moves_the_place_before_the_configuration_does() {
    let choose = |environment: Option<&str>, configured: Option<&str>| {
        LockPlace::choose(environment.map(Path::new), configured.map(Path::new))
    };
    assert_eq!(choose(Some("/a"), Some("/b")), ("/a".into(), PlaceSource::Environment));
    assert_eq!(choose(None, Some("/b")), ("/b".into(), PlaceSource::Configuration));
    assert_eq!(choose(None, None).1, PlaceSource::Rule);
}

#[test]
fn a_claim_is_held_once_and_free_with_its_last_descriptor() {
    let (_folder, place) = place();
    let subject = Subject::Identity(digest());
    assert!(!is_claimed(place.path(), &subject).unwrap());
    let claim = taken(Claim::attempt(&place, &subject, &note()).unwrap());
    assert!(is_claimed(place.path(), &subject).unwrap());
    assert!(is_held(&place, &subject));
    assert_eq!(noted_holder(place.path(), &subject), Some(note()));
    // What QEMU inherits: duplicates of the same open file descriptions.
    let inherited: Vec<_> =
        claim.descriptors().map(|descriptor| descriptor.try_clone_to_owned().unwrap()).collect();
    drop(claim);
    assert!(
        is_claimed(place.path(), &subject).unwrap() && is_held(&place, &subject),
        "closing must not unlock"
    );
    drop(inherited);
    assert!(!is_claimed(place.path(), &subject).unwrap());
    drop(taken(Claim::attempt(&place, &subject, &note()).unwrap()));
}

#[test]
fn one_asker_answers_for_any_number_of_claims() {
    let (_folder, place) = place();
    let [held, free] = [digest(), digest()].map(Subject::Identity);
    let claim = taken(Claim::attempt(&place, &held, &note()).unwrap());
    let asker = Asker::new(place.path()).unwrap();
    for _ in 0..2 {
        assert!(asker.is_claimed(&held).unwrap());
        assert!(!asker.is_claimed(&free).unwrap());
    }
    drop(claim);
    assert!(!asker.is_claimed(&held).unwrap());
}

#[test]
fn a_shorter_note_leaves_nothing_of_a_longer_one() {
    let (_folder, place) = place();
    let subject = Subject::Identity(digest());
    for folder in ["/vms/a-long-name.vm", "/vms/a.vm", "/vms/b.vm", "/vms/another-long-name.vm"] {
        let note = Note { folder: folder.into(), ..note() };
        drop(taken(Claim::attempt(&place, &subject, &note).unwrap()));
        assert_eq!(noted_holder(place.path(), &subject), Some(note));
    }
}

/// On macOS another process is needed to see it: a claim of this very process shows in no title but its own.
#[test]
#[cfg(target_os = "linux")]
fn a_wiped_place_frees_nothing() {
    let (_folder, place) = place();
    let subject = Subject::Identity(digest());
    let claim = taken(Claim::attempt(&place, &subject, &note()).unwrap());
    fs::remove_dir_all(place.path()).unwrap();
    let anew = LockPlace::open(place.path().to_owned(), PlaceSource::Environment).unwrap();
    assert!(is_held(&anew, &subject));
    drop(claim);
    drop(taken(Claim::attempt(&anew, &subject, &note()).unwrap()));
}

#[test]
fn a_lock_on_a_file_that_was_replaced_does_not_count() {
    let (_folder, place) = place();
    let path = place.path().join("x");
    let first = LockFile::try_lock(&place, "x").unwrap().unwrap();
    fs::remove_file(&path).unwrap();
    // The old file is still locked; the name leads to a new one, and that one is what others will find.
    let second = LockFile::try_lock(&place, "x").unwrap().unwrap();
    assert!(LockFile::try_lock(&place, "x").unwrap().is_none());
    drop(first);
    assert!(LockFile::try_lock(&place, "x").unwrap().is_none());
    drop(second);
    assert!(LockFile::try_lock(&place, "x").unwrap().is_some());
}

#[test]
fn what_is_no_plain_file_is_refused_by_what_it_is() {
    let (folder, place) = place();
    let target = folder.path().join("target");
    fs::write(&target, "precious").unwrap();
    symlink(&target, place.path().join("link")).unwrap();
    fs::create_dir(place.path().join("folder")).unwrap();
    #[cfg(target_os = "linux")]
    rustix::fs::mknodat(
        &place,
        "fifo",
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    #[cfg(not(target_os = "linux"))]
    let _socket = std::os::unix::net::UnixListener::bind(place.path().join("fifo")).unwrap();
    for (name, what) in [("link", "symbolic link"), ("folder", "a folder"), ("fifo", "no plain file")] {
        let error = LockFile::try_lock(&place, name).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    assert_eq!(fs::read(target).unwrap(), b"precious");
}

#[test]
fn a_hard_link_is_never_written_through() {
    let (folder, place) = place();
    let target = folder.path().join("target");
    fs::write(&target, "precious").unwrap();
    let subject = Subject::Identity(digest());
    fs::hard_link(&target, place.path().join(subject.key())).unwrap();
    let error = Claim::attempt(&place, &subject, &note()).unwrap_err();
    assert!(error.to_string().contains("other names"), "{error}");
    assert_eq!(fs::read(target).unwrap(), b"precious");
}

#[test]
fn a_named_place_is_not_opened_to_all_without_a_word() {
    let (_folder, place) = place();
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for source in [PlaceSource::Environment, PlaceSource::Configuration] {
        let error = LockPlace::open(place.path().to_owned(), source).unwrap_err();
        assert!(matches!(error, LockError::Place { .. }), "{error:?}");
        assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o7777, 0o755);
    }
}

#[test]
fn a_lock_file_has_modes_for_all_whatever_the_umask() {
    let (_folder, place) = place();
    let _lock = LockFile::try_lock(&place, "x").unwrap().unwrap();
    assert_eq!(fs::metadata(place.path().join("x")).unwrap().mode() & 0o777, 0o666);
}

#[test]
fn subjects_never_share_a_key() {
    let key = FolderKey { device: 1, inode: 0xab };
    let digest = digest();
    let mac = "06:e8:a3:b0:23:b4".parse().unwrap();
    let keys = [Subject::Supervisor(key), Subject::Identity(digest), Subject::Mac(mac)].map(|s| s.key());
    assert_eq!(keys, ["supervisor-1-ab".to_owned(), digest.to_string(), "mac-06e8a3b023b4".to_owned()]);
    assert_eq!("1-ab".parse(), Ok(key));
    assert!("1-ab-".parse::<FolderKey>().is_err());
}

#[test]
fn a_folder_is_locked_through_any_of_its_names() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a.vm");
    fs::create_dir(&folder).unwrap();
    let link = root.path().join("b.vm");
    symlink(&folder, &link).unwrap();
    let first = FolderLock::open(&folder).unwrap();
    assert!(first.try_lock().unwrap());
    let second = FolderLock::open(&link).unwrap();
    assert_eq!(second.key(), first.key());
    assert!(!second.try_lock().unwrap());
    fs::rename(&folder, root.path().join("c.vm")).unwrap();
    assert!(
        !FolderLock::open(&root.path().join("c.vm")).unwrap().try_lock().unwrap(),
        "a rename frees nothing"
    );
}
