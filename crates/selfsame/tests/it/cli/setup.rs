//! What selfsame puts on a computer, and how it goes again.

use std::fs;

use crate::support::{TestEnv, skipped};

#[test]
fn marked_vms_start_and_stop_together_and_one_failure_holds_up_nobody() {
    let env = TestEnv::new();
    for name in ["a-marked", "b-broken", "c-marked", "d-plain"] {
        env.create(name);
        if name != "d-plain" {
            drop(env.run(["set", name, "--autostart", "on"]).ok());
        }
    }
    fs::remove_file(env.folder("b-broken").join("MachineIdentifier")).unwrap();
    drop(env.json(["autostart"]).ok());
    let states = || ["a-marked", "c-marked", "d-plain"].map(|name| env.state(name));
    assert_eq!(states(), ["running", "running", "stopped"]);
    // Once more changes nothing.
    assert_eq!(env.json(["autostart"]).ok().json()["names"], serde_json::json!(["a-marked", "c-marked"]));
    drop(env.run(["kill", "a-marked"]).ok());
    // One whose QEMU does not start is told, and the others start.
    let spec = env.folder("a-marked").join("vm.toml");
    let text = fs::read_to_string(&spec).unwrap();
    let without = text.lines().filter(|line| !line.starts_with("machine = "));
    let wrong: String = without.map(|line| format!("{line}\n")).collect();
    fs::write(&spec, wrong.replace("schema = 1\n", "schema = 1\nmachine = \"pc-nonsense-1.0\"\n")).unwrap();
    drop(env.run(["kill", "c-marked"]).ok());
    let refused = env.json(["autostart"]);
    assert_eq!((refused.code(), refused.error()["code"].as_str()), (1, Some("vm.start_failed")), "{refused}");
    assert_eq!(states(), ["stopped", "running", "stopped"]);
    drop(env.run(["kill", "c-marked"]).ok());
    assert_eq!(env.json(["autostart", "--stop"]).ok().json()["stopped"], true);
    env.nothing_is_left();
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let env = TestEnv::new();
    let config = env.root().join("config");
    let calls = |arguments: &[&str]| {
        let mut command = env.command(arguments);
        command.env("XDG_CONFIG_HOME", &config);
        env.finish(command)
    };
    let unit = config.join("systemd/user/selfsame-autostart.service");
    let enabled = calls(&["setup", "autostart", "--format", "json"]);
    if !std::path::Path::new("/run/systemd/system").exists() {
        drop(enabled.refused(9, "backend.unavailable"));
        assert!(!unit.exists());
        // A stranger's unit is left alone.
        fs::create_dir_all(unit.parent().unwrap()).unwrap();
        fs::write(&unit, "[Unit]\n").unwrap();
        drop(calls(&["setup", "autostart", "--off", "--format", "json"]).refused(4, "file.exists"));
        assert_eq!(fs::read_to_string(&unit).unwrap(), "[Unit]\n");
        return skipped("no systemd runs here; the unit's text is a snapshot");
    }
    drop(calls(&["setup", "autostart", "--off"]));
}

#[test]
fn status_names_every_place_and_makes_none() {
    let env = TestEnv::new();
    let before: Vec<_> = fs::read_dir(&env.home).unwrap().flatten().map(|entry| entry.file_name()).collect();
    let status = env.json(["setup", "status"]).ok().json();
    let of = |what: &str| {
        let items = status["items"].as_array().unwrap();
        items.iter().find(|item| item["what"] == what).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (of("home"), of("VMs"), of("your settings")),
        ("present".into(), "absent".into(), "present".into())
    );
    let after: Vec<_> = fs::read_dir(&env.home).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(before, after);
}

#[test]
fn an_uninstallation_is_refused_as_a_whole_and_then_leaves_what_is_not_ours() {
    let env = TestEnv::new();
    env.create("web1");
    env.create("web2");
    env.started("web1");
    drop(env.json(["setup", "uninstall", "--yes"]).refused(9, "request.denied"));
    drop(env.run(["kill", "web1"]).ok());
    drop(env.run(["protect", "web2"]).ok());
    drop(env.json(["setup", "uninstall", "--yes"]).refused(9, "vm.protected"));
    drop(env.json(["setup", "uninstall"]).refused(9, "vm.protected"));
    let kept = env.json(["setup", "uninstall", "--keep-vms", "--yes"]).ok().json();
    assert_eq!(kept["vms"], serde_json::json!([]));
    assert!(env.folder("web1").exists() && env.home.join("library.db").exists());
    assert!(!env.home.join("run").exists() && !env.home.join("cache").exists());
    assert_eq!(env.state("web2"), "stopped");
    drop(env.run(["protect", "--off", "web2"]).ok());
    fs::write(env.home.join("mine"), "x").unwrap();
    let dry = env.json(["setup", "uninstall", "--dry-run"]).ok().json();
    assert_eq!(dry["vms"], serde_json::json!(["web1", "web2"]));
    assert!(env.folder("web1").exists());
    // Nobody can be asked here.
    drop(env.json(["setup", "uninstall"]).refused(2, "usage.invalid"));
    let gone = env.json(["setup", "uninstall", "--yes"]).ok().json();
    assert_eq!(gone["left"], serde_json::json!([env.home.join("mine").to_str().unwrap()]));
    let left: Vec<_> = fs::read_dir(&env.home).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["mine"]);
}
