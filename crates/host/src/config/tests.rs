use super::*;
use selfsame_machine::problem::Problem;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
    fn user(&self, text: impl AsRef<[u8]>) -> Result<Config, ConfigError> {
        Config::load(&self.path("no-system"), &self.write("user.toml", text))
    }
}

/// Trust is a matter of root's, and only root can make files of root's.
fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: the system's file must be root's, and this test does not run as root");
    }
    root
}

#[test]
fn without_files_the_defaults_hold_and_say_so() {
    let files = Files::new();
    let config = Config::load(&files.path("a/b"), &files.path("c")).unwrap();
    assert_eq!(config, Config::default());
    let row = |key| config.list().iter().find(|row| row.key == key).unwrap();
    assert_eq!(row("qemu.binary").value, None);
    assert_eq!(row("qemu.accelerator").value.as_deref(), Some("\"auto\""));
    assert_eq!(row("stop.timeout_seconds").value, Some(config.stop_timeout.as_secs().to_string()));
    assert!(config.list().iter().all(|row| row.source == Source::Default));
}

#[test]
fn the_shown_defaults_are_the_defaults() {
    let files = Files::new();
    for row in Config::default().list() {
        let Some(value) = &row.value else { continue };
        let mut config = files.user(format!("{} = {value}\n", row.key)).unwrap();
        config.rows = Config::default().rows;
        assert_eq!(config, Config::default(), "{}", row.key);
    }
}

#[test]
fn the_user_stands_over_the_system() {
    if !root() {
        return;
    }
    let files = Files::new();
    let system = files.write(
        "system.toml",
        "[locks]\ndirectory = '/l'\n[stop]\ntimeout_seconds = 5\n[qemu]\naccelerator = 'tcg'\n",
    );
    fs::set_permissions(&system, Permissions::from_mode(0o644)).unwrap();
    let user =
        files.write("user.toml", "qemu.binary = \"/opt/a \\\"b\\\"/qemu\"\n[stop]\ntimeout_seconds = 0x3c\n");
    let config = Config::load(&system, &user).unwrap();
    assert_eq!(config.qemu_accelerator, Accelerator::Tcg);
    assert_eq!(config.locks_directory.as_deref(), Some(Path::new("/l")));
    assert_eq!(config.stop_timeout, Duration::from_secs(60));
    assert_eq!(config.qemu_binary.as_deref(), Some(Path::new("/opt/a \"b\"/qemu")));
    let source = |key| config.list().iter().find(|row| row.key == key).unwrap().source.clone();
    assert_eq!(source("qemu.accelerator"), Source::System(system));
    assert_eq!(source("stop.timeout_seconds"), Source::User(user));
    assert_eq!(source("qemu.firmware_code"), Source::Default);
}

#[test]
fn only_a_file_of_roots_speaks_for_all() {
    if !root() {
        return;
    }
    let files = Files::new();
    let system = files.write("system.toml", "");
    for (mode, trusted) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
        fs::set_permissions(&system, Permissions::from_mode(mode)).unwrap();
        assert_eq!(Config::load(&system, &files.path("none")).is_ok(), trusted, "{mode:o}");
    }
    fs::set_permissions(&system, Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(&system, Some(65534), None).unwrap();
    let error = Config::load(&system, &files.path("none")).unwrap_err();
    assert!(matches!(error, ConfigError::Untrusted { owner: 65534, mode: 0o644, .. }), "{error:?}");
}

#[test]
fn a_user_cannot_move_the_locks() {
    let error = Files::new().user("# mine\n[locks]\ndirectory = '/tmp/x'\n").unwrap_err();
    assert!(matches!(&error, ConfigError::NotForUsers { place, .. } if (place.line, place.column) == (3, 1)));
    assert!(
        error.to_string().ends_with(
            "`locks.directory` must be the same for all users, so only the system's file may set it"
        )
    );
    assert_eq!(error.code(), selfsame_machine::code::Code::ConfigInvalid);
}

#[test]
fn mistakes_are_shown_with_their_place() {
    let files = Files::new();
    let path = files.path("user.toml");
    for (text, place, says) in [
        ("[qemu]\n  acelerator = 'tcg'\n", "2:3", "there is no key `qemu.acelerator`"),
        ("acelerator = 1", "1:1", "there is no key `acelerator`"),
        ("[stop]\n[network]\n", "2:2", "there is no key `network`"),
        ("[qemu.binary]\npath = 1\n", "1:1", "`qemu.binary` takes an absolute path in quotes"),
        ("stop = 30\n", "1:1", "there is no key `stop`"),
        ("[qemu]\nbinary = 'qemu'\n", "2:10", "`qemu.binary` takes an absolute path in quotes"),
        ("[qemu]\naccelerator = 'hvf'\n", "2:15", "`qemu.accelerator` takes \"auto\", \"tcg\" or \"kvm\""),
        ("[stop]\ntimeout_seconds = -1\n", "2:19", "`stop.timeout_seconds` takes a whole number"),
        ("[stop]\ntimeout_seconds = 86401\n", "2:19", "`stop.timeout_seconds` takes a whole number"),
        ("[stop]\ntimeout_seconds = 1.5\n", "2:19", "`stop.timeout_seconds` takes a whole number"),
        ("# äöü\n'äöü' = 1\n", "2:1", "there is no key `äöü`"),
        ("stop.timeout_seconds = 1 äö ?\n", "1:24", "must be quoted"),
        ("[stop]\ntimeout_seconds = 1\ntimeout_seconds = 2\n", "3:1", "duplicate key"),
    ] {
        let error = files.user(text).unwrap_err();
        let shown = error.to_string();
        let start = format!("{}:{place}: ", path.display());
        assert!(shown.starts_with(&start) && shown.contains(says), "{text:?} gives {shown}");
        let line = place.split(':').next().unwrap();
        let show = format!("sed -n {line}p {}", path.display());
        assert!(error.hints().iter().any(|hint| hint.command.as_deref() == Some(&show)), "{text:?}");
    }
    let error = files.user("[qemu]\nacelerator = 'tcg'\n").unwrap_err();
    assert_eq!(error.hints()[0].text, "did you mean `qemu.accelerator`?");
    let error = files.user(b"# \xff\n").unwrap_err();
    assert!(error.to_string().contains(":1:3: this is not UTF-8 text"), "{error}");
}

#[test]
fn what_is_no_file_is_refused_and_never_waited_for() {
    let files = Files::new();
    let fifo = files.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [files.0.path(), &fifo] {
        let error = Config::load(&files.path("none"), path).unwrap_err();
        assert!(matches!(error, ConfigError::NotFile { .. }), "{error:?}");
    }
    let error = files.user(vec![b'#'; 2 << 20]).unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge { .. }), "{error:?}");
}

#[test]
fn every_key_is_documented_with_what_it_takes_and_no_other_is() {
    let page = include_str!("../../../../docs/configuration.md");
    let mut sections: Vec<&str> =
        page.split("\n## ").skip(1).filter(|section| section.starts_with('`')).collect();
    for key in Key::ALL {
        let heading = format!("`{}`\n", key.text());
        let at = sections.iter().position(|section| section.starts_with(&heading));
        let section = sections.swap_remove(at.unwrap_or_else(|| panic!("no section for {}", key.text())));
        for fact in [key.about(), key.takes(), key.default_text().unwrap_or("none")] {
            assert!(section.contains(fact), "the section of {} does not say `{fact}`", key.text());
        }
        assert_eq!(section.contains("system's file only"), key.is_for_all_users(), "{}", key.text());
    }
    assert!(sections.is_empty(), "sections of keys that are none: {sections:?}");
}

#[test]
fn a_user_lowers_the_quota_and_does_not_raise_it() {
    let files = Files::new();
    let own = files.user("[quota]\nlinux = 2\n").unwrap();
    assert_eq!(own.quota(Guest::Linux), (Some(2), Source::User(files.path("user.toml"))));
    assert_eq!(own.quota(Guest::Macos), (None, Source::Default));
    for refused in ["linux = -1", "linux = 1025", "linux = \"2\"", "macos = 1.5"] {
        assert!(matches!(files.user(format!("[quota]\n{refused}\n")), Err(ConfigError::WrongValue { .. })));
    }
    if !root() {
        return;
    }
    let system = files.write("system.toml", "[quota]\nlinux = 4\nmacos = 1\n");
    fs::set_permissions(&system, Permissions::from_mode(0o644)).unwrap();
    let user = files.write("user.toml", "[quota]\nlinux = 2\nmacos = 9\n");
    let config = Config::load(&system, &user).unwrap();
    assert_eq!(config.quota(Guest::Linux), (Some(2), Source::User(user)));
    assert_eq!(config.quota(Guest::Macos), (Some(1), Source::System(system)));
}
