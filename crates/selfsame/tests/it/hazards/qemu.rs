//! A QEMU that is missing, too old, or broken. The only place where something stands in for QEMU: its being broken is the
//! subject.

use std::path::PathBuf;

use crate::support::{TestEnv, set_mode};

/// A shell script in QEMU's place.
fn script(env: &TestEnv, name: &str, text: &str) -> PathBuf {
    let path = env.root().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    set_mode(&path, 0o755);
    path
}

/// The start fails so, leaves nothing, and works with the real QEMU.
fn fails(env: &TestEnv, qemu: &std::path::Path, code: &str) -> serde_json::Value {
    env.use_qemu(qemu);
    let error = env.start("web1").refused(1, code);
    env.nothing_is_left();
    env.use_qemu(&env.files.qemu);
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    error
}

#[test]
fn hazard_qemu_is_missing() {
    let env = TestEnv::new();
    env.create("web1");
    let nowhere = env.root().join("no-such-qemu");
    let error = fails(&env, &nowhere, "qemu.missing");
    assert!(error["detail"].as_str().unwrap().contains("no-such-qemu"), "{error}");
    assert!(error["hints"].to_string().contains("apt-get install"), "{error}");
    // A file that is no program.
    let text = script(&env, "text", "");
    set_mode(&text, 0o644);
    drop(fails(&env, &text, "qemu.missing"));
}

#[test]
fn hazard_qemu_is_too_old() {
    let env = TestEnv::new();
    env.create("web1");
    let old = script(
        &env,
        "old",
        r#"echo '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 5}, "package": ""}, "capabilities": []}}'
while read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id": *\([0-9"a-z-]*\).*/\1/p')
    case $line in *machines*) back='[]' ;; *) back='{}' ;; esac
    echo "{\"return\": $back, \"id\": ${id:-0}}"
done"#,
    );
    let error = fails(&env, &old, "qemu.too_old");
    let told = error["detail"].as_str().unwrap();
    assert!(told.contains("5.2.0") && told.contains("7.2"), "{told}");
}

#[test]
fn hazard_qemu_fails_at_once() {
    let env = TestEnv::new();
    env.create("web1");
    let broken = script(&env, "broken", "echo 'libbroken.so: cannot open shared object file' >&2; exit 127");
    let error = fails(&env, &broken, "qemu.failed");
    assert!(error.to_string().contains("libbroken.so"), "{error}");
}

#[test]
fn hazard_qemu_answers_but_cannot_start_the_vm() {
    let env = TestEnv::new();
    env.create("web1");
    let real = env.files.qemu.display();
    // Asked for what it is, it answers; the VM itself it refuses.
    let text = format!(
        "case \"$*\" in *'-machine none'*) exec '{real}' \"$@\" ;; esac\necho 'cannot allocate memory' >&2; exit 1"
    );
    let refusing = script(&env, "refusing", &text);
    let error = fails(&env, &refusing, "vm.start_failed");
    assert!(error["detail"].as_str().unwrap().contains("cannot allocate memory"), "{error}");
    env.copy("web1", "web2");
    env.use_qemu(&refusing);
    drop(env.start("web1").refused(1, "vm.start_failed"));
    env.use_qemu(&env.files.qemu);
    env.started("web2");
}

#[test]
fn hazard_qemu_hangs_before_it_greets() {
    let env = TestEnv::new();
    env.create("web1");
    let hanging = script(&env, "hanging", "exec sleep 600");
    drop(fails(&env, &hanging, "qemu.failed"));
}

#[test]
fn hazard_qemu_hangs_in_the_start_of_the_vm() {
    let env = TestEnv::new();
    env.create("web1");
    let real = env.files.qemu.display();
    let text = format!("case \"$*\" in *'-machine none'*) exec '{real}' \"$@\" ;; esac\nexec sleep 600");
    let hanging = script(&env, "hanging", &text);
    drop(fails(&env, &hanging, "vm.start_failed"));
}
