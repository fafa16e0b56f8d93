//! A VM's small files, damaged, missing or exchanged.

use crate::support::TestEnv;

#[test]
fn hazard_the_description_is_broken() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let spec = folder.join("vm.toml");
    let good = std::fs::read(&spec).unwrap();
    let broken: [&[u8]; 6] = [
        b"cpus = \n",
        b"schema = 1\ncpus = \"many\"\n",
        b"schema = 99\n",
        b"schema = 1\ncpsu = 1\n",
        b"schema = 1\n# \xff\n",
        &[b'#'; 100_000],
    ];
    for bytes in broken {
        std::fs::write(&spec, bytes).unwrap();
        let error = env.start("web1").refused(1, "bundle.invalid");
        assert!(error["detail"].as_str().unwrap().contains("vm.toml"), "{error}");
        let listed = env.json(["list"]).ok().json();
        assert!(listed["vms"][0]["error"].is_string(), "{listed}");
        assert_eq!(std::fs::read(&spec).unwrap(), bytes, "nothing mends what a person wrote");
        env.nothing_is_left();
    }
    std::fs::write(&spec, good).unwrap();
    env.started("web1");
}

#[test]
fn hazard_the_identifier_is_truncated_or_missing() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let path = folder.join("MachineIdentifier");
    let good = std::fs::read(&path).unwrap();
    for length in [0, 7, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        let error = env.start("web1").refused(1, "identity.invalid");
        assert!(error["detail"].as_str().unwrap().contains("byte "), "the place is named: {error}");
        env.nothing_is_left();
    }
    std::fs::remove_file(&path).unwrap();
    drop(env.start("web1").refused(1, "bundle.invalid"));
    let listed = env.json(["list"]).ok().json();
    assert!(listed["vms"][0]["identity"].is_null() && listed["vms"][0]["error"].is_string(), "{listed}");
    std::fs::write(&path, good).unwrap();
    env.started("web1");
}

#[test]
fn hazard_the_identity_is_not_that_of_the_last_good_start() {
    let env = TestEnv::new();
    let folder = env.create("web1");
    let path = folder.join("MachineIdentifier");
    let first = env.get("web1")["identity"].clone();
    env.started("web1");
    drop(env.run(["kill", "web1"]).ok());
    let other = env.create("other");
    std::fs::copy(other.join("MachineIdentifier"), &path).unwrap();
    let error = env.start("web1").refused(9, "identity.changed");
    assert!(error["hints"].to_string().contains("--accept-identity"), "{error}");
    env.nothing_is_left();
    let accepted = env.json(["run", "-d", "--paused", "--accept-identity", "web1"]).ok();
    assert!(accepted.stderr.contains("was accepted"), "{accepted}");
    drop(env.start("other").refused(5, "identity.in_use"));
    drop(env.run(["kill", "web1"]).ok());
    assert_ne!(env.get("web1")["identity"], first);
    let started = env.events("web1");
    assert!(started.iter().any(|event| event["data"]["accepted_identity"] == true), "it is written down");
    // Once said is said: the new one is the last good start's now.
    env.started("web1");
}
