//! A VM that was suspended, and everything that may have changed when it is to go on.

use std::path::Path;

use serde_json::Value;

use crate::support::{Signal, TestEnv, is_alive, send, until};

/// A running VM with a small disk, suspended. Gives its folder.
fn suspended(env: &TestEnv, name: &str) -> std::path::PathBuf {
    let folder = env.create_with(name, &["--disk-size", "1MiB"]);
    env.started(name);
    drop(env.run(["resume", name]).ok());
    let told = env.json(["suspend", name]).ok().json();
    assert_eq!(told["ended"]["cause"], "suspended", "{told}");
    folder
}

/// It goes on, and nothing is left of the state.
#[track_caller]
fn goes_on(env: &TestEnv, name: &str) {
    let up = env.json(["run", "-d", name]).ok();
    assert_eq!(up.json()["status"]["phase"], "running", "{up}");
    assert!(up.stderr.contains("goes on from where it was suspended"), "{up}");
    let folder = env.folder(name);
    let left = ["State", "State.new", "State.old"].iter().filter(|part| folder.join(part).exists());
    assert_eq!(left.count(), 0, "the state is consumed");
}

/// Changes a text file, and gives what it was.
fn edit(path: &Path, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "no `{from}` in {text}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    text
}

#[test]
fn hazard_a_suspended_vm_holds_nothing_and_goes_on_where_it_was() {
    let env = TestEnv::new();
    let watch = env.watch();
    let folder = suspended(&env, "web1");
    env.nothing_is_left();
    let vm = env.get("web1");
    assert_eq!(vm["state"], "suspended");
    assert_eq!(vm["last_run"]["end"], "suspended");
    let since = vm["suspended"]["since"].as_str().unwrap().to_owned();
    assert_eq!(vm["suspended"]["size"], folder.join("State/memory").metadata().unwrap().len());
    let listed = env.json(["list"]).ok().json();
    assert_eq!(listed["vms"][0]["suspended"]["since"], since);
    let listed = env.run(["list"]).ok();
    assert!(listed.stdout.contains("suspended") && listed.stderr.contains("is suspended since"), "{listed}");
    assert_eq!(env.json(["list", "--running"]).ok().json()["vms"], serde_json::json!([]));
    assert_eq!(env.json(["why", "web1"]).ok().json()["state"], "suspended");
    assert_eq!(env.json(["suspend", "web1"]).ok().json()["outcome"], "already_so");
    for ends in ["stop", "kill"] {
        let told = env.run([ends, "web1"]).ok();
        assert!(told.stderr.contains("it is suspended") && told.stderr.contains("--discard"), "{told}");
    }
    drop(env.json(["resume", "web1"]).refused(9, "request.denied"));
    // A twin may run meanwhile, which is told when this one goes on.
    env.copy("web1", "web2");
    std::fs::remove_dir_all(env.folder("web2").join("State")).unwrap();
    env.started("web2");
    drop(env.start("web1").refused(5, "identity.in_use"));
    drop(env.run(["kill", "web2"]).ok());
    let up = env.run(["run", "-d", "web1"]).ok();
    assert!(up.stderr.contains("its twin web2 ran while it was suspended"), "{up}");
    assert!(!folder.join("State").exists());
    drop(env.start("web2").refused(5, "identity.in_use"));
    assert_eq!(env.state("web1"), "running");
    drop(env.run(["kill", "web1"]).ok());
    watch.never_two();
    env.nothing_is_left();
}

#[test]
fn hazard_a_vm_that_stands_still_is_suspended_more_than_once() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let mut since = Vec::new();
    for _ in 0..2 {
        // It was never run: the state that it came from is there until it is.
        env.started("web1");
        drop(env.run(["suspend", "web1"]).ok());
        since.push(env.get("web1")["suspended"]["since"].clone());
    }
    assert_ne!(since[0], since[1]);
    env.started("web1");
    assert!(folder.join("State").exists(), "it has not gone on yet");
    drop(env.run(["kill", "web1"]).ok());
    assert_eq!(env.state("web1"), "suspended", "nothing happened since");
    env.started("web1");
    drop(env.run(["resume", "web1"]).ok());
    until("the state is consumed", || !folder.join("State").exists());
    drop(env.run(["kill", "web1"]).ok());
    assert_eq!(env.state("web1"), "stopped");
}

#[test]
fn hazard_a_suspended_vm_is_not_what_it_was() {
    let env = TestEnv::new();
    let folder = suspended(&env, "web1");
    let (spec, description) = (folder.join("vm.toml"), folder.join("State/state.toml"));
    let refused = |what: &str, hint: &str| {
        let error = env.start("web1").refused(9, "state.mismatch");
        assert!(error["detail"].as_str().unwrap().contains(what), "`{what}`: {error}");
        assert!(error["hints"].to_string().contains(hint), "`{hint}`: {error}");
        assert!(error["hints"].to_string().contains("selfsame suspend --discard web1"), "{error}");
        assert_eq!(env.state("web1"), "suspended");
        env.nothing_is_left();
    };
    let machine = env.get("web1")["machine"].as_str().unwrap().to_owned();
    let wrong = [
        (&spec, "cpus = 1", "cpus = 2", "number of processors was 1 then, and is 2", "cpus = 1"),
        (&spec, "64MiB", "128MiB", "memory was 64MiB then, and is 128MiB", "64MiB"),
        (&spec, machine.as_str(), "pc-q35-6.2", "machine type", "vm.toml again"),
        (&description, "\"tcg\"", "\"kvm\"", "accelerator was kvm then, and is tcg", "run --accel kvm web1"),
        (&description, "major = ", "major = 9", "version of QEMU", "or newer"),
        (&description, "identity = \"uuid:", "identity = \"uuid:0", "identity", "MachineIdentifier"),
        (&description, "folder = \"", "folder = \"0", "folder", "copy"),
    ];
    for (path, from, to, what, hint) in wrong {
        let before = edit(path, from, to);
        refused(what, hint);
        std::fs::write(path, before).unwrap();
    }
    goes_on(&env, "web1");
}

#[test]
fn hazard_a_newer_qemu_goes_on_from_an_older_ones_state() {
    let env = TestEnv::new();
    let folder = suspended(&env, "web1");
    let version = "major = ";
    let text = std::fs::read_to_string(folder.join("State/state.toml")).unwrap();
    let at = text.find(version).unwrap() + version.len();
    let end = at + text[at..].find('\n').unwrap();
    std::fs::write(folder.join("State/state.toml"), format!("{}6{}", &text[..at], &text[end..])).unwrap();
    goes_on(&env, "web1");
}

#[test]
fn hazard_a_disk_changed_while_its_vm_was_suspended() {
    let env = TestEnv::new();
    let folder = suspended(&env, "web1");
    let disk = folder.join("Disk.img");
    let metadata = disk.metadata().unwrap();
    let times = std::fs::FileTimes::new().set_modified(metadata.modified().unwrap());
    let put_back = || {
        let file = std::fs::File::options().write(true).open(&disk).unwrap();
        file.set_len(metadata.len()).unwrap();
        file.set_times(times).unwrap();
    };
    let refused = || {
        let error = env.start("web1").refused(9, "state.mismatch");
        assert!(error["detail"].as_str().unwrap().contains("disk `Disk.img`"), "{error}");
        error
    };
    std::fs::write(&disk, vec![1; 1 << 20]).unwrap();
    drop(refused());
    put_back();
    std::fs::File::options().append(true).open(&disk).unwrap().set_len(2 << 20).unwrap();
    put_back();
    // Another file with the same size and time.
    let aside = env.root().join("aside");
    std::fs::rename(&disk, &aside).unwrap();
    assert!(refused()["detail"].as_str().unwrap().contains("not to be read") || !disk.exists());
    std::fs::copy(&aside, &disk).unwrap();
    put_back();
    assert!(refused()["detail"].as_str().unwrap().contains("inode"));
    std::fs::rename(&aside, &disk).unwrap();
    goes_on(&env, "web1");
}

#[test]
fn hazard_a_state_is_damaged() {
    let env = TestEnv::new();
    let folder = suspended(&env, "web1");
    suspended(&env, "db");
    let (memory, description) = (folder.join("State/memory"), folder.join("State/state.toml"));
    let whole = std::fs::read(&memory).unwrap();
    let refused = |why: &str| {
        let error = env.start("web1").refused(1, "state.damaged");
        assert!(error["detail"].as_str().unwrap().contains(why), "`{why}`: {error}");
        assert!(error["hints"].to_string().contains("--discard web1"), "{error}");
        env.nothing_is_left();
    };
    std::fs::write(&memory, &whole[..whole.len() - 1]).unwrap();
    refused("were written");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&memory, &flipped).unwrap();
    refused("its bytes are not those that were written");
    std::fs::remove_file(&memory).unwrap();
    refused("No such file");
    assert_eq!(env.get("web1")["suspended"]["size"], Value::Null);
    std::fs::write(&memory, &whole).unwrap();
    let before = edit(&description, "schema = 1", "schema = 9");
    refused("its schema is 9");
    std::fs::write(&description, &before[..before.len() / 2]).unwrap();
    refused("state.toml");
    std::fs::remove_file(&description).unwrap();
    refused("state.toml");
    assert_eq!(env.state("web1"), "suspended", "what is damaged is not passed over");
    // The whole state of another VM.
    std::fs::rename(folder.join("State"), env.root().join("own")).unwrap();
    let mut copy = env.other("cp");
    copy.arg("-r").arg(env.folder("db").join("State")).arg(folder.join("State"));
    drop(env.finish(copy).ok());
    let error = env.start("web1").refused(9, "state.mismatch");
    assert!(error["detail"].as_str().unwrap().contains("identity"), "{error}");
    std::fs::remove_dir_all(folder.join("State")).unwrap();
    std::fs::rename(env.root().join("own"), folder.join("State")).unwrap();
    std::fs::write(&description, before).unwrap();
    goes_on(&env, "web1");
}

#[test]
fn hazard_the_variables_of_a_suspended_vm_change() {
    let env = TestEnv::new();
    // Firmware that does nothing: what is asked is only what becomes of the files.
    let (code, variables) = (env.root().join("code"), env.root().join("variables"));
    std::fs::write(&code, vec![0; 3_653_632]).unwrap();
    std::fs::write(&variables, vec![0; 540_672]).unwrap();
    let config = env.home.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let firmware = format!("firmware_code = {code:?}\nfirmware_variables = {variables:?}\n");
    std::fs::write(&config, format!("{text}{firmware}")).unwrap();
    let folder = env.folder("web1");
    drop(env.run(["create", "web1", "--disk-size", "1MiB", "--memory", "64MiB", "--cpus", "1"]).ok());
    for _ in 0..2 {
        env.started("web1");
        drop(env.run(["resume", "web1"]).ok());
        drop(env.run(["suspend", "web1"]).ok());
        goes_on(&env, "web1");
        drop(env.run(["suspend", "web1"]).ok());
    }
    std::fs::write(folder.join("NVRAM"), vec![1; 540_672]).unwrap();
    let error = env.start("web1").refused(9, "state.mismatch");
    assert!(error["detail"].as_str().unwrap().contains("disk `NVRAM`"), "{error}");
}

#[test]
fn hazard_a_state_is_thrown_away() {
    let env = TestEnv::new();
    let folder = suspended(&env, "web1");
    drop(env.json(["suspend", "--discard", "web1"]).refused(2, "usage.invalid"));
    assert!(folder.join("State").exists(), "nobody was asked");
    let gone = env.json(["suspend", "--discard", "--yes", "web1"]).ok().json();
    assert_eq!(gone["schema"], "discarded/1");
    assert_eq!(env.state("web1"), "stopped");
    drop(env.json(["suspend", "--discard", "--yes", "web1"]).refused(9, "request.denied"));
    drop(env.json(["suspend", "web1"]).refused(9, "request.denied"));
    assert!(env.events("web1").iter().any(|event| event["kind"] == "vm.discarded"));
    let up = env.start("web1").ok();
    assert!(!up.stderr.contains("goes on"), "{up}");
    drop(env.json(["suspend", "--discard", "--yes", "web1"]).refused(9, "request.denied"));
    drop(env.run(["suspend", "web1"]).ok());
    drop(env.run(["delete", "--yes", "web1"]).ok());
    assert!(!folder.exists(), "the state went with its VM");
}

#[test]
fn hazard_the_mac_address_of_a_suspended_vm_is_changed() {
    let env = TestEnv::new();
    suspended(&env, "web1");
    let before = env.get("web1")["mac_address"].as_str().unwrap().to_owned();
    let told = env.run(["set", "web1", "--mac-address", "02:00:00:00:00:01"]).ok();
    assert!(told.stderr.contains("web1 is suspended"), "{}", told.stderr);
    // The guest would go on with an address that nobody has claimed for it.
    let error = env.start("web1").refused(9, "state.mismatch");
    assert!(error["hints"].to_string().contains(&format!("--mac-address {before} web1")), "{error}");
    drop(env.run(["set", "web1", "--mac-address", &before]).ok());
    env.started("web1");
}

#[test]
fn hazard_others_ask_while_a_vm_is_being_suspended() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let pids = env.started("web1");
    drop(env.run(["resume", "web1"]).ok());
    until("it runs", || env.state("web1") == "running");
    // A QEMU that does not get on with it.
    send(pids.qemu, Signal::STOP);
    let waits = std::thread::scope(|scope| {
        let suspend = scope.spawn(|| env.json(["suspend", "web1"]));
        until("it is being suspended", || env.state("web1") == "suspending");
        for asked in ["pause", "resume", "stop"] {
            let error = env.json([asked, "web1"]).refused(9, "request.denied");
            assert!(error["detail"].as_str().unwrap().contains("it is being suspended"), "{error}");
        }
        drop(env.start("web1").refused(4, "vm.running"));
        drop(env.run(["kill", "web1"]).ok());
        suspend.join().unwrap()
    });
    let error = waits.refused(1, "vm.failed");
    assert!(error["detail"].as_str().unwrap().contains("it was killed as asked"), "{error}");
    assert!(!is_alive(pids.qemu));
    assert!(!folder.join("State").exists() && !folder.join("State.new").exists());
    assert_eq!(env.state("web1"), "stopped");
    env.nothing_is_left();
}
