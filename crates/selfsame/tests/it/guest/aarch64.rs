//! Guests of aarch64: one that boots, and what needs no boot.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::support::{TestEnv, other_guest, until};

/// A home that knows the QEMU and the firmware for Arm.
fn world() -> Option<(TestEnv, impl Fn(&str) -> PathBuf)> {
    let files = other_guest("aarch64")?;
    let env = TestEnv::new();
    let config = env.home.join("config.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    for (key, file) in [
        ("binary_aarch64", "qemu"),
        ("firmware_code_aarch64", "firmware_code"),
        ("firmware_variables_aarch64", "firmware_variables"),
    ] {
        text.push_str(&format!("{key} = {}\n", toml::Value::from(files(file).to_str().unwrap())));
    }
    std::fs::write(config, text).unwrap();
    Some((env, files))
}

fn console(folder: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(folder.join("Logs/console.log")).unwrap_or_default()).into_owned()
}

fn booted(folder: &Path) {
    let began = std::time::Instant::now();
    while !console(folder).contains("selfsame test guest ready") {
        assert!(began.elapsed().as_secs() < 180, "it does not boot: {}", console(folder));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn an_arm_guest_shows_what_was_predicted_sleeps_goes_on_and_stops_when_asked() {
    let Some((env, files)) = world() else { return };
    let mut create = env.command(["create", "arm1", "--arch", "aarch64", "--no-disk", "--cpus", "1"]);
    create.arg("--memory=256MiB").arg("--kernel").arg(files("kernel")).arg("--initrd").arg(files("initrd"));
    create.arg("--append=console=ttyAMA0 panic=-1");
    drop(env.finish(create).ok());
    let folder = env.folder("arm1");
    let up = env.json(["run", "-d", "arm1"]).ok().json();
    assert_eq!(up["status"]["accelerator"], "tcg", "{up}");
    let reason = up["status"]["accelerator_reason"].as_str().unwrap();
    if cfg!(target_arch = "x86_64") {
        assert_eq!(reason, "this host cannot run aarch64 instructions itself");
    }
    assert!(up["status"]["machine"].as_str().unwrap().starts_with("virt-"), "the versioned name: {up}");
    let variables = folder.join("NVRAM").metadata().unwrap();
    assert_eq!(variables.len(), 64 << 20);
    booted(&folder);
    assert!(folder.join("NVRAM").metadata().unwrap().blocks() * 512 < 16 << 20, "the holes are kept");

    until("the guest has reported", || !env.get("arm1")["observed"].is_null());
    let vm = env.get("arm1");
    let facts = &vm["observed"]["facts"];
    assert_eq!(facts["product_uuid"], vm["predicted"]["product_uuid"]["value"], "{vm}");
    assert_eq!(facts["product_serial"], vm["predicted"]["smbios_serial"]["value"], "{vm}");
    assert_eq!(facts["macs"][0], vm["mac_address"], "{vm}");
    assert_eq!(vm["observed"]["contradictions"], serde_json::json!([]));
    assert_eq!(vm["architecture"], "aarch64");

    drop(env.json(["suspend", "arm1"]).ok());
    env.nothing_is_left();
    let again = env.run(["run", "-d", "arm1"]).ok();
    assert!(again.stderr.contains("goes on from where it was suspended"), "{again}");
    let stopped = env.json(["stop", "-t", "60", "arm1"]).ok().json();
    assert_eq!(stopped["ended"]["cause"], "requested", "{stopped}");
    assert_eq!(console(&folder).matches("Linux version").count(), 1, "it booted once");
    env.nothing_is_left();
}

#[test]
fn an_arm_machine_takes_all_its_devices_and_its_variables_are_locked() {
    let Some((env, _)) = world() else { return };
    let iso = env.root().join("install.iso");
    std::fs::write(&iso, vec![0; 1 << 20]).unwrap();
    let iso = iso.to_str().unwrap();
    // More processors than the older interrupt controller has room for.
    let create = ["create", "arm1", "--arch", "aarch64", "--cpus", "9", "--memory", "128MiB", "--iso", iso];
    drop(env.run([&create[..], &["--disk-size", "1MiB"]].concat()).ok());
    drop(env.run(["start", "--paused", "arm1"]).ok());
    drop(env.run(["create", "arm2", "--arch", "aarch64", "--memory", "128MiB", "--no-disk"]).ok());
    std::fs::hard_link(env.folder("arm1").join("NVRAM"), env.folder("arm2").join("NVRAM")).unwrap();
    let error = env.start("arm2").refused(5, "disk.in_use");
    assert!(error["detail"].as_str().unwrap().contains("NVRAM"), "{error}");
    drop(env.run(["kill", "arm1"]).ok());
    env.nothing_is_left();
}

#[test]
fn an_arm_guest_without_its_qemu_or_firmware_says_what_to_install() {
    let Some((env, _)) = world() else { return };
    drop(env.run(["create", "arm1", "--arch", "aarch64", "--memory", "128MiB", "--no-disk"]).ok());
    let config = env.home.join("config.toml");
    let whole = std::fs::read_to_string(&config).unwrap();
    let without = |key: &str| {
        let lines = whole.lines().filter(|line| !line.starts_with(key));
        std::fs::write(&config, lines.collect::<Vec<_>>().join("\n")).unwrap();
    };
    for (key, installed, code, package) in [
        ("binary_aarch64", "/usr/bin/qemu-system-aarch64", "qemu.missing", "qemu-system-arm"),
        ("firmware_", "/usr/share/AAVMF/AAVMF_CODE.fd", "firmware.missing", "qemu-efi-aarch64"),
    ] {
        if Path::new(installed).exists() {
            continue;
        }
        without(key);
        let error = env.start("arm1").refused(1, code);
        assert!(error["hints"].to_string().contains(package), "{error}");
        let doctor = env.run(["doctor"]);
        assert!(doctor.stderr.contains("arm1") || doctor.stdout.contains("arm1"), "{doctor}");
        env.nothing_is_left();
    }
}

#[test]
fn what_no_arm_guest_can_be_is_refused_when_it_is_made() {
    let env = TestEnv::new();
    for options in [["--firmware", "bios"], ["--macos", "--no-disk"]] {
        let create = [&["create", "arm1", "--arch", "aarch64"], &options[..]].concat();
        let output = env.run(create);
        assert!([2, 9].contains(&output.code()), "{output}");
        assert!(!env.folder("arm1").exists());
    }
    // What an older selfsame made says nothing of an architecture, and is what it was.
    let folder = env.create("web1");
    let text = std::fs::read_to_string(folder.join("vm.toml")).unwrap();
    let old: Vec<&str> = text.lines().filter(|line| !line.starts_with("architecture")).collect();
    assert_eq!(old.len() + 1, text.lines().count(), "{text}");
    std::fs::write(folder.join("vm.toml"), format!("{}\n", old.join("\n"))).unwrap();
    env.started("web1");
    assert!(env.get("web1")["machine"].as_str().unwrap().starts_with("pc-q35-"));
    assert_eq!(env.get("web1")["architecture"], "x86_64");
    drop(env.run(["kill", "web1"]).ok());
    let mut wrong = std::fs::read_to_string(folder.join("vm.toml")).unwrap();
    wrong = wrong.replace("schema = 1", "schema = 1\narchitecture = \"aarch64\"");
    std::fs::write(folder.join("vm.toml"), wrong).unwrap();
    let error = env.start("web1").refused(1, "bundle.invalid");
    assert!(error["causes"].to_string().contains("architecture"), "{error}");
}
