//! Integration tests of the domain, one binary.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod plistlib;

use std::fs;
use std::path::Path;

/// A file that is not named above would never be compiled.
#[test]
fn no_file_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let this = fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        assert!(name == "main" || this.contains(&format!("\nmod {name};\n")), "{name} is not in main.rs");
    }
}
