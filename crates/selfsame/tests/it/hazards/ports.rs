//! Ports of the host that lead into guests: taken before, in between, by each other; and guests that nobody reaches.

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::{Signal, TestEnv, User, may_be_others, send, together, until};

/// Any port that is free now.
fn free() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// How a running VM is connected.
#[track_caller]
fn link(user: &User, name: &str) -> Value {
    user.get(name)["status"]["network"].clone()
}

#[track_caller]
fn login(user: &User, name: &str) -> u16 {
    let port = link(user, name)["login"]["port"].as_u64().unwrap();
    u16::try_from(port).unwrap()
}

/// Starts a VM whose guest runs, though there is none.
#[track_caller]
fn running(user: &User, name: &str, more: &[&str]) {
    let start = ["start", name];
    drop(user.json(start.iter().chain(more)).ok());
}

#[test]
fn hazard_a_port_is_taken_before_the_start() {
    let env = TestEnv::new();
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    env.create_with("web1", &["--no-disk", "-p", &format!("{port}:80"), "-p", "0:81"]);
    let error = env.start("web1").refused(5, "net.port_in_use");
    let detail = error["detail"].as_str().unwrap();
    assert!(detail.contains("web1") && detail.contains(&format!("127.0.0.1:{port}/tcp")), "{detail}");
    assert!(detail.contains(&format!("(pid {})", std::process::id())), "{detail}");
    let hint = error["hints"][0]["command"].as_str().unwrap();
    assert_eq!(hint, "selfsame run -d -p 0:80 -p 0:81 web1");
    env.nothing_is_left();
    let why = env.json(["why", "web1"]);
    assert_eq!(why.code(), 10, "{why}");
    assert!(why.stdout.contains(&format!("127.0.0.1:{port}/tcp")), "{why}");
    // The advice works, and all is well without it when the port is free again.
    let advised = env.json(hint.split(' ').skip(1)).ok().json();
    let forwards = &advised["status"]["network"]["forwards"];
    assert_ne!(forwards[0]["port"], port);
    assert_eq!((&forwards[0]["guest_port"], &forwards[1]["guest_port"]), (&80.into(), &81.into()));
    drop(env.run(["kill", "web1"]).ok());
    drop(held);
    env.started("web1");
    assert_eq!(link(&env, "web1")["forwards"][0]["port"], port);
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
}

#[test]
fn hazard_a_udp_port_is_taken() {
    let env = TestEnv::new();
    let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    env.create_with("web1", &["--no-disk", "-p", &format!("0.0.0.0:{port}:53/udp")]);
    let error = env.start("web1").refused(5, "net.port_in_use");
    assert!(error["detail"].as_str().unwrap().contains(&format!("0.0.0.0:{port}/udp")), "{error}");
    drop(held);
    env.started("web1");
}

#[test]
fn hazard_two_vms_want_one_port() {
    let env = TestEnv::new();
    let port = free();
    for name in ["web1", "web2", "web3"] {
        env.create_with(name, &["--no-disk", "-p", &format!("{port}:80")]);
    }
    // All three may see it free; QEMU gets it once.
    let codes = together(3, |index| env.start(&format!("web{}", index + 1)).code());
    let won = codes.iter().filter(|code| **code == 0).count();
    assert_eq!(won, 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 5].contains(code)), "{codes:?}");
    assert_eq!(env.qemus().len(), 1);
    let winner = codes.iter().position(|code| *code == 0).unwrap() + 1;
    let loser = winner % 3 + 1;
    let error = env.start(&format!("web{loser}")).refused(5, "net.port_in_use");
    assert!(error["detail"].as_str().unwrap().ends_with(&format!("the VM web{winner} has")), "{error}");
    assert_eq!(env.state(&format!("web{loser}")), "stopped");
}

#[test]
fn hazard_the_port_for_ssh_is_taken() {
    let env = TestEnv::new();
    env.create("web1");
    env.started("web1");
    let own = login(&env, "web1");
    assert!(own >= 61_000, "{own}");
    drop(env.run(["kill", "web1"]).ok());
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, own)).unwrap();
    env.started("web1");
    let next = login(&env, "web1");
    assert_ne!(next, own);
    drop(env.run(["kill", "web1"]).ok());
    drop(held);
    env.started("web1");
    assert_eq!(login(&env, "web1"), own, "it is the same one where it is free");
}

#[test]
fn hazard_a_port_is_for_privileged_users() {
    if !may_be_others() {
        return;
    }
    let env = TestEnv::new();
    let other = env.user(65_534);
    other.create_with("web1", &["--no-disk", "-p", "81:80"]);
    let error = other.start("web1").refused(9, "net.port_refused");
    assert!(error["detail"].as_str().unwrap().contains("only a privileged user"), "{error}");
    other.create_with("web2", &["--no-disk", "-p", "203.0.113.7:8080:80"]);
    let error = other.start("web2").refused(9, "net.port_refused");
    assert!(error["detail"].as_str().unwrap().contains("does not have"), "{error}");
    env.nothing_is_left();
}

#[test]
fn hazard_a_run_is_connected_otherwise_than_the_vm() {
    let env = TestEnv::new();
    env.create_with("web1", &["--no-disk", "-p", "0:80"]);
    let options = ["--paused", "--net", "isolated", "-p", "0:81", "-p", "0:53/udp"];
    running(&env, "web1", &options);
    let before = link(&env, "web1");
    assert_eq!(before["network"], "isolated");
    assert_eq!(before["forwards"][0]["guest_port"], 81);
    assert_eq!(before["forwards"][1]["transport"], "udp");
    let line = env.qemus().pop().unwrap().arguments.join(" ");
    assert!(line.contains("user,id=net0,restrict=on"), "{line}");
    // A successor knows it as well, and a restart keeps it.
    let supervisor = env.get("web1")["status"]["supervisor_pid"].as_u64().unwrap();
    send(u32::try_from(supervisor).unwrap(), Signal::KILL);
    until("its supervisor is gone", || env.state("web1") == "orphaned");
    assert_eq!(env.json(["ip", "web1"]).ok().json()["port"], before["login"]["port"]);
    drop(env.start("web1").ok());
    assert_eq!(link(&env, "web1"), before);
    drop(env.json(["restart", "-t", "0", "--paused", "web1"]).ok());
    let after = link(&env, "web1");
    assert_eq!((&after["network"], &after["forwards"][1]["guest_port"]), (&"isolated".into(), &53.into()));
    // The next start is the VM's own again.
    drop(env.run(["kill", "web1"]).ok());
    env.started("web1");
    assert_eq!(link(&env, "web1")["network"], "nat");
    assert_eq!(link(&env, "web1")["forwards"][0]["guest_port"], 80);
}

#[test]
fn hazard_a_guest_without_a_card_is_reached_for() {
    let env = TestEnv::new();
    env.create_with("web1", &["--no-disk", "-p", "0:80"]);
    drop(env.json(["start", "--net", "none", "-p", "0:81", "web1"]).refused(2, "usage.invalid"));
    running(&env, "web1", &["--net", "none"]);
    let line = env.qemus().pop().unwrap().arguments.join(" ");
    assert!(!line.contains("netdev"), "{line}");
    let error = env.json(["ip", "web1"]).refused(1, "net.unreachable");
    assert_eq!(error["hints"][0]["command"], "selfsame restart --net nat web1");
    drop(env.json(["ssh", "web1"]).refused(125, "net.unreachable"));
    // The card's address stays the VM's.
    let mac = env.get("web1")["mac_address"].as_str().unwrap().to_owned();
    env.create_with("web2", &["--no-disk", "--mac-address", &mac]);
    drop(env.start("web2").refused(5, "mac.in_use"));
}

#[test]
fn hazard_a_guest_that_reached_nobody_is_woken_with_a_network() {
    let env = TestEnv::new();
    env.create("web1");
    running(&env, "web1", &["--net", "isolated"]);
    drop(env.run(["suspend", "web1"]).ok());
    let error = env.start("web1").refused(9, "state.mismatch");
    assert!(
        error["detail"].as_str().unwrap().contains("its network was isolated then, and is nat now"),
        "{error}"
    );
    let hint = error["hints"][0]["command"].as_str().unwrap();
    assert_eq!(hint, "selfsame run --net isolated web1");
    running(&env, "web1", &["--net", "isolated"]);
    assert_eq!(link(&env, "web1")["network"], "isolated");
}

#[test]
fn hazard_a_guest_never_answers() {
    let env = TestEnv::new();
    env.create("web1");
    drop(env.json(["ssh", "web1"]).refused(125, "request.denied"));
    env.started("web1");
    drop(env.json(["ssh", "web1"]).refused(125, "request.denied"));
    drop(env.run(["resume", "web1"]).ok());
    let output = env.json(["ssh", "--wait", "3", "web1"]);
    assert!(output.stderr.contains("waiting for the SSH server of web1"), "{output}");
    assert_eq!(output.code(), 125, "{output}");
    assert!(
        output.stderr.contains("\"net.unreachable\"") && output.stderr.contains("\"exit_status\":125"),
        "{output}"
    );
    assert!(
        !env.home.join("known_hosts").exists() || env.home.join("known_hosts").metadata().unwrap().len() == 0
    );
    let mut bare = env.command(["--format", "json", "ssh", "web1"]);
    bare.env("PATH", "/nowhere");
    drop(env.finish(bare).refused(125, "ssh.missing"));
}

#[test]
fn hazard_host_keys_cannot_be_remembered() {
    let env = TestEnv::new();
    env.create("web1");
    running(&env, "web1", &[]);
    let known = env.home.join("known_hosts");
    symlink(env.root().join("elsewhere"), &known).unwrap();
    let error = env.json(["ssh", "web1"]).refused(125, "file.failed");
    assert!(error["detail"].as_str().unwrap().contains("is a link"), "{error}");
    drop(env.json(["cp", "config.toml", "web1:"]).refused(1, "file.failed"));
    assert!(!env.root().join("elsewhere").exists());
    std::fs::remove_file(&known).unwrap();
    std::fs::create_dir(&known).unwrap();
    drop(env.json(["ssh", "web1"]).refused(125, "file.failed"));
}

#[test]
fn hazard_a_name_means_something_to_openssh() {
    let env = TestEnv::new();
    for (name, host) in [("web-1", "web-1"), ("a b* \"c\" %h", "selfsame-")] {
        env.create(name);
        running(&env, name, &[]);
        let told = env.json(["ssh-config", "-l", "ann", "--", name]).ok().json();
        let host = told["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .find_map(|known| known.as_str().filter(|known| known.starts_with(host)));
        let file = env.root().join("ssh config");
        std::fs::write(&file, told["text"].as_str().unwrap()).unwrap();
        let mut ssh = env.other("ssh");
        ssh.arg("-F").arg(&file).args(["-G", host.unwrap()]);
        let read = env.finish(ssh).ok().stdout;
        let port = format!("port {}\n", login(&env, name));
        let known = format!("userknownhostsfile {}\n", env.home.join("known_hosts").display());
        for line in
            ["user ann\n", "hostname 127.0.0.1\n", "stricthostkeychecking accept-new\n", &port, &known]
        {
            assert!(read.contains(line), "`{line}` is not in {read}");
        }
    }
}
