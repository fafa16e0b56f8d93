//! As many guests as may run, and no more: the limit is kept by locks, so nothing counts wrong and nothing is left over.

use std::path::Path;

use crate::support::{Signal, TestEnv, is_alive, may_be_others, send, together, until};

fn limit(home: &Path, count: u32) {
    let path = home.join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.split("[quota]").next().unwrap();
    std::fs::write(path, format!("{text}[quota]\nlinux = {count}\n")).unwrap();
}

#[test]
fn hazard_many_start_at_once_and_few_may() {
    let env = TestEnv::new();
    limit(&env.home, 3);
    for index in 0..8 {
        env.create(&format!("web{index}"));
    }
    let codes = together(8, |index| env.start(&format!("web{index}")).code());
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 3, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 6).count(), 5, "{codes:?}");
    assert_eq!(env.qemus().len(), 3);
    let shown = env.json(["quota", "show"]).ok().json();
    let linux = &shown["classes"][0];
    assert_eq!((&linux["limit"], &linux["taken"]), (&3.into(), &3.into()), "{shown}");
    assert_eq!(linux["source"], env.home.join("config.toml").to_str().unwrap());
    let refused = codes.iter().position(|code| *code == 6).unwrap();
    let runs = codes.iter().position(|code| *code == 0).unwrap();
    let error = env.start(&format!("web{refused}")).refused(6, "quota.full");
    assert!(error["detail"].as_str().unwrap().contains(&format!("web{runs}")), "{error}");
    let why = env.json(["why", &format!("web{refused}")]);
    assert_eq!(why.code(), 10, "{why}");
    drop(env.run(["kill", &format!("web{runs}")]).ok());
    env.started(&format!("web{refused}"));
}

#[test]
fn hazard_a_supervisor_is_killed_and_its_slot_with_it() {
    let env = TestEnv::new();
    limit(&env.home, 1);
    env.create("web1");
    env.create("web2");
    let pids = env.started("web1");
    send(pids.supervisor, Signal::KILL);
    until("its supervisor is gone", || env.state("web1") == "orphaned");
    drop(env.start("web2").refused(6, "quota.full"));
    assert_eq!(env.json(["quota", "show"]).ok().json()["classes"][0]["taken"], 1);
    // The orphan is taken over with the slot that it holds.
    assert_eq!(env.start("web1").ok().json()["status"]["adopted"], true);
    drop(env.start("web2").refused(6, "quota.full"));
    send(pids.qemu, Signal::KILL);
    until("its guest is gone", || !is_alive(pids.qemu));
    until("its supervisor has ended, too", || env.supervisors().is_empty());
    env.started("web2");
}

#[test]
fn hazard_a_start_is_refused_and_keeps_a_slot() {
    let env = TestEnv::new();
    limit(&env.home, 2);
    env.create("web1");
    env.create("web2");
    env.copy("web1", "twin");
    env.started("web1");
    for _ in 0..3 {
        drop(env.start("twin").refused(5, "identity.in_use"));
    }
    assert_eq!(env.json(["quota", "show"]).ok().json()["classes"][0]["taken"], 1);
    env.started("web2");
    // A lower limit ends nobody, and lets nobody start.
    limit(&env.home, 0);
    env.create("web3");
    drop(env.start("web3").refused(6, "quota.full"));
    assert_eq!(env.qemus().len(), 2);
}

#[test]
fn hazard_two_users_share_the_slots() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let other = env.user(65_534);
    limit(&env.home, 1);
    limit(&other.home, 1);
    env.create("web1");
    other.create("web2");
    env.started("web1");
    let error = other.start("web2").refused(6, "quota.full");
    assert!(error["detail"].as_str().unwrap().contains("web1"), "{error}");
    drop(env.run(["kill", "web1"]).ok());
    other.started("web2");
    drop(env.start("web1").refused(6, "quota.full"));
}
