//! Names that mean something to a shell, to QEMU, to a terminal or to a file system.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::support::TestEnv;

const WILD: [&str; 14] = [
    "a,b",
    "a,file=x",
    "a=b",
    "a\"b",
    "a'b",
    "a b",
    "json:{\"driver\":\"null-co\"}",
    "nbd:localhost:10809",
    "a..b",
    "$(reboot)",
    "ünï-日本",
    "%s%n",
    "a;b|c&d",
    "back\\slash",
];

#[test]
fn hazard_names_that_mean_something_elsewhere_are_only_names() {
    let env = TestEnv::new();
    for name in WILD {
        env.create_with(name, &["--disk-size", "1MiB"]);
        env.started(name);
        assert_eq!(env.state(name), "paused", "{name}");
        assert_eq!(env.get(name)["name"], name);
        drop(env.json(["stop", "-t", "0", "--", name]).ok());
        drop(env.run(["delete", "--yes", "--", name]).ok());
        assert!(!env.folder(name).exists());
    }
    env.nothing_is_left();
}

#[test]
fn hazard_names_that_cannot_be_are_refused() {
    let env = TestEnv::new();
    let long = "x".repeat(300);
    let names: [&[u8]; 13] = [
        b"",
        b"..",
        b".",
        b".hidden",
        b"a/b",
        b"../escape",
        b"-d",
        b"a\nb",
        b"a\x1b[2Jb",
        b"a\x7fb",
        b"caf\xe9",
        b" a",
        long.as_bytes(),
    ];
    for name in names {
        let arguments =
            [OsStr::new("create"), OsStr::new("--no-disk"), OsStr::new("--"), OsStr::from_bytes(name)];
        let error = env.json(arguments).refused(2, "name.invalid");
        assert!(!error.to_string().contains('\x1b'), "no control character is echoed: {error}");
    }
    let vms = std::fs::read_dir(env.home.join("vms")).map_or(0, Iterator::count);
    assert_eq!(vms, 0, "nothing was made");
}

#[test]
fn hazard_images_have_wild_names() {
    let env = TestEnv::new();
    let folder = env.root().join("images");
    std::fs::create_dir(&folder).unwrap();
    let mut names: Vec<OsString> = WILD.iter().map(OsString::from).collect();
    names.extend(
        [&b"caf\xe9"[..], b"a\nb", b"-d", &[b'x'; 255]].map(|name| OsString::from_vec(name.to_vec())),
    );
    for name in &names {
        std::fs::write(folder.join(name), vec![7; 1 << 16]).unwrap();
        let mut command =
            env.command(["create", "web1", "--firmware", "bios", "--memory", "64MiB", "--disk"]);
        // As people write it: a bare name, from within the folder, unless that would be an option.
        let bare = if name.as_bytes().starts_with(b"-") { OsStr::new("./-d") } else { name.as_os_str() };
        command.arg(bare).current_dir(&folder);
        drop(env.finish(command).ok());
        env.started("web1");
        drop(env.run(["kill", "web1"]).ok());
        assert_eq!(std::fs::read(env.folder("web1").join("Disk.img")).unwrap(), vec![7; 1 << 16]);
        drop(env.run(["delete", "--yes", "web1"]).ok());
        assert!(folder.join(name).exists(), "an image is copied, never moved");
    }
}

#[test]
fn hazard_folders_with_wild_names_are_put_there_by_hand() {
    let env = TestEnv::new();
    let made = env.create("web1");
    let names: [&[u8]; 6] = [b"caf\xe9.vm", b"a\nb.vm", b"-d.vm", b"esc\x1b[2J.vm", b".. .vm", b"a,b=c.vm"];
    for name in names {
        let folder = env.home.join("vms").join(OsStr::from_bytes(name));
        std::fs::rename(env.folder("web1"), &folder).unwrap();
        let listed = env.json(["list"]).ok();
        assert!(!listed.stdout.contains('\x1b'), "{listed}");
        let rows = listed.json();
        let vms = rows["vms"].as_array().unwrap();
        assert_eq!(vms.len(), 1, "{rows}");
        assert!(vms[0]["identity"].is_string(), "{rows}");
        assert_eq!(vms[0]["path_base64"].is_string(), std::str::from_utf8(name).is_err(), "{rows}");
        drop(env.run(["list"]).ok());
        let run = [OsStr::new("run"), OsStr::new("-d"), OsStr::new("--paused"), folder.as_os_str()];
        drop(env.json(run).ok());
        assert_eq!(env.qemus().len(), 1);
        drop(env.json([OsStr::new("why"), folder.as_os_str()]).ok());
        drop(env.run([OsStr::new("kill"), folder.as_os_str()]).ok());
        std::fs::rename(&folder, &made).unwrap();
    }
    env.nothing_is_left();
}
