use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn located(variables: &[(&str, &str)], entry: Option<&str>) -> Result<PathBuf, HomeError> {
    let environment = |name: &str| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| OsString::from(value))
    };
    Home::locate_with(&environment, &|| entry.map(PathBuf::from)).map(|home| home.root)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn home(root: &Path) -> Home {
    Home { root: root.to_owned() }
}

#[test]
fn the_environment_says_where_in_order() {
    let all = [("SELFSAME_HOME", "/s"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
    assert_eq!(located(&all, None).unwrap(), Path::new("/s"));
    if cfg!(target_os = "linux") {
        assert_eq!(located(&all[1..], None).unwrap(), Path::new("/x/selfsame"));
    }
    assert_eq!(located(&all[2..], Some("/e")).unwrap(), Path::new("/h/.selfsame"));
    assert_eq!(located(&[("XDG_DATA_HOME", "x"), ("HOME", "/h")], None).unwrap(), Path::new("/h/.selfsame"));
    assert_eq!(
        located(&[("SELFSAME_HOME", ""), ("HOME", "")], Some("/e")).unwrap(),
        Path::new("/e/.selfsame")
    );
    let relative = located(&[("SELFSAME_HOME", "sandbox")], None).unwrap();
    assert_eq!(relative, std::env::current_dir().unwrap().join("sandbox"));
}

#[test]
fn without_home_and_without_an_entry_the_error_says_both() {
    let error = located(&[], None).unwrap_err();
    assert_eq!(error.code(), Code::HomeUnusable);
    assert!(error.to_string().contains("HOME is not set and the system knows no such user"), "{error}");
    assert!(error.hints()[0].command.as_deref().unwrap().contains("SELFSAME_HOME="));
    assert!(matches!(located(&[], Some("relative")), Err(HomeError::Nowhere { .. })));
}

#[test]
fn opening_creates_what_is_missing_and_keeps_modes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b");
    let opened = home(&root).open().unwrap();
    assert_eq!((mode(&root), mode(&opened.run())), (0o700, 0o700));
    for path in [opened.vms(), opened.cache()] {
        assert!(path.is_dir(), "{path:?}");
    }
    assert!(!opened.library().exists());

    for (path, bits) in [(root.clone(), 0o750), (opened.vms(), 0o777), (opened.run(), 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
    }
    home(&root).open().unwrap();
    assert_eq!((mode(&root), mode(&opened.vms()), mode(&opened.run())), (0o750, 0o777, 0o700));
}

#[test]
fn two_spellings_are_one_home() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("real");
    let opened = home(&root).open().unwrap();
    symlink(&root, folder.path().join("link")).unwrap();
    assert_eq!(home(&folder.path().join("link")).open().unwrap(), opened);
    assert_eq!(home(&folder.path().join("link/../real")).open_for_reading().unwrap(), opened);
}

#[test]
fn reading_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("none");
    assert_eq!(home(&root).open_for_reading().unwrap().root(), root);
    assert!(!root.exists());
    fs::create_dir(&root).unwrap();
    home(&root).open_for_reading().unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    fs::write(folder.path().join("file"), "").unwrap();
    let error = home(&folder.path().join("file")).open_for_reading().unwrap_err();
    assert!(matches!(error, HomeError::NotFolder { .. }), "{error:?}");
}

#[test]
fn what_stands_in_the_way_is_named_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("vms"), "mine").unwrap();
    let error = home(&root).open().unwrap_err();
    assert!(matches!(&error, HomeError::NotFolder { path } if path.ends_with("vms")), "{error:?}");
    assert_eq!(fs::read(root.join("vms")).unwrap(), b"mine");
    fs::remove_file(root.join("vms")).unwrap();
    symlink("/nowhere/at/all", root.join("vms")).unwrap();
    assert!(matches!(home(&root).open(), Err(HomeError::NotFolder { .. })));
}

#[test]
fn a_linked_or_foreign_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let opened = home(&root).open().unwrap();
    fs::remove_dir(opened.run()).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(&elsewhere, opened.run()).unwrap();
    let error = home(&root).open().unwrap_err();
    assert!(matches!(error, HomeError::RunLinked { .. }), "{error:?}");
    assert_eq!(mode(&elsewhere), 0o755);

    fs::remove_file(opened.run()).unwrap();
    fs::create_dir(opened.run()).unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: a foreign run/ needs root to be made");
        return;
    }
    std::os::unix::fs::chown(opened.run(), Some(65534), None).unwrap();
    let error = home(&root).open().unwrap_err();
    assert!(matches!(error, HomeError::RunForeign { owner: 65534, .. }), "{error:?}");
}
