//! What must hold of a real guest with an SSH server that one can log in to.

use std::path::Path;

use crate::support::User;

/// Checks it of a running VM whose `login.user` may log in with `key`, and run `sudo` without a password. The guest has other
/// host keys afterwards.
#[track_caller]
pub(crate) fn check(user: &User, name: &str, key: &Path) {
    let key = key.to_str().unwrap();
    let ssh = |command: &[&str]| {
        let start = ["--format", "json", "ssh", "--wait", "50", "-i", key, name, "--"];
        user.run(start.iter().chain(command))
    };
    // Words as they are, a line as a line, and every status, that of ssh's own failures too.
    assert_eq!(ssh(&["printf", "%s|", "a b", "it's", ""]).ok().stdout, "a b|it's||");
    assert_eq!(ssh(&["echo hi | wc -c; exit 7"]).code(), 7);
    let own = ssh(&["exit 255"]);
    assert!(own.code() == 255 && !own.stderr.contains("\"code\""), "{own}");
    drop(ssh(&["kill -9 $PPID"]).refused(125, "ssh.failed"));
    // Nothing of the caller's is lent to the guest.
    assert_eq!(ssh(&["echo $SSH_AUTH_SOCK$DISPLAY"]).ok().stdout, "\n");
    // There and back again.
    let there = user.home.join("there: a b");
    let back = user.home.join("back");
    std::fs::write(&there, "carried\n").unwrap();
    let copy = |from: &str, to: &str| drop(user.run(["cp", "-i", key, from, to]).ok());
    copy(there.to_str().unwrap(), &format!("{name}:carried"));
    copy(&format!("{name}:carried"), back.to_str().unwrap());
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "carried\n");
    // The configuration for others does the same.
    let config = user.home.join("ssh config");
    std::fs::write(&config, user.run(["ssh-config", "-i", key, name]).ok().stdout).unwrap();
    let mut plain = user.other("ssh");
    plain.arg("-F").arg(&config).args([name, "cat", "carried"]);
    assert_eq!(user.finish(plain).ok().stdout, "carried\n");
    // Another guest with this identity is noticed, also by scp.
    let new_keys = "sudo rm /etc/ssh/ssh_host_*; sudo ssh-keygen -A >/dev/null; sudo systemctl restart ssh";
    drop(ssh(&[new_keys]).ok());
    drop(ssh(&["true"]).refused(125, "net.host_key_changed"));
    let carried = format!("{name}:carried");
    drop(user.json(["cp", "-i", key, &carried, "again"]).refused(9, "net.host_key_changed"));
    drop(user.run(["ssh", "--forget-host-key", name]).ok());
    drop(ssh(&["true"]).ok());
}
