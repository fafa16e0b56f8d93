//! Standing in line for a slot, and all that can befall a line.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Signal, TestEnv, User, is_alive, may_be_others, send, until};

const NOBODY: u32 = 65_534;

fn limit(home: &Path, count: u32) {
    let path = home.join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.split("[quota]").next().unwrap();
    std::fs::write(path, format!("{text}[quota]\nlinux = {count}\n")).unwrap();
}

/// Somebody who waits. What is left of it at the end of a test is ended by the test's folder.
struct Waiter {
    child: Child,
    said: PathBuf,
}

impl Waiter {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), std::fs::read_to_string(self.said).unwrap())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn wait_with(env: &TestEnv, user: &User, name: &str, more: &[&str]) -> Waiter {
    let said = env.root().join(format!("said-{name}"));
    let file = File::create(&said).unwrap();
    let mut command = user.command(["run", "-d", "--backend", "sim"]);
    command.args(more).arg(name).stdout(Stdio::null()).stderr(file);
    Waiter { child: command.spawn().unwrap(), said }
}

/// Has a VM wait, and comes back when it stands in the line.
#[track_caller]
fn wait(env: &TestEnv, user: &User, name: &str) -> Waiter {
    let before = line(user).len();
    let waiter = wait_with(env, user, name, &["--wait"]);
    until(&format!("{name} waits"), || line(user).len() == before + 1);
    waiter
}

fn sim(user: &User, name: &str) -> crate::support::Output {
    user.json(["run", "-d", "--backend", "sim", "--", name])
}

/// The names of those who wait, in order.
#[track_caller]
fn line(user: &User) -> Vec<String> {
    let shown = user.json(["quota", "show"]).ok().json();
    let waiting = shown["classes"][0]["waiting"].as_array().unwrap();
    waiting.iter().map(|waiter| waiter["name"].as_str().unwrap().to_owned()).collect()
}

fn runs(user: &User, name: &str) -> bool {
    user.state(name) == "running"
}

fn kill(user: &User, name: &str) {
    drop(user.run(["kill", name]).ok());
}

/// The VMs in the order in which they were started.
fn started(user: &User) -> Vec<String> {
    let lines = user.json(["events", "--limit", "10000"]).ok().stdout;
    let events = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let started = events.filter(|event| event["kind"] == "vm.started");
    started.map(|event| event["name"].as_str().unwrap().to_owned()).collect()
}

fn tickets(env: &TestEnv) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(env.locks()).unwrap().map(|entry| entry.unwrap().path());
    let mut tickets: Vec<_> = entries.filter(|path| path.to_str().unwrap().contains("/ticket-")).collect();
    tickets.sort();
    tickets
}

#[test]
fn hazard_thirty_wait_and_some_are_killed() {
    const COUNT: usize = 30;
    let env = TestEnv::new();
    limit(&env.home, 2);
    let names: Vec<String> = (0..COUNT).map(|index| format!("web{index}")).collect();
    for name in ["a", "b"].into_iter().chain(names.iter().map(String::as_str)) {
        env.create(name);
    }
    for name in ["a", "b"] {
        drop(sim(&env, name).ok());
    }
    let mut waiters: Vec<Option<Waiter>> = names.iter().map(|name| Some(wait(&env, &env, name))).collect();
    assert_eq!(line(&env), names);
    // The first, the last, two neighbours, and some by a generator of no account.
    let mut seed = std::process::id();
    let mut doomed: Vec<usize> = vec![0, 1, COUNT - 1];
    for _ in 0..8 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        doomed.push((seed >> 16) as usize % COUNT);
    }
    for index in &doomed {
        waiters[*index].take().into_iter().for_each(Waiter::kill);
    }
    let living: Vec<String> =
        (0..COUNT).filter(|index| waiters[*index].is_some()).map(|index| names[index].clone()).collect();
    assert_eq!(line(&env), living, "the dead have left (seed {seed})");
    // Nobody without a ticket goes before them, also while a slot is free for a moment.
    drop(sim(&env, "web0").refused(6, "quota.full"));
    let mut running = vec!["a".to_owned(), "b".to_owned()];
    for name in &living {
        kill(&env, &running.remove(0));
        until(&format!("{name} has its slot (seed {seed})"), || runs(&env, name));
        running.push(name.clone());
    }
    assert_eq!(started(&env)[2..], living, "the order of the living is kept");
    for waiter in waiters.into_iter().flatten() {
        assert_eq!(waiter.end().0, Some(0));
    }
    running.iter().for_each(|name| kill(&env, name));
    env.nothing_is_left();
    // What the killed have left is removed by the next who waits, and harms nobody until then.
    drop(sim(&env, "a").ok());
    drop(sim(&env, "b").ok());
    drop(env.run(["run", "-d", "--backend", "sim", "--wait=10ms", "web0"]));
    assert_eq!(tickets(&env), Vec::<PathBuf>::new());
}

#[test]
fn hazard_the_next_in_line_is_killed_as_its_turn_comes() {
    let env = TestEnv::new();
    limit(&env.home, 1);
    env.create("a");
    drop(sim(&env, "a").ok());
    let names: Vec<String> = (0..12).map(|index| format!("web{index}")).collect();
    names.iter().for_each(|name| drop(env.create(name)));
    let waiters: Vec<Waiter> = names.iter().map(|name| wait(&env, &env, name)).collect();
    let mut last = "a".to_owned();
    let mut waiters = waiters.into_iter().zip(&names);
    let mut delay = 0;
    while let (Some((doomed, first)), Some((next, second))) = (waiters.next(), waiters.next()) {
        kill(&env, &last);
        // At once, a little later, when its supervisor has begun, when it is up.
        std::thread::sleep(Duration::from_millis(delay));
        doomed.kill();
        // Its VM runs or it does not; the next has its turn in either case.
        until("one of both has the slot", || runs(&env, first) || runs(&env, second));
        assert_eq!(env.supervisors().len(), 1, "never more than may run");
        if runs(&env, first) {
            kill(&env, first);
        }
        until("the next has its turn", || runs(&env, second));
        assert_eq!(next.end().0, Some(0));
        last.clone_from(second);
        delay += 8;
    }
    assert_eq!(line(&env), Vec::<String>::new());
}

#[test]
fn hazard_two_users_stand_in_one_line() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let other = env.user(NOBODY);
    limit(&env.home, 1);
    limit(&other.home, 1);
    for name in ["web1", "web3", "web5"] {
        env.create(name);
    }
    for name in ["web2", "web4"] {
        other.create(name);
    }
    drop(sim(&env, "web1").ok());
    let second = wait(&env, &other, "web2");
    let third = wait(&env, &env, "web3");
    let fourth = wait(&env, &other, "web4");
    assert_eq!(line(&env), ["web2", "web3", "web4"]);
    // Another user's dead ticket stays where it is, and is passed over.
    second.kill();
    assert_eq!(line(&other), ["web3", "web4"]);
    drop(sim(&env, "web5").refused(6, "quota.full"));
    kill(&env, "web1");
    until("web3 has its slot", || runs(&env, "web3"));
    kill(&env, "web3");
    until("web4 has its slot", || runs(&other, "web4"));
    assert_eq!((third.end().0, fourth.end().0), (Some(0), Some(0)));
    kill(&other, "web4");
    drop(sim(&env, "web5").ok());
}

#[test]
fn hazard_a_ticket_is_replaced_and_the_folder_emptied() {
    let env = TestEnv::new();
    limit(&env.home, 1);
    for name in ["web1", "web2", "web3"] {
        env.create(name);
    }
    drop(sim(&env, "web1").ok());
    let waiter = wait(&env, &env, "web2");
    let ticket = tickets(&env).pop().unwrap();
    std::fs::remove_file(&ticket).unwrap();
    let target = env.root().join("target");
    std::fs::write(&target, "mine").unwrap();
    std::os::unix::fs::symlink(&target, &ticket).unwrap();
    kill(&env, "web1");
    until("web2 has its slot", || runs(&env, "web2"));
    assert_eq!(waiter.end().0, Some(0));
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "mine", "nobody writes through a link");
    let waiter = wait(&env, &env, "web3");
    for entry in std::fs::read_dir(env.locks()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    kill(&env, "web2");
    until("web3 has its slot", || runs(&env, "web3"));
    assert_eq!(waiter.end().0, Some(0));
    assert_eq!(tickets(&env), Vec::<PathBuf>::new());
}

#[test]
fn hazard_the_note_of_a_slot_lies() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let other = env.user(NOBODY);
    limit(&env.home, 1);
    limit(&other.home, 1);
    env.create("web1");
    other.create("web2");
    let pids = env.started("web1");
    let slot = env.locks().join("slot-linux-0");
    let note: serde_json::Value = serde_json::from_slice(&std::fs::read(&slot).unwrap()).unwrap();
    assert_eq!(note["processes"][0]["pid"], pids.supervisor);
    assert_eq!(note["processes"][1]["pid"], pids.qemu, "QEMU inherits the lock, and is named");
    // Its supervisor is gone, and another user cannot see whose the lock is. The note names one who lives on.
    send(pids.supervisor, Signal::KILL);
    until("its supervisor is gone", || !is_alive(pids.supervisor));
    let own = std::process::id();
    let stat = std::fs::read_to_string(format!("/proc/{own}/stat")).unwrap();
    let start: u64 = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap();
    let lie = serde_json::json!({ "pid": own, "folder": "/nowhere", "processes": [{ "pid": own, "start": start }] });
    std::fs::write(&slot, lie.to_string()).unwrap();
    let waiter = wait(&env, &other, "web2");
    send(pids.qemu, Signal::KILL);
    until("web2 has its slot", || runs(&other, "web2"));
    assert_eq!(waiter.end().0, Some(0));
    // No note, and some that are none.
    kill(&other, "web2");
    env.create("last");
    for (index, text) in
        ["", "{", "[]", "{\"pid\":1,\"folder\":\"/\",\"processes\":[{\"pid\":0,\"start\":0}]}"]
            .into_iter()
            .enumerate()
    {
        drop(sim(&env, "last").ok());
        std::fs::write(&slot, text).unwrap();
        let name = format!("next{index}");
        env.create(&name);
        let waiter = wait(&env, &env, &name);
        kill(&env, "last");
        until("it has its slot", || runs(&env, &name));
        assert_eq!(waiter.end().0, Some(0));
        kill(&env, &name);
    }
}

#[test]
fn hazard_time_is_up_and_ctrl_c_is_pressed() {
    let env = TestEnv::new();
    limit(&env.home, 1);
    for name in ["web1", "web2", "web3", "web4"] {
        env.create(name);
    }
    drop(sim(&env, "web1").ok());
    for time in ["0s", "200ms"] {
        let began = Instant::now();
        let waited = env.json(["run", "-d", "--backend", "sim", &format!("--wait={time}"), "web2"]);
        let error = waited.refused(6, "quota.full");
        assert!(
            error["detail"].as_str().unwrap().contains("1st in line for the one slot (web1 runs)"),
            "{error}"
        );
        assert!(began.elapsed() < Duration::from_secs(10));
        let event: serde_json::Value = serde_json::from_str(waited.stderr.lines().next().unwrap()).unwrap();
        assert_eq!((&event["schema"], &event["place"]), (&"waiting/1".into(), &1.into()), "{waited}");
        assert_eq!(tickets(&env), Vec::<PathBuf>::new(), "it has left");
    }
    let second = wait(&env, &env, "web2");
    let third = wait(&env, &env, "web3");
    let fourth = wait_with(&env, &env, "web4", &["--wait=1h"]);
    until("web4 waits", || line(&env).len() == 3);
    send(second.pid(), Signal::INT);
    let (status, said) = second.end();
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("web2 has left the line for a slot, and was 1st"), "{said}");
    until("web3 hears of it", || third.said().contains("waiting: 1st in line"));
    assert_eq!(line(&env), ["web3", "web4"]);
    assert!(fourth.said().contains("waiting: 3rd in line for the one slot (web1 runs)"), "{}", fourth.said());
    kill(&env, "web1");
    until("web3 has its slot", || runs(&env, "web3"));
    kill(&env, "web3");
    until("web4 has its slot", || runs(&env, "web4"));
    assert_eq!((third.end().0, fourth.end().0), (Some(0), Some(0)));
}

#[test]
fn hazard_one_with_a_lower_limit_holds_up_nobody_and_is_not_passed_by() {
    let env = TestEnv::new();
    let few = env.home("few");
    limit(&env.home, 3);
    limit(&few.home, 1);
    for name in ["a", "b", "c", "d", "e"] {
        env.create(name);
    }
    few.create("low");
    // Slots 0 and 1.
    drop(sim(&env, "a").ok());
    drop(sim(&env, "b").ok());
    // It may have the first slot only.
    let low = wait(&env, &few, "low");
    drop(sim(&env, "c").ok());
    let d = wait(&env, &env, "d");
    // Slot 1: of no use to the first in line.
    kill(&env, "b");
    until("d has its slot", || runs(&env, "d"));
    assert_eq!(d.end().0, Some(0));
    let e = wait(&env, &env, "e");
    kill(&env, "a");
    until("low has the first slot", || runs(&few, "low"));
    assert_eq!(low.end().0, Some(0));
    assert!(!runs(&env, "e"));
    kill(&env, "c");
    until("e has its slot", || runs(&env, "e"));
    assert_eq!(e.end().0, Some(0));
}

#[test]
fn hazard_the_limit_is_changed_while_some_wait() {
    let env = TestEnv::new();
    limit(&env.home, 2);
    for name in ["web1", "web2", "web3", "web4"] {
        env.create(name);
    }
    drop(sim(&env, "web1").ok());
    drop(sim(&env, "web2").ok());
    let third = wait(&env, &env, "web3");
    limit(&env.home, 1);
    // The second slot counts no more.
    kill(&env, "web2");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!runs(&env, "web3"));
    kill(&env, "web1");
    until("web3 has the one slot", || runs(&env, "web3"));
    assert_eq!(third.end().0, Some(0));
    let fourth = wait(&env, &env, "web4");
    limit(&env.home, 0);
    kill(&env, "web3");
    let (status, said) = fourth.end();
    assert_eq!(status, Some(6), "{said}");
    assert!(said.contains("none may run here"), "{said}");
    // And where none may run from the beginning, nobody waits.
    drop(env.json(["run", "-d", "--backend", "sim", "--wait", "web4"]).refused(6, "quota.full"));
}

#[test]
fn hazard_what_is_no_slot_is_not_waited_for() {
    let env = TestEnv::new();
    limit(&env.home, 1);
    env.create("web1");
    env.copy("web1", "twin");
    drop(sim(&env, "web1").ok());
    drop(env.json(["run", "-d", "--backend", "sim", "--wait", "twin"]).refused(5, "identity.in_use"));
    drop(env.json(["run", "-d", "--backend", "sim", "--wait", "web1"]).refused(4, "vm.running"));
    // Nor while another stands in line with it.
    env.create("web2");
    let waiter = wait(&env, &env, "web2");
    env.copy("web2", "copy");
    let copy = wait(&env, &env, "copy");
    kill(&env, "web1");
    until("web2 has its slot", || runs(&env, "web2"));
    assert_eq!(waiter.end().0, Some(0));
    kill(&env, "web2");
    until("its copy has its turn", || runs(&env, "copy"));
    assert_eq!(copy.end().0, Some(0));
}
