//! What goes wrong on real hosts. Every test here is named `hazard_…`, and asserts four things where they apply: no two VMs
//! with one identity ever run at the same time, nothing is lost, the error names the cause with its stable code and exit
//! status, and the next try works.

mod agent;
mod bundle;
mod changes;
mod clock;
mod console;
mod copies;
mod deletion;
mod disk_full;
mod foreign;
mod home;
mod images;
mod injection;
mod kills;
mod library;
mod locks;
mod names;
mod one_run;
mod ports;
mod qemu;
mod quota;
mod races;
mod renames;
mod restarts;
mod silent;
mod socket;
mod starts;
mod storm;
mod suspend;
mod suspend_kills;
mod users;
mod waiting;

/// A hazard under another name would not be counted.
#[test]
fn every_test_here_is_named_hazard() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hazards");
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().filter(|line| !line.starts_with("#[expect"));
        while let Some(line) = lines.next() {
            if line == "#[test]" && path.file_name().is_some_and(|name| name != "mod.rs") {
                let name = lines.next().unwrap_or_default();
                assert!(name.starts_with("fn hazard_"), "{}: {name}", path.display());
            }
        }
    }
}
