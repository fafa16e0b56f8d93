//! The agent that Debian installs: commands, their output and status, and no shell between.

use super::{Debian, NAME};

pub(super) fn check(debian: &Debian) {
    let exec =
        |command: &[&str]| debian.env.run(["exec", "--timeout", "50s", NAME, "--"].iter().chain(command));
    assert_eq!(exec(&["printf", "%s|", "a b", "it's", ""]).ok().stdout, "a b|it's||");
    assert_eq!(exec(&["id", "-un"]).ok().stdout, "root\n");
    let failed = exec(&["sh", "-c", "echo to stderr >&2; exit 7"]);
    assert_eq!((failed.code(), failed.stderr.as_str()), (7, "to stderr\n"), "{failed}");
}
