//! The manual pages, written by the product itself from the words of its help.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{repository, run};

/// `cargo xtask man`: fills `target/man`, from which `make install` takes the pages.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: cargo xtask man");
    }
    let root = repository::root()?;
    let built = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let binary = binary(&root.join(built))?;
    let pages = root.join("target/man");
    // Away with the pages of commands that are no more.
    if pages.exists() {
        fs::remove_dir_all(&pages).context("cannot empty target/man")?;
    }
    run::output(Command::new(&binary).arg("man").arg(&pages))?;
    let count = fs::read_dir(&pages).context("cannot read target/man")?.count();
    println!("{count} manual pages are in target/man, of {}", binary.display());
    Ok(())
}

/// The binary that is installed, or else the one that was built for trying out.
fn binary(built: &Path) -> Result<PathBuf> {
    let candidates = ["release", "debug"].map(|profile| built.join(profile).join("selfsame"));
    match candidates.into_iter().find(|candidate| candidate.is_file()) {
        Some(binary) => Ok(binary),
        None => {
            bail!("nothing is built in {} yet: cargo build --release --package selfsame", built.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_to_be_installed_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        assert!(binary(folder.path()).is_err());
        for profile in ["debug", "release"] {
            let path = folder.path().join(profile).join("selfsame");
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            assert_eq!(binary(folder.path()).unwrap(), path);
        }
    }
}
