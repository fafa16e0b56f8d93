//! The stub SDK: text files that tell the linker which library exports which symbol. No SDK of Apple's is needed.
//!
//! What libSystem exports is read from the list that zig carries. It derives from Apple's headers, so it stays in the
//! Python package and is never part of the repository. All others are hand lists in `symbols.toml`. A symbol that is in no
//! list fails the link by its name; that is the check.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::toolchain::packaged;
use super::workshop::{Workshop, digest};

/// Raised when the same inputs make other stubs.
const RECIPE: &str = "1";
const TARGETS: &str = "[ arm64-macos ]";

/// One library of `symbols.toml`.
#[derive(Debug, PartialEq, Eq)]
struct Library {
    /// Where the linker looks, below the SDK.
    path: String,
    /// What a program that is linked against it asks dyld for.
    install_name: String,
    symbols: Vec<String>,
}

/// The step `stubs`: writes the SDK, unless one of the same content is there.
pub(super) fn write(work: &Workshop) -> Result<String> {
    let (folder, libraries) = place(work)?;
    let symbols: usize = libraries.iter().map(|library| library.symbols.len()).sum();
    let outcome = format!("{} libraries of {symbols} symbols, and zig's libSystem", libraries.len());
    if folder.exists() {
        return Ok(outcome);
    }
    let part = folder.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).context("cannot remove half-written stubs")?;
    }
    let put = |path: &str, text: &str| {
        let path = part.join(path);
        let cannot = || format!("cannot write {}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(&path)).with_context(cannot)?;
        fs::write(&path, text).with_context(cannot)
    };
    for library in &libraries {
        put(&library.path, &stub(library))?;
    }
    put("usr/lib/libSystem.tbd", &system(&lib_system(work)?)?)?;
    for name in ["libc", "libm", "libpthread", "libdl"] {
        std::os::unix::fs::symlink("libSystem.tbd", part.join(format!("usr/lib/{name}.tbd")))
            .with_context(|| format!("cannot make the stub of {name}"))?;
    }
    fs::rename(&part, &folder).context("cannot put the stubs in their place")?;
    Ok(outcome)
}

/// The folder of the stubs, named by their content: the linker gets its path, so other stubs mean another link.
pub(super) fn folder(work: &Workshop) -> Result<PathBuf> {
    Ok(place(work)?.0)
}

fn place(work: &Workshop) -> Result<(PathBuf, Vec<Library>)> {
    let list = work.root.join("xtask/src/mac/symbols.toml");
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let libraries = libraries(&text).with_context(|| format!("{} is not in order", list.display()))?;
    let digest = digest(&[RECIPE.as_bytes(), text.as_bytes(), lib_system(work)?.as_bytes()]);
    let short = digest.get(..16).unwrap_or(&digest);
    Ok((work.out.join("sdk").join(short), libraries))
}

fn lib_system(work: &Workshop) -> Result<String> {
    let path = packaged(work, "ziglang/lib/libc/darwin/libSystem.tbd")?;
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// zig's list names the architecture of the newest systems, which LLD 19 does not know; the symbols are the same.
fn system(list: &str) -> Result<String> {
    let fixed = list.replace("arm64e.x1-m", "arm64-m");
    if !fixed.contains("arm64-macos") {
        bail!("zig's list of libSystem has no target that can be taken for arm64-macos");
    }
    Ok(fixed)
}

fn libraries(text: &str) -> Result<Vec<Library>> {
    let table: toml::Table = text.parse().context("not TOML")?;
    table.iter().map(|(name, value)| library(name, value).with_context(|| name.clone())).collect()
}

fn library(name: &str, value: &toml::Value) -> Result<Library> {
    let word = |key: &str| {
        value.get(key).and_then(toml::Value::as_str).with_context(|| format!("`{key}` is missing or no text"))
    };
    let install_name = word("install-name")?.to_owned();
    let path = if install_name.contains(".framework/") {
        format!("System/Library/Frameworks/{name}.framework/{name}.tbd")
    } else {
        format!("usr/lib/{name}.tbd")
    };
    let list =
        value.get("symbols").and_then(toml::Value::as_array).context("`symbols` is missing or no list")?;
    let symbols = list
        .iter()
        .map(|symbol| {
            let symbol = symbol.as_str().context("a symbol is no text")?;
            if !symbol.starts_with('_') || symbol.contains(|c: char| c.is_whitespace() || c == '\'') {
                bail!("`{symbol}` is no symbol: in a Mach-O file they begin with `_`");
            }
            Ok(symbol.to_owned())
        })
        .collect::<Result<_>>()?;
    Ok(Library { path, install_name, symbols })
}

/// One library as a text stub, version 4 of the format.
fn stub(library: &Library) -> String {
    let mut text = format!(
        "--- !tapi-tbd\ntbd-version:     4\ntargets:         {TARGETS}\ninstall-name:    '{}'\ncurrent-version: 1\n\
         compatibility-version: 1\n",
        library.install_name
    );
    if !library.symbols.is_empty() {
        let names: Vec<String> = library.symbols.iter().map(|symbol| format!("'{symbol}'")).collect();
        text.push_str(&format!(
            "exports:\n  - targets:         {TARGETS}\n    symbols:         [ {} ]\n",
            names.join(", ")
        ));
    }
    text.push_str("...\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_lists_are_in_order_and_name_no_symbol_twice() {
        let libraries = libraries(include_str!("symbols.toml")).unwrap();
        let mut symbols: Vec<&String> = libraries.iter().flat_map(|library| &library.symbols).collect();
        symbols.sort();
        for pair in symbols.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
        assert!(symbols.iter().any(|symbol| *symbol == "_VZErrorDomain"));
    }

    #[test]
    fn a_framework_and_a_library_have_their_places() {
        let text = "[X]\ninstall-name = \"/System/Library/Frameworks/X.framework/Versions/A/X\"\nsymbols = [\"_x\"]\n\
                    [libx]\ninstall-name = \"/usr/lib/libx.A.dylib\"\nsymbols = []\n";
        let libraries = libraries(text).unwrap();
        assert_eq!(libraries[0].path, "System/Library/Frameworks/X.framework/X.tbd");
        assert_eq!(libraries[1].path, "usr/lib/libx.tbd");
        assert!(stub(&libraries[0]).contains("[ '_x' ]"));
        assert!(!stub(&libraries[1]).contains("exports"));
    }

    #[test]
    fn what_is_no_symbol_is_refused() {
        for symbol in ["x", "_a b", "_a'"] {
            assert!(
                libraries(&format!("[X]\ninstall-name = \"/usr/lib/x\"\nsymbols = [\"{symbol}\"]")).is_err()
            );
        }
        assert!(libraries("[X]\nsymbols = []").is_err());
    }

    #[test]
    fn a_list_without_a_usable_target_is_refused() {
        assert_eq!(system("[ arm64e.x1-macos ]").unwrap(), "[ arm64-macos ]");
        assert!(system("[ arm64e-macos ]").is_err());
    }
}
