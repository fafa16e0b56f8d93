//! File names that QEMU could misread, each as a real disk.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use selfsame_host::qemu::arguments::{Boot, Disk, DiskFormat};
use selfsame_host::qemu::qmp::RunState;

use super::running::{Running, SOON, empty_disk};

/// Names with every meaning that QEMU knows somewhere.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "a,b=c.img",
        "json:{\"driver\":\"null-co\"}",
        "nbd:localhost:10809",
        "fat:rw:.",
        "it's \"quoted\" and $HOME `x` \\n.img",
        "-snapshot",
        "..,..",
        "...",
        " ",
        "ünïcödé 漢字 🦀.img",
        "line\nbreak, tab\t, bell\u{7}, escape\u{1b}[31m, delete\u{7f}",
        "%s%n#?*[a]~",
        "\u{202e}gmi.ksid",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("n".repeat(255));
    names
}

fn opened_by(pid: u32) -> HashSet<(u64, u64)> {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    let of = |path: PathBuf| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    folder.read_dir().unwrap().filter_map(|entry| of(entry.unwrap().path())).collect()
}

#[test]
fn odd_names_open_exactly_the_files_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let deep = elsewhere.path().join("a,b=c:d \"e\" {f}");
    std::fs::create_dir(&deep).unwrap();
    let mut files: Vec<PathBuf> = odd_names().into_iter().map(PathBuf::from).collect();
    files.push(deep.join("json:{}"));
    let mut expected = Vec::new();
    for file in &files {
        let path = folder.path().join(file);
        empty_disk(&path);
        let found = path.metadata().unwrap();
        expected.push((found.dev(), found.ino()));
    }
    let running = Running::start_in(folder, |plan| {
        plan.disks = files
            .iter()
            .map(|file| Disk { file: file.clone(), format: DiskFormat::Raw, read_only: false })
            .collect();
    });
    assert_eq!(running.monitor().run_state(SOON).unwrap(), RunState::Prelaunch);
    let opened = opened_by(running.pid());
    for (file, identity) in files.iter().zip(expected) {
        assert!(opened.contains(&identity), "{file:?} is not open");
    }
}

#[test]
fn a_kernel_may_have_any_name() {
    for (name, quoted) in
        [("a,b=c:d", &b"./a,b=c:d"[..]), ("-x \"y\"", b"./-x \"y\""), ("\u{fc}", b"\xc3\xbc")]
    {
        refused_kernel(name.into(), quoted);
    }
    refused_kernel(OsString::from_vec(b"\xff,\xfe".to_vec()).into(), b"\xff,\xfe");
}

/// QEMU quotes the name of a kernel that is not there: so it was not taken apart.
fn refused_kernel(kernel: PathBuf, quoted: &[u8]) {
    let mut running = Running::start(|plan| {
        plan.boot =
            Boot::DirectKernel { kernel, initrd: None, append: "a,b=c \"d\"".to_owned(), firmware: None };
    });
    assert_eq!(running.ended().code(), Some(1));
    let log = std::fs::read(running.folder.path().join("log")).unwrap();
    let found = log.windows(quoted.len()).any(|window| window == quoted);
    assert!(found, "{}", running.log());
}
