//! Checks what neither the compiler nor the linter does: sizes, leftovers, what every crate must have.
//!
//! Looks at the files that git knows or would add, so build output and what is ignored never count.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{repository, run};

/// A Rust file with more lines fails.
const LIMIT: usize = 1_000;
/// A Rust file with more lines is worth a second thought.
const RESHAPE: usize = 600;

/// What stops the check, and what is only worth knowing.
#[derive(Default)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// `cargo xtask check`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: cargo xtask check");
    }
    let root = repository::root()?;
    let listing = run::text(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root),
    )?;
    let mut findings = Findings::default();
    let mut count = 0_usize;
    for name in listing.split('\0').filter(|name| !name.is_empty()) {
        let path = root.join(name);
        // A file that is removed but still in the index, or a link that leads nowhere.
        if !path.is_file() {
            continue;
        }
        let content = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        // What is not text is data.
        if let Ok(text) = String::from_utf8(content) {
            count += 1;
            file(name, &text, &mut findings);
        }
    }
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if !root.join(licence).is_file() {
            findings.errors.push(format!("{licence} is missing"));
        }
    }
    for warning in &findings.warnings {
        eprintln!("warning: {warning}");
    }
    for error in &findings.errors {
        eprintln!("error: {error}");
    }
    if !findings.errors.is_empty() {
        bail!("{} of {count} files checked are not in order", findings.errors.len());
    }
    println!("{count} files checked");
    Ok(())
}

/// Looks at one file, named by its path in the repository.
fn file(name: &str, text: &str, findings: &mut Findings) {
    if Path::new(name).extension().is_some_and(|extension| extension == "rs") {
        let lines = text.lines().count();
        if lines > LIMIT {
            findings.errors.push(format!("{name} has {lines} lines, more than {LIMIT}"));
        } else if lines > RESHAPE {
            findings.warnings.push(format!("{name} has {lines} lines; split it by noun or verb"));
        }
        for (number, line) in text.lines().enumerate() {
            for word in ["todo", "unimplemented"] {
                if line.contains(&format!("{word}!(")) {
                    findings.errors.push(format!("{name}:{}: `{word}!`", number + 1));
                }
            }
        }
    }
    if name.ends_with("Cargo.toml") && !described(text) {
        findings.errors.push(format!("{name}: the package has no description"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(path) = machine_path(line) {
            findings.errors.push(format!("{name}:{}: `{path}…` is a path of one machine", number + 1));
        }
    }
}

/// Whether a manifest's package, if it has one, is described.
fn described(manifest: &str) -> bool {
    let Ok(table) = manifest.parse::<toml::Table>() else { return false };
    let described = |package: &toml::Value| {
        package.get("description").and_then(toml::Value::as_str).is_some_and(|text| !text.is_empty())
    };
    table.get("package").is_none_or(described)
}

/// The beginning of an absolute path that means something only on the machine of whoever wrote it.
fn machine_path(line: &str) -> Option<&'static str> {
    // In two parts, or this file would not pass its own check.
    const PLACES: [&str; 4] =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/home", "/runner/"), concat!("/bui", "lds/")];
    PLACES.into_iter().find(|place| {
        line.match_indices(place).any(|(start, _)| {
            // Only a path that begins here: `target/work/` is one of ours.
            let before = line.get(..start).and_then(|before| before.chars().next_back());
            !before.is_some_and(|c| c.is_alphanumeric() || "._-/~}$*".contains(c))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str) -> Findings {
        let mut findings = Findings::default();
        file(name, text, &mut findings);
        findings
    }

    #[test]
    fn long_files_are_warned_of_and_then_refused() {
        assert!(check("a.rs", &"x\n".repeat(RESHAPE)).warnings.is_empty());
        assert_eq!(check("a.rs", &"x\n".repeat(RESHAPE + 1)).warnings.len(), 1);
        assert!(check("a.rs", &"x\n".repeat(LIMIT)).errors.is_empty());
        assert_eq!(check("a.rs", &"x\n".repeat(LIMIT + 1)).errors.len(), 1);
        assert!(check("a.md", &"x\n".repeat(LIMIT + 1)).errors.is_empty());
    }

    #[test]
    fn leftovers_are_found_with_their_line() {
        let text = format!("fn f() {{\n    {}!(\"later\")\n}}\n", "todo");
        assert_eq!(check("a.rs", &text).errors, ["a.rs:2: `todo!`"]);
    }

    #[test]
    fn paths_of_one_machine_are_found_and_others_are_not() {
        let path = concat!("/wo", "rk/x");
        assert_eq!(check("a.md", &format!("see {path}")).errors.len(), 1);
        assert_eq!(check("a.md", &format!("`{path}`")).errors.len(), 1);
        assert!(check("a.md", &format!("target{path} and $HOME{path}s")).errors.is_empty());
    }

    #[test]
    fn a_package_must_be_described_and_a_workspace_need_not() {
        assert!(described("[workspace]\n"));
        assert!(described("[package]\nname = \"a\"\ndescription = \"b\"\n"));
        assert!(!described("[package]\nname = \"a\"\n"));
        assert!(!described("[package]\nname = \"a\"\ndescription = \"\"\n"));
    }
}
