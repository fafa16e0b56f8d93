//! What TAB offers, in real shells.

use crate::support::{Signal, TestEnv, send, skipped};

/// What bash offers for the last of these words, as readline would have parted them.
fn bash(env: &TestEnv, words: &[&str]) -> Vec<String> {
    let script = env.root().join("completion.bash");
    std::fs::write(&script, env.run(["completion", "bash"]).ok().stdout).unwrap();
    let mut shell = env.other("bash");
    let code = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _selfsame \"$1\"; \
                ((${#COMPREPLY[@]})) && printf '%s\\n' \"${COMPREPLY[@]}\"; true";
    shell.args(["--norc", "-euc", code, "bash"]).arg(script).arg(&env.program).args(words);
    env.finish(shell).ok().stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_knows_vms_by_what_a_command_can_act_on() {
    let env = TestEnv::new();
    for name in ["web1", "web2", "it's web", "db:1"] {
        env.create(name);
    }
    let pids = env.started("web1");
    assert_eq!(bash(&env, &["stop", ""]), ["web1"]);
    assert_eq!(bash(&env, &["run", "-d", "w"]), ["web2"]);
    assert_eq!(bash(&env, &["rename", "w"]), ["web2"]);
    assert_eq!(bash(&env, &["get", "w"]), ["web1", "web2"]);
    assert_eq!(bash(&env, &["delete", "web2", "--yes", "w"]), Vec::<String>::new(), "not twice");
    assert_eq!(bash(&env, &["get", "it"]), ["it\\'s\\ web"]);
    assert_eq!(bash(&env, &["get", "it\\'s"]), ["it\\'s\\ web"]);
    // readline takes `:` and `=` for words of their own, and replaces only what is behind them.
    assert_eq!(bash(&env, &["get", "db", ":", "1"]), ["1"]);
    assert_eq!(bash(&env, &["list", "--format", "=", "j"]), ["json"]);
    assert_eq!(bash(&env, &["list", "--format", "="]), ["text", "json"]);
    assert_eq!(bash(&env, &["sto"]), ["stop"]);
    assert_eq!(bash(&env, &["su"]), ["suspend"], "`supervise` is nobody's business");
    // A supervisor that does not answer holds nobody up at the keyboard, and an orphan may be run or stopped.
    send(pids.supervisor, Signal::STOP);
    let began = std::time::Instant::now();
    assert_eq!(bash(&env, &["kill", ""]), ["web1"]);
    assert!(began.elapsed().as_secs() < 3, "{:?}", began.elapsed());
    send(pids.supervisor, Signal::KILL);
    crate::support::until("it is gone", || !crate::support::is_alive(pids.supervisor));
    assert_eq!(bash(&env, &["kill", ""]), ["web1"]);
    assert_eq!(bash(&env, &["run", "w"]), ["web1", "web2"]);
}

#[test]
fn bash_knows_labels_and_leaves_files_to_itself() {
    let env = TestEnv::new();
    env.create("web1");
    drop(env.run(["set", "web1", "--label", "front-door"]).ok());
    assert_eq!(bash(&env, &["identity", "show", ""]), ["front-door", "web1"]);
    assert_eq!(bash(&env, &["create", "x", "--disk", ""]), Vec::<String>::new());
    assert_eq!(env.run(["complete", "--", "create", "x", "--disk", ""]).ok().stdout, ":files\n");
}

#[test]
fn completion_never_fails_and_makes_nothing() {
    let env = TestEnv::new();
    let before = std::fs::read_dir(&env.home).unwrap().count();
    for words in [&["get", ""][..], &["frob", "", ""], &[], &["--", ""], &["-", "="]] {
        let output = env.run(["complete", "--"].iter().chain(words)).ok();
        assert_eq!(output.stderr, "", "{output}");
    }
    assert_eq!(std::fs::read_dir(&env.home).unwrap().count(), before);
    std::fs::write(env.home.join("config.toml"), "damaged").unwrap();
    assert_eq!(env.run(["complete", "--", "get", ""]).ok().stdout, "");
}

/// Asks a shell that may be missing: it reads the script, and completes one name.
fn other_shell(shell: &str, code: &str, expected: &str) {
    let env = TestEnv::new();
    if env.other(shell).arg("-c").arg("true").output().is_err() {
        skipped(&format!("{shell} is not installed: its completion was not tried"));
        return;
    }
    env.create("web1");
    let script = env.root().join("completion");
    std::fs::write(&script, env.run(["completion", shell]).ok().stdout).unwrap();
    let mut command = env.other(shell);
    let folder = env.program.parent().unwrap().display();
    command.arg("-c").arg(code).env("SCRIPT", &script).env("PATH", format!("{folder}:/usr/bin:/bin"));
    let output = env.finish(command).ok();
    assert!(output.stdout.lines().any(|line| line == expected), "{output}");
}

#[test]
fn zsh_knows_vms() {
    // Without a terminal there is no completion system: what it would be given is printed.
    let code = "compdef() { :; }; compadd() { print -l -- ${(P)2}; }; words=(selfsame get ''); CURRENT=3; \
                source $SCRIPT; _selfsame";
    other_shell("zsh", code, "web1");
}

#[test]
fn fish_knows_vms() {
    other_shell("fish", "source $SCRIPT; complete -C 'selfsame get '", "web1");
}
