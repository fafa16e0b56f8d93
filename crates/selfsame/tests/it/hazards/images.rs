//! Images: fetched through all that goes wrong, and refused where they would not be what they seem.

use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use selfsame_machine::disk::overlay::Overlay;
use selfsame_machine::disk::qcow2::Header;
use selfsame_machine::seed::Volume;
use selfsame_machine::spec::DiskFormat;

use super::disk_full::Small;
use crate::support::http::FileServer;
use crate::support::{Signal, TestEnv, User, send, until};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
const SMALL: [&str; 6] = ["--firmware", "bios", "--memory", "64MiB", "--cpus", "1"];

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect()
}

/// An image in qcow2 that stands alone: our own overlay with its backing file taken away.
fn qcow2(path: &Path, size: u64) {
    let mut overlay = Overlay::over("x", DiskFormat::Raw, size).unwrap();
    overlay.head[8..20].fill(0);
    std::fs::write(path, &overlay.head).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(overlay.length).unwrap();
}

fn images(user: &User) -> Vec<String> {
    let Ok(entries) = user.home.join("images").read_dir() else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn hazard_the_command_that_fetches_is_killed() {
    let env = TestEnv::new();
    let data = content(4 << 20);
    let server = FileServer::new(data.clone(), Duration::from_millis(20));
    let url = server.url("/disk.img");
    let mut fetching = env.command(["image", "pull", &url]).spawn().unwrap();
    let large = |name: &String| {
        let part = env.home.join("images").join(name);
        name.ends_with(".part") && part.metadata().is_ok_and(|metadata| metadata.len() > 500_000)
    };
    until("a part is there", || images(&env).iter().any(large));
    send(fetching.id(), Signal::KILL);
    assert!(!fetching.wait().unwrap().success());
    let listed = env.json(["image", "list"]).ok().json();
    assert_eq!(listed["others"][0]["partial"], true, "{listed}");
    // The next one goes on, and a VM is made of it.
    let arguments = ["create", "web1", "--image", &url, "--ssh-key", "key.pub", "--user", "me"];
    std::fs::write(env.root().join("key.pub"), KEY).unwrap();
    let created = env.json(arguments.iter().chain(&SMALL)).ok().json();
    assert_eq!(
        (&created["image"]["fetched"], &created["image"]["vouched"]),
        (&true.into(), &"nobody".into())
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].to_lowercase().contains("\r\nrange: bytes="), "{}", requests[1]);
    let folder = env.folder("web1");
    assert!(std::fs::read(folder.join("Disk.img")).unwrap() == data);
    assert_eq!(images(&env).len(), 2, "the image and what is known of it: {:?}", images(&env));
}

#[test]
fn hazard_two_commands_want_one_image() {
    let env = TestEnv::new();
    let server = FileServer::new(content(1 << 20), Duration::from_millis(20));
    let url = server.url("/disk.img");
    let spawn = |name: &str| env.command(["create", name, "--image", &url]).args(SMALL).spawn().unwrap();
    for mut child in [spawn("web1"), spawn("web2")] {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(server.requests().len(), 1, "it was fetched twice");
    let disk = |name: &str| std::fs::read(env.folder(name).join("Disk.img")).unwrap();
    assert!(disk("web1") == disk("web2"));
}

#[test]
fn hazard_the_disk_is_full_while_an_image_is_fetched() {
    let env = TestEnv::new();
    let Some(small) = Small::mount(&env, "4m") else { return };
    let user = env.home("small/home");
    let filler = small.0.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).unwrap();
    let server = FileServer::new(content(3 << 20), Duration::ZERO);
    let url = server.url("/disk.img");
    let error = user.json(["image", "pull", &url]).refused(1, "file.failed");
    assert!(error["causes"].to_string().contains("No space left"), "{error}");
    assert!(images(&user).iter().all(|name| name.contains(".part")), "{:?}", images(&user));
    std::fs::remove_file(&filler).unwrap();
    let pulled = user.json(["image", "pull", &url]).ok().json();
    assert!(std::fs::read(pulled["image"]["path"].as_str().unwrap()).unwrap() == content(3 << 20));
    assert!(server.requests()[1].to_lowercase().contains("\r\nrange: bytes="));
}

#[test]
fn hazard_an_image_has_another_hash_than_it_should_have() {
    let env = TestEnv::new();
    let server = FileServer::new(content(1 << 16), Duration::ZERO);
    let url = server.url("/disk.img");
    let wrong = "0".repeat(64);
    drop(env.json(["create", "web1", "--image", &url, "--sha256", &wrong]).refused(9, "image.mismatch"));
    assert!(!env.folder("web1").exists() && images(&env).is_empty());
    // What is refused for another reason is not even fetched.
    let requests = server.requests().len();
    env.create("web1");
    drop(env.json(["create", "web1", "--image", &url]).refused(4, "vm.exists"));
    std::fs::write(env.root().join("id"), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let error = env.json(["create", "web2", "--image", &url, "--ssh-key", "id"]).refused(2, "seed.invalid");
    assert!(error["causes"].to_string().contains("line 1: this is a private key"), "{error}");
    assert!(error["hints"].to_string().contains("id.pub"), "{error}");
    drop(env.json(["create", "web2", "--image", &url, "--user", "root"]).refused(2, "seed.invalid"));
    assert_eq!(server.requests().len(), requests);
}

#[test]
fn hazard_what_is_given_as_an_image_is_none() {
    let env = TestEnv::new();
    let root = env.root();
    std::fs::write(root.join("empty"), "").unwrap();
    std::fs::create_dir(root.join("folder")).unwrap();
    symlink("/dev/null", root.join("device")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    std::fs::write(root.join("packed"), b"\xfd7zXZ\0 and more").unwrap();
    let overlay = Overlay::over("/etc/passwd", DiskFormat::Raw, 1 << 20).unwrap();
    std::fs::write(root.join("overlay"), &overlay.head).unwrap();
    qcow2(&root.join("dirty"), 1 << 20);
    let dirty = std::fs::File::options().write(true).open(root.join("dirty")).unwrap();
    dirty.write_all_at(&[1], 79).unwrap();
    for (file, said) in [
        ("empty", "is empty"),
        ("folder", "is a folder"),
        ("device", "is a device"),
        ("fifo", "is a FIFO"),
        ("packed", "compressed by xz"),
        ("overlay", "byte 8: it has a backing file"),
        ("dirty", "byte 72: it was not closed"),
    ] {
        for option in ["--image", "--disk"] {
            let error = env.json(["create", "web1", option, file]).refused(1, "image.invalid");
            assert!(error["detail"].as_str().unwrap().contains(said), "{error}");
            assert!(!env.folder("web1").exists());
        }
    }
    let left = env.home.join("vms").read_dir().unwrap().count();
    assert_eq!(left, 0, "something half-made is left");
}

#[test]
fn hazard_a_disk_would_be_cut_down_or_grows_at_its_first_start() {
    let env = TestEnv::new();
    let image = env.root().join("image");
    qcow2(&image, 64 << 20);
    let create = |name: &str, size: &str| {
        env.json(["create", name, "--disk", "image", "--disk-size", size].iter().chain(&SMALL))
    };
    drop(create("web1", "1MiB").refused(2, "size.invalid"));
    assert!(!env.folder("web1").exists());
    drop(create("web1", "3GiB").ok());
    let size = || {
        let head = std::fs::read(env.folder("web1").join("disk.qcow2")).unwrap();
        Header::read(&head, head.len() as u64).0.unwrap().virtual_size
    };
    assert_eq!(size(), 64 << 20);
    // It grows while it stands still, and stays paused if it is to be.
    drop(env.run(["run", "-d", "--paused", "web1"]).ok());
    assert_eq!((size(), env.state("web1").as_str()), (3 << 30, "paused"));
    drop(env.run(["kill", "web1"]).ok());
    drop(env.run(["run", "-d", "web1"]).ok());
    assert_eq!((size(), env.state("web1").as_str()), (3 << 30, "running"));
    drop(env.run(["kill", "web1"]).ok());
    // A raw one is made longer at once.
    std::fs::write(&image, content(1 << 20)).unwrap();
    drop(create("web2", "2MiB").ok());
    let disk = std::fs::read(env.folder("web2").join("Disk.img")).unwrap();
    assert!(disk.len() == 2 << 20 && disk.starts_with(&content(1 << 20)));
}

#[test]
fn hazard_an_overlay_of_ours_meets_the_real_qemu() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    std::fs::write(folder.join("base.img"), content(1 << 20)).unwrap();
    for (size, name) in [(1_u64 << 20, "o, \"ü.qcow2"), (5 << 40, "large.qcow2")] {
        let overlay = Overlay::over("base.img", DiskFormat::Raw, size).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, &overlay.head).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(overlay.length).unwrap();
        if let Ok(checked) = Command::new("qemu-img").arg("check").arg(&path).output() {
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        }
    }
    let spec = folder.join("vm.toml");
    let text = std::fs::read_to_string(&spec).unwrap().replace("disks = []\n", "");
    let disks = "\n[[disks]]\nfile = 'o, \"ü.qcow2'\nformat = \"qcow2\"\nsize = \"2GiB\"\n\
                 \n[[disks]]\nfile = \"large.qcow2\"\nformat = \"qcow2\"\n";
    std::fs::write(&spec, text + disks).unwrap();
    env.started("web1");
    let head = std::fs::read(folder.join("o, \"ü.qcow2")).unwrap();
    assert_eq!(
        Header::read(&head, head.len() as u64).0.unwrap().virtual_size,
        2 << 30,
        "QEMU made it larger"
    );
    drop(env.run(["kill", "web1"]).ok());
}

#[test]
fn hazard_a_name_says_more_than_itself_in_a_seed() {
    let env = TestEnv::new();
    std::fs::write(env.root().join("image"), content(1 << 16)).unwrap();
    std::fs::write(env.root().join("key.pub"), format!("{KEY} \"a\": [b] # ü\n")).unwrap();
    let name = "Web_1: {x}";
    let arguments = ["create", name, "--image", "image", "--ssh-key", "key.pub", "--user", "me"];
    drop(env.run(arguments.iter().chain(&SMALL)).ok());
    let got = env.get(name);
    let folder = Path::new(got["path"].as_str().unwrap());
    let volume = Volume::read(&std::fs::read(folder.join("seed.img")).unwrap()).unwrap();
    let file = |name: &str| {
        let (_, bytes) = volume.files.iter().find(|(file, _)| file == name).unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    };
    let meta =
        format!("instance-id: \"{}\"\nlocal-hostname: \"web-1-x\"\n", got["identity"].as_str().unwrap());
    assert_eq!(file("meta-data"), meta);
    assert!(file("network-config").contains(got["mac_address"].as_str().unwrap()));
    assert!(file("user-data").contains("me") && file("user-data").is_ascii());
    // The guest may not write to it, and a deletion takes it along.
    assert_eq!(got["disks"][1]["read_only"], true, "{got}");
    drop(env.run(["delete", "--yes", name]).ok());
    assert!(!folder.exists());
}

#[test]
fn hazard_a_disk_is_larger_than_any_file() {
    let env = TestEnv::new();
    for size in ["9223372036854775808", "8388608TiB", "18446744073709551615"] {
        drop(env.json(["create", "web1", "--disk-size", size]).refused(2, "size.invalid"));
    }
    drop(env.json(["create", "web1", "--disk-size", "16777216TiB"]).refused(2, "size.invalid"));
    assert!(!env.folder("web1").exists());
}
