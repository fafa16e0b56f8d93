//! The real QEMU and the real kernel, as `cargo xtask guest` left them.

use std::path::{Path, PathBuf};

/// Where they are.
#[derive(Debug, Clone)]
pub(crate) struct GuestFiles {
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
}

impl GuestFiles {
    /// Reads `target/guest/guest.toml`.
    pub(crate) fn find() -> Self {
        let path = place("guest.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!(
                "there is no test guest ({}: {error}): run `make test`, or `cargo xtask guest` once",
                path.display()
            )
        });
        let table: toml::Table = text.parse().expect("guest.toml is TOML");
        let file = |key: &str| {
            let path = PathBuf::from(table[key].as_str().expect("guest.toml names files"));
            assert!(path.is_file(), "`{}` is missing: run `cargo xtask guest`", path.display());
            path
        };
        Self { qemu: file("qemu"), kernel: file("kernel"), initrd: file("initrd") }
    }
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest").join(name)
}

/// What another guest is made of, by the key in its `guest.toml`; says loudly that it is not there.
pub(crate) fn other_guest(name: &str) -> Option<impl Fn(&str) -> PathBuf> {
    let table = std::fs::read_to_string(place(&format!("{name}/guest.toml"))).ok();
    let table: Option<toml::Table> = table.map(|text| text.parse().expect("guest.toml is TOML"));
    if table.is_none() {
        super::skipped(&format!("needs `cargo xtask guest --{name}`"));
    }
    table.map(|table| move |key: &str| PathBuf::from(table[key].as_str().expect("guest.toml names files")))
}
