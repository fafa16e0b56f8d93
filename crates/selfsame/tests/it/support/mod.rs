//! What every test of the whole program needs.

mod env;
mod guest_files;
pub(crate) mod http;
mod output;
mod process;
mod pty;
mod sector;
mod user;
mod watch;

pub(crate) use env::TestEnv;
pub(crate) use guest_files::other_guest;
pub(crate) use output::Output;
pub(crate) use process::{Process, Signal, is_alive, send, together, until};
pub(crate) use pty::Pty;
pub(crate) use sector::Sector;
pub(crate) use user::{Pids, User, set_mode};

use std::io::Write as _;

/// Says loudly that a test could not run here. Written past the test runner's capture, so that nobody misses it;
/// `cargo xtask hazards` counts these lines.
pub(crate) fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    tell(&format!("SKIPPED: {name}: {why}"));
}

/// Says something past the test runner's capture.
pub(crate) fn tell(text: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Whether this process may act as other users; says loudly when it may not.
#[must_use]
pub(crate) fn may_be_others() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root to act as another user");
    }
    root
}
