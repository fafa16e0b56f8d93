//! A Linux guest that boots, reports who it is, and powers off.

use std::path::Path;

use serde_json::Value;

use crate::support::{Signal, TestEnv, is_alive, send, until};

/// What the test guest says on its console when it is up.
const READY: &str = "selfsame test guest ready";

fn create(env: &TestEnv, name: &str, append: &str) {
    let files = &env.files;
    let append = format!("console=ttyS0 panic=-1 {append}");
    let mut command = env.command(["create", name, "--no-disk", "--memory", "256MiB", "--cpus", "1"]);
    command.arg("--kernel").arg(&files.kernel).arg("--initrd").arg(&files.initrd).arg("--append").arg(append);
    drop(env.finish(command).ok());
}

fn console(folder: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(folder.join("Logs/console.log")).unwrap_or_default()).into_owned()
}

/// Waits until the guest has booted `times` times.
fn booted(env: &TestEnv, name: &str, times: usize) {
    let began = std::time::Instant::now();
    loop {
        let text = console(&env.folder(name));
        if text.matches(READY).count() >= times {
            return;
        }
        assert!(began.elapsed().as_secs() < 90, "it does not boot: {text}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn observed(env: &TestEnv, name: &str) -> Value {
    until("the guest has reported", || !env.get(name)["observed"].is_null());
    env.get(name)["observed"].clone()
}

#[test]
fn a_guest_shows_what_was_predicted_and_stops_when_asked() {
    let env = TestEnv::new();
    create(&env, "web1", "");
    let vm = env.get("web1");
    let up = env.json(["run", "-d", "web1"]).ok();
    assert!(up.stdout.contains("tcg"), "{up}");
    booted(&env, "web1", 1);
    let seen = observed(&env, "web1");
    let facts = &seen["facts"];
    assert_eq!(facts["product_uuid"], vm["predicted"]["product_uuid"]["value"], "{seen}");
    assert_eq!(facts["product_serial"], vm["predicted"]["smbios_serial"]["value"], "{seen}");
    assert_eq!(facts["macs"][0], vm["mac_address"], "{seen}");
    assert_eq!(seen["contradictions"], serde_json::json!([]));
    let kinds: Vec<Value> = env.events("web1").into_iter().map(|event| event["kind"].clone()).collect();
    assert!(kinds.contains(&"identity.observed".into()), "{kinds:?}");
    let identity = vm["identity"].as_str().unwrap();
    let shown = env.json(["identity", "show", identity]).ok().json();
    assert_eq!(shown["observed"][0]["facts"]["product_uuid"], facts["product_uuid"]);

    let stopped = env.json(["stop", "web1"]).ok().json();
    assert_eq!(stopped["ended"]["cause"], "requested", "{stopped}");
    env.nothing_is_left();
    assert_eq!(env.get("web1")["last_run"]["end"], "requested");
}

#[test]
fn a_guest_goes_on_undisturbed_while_its_supervisor_is_replaced() {
    let env = TestEnv::new();
    create(&env, "web1", "report_every=1");
    let pids = crate::support::Pids::of(&env.json(["run", "-d", "web1"]).ok().json()["status"]);
    booted(&env, "web1", 1);
    drop(observed(&env, "web1"));
    let last_seen = env.get("web1")["observed"]["last_seen"].clone();
    send(pids.supervisor, Signal::KILL);
    until("it is gone", || !is_alive(pids.supervisor));
    let again = env.json(["run", "-d", "web1"]).ok().json();
    assert_eq!(again["status"]["backend_pid"], pids.qemu);
    assert_eq!(env.state("web1"), "running");
    until("the guest's reports are heard again", || env.get("web1")["observed"]["last_seen"] != last_seen);
    let stopped = env.json(["stop", "web1"]).ok().json();
    assert_eq!(stopped["ended"]["cause"], "requested", "{stopped}");
    assert_eq!(console(&env.folder("web1")).matches(READY).count(), 1, "it booted once");
    env.nothing_is_left();
}

#[test]
fn a_suspended_guest_goes_on_counting_without_a_reboot() {
    let env = TestEnv::new();
    // Its first process counts, in memory alone.
    let counts =
        "rdinit=/bin/busybox -- sh -c \"i=0; while :; do i=$((i+1)); echo tick-$i-; sleep 0.2; done\"";
    create(&env, "web1", counts);
    let folder = env.folder("web1");
    let ticks = || {
        let text = console(&folder);
        let last = text.rsplit("tick-").find_map(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        last.unwrap_or_default()
    };
    let count_on = |from: u32| {
        let began = std::time::Instant::now();
        while ticks() <= from + 3 {
            assert!(began.elapsed().as_secs() < 90, "it does not count: {}", console(&folder));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    drop(env.json(["run", "-d", "web1"]).ok());
    count_on(0);
    for _ in 0..2 {
        let told = env.json(["suspend", "web1"]).ok().json();
        assert_eq!(told["ended"]["cause"], "suspended", "{told}");
        env.nothing_is_left();
        let counted = ticks();
        assert!(env.get("web1")["suspended"]["size"].as_u64().unwrap() > 1 << 20);
        drop(env.json(["run", "-d", "web1"]).ok());
        count_on(counted);
    }
    let text = console(&folder);
    assert_eq!(text.matches("Linux version").count(), 1, "it booted once: {text}");
    let all: Vec<u32> =
        text.split("tick-").skip(1).filter_map(|rest| rest.split_once('-')?.0.parse().ok()).collect();
    let once: Vec<u32> = (1..=u32::try_from(all.len()).unwrap()).collect();
    assert_eq!(all, once, "each number once, in order");
    drop(env.run(["kill", "web1"]).ok());
    env.nothing_is_left();
}

#[test]
fn a_guest_that_powers_off_by_itself_is_not_asked_for_it() {
    let env = TestEnv::new();
    // Its first process does nothing else.
    create(&env, "ends", "rdinit=/bin/busybox -- poweroff -f");
    let output = env.run(["run", "ends"]);
    assert_eq!(output.code(), 0, "{output}");
    assert!(output.stdout.contains("Linux version"), "the console is shown: {output}");
    assert!(output.stderr.contains("powered off by itself"), "{output}");
    assert_eq!(env.get("ends")["last_run"]["end"], "guest");
    env.nothing_is_left();
}

#[test]
fn a_vm_and_its_copy_show_one_identity_one_after_the_other() {
    let env = TestEnv::new();
    create(&env, "web1", "");
    env.copy("web1", "web2");
    let mut shown = Vec::new();
    for (name, other) in [("web1", "web2"), ("web2", "web1")] {
        drop(env.json(["run", "-d", name]).ok());
        booted(&env, name, 1);
        let facts = observed(&env, name)["facts"].clone();
        shown.push((facts["product_uuid"].clone(), facts["machine_id"].clone(), facts["macs"].clone()));
        drop(env.start(other).refused(5, "identity.in_use"));
        drop(env.run(["kill", name]).ok());
    }
    assert_eq!(shown[0], shown[1]);
    assert!(shown[0].0.is_string());
    env.nothing_is_left();
}
