//! Folders of the host in a guest: what a real kernel sees of them, and what a VM with some may not.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::support::{Pids, Signal, TestEnv, User, is_alive, may_be_others, other_guest, send, until};

/// Loads the modules, mounts both folders, and runs what lies in the first one.
const GUEST: &str = "rdinit=/bin/busybox -- sh -c \"/bin/busybox --install -s /bin; export PATH=/bin; while read -r m; do insmod /modules/$m.ko; done </etc/modules; \
                     mkdir -p /mnt /ro; mount -t 9p -o trans=virtio,version=9p2000.L src /mnt; \
                     mount -t 9p -o trans=virtio,version=9p2000.L read /ro; sh /mnt/run.sh; sleep 1000\"";

/// What the guest does: reads, writes, is refused, makes what would harm a host.
const SCRIPT: &str = "\
cat /mnt/given
echo written by the guest >/mnt/written && sync
cat /ro/given
echo no >/ro/given || echo refused: write
rm /ro/given || echo refused: remove
echo x >/mnt/program && chmod 4755 /mnt/program && stat -c 'mode=%a' /mnt/program
mknod /mnt/device c 1 5 && echo device made || echo refused: device
ln -s /etc/shadow /mnt/link && readlink /mnt/link
cd /mnt/.. && ls /mnt/../written 2>/dev/null
echo all done
";

fn console(folder: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(folder.join("Logs/console.log")).unwrap_or_default()).into_owned()
}

/// What is shared with a guest that boots, and what it said.
struct Shared {
    folder: PathBuf,
    read: PathBuf,
    said: String,
}

/// Boots a guest of this user's with two folders, one of which it may only read, and waits until it is done with them.
fn share(env: &TestEnv, user: &User, files: impl Fn(&str) -> PathBuf) -> Shared {
    let (shared, read) = (user.home.join("../a, b=c"), user.home.join("../read"));
    for folder in [&shared, &read] {
        std::fs::create_dir(folder).unwrap();
        let name = folder.file_name().unwrap().display();
        std::fs::write(folder.join("given"), format!("given in {name}\n")).unwrap();
    }
    std::fs::write(shared.join("run.sh"), SCRIPT).unwrap();
    if let Some(uid) = user.uid() {
        [&shared, &read].into_iter().for_each(|folder| env.give(folder, uid));
    }
    let mut create = user.command(["create", "web1", "--no-disk", "--memory", "384MiB", "--cpus", "1"]);
    create.arg("--kernel").arg(files("kernel")).arg("--initrd").arg(files("initrd"));
    create.arg(format!("--append=console=ttyS0 panic=-1 quiet {GUEST}"));
    drop(user.finish(create).ok());
    let with = |tag: &str, path: &Path, how: &str| {
        let mut text = OsString::from(format!("--dir={tag}:"));
        text.push(path);
        text.push(how);
        text
    };
    let mut run = user.command(["run", "-d", "web1"]);
    run.arg(with("src", &shared, "")).arg(with("read", &read, ":ro"));
    drop(user.finish(run).ok());
    let folder = user.folder("web1");
    let began = std::time::Instant::now();
    while !console(&folder).contains("all done") {
        assert!(began.elapsed().as_secs() < 180, "it does not get done: {}", console(&folder));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let said = console(&folder);
    let lines =
        ["given in a, b=c", "given in read", "refused: write", "refused: remove", "mode=4755", "/etc/shadow"];
    for line in lines {
        assert!(said.contains(line), "`{line}`: {said}");
    }
    assert_eq!(std::fs::read_to_string(shared.join("written")).unwrap(), "written by the guest\n");
    assert_eq!(std::fs::read_to_string(read.join("given")).unwrap(), "given in read\n");
    assert!(!read.join("written").exists());
    Shared { folder: shared, read, said }
}

#[test]
fn a_guest_reads_and_writes_in_a_folder_and_only_reads_where_it_may_not_write() {
    let Some(files) = other_guest("generic") else { return };
    let env = TestEnv::new();
    let Shared { folder: shared, read: _, said } = share(&env, &env, files);
    // As root, what the guest made is nothing but files on the host.
    if rustix::process::geteuid().is_root() {
        for name in ["program", "device", "link"] {
            let made = std::fs::symlink_metadata(shared.join(name)).unwrap();
            assert!(made.is_file(), "{name} is a plain file: {made:?}");
            assert_eq!(made.mode() & 0o7777, 0o600, "{name}");
        }
        assert!(said.contains("device made"), "{said}");
    }
    // QEMU itself would refuse: the guest has mounted it. The supervisor says so first, and names what to do.
    let error = env.json(["suspend", "web1"]).refused(9, "request.denied");
    assert!(error.to_string().contains("folders of the host"), "{error}");
    assert_eq!(env.state("web1"), "running");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn what_a_guest_of_an_ordinary_user_makes_is_that_users() {
    let Some(files) = other_guest("generic") else { return };
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let user = env.user(4711);
    let Shared { folder, read, said } = share(&env, &user, files);
    for name in ["written", "program", "link"] {
        let made = std::fs::symlink_metadata(folder.join(name)).unwrap();
        assert_eq!((made.uid(), made.gid()), (4711, 4711), "{name}: the guest's root is the user here");
    }
    // As SECURITY.md says: links and modes are real.
    assert_eq!(std::fs::read_link(folder.join("link")).unwrap(), Path::new("/etc/shadow"));
    assert_eq!(std::fs::metadata(folder.join("program")).unwrap().mode() & 0o7777, 0o4755);
    assert!(said.contains("refused: device") && !folder.join("device").exists(), "{said}");
    assert!(read.join("given").exists());
    drop(user.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn a_vm_with_folders_is_not_suspended_and_one_that_was_goes_on_without() {
    let env = TestEnv::new();
    let folder = env.root().join("src");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.to_str().unwrap();
    drop(env.create("web1"));
    let denied = || {
        let error = env.json(["suspend", "web1"]).refused(9, "request.denied");
        assert!(error["hints"].to_string().contains("--no-dir"), "{error}");
    };
    let up = env.json(["run", "-d", "--paused", "--dir", path, "web1"]).ok().json();
    assert_eq!(up["status"]["folders"], serde_json::json!([{ "tag": "src", "path": path }]));
    denied();
    // A new supervisor knows it from the record.
    let pids = Pids::of(&up["status"]);
    send(pids.supervisor, Signal::KILL);
    until("it is gone", || !is_alive(pids.supervisor));
    let adopted = env.run(["run", "-d", "--dir", &format!("other:{path}"), "web1"]).ok();
    assert!(adopted.stderr.contains("not those of `--dir`"), "{adopted}");
    denied();
    // A restart has what was asked for with this run.
    let again = env.json(["restart", "-t", "0", "--paused", "web1"]).ok().json();
    assert_eq!(again["status"]["folders"][0]["tag"], "src", "{again}");
    drop(env.run(["kill", "web1"]).ok());
    assert_eq!(env.get("web1")["folders"], serde_json::json!([]), "it was that run's alone");

    env.started("web1");
    drop(env.run(["resume", "web1"]).ok());
    drop(env.json(["suspend", "web1"]).ok());
    let error = env.json(["run", "-d", "--dir", path, "web1"]).refused(9, "state.mismatch");
    assert!(error["detail"].as_str().unwrap().contains("list of shared folders"), "{error}");
    drop(env.json(["run", "-d", "web1"]).ok());
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn folders_are_kept_changed_and_refused_by_name() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    for name in ["src", "x"] {
        std::fs::create_dir(env.root().join(name)).unwrap();
    }
    let path = |name: &str| env.root().join(name).to_str().unwrap().to_owned();
    let set = |dirs: &[&str]| {
        let mut arguments = vec!["set", "web1"];
        dirs.iter().for_each(|dir| arguments.extend(["--dir", dir]));
        env.json(arguments)
    };
    let told = set(&[&path("src"), &format!("again:{}:ro", path("src"))]).ok().json();
    let expected = serde_json::json!([
        { "tag": "src", "path": path("src") },
        { "tag": "again", "path": path("src"), "read_only": true },
    ]);
    assert_eq!(told["folders"], expected);
    let up = env.json(["run", "-d", "--paused", "--dir", &format!("src:{}", path("x")), "web1"]).ok().json();
    let tags: Vec<&str> =
        up["status"]["folders"].as_array().unwrap().iter().map(|one| one["tag"].as_str().unwrap()).collect();
    assert_eq!(tags, ["again", "src"], "this run's goes over the VM's: {up}");
    drop(env.run(["kill", "web1"]).ok());

    let text = std::fs::read_to_string(folder.join("vm.toml")).unwrap();
    let home = env.home.to_str().unwrap().to_owned();
    let vm = folder.to_str().unwrap().to_owned();
    for dir in [home.as_str(), &vm, env.root().to_str().unwrap(), &path("nothing"), &format!("{vm}/vm.toml")]
    {
        drop(set(&[dir]).refused(9, "folder.refused"));
        drop(env.json(["run", "-d", "--dir", dir, "web1"]).refused(9, "folder.refused"));
        let create = ["create", "web2", "--no-disk", "--dir", dir];
        drop(env.json(create).refused(9, "folder.refused"));
    }
    drop(set(&["a b:/x"]).refused(2, "usage.invalid"));
    assert_eq!(std::fs::read_to_string(folder.join("vm.toml")).unwrap(), text, "nothing changed");
    assert!(!env.folder("web2").exists());
    // A link takes the folder's place: what it leads to was not asked for.
    std::fs::remove_dir(path("src")).unwrap();
    std::os::unix::fs::symlink("/etc", path("src")).unwrap();
    let error = env.start("web1").refused(9, "folder.refused");
    assert!(error["detail"].as_str().unwrap().contains("leads to `/etc` now"), "{error}");
    let why = env.run(["why", "web1"]);
    assert_eq!(why.code(), 10, "{why}");
    assert!(why.stdout.contains("leads to `/etc` now"), "{why}");
    env.nothing_is_left();
    drop(env.run(["set", "web1", "--no-dir"]).ok());
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
}
