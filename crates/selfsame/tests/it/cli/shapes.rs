//! The documents that programs read: every field is there, null where there is nothing.

use serde_json::Value;

use crate::support::TestEnv;

/// The document's shape: each field with the kind of its value, nested by indentation.
fn shape(value: &Value) -> String {
    let mut text = String::new();
    describe(value, 0, &mut text);
    text
}

fn describe(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let kind = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "bool",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                text.push_str(&format!("{indent}{key}: {kind}\n"));
                describe(value, depth + 1, text);
            }
        }
        Value::Array(values) => {
            if let Some(first) = values.first() {
                describe(first, depth + 1, text);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_list() {
    let env = TestEnv::new();
    let empty = env.json(["list"]).ok().json();
    assert_eq!(empty, serde_json::json!({ "schema": "list/1", "vms": [] }));
    env.create("web1");
    insta::assert_snapshot!(shape(&env.json(["list"]).ok().json()), @"
    schema: string
    vms: array
        cpus: number
        error: null
        identity: string
        mac_address: string
        memory: number
        name: string
        path: string
        path_base64: null
        state: string
        suspended: null
        twins: array
    ");
}

#[test]
fn one_vm() {
    let env = TestEnv::new();
    env.create("web1");
    insta::assert_snapshot!(shape(&env.get("web1")), @"
    architecture: string
    boot: object
      firmware: string
    cpus: number
    digest: string
    disks: array
    display: string
    findings: array
    folders: array
    guest: string
    identity: string
    iso: null
    last_run: null
    mac_address: string
    machine: null
    memory: number
    name: string
    network: string
    observed: null
    origin: object
      by: string
      created: string
      identity: string
    path: string
    path_base64: null
    ports: array
    predicted: object
      hardware_uuid: object
        confidence: string
        reason: string
        value: null
      product_uuid: object
        confidence: string
        reason: string
        value: string
      provisioning_udid: object
        confidence: string
        reason: string
        value: null
      serial: object
        confidence: string
        reason: string
        value: null
      smbios_serial: object
        confidence: string
        reason: string
        value: string
    protected: bool
    schema: string
    state: string
    status: null
    suspended: null
    ");
    env.started("web1");
    insta::assert_snapshot!(shape(&env.get("web1")["status"]), @"
    accelerator: string
    accelerator_reason: string
    adopted: bool
    agent: bool
    backend_pid: number
    folders: array
    identity: string
    machine: string
    network: object
      forwards: array
      login: object
        address: string
        guest_port: number
        port: number
        transport: string
      network: string
    phase: string
    started: string
    supervisor_pid: number
    ");
    drop(env.run(["kill", "web1"]).ok());
    insta::assert_snapshot!(shape(&env.get("web1")["last_run"]), @"
    end: string
    ended: string
    explanation: string
    started: string
    ");
}

#[test]
fn a_created_vm() {
    let env = TestEnv::new();
    let created = env.json(["create", "web1", "--firmware", "bios", "--no-disk"]).ok().json();
    assert_eq!(created["identity"], env.get("web1")["identity"]);
    insta::assert_snapshot!(shape(&created), @"
    identity: string
    image: null
    login_user: null
    mac_address: string
    name: string
    path: string
    predicted: object
      hardware_uuid: object
        confidence: string
        reason: string
        value: null
      product_uuid: object
        confidence: string
        reason: string
        value: string
      provisioning_udid: object
        confidence: string
        reason: string
        value: null
      serial: object
        confidence: string
        reason: string
        value: null
      smbios_serial: object
        confidence: string
        reason: string
        value: string
    schema: string
    twins: array
    ");
}

#[test]
fn an_identity() {
    let env = TestEnv::new();
    for argument in ["uuid:db087d0b-d366-40bc-809b-969690dcbe1e", "ecid:6894423331072372133"] {
        let shown = env.json(["identity", "show", argument]).ok().json();
        let fields = shown.as_object().unwrap();
        for key in [
            "schema",
            "kind",
            "ecid",
            "ecid_hex",
            "uuid",
            "canonical",
            "digest",
            "data_base64",
            "predicted",
            "observed",
            "findings",
        ] {
            assert!(fields.contains_key(key), "{key}");
        }
        for key in ["provisioning_udid", "hardware_uuid", "smbios_serial", "product_uuid", "serial"] {
            let prediction = shown["predicted"][key].as_object().unwrap();
            assert!(prediction.contains_key("value"), "{key}");
            assert!(prediction["confidence"].is_string() && prediction["reason"].is_string(), "{key}");
        }
    }
    let mac = env.json(["identity", "show", "ecid:0x5FADE97DCBBBEDA5"]).ok().json();
    assert_eq!(mac["ecid"], "6894423331072372133", "text, because many readers of JSON lose digits");
    assert_eq!(mac["ecid_hex"], "5FADE97DCBBBEDA5");
    assert!(mac["uuid"].is_null());
    assert_eq!(mac["kind"], "mac");
}

#[test]
fn the_images() {
    let env = TestEnv::new();
    let folder = env.home.join("images");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("debian-13-generic-amd64.qcow2"), "x").unwrap();
    std::fs::write(folder.join("0011-disk.img.part"), "xy").unwrap();
    let listed = env.json(["image", "list"]).ok().json();
    assert_eq!(listed["others"][0]["file"], "0011-disk.img");
    insta::assert_snapshot!(shape(&listed), @"
    official: array
        architecture: string
        checksums_url: string
        kept: object
          checksum: null
          fetched: null
          file: string
          partial: bool
          path: string
          path_base64: null
          size: number
          url: null
          vouched: null
        login_user: string
        name: string
        title: string
        url: string
    others: array
        checksum: null
        fetched: null
        file: string
        partial: bool
        path: string
        path_base64: null
        size: number
        url: null
        vouched: null
    schema: string
    ");
    let deleted = env.json(["image", "delete", "debian-13"]).ok().json();
    insta::assert_snapshot!(shape(&deleted), @"
    files: array
    schema: string
    ");
    drop(env.json(["image", "delete", "debian-13"]).refused(3, "image.unknown"));
}
