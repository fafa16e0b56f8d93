//! Tests of the whole program: real processes, real QEMU, a home of their own each.
//!
//! | folder | what for |
//! |---|---|
//! | `hazards` | what goes wrong on real hosts, each a test named `hazard_…`; `cargo xtask hazards` runs and counts them |
//! | `guest` | real guests that boot: the only ones that are slow |
//! | `cli` | what people and programs read: help, output, errors, exit statuses |
//! | `support` | the home of a test, other users, processes |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cli;
mod guest;
mod hazards;
mod support;

/// A file that nobody lists is a test that never runs.
#[test]
fn every_file_here_is_listed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    all_listed(&folder, "main.rs");
}

fn all_listed(folder: &std::path::Path, root: &str) {
    let listed = std::fs::read_to_string(folder.join(root)).unwrap();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() && path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let known = name == root.trim_end_matches(".rs") || listed.contains(&format!("mod {name};"));
        assert!(known, "`{name}` is not listed in {}", folder.join(root).display());
        if path.is_dir() {
            all_listed(&path, "mod.rs");
        }
    }
}
