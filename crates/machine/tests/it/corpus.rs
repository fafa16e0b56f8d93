//! The fuzzers' inputs, replayed through the fuzzers' own functions.

use std::fs;
use std::path::Path;

#[path = "../../../../fuzz/bodies/agent_reply.rs"]
mod agent_reply;
#[path = "../../../../fuzz/bodies/disk_image.rs"]
mod disk_image;
#[path = "../../../../fuzz/bodies/guest_report.rs"]
mod guest_report;
#[path = "../../../../fuzz/bodies/hardware_model.rs"]
mod hardware_model;
#[path = "../../../../fuzz/bodies/identity_argument.rs"]
mod identity_argument;
#[path = "../../../../fuzz/bodies/identity_blob.rs"]
mod identity_blob;
#[path = "../../../../fuzz/bodies/image_source.rs"]
mod image_source;
#[path = "../../../../fuzz/bodies/network.rs"]
mod network;
#[path = "../../../../fuzz/bodies/seed.rs"]
mod seed;
#[path = "../../../../fuzz/bodies/vm_name_and_size.rs"]
mod vm_name_and_size;
#[path = "../../../../fuzz/bodies/vm_toml.rs"]
mod vm_toml;

/// Feeds every file of every corpus to every target: what was hard for one may be hard for another.
fn replay(target: &str, check: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    assert!(fuzz.join("corpus").join(target).is_dir(), "{target} has no corpus");
    let mut count = 0;
    for folder in fs::read_dir(fuzz.join("corpus")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            eprintln!("{target}: {}", path.display());
            check(&fs::read(path).unwrap());
            count += 1;
        }
    }
    assert!(count > 50, "only {count} files");
}

#[test]
fn identity_blob_holds() {
    replay("identity_blob", identity_blob::check);
}

#[test]
fn hardware_model_holds() {
    replay("hardware_model", hardware_model::check);
}

#[test]
fn identity_argument_holds() {
    replay("identity_argument", identity_argument::check);
}

#[test]
fn vm_name_and_size_holds() {
    replay("vm_name_and_size", vm_name_and_size::check);
}

#[test]
fn vm_toml_holds() {
    replay("vm_toml", vm_toml::check);
}

#[test]
fn guest_report_holds() {
    replay("guest_report", guest_report::check);
}

#[test]
fn network_holds() {
    replay("network", network::check);
}

#[test]
fn agent_reply_holds() {
    replay("agent_reply", agent_reply::check);
}

#[test]
fn disk_image_holds() {
    replay("disk_image", disk_image::check);
}

#[test]
fn image_source_holds() {
    replay("image_source", image_source::check);
}

#[test]
fn seed_holds() {
    replay("seed", seed::check);
}

#[test]
fn every_target_is_replayed() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let this = include_str!("corpus.rs");
    for file in fs::read_dir(fuzz).unwrap() {
        let path = file.unwrap().path();
        let target = path.file_stem().unwrap().to_str().unwrap();
        assert!(this.contains(&format!("replay(\"{target}\"")), "{target} is not replayed");
    }
}
