//! `docs/vz-surface.md`: all of the system that the code uses, the macOS that each needs, and what checks for it at run time.
//!
//! The selectors are those of the names that `crates/vz` mentions; the functions are those that the signed `vz-drive` asks
//! libraries for. Both must be exactly those of `crates/vz/surface.toml`, the hand-checked table of versions. What is newer
//! than the deployment target must name the code that asks for it first, and that code must be there.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use super::binding::Bindings;
use super::build::DRIVE;
use super::macho::Import;
use super::surface_table::{Table, Version};
use super::surface_uses::{Uses, delegates};
use super::workshop::Workshop;
use super::{build, sign, source, stubs, toolchain, verify};

const DOCUMENT: &str = "docs/vz-surface.md";
const TABLE: &str = "crates/vz/surface.toml";
const SOURCE: &str = "crates/vz/src";
const REGENERATE: &str = "cargo xtask mac surface";

/// `cargo xtask mac surface`: builds what is asked, and writes the document.
pub(super) fn write(work: &Workshop) -> Result<()> {
    toolchain::check(work)?;
    stubs::write(work)?;
    build::build(work, &[DRIVE])?;
    sign::sign(work, &[DRIVE])?;
    let (text, _) = document(work)?;
    fs::write(work.root.join(DOCUMENT), text).with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!("{DOCUMENT} is written");
    Ok(())
}

/// The step `surface`: whether table, code and document agree.
pub(super) fn check(work: &Workshop) -> Result<String> {
    let (text, outcome) = document(work)?;
    let present = fs::read_to_string(work.root.join(DOCUMENT)).unwrap_or_default();
    ensure!(present == text, "{DOCUMENT} is not what the code says; write it anew: `{REGENERATE}`");
    Ok(outcome)
}

/// The step `delegates`: whether every selector that a class of ours answers to is one of its protocol. The compiler does
/// not compare them, and a misspelt one is never called.
pub(super) fn check_delegates(work: &Workshop) -> Result<String> {
    let files = source::folder(&work.root.join(SOURCE))?;
    let bindings = Bindings::read(work)?;
    let mut count = 0;
    for (protocol, selector) in files.iter().flat_map(delegates) {
        let known = bindings
            .types
            .get(&protocol)
            .with_context(|| format!("{protocol} is no protocol that is known"))?;
        if !known.methods.iter().any(|method| method.selector == selector) {
            bail!("{protocol} has no `{selector}`: the framework would never call it");
        }
        count += 1;
    }
    ensure!(
        count > 0,
        "no class of ours answers to a protocol; {SOURCE} is written in another form than is read here"
    );
    Ok(format!("{count} selectors that the framework calls are those of its protocols"))
}

fn document(work: &Workshop) -> Result<(String, String)> {
    let path = work.root.join(TABLE);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let table = Table::read(&text).with_context(|| format!("{TABLE} is not in order"))?;
    let files = source::folder(&work.root.join(SOURCE))?;
    let uses = Uses::find(&files, &Bindings::read(work)?, &table.elsewhere);
    let functions = functions(verify::read(work, DRIVE)?.1.imports);

    let findings = table.compare(&uses, &functions, &files);
    if !findings.is_empty() {
        bail!("{TABLE} and {SOURCE} differ:\n  {}", findings.join("\n  "));
    }
    let selectors: usize = table.types.values().map(|each| each.selectors.len()).sum();
    let outcome = format!(
        "{} classes, {selectors} selectors and {} functions, each with its macOS",
        table.types.len(),
        functions.len()
    );
    Ok((render(&table), outcome))
}

/// Of what a program asks for: all but what the standard library needs of libSystem and objc2 of libobjc.
fn functions(imports: Vec<Import>) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for import in imports {
        let library = import.library.rsplit('/').next().unwrap_or_default().to_owned();
        // In the file's symbols each C name has an underscore before it.
        let name = import.symbol.strip_prefix('_').unwrap_or(&import.symbol).to_owned();
        match library.as_str() {
            "libobjc.A.dylib" => {}
            "libSystem.B.dylib" => {
                if name.starts_with("dispatch_")
                    || name.starts_with("_dispatch_")
                    || name.starts_with("_Block_")
                {
                    found.insert((library, name));
                }
            }
            _ => {
                found.insert((library, name));
            }
        }
    }
    found
}

fn render(table: &Table) -> String {
    let mut text = format!(
        "# What selfsame uses of macOS\n\n\
         Written by `{REGENERATE}` from the code of `crates/vz`, the signed `vz-drive`, and the versions of `{TABLE}`.\n\
         `make mac` fails when one of them says something else. Do not edit it.\n\n\
         A class, selector or function is listed with the macOS that brought it. The program is built for macOS {} and newer:\n\
         what came later is used only behind the check at run time that stands beside it. {}\n\n\
         Only public API is used. How a method's name was found: by its name, in the bindings' source; where several classes\n\
         that are used have a method of that name, each is listed.\n",
        toolchain::DEPLOYMENT,
        table.source
    );
    for (heading, prefix) in [("Virtualization", "VZ"), ("Foundation", "NS")] {
        text.push_str(&format!(
            "\n## {heading}\n\n| class or selector | macOS | checked at run time by |\n| --- | --- | --- |\n"
        ));
        for (name, each) in table.types.iter().filter(|(name, _)| name.starts_with(prefix)) {
            row(&mut text, &format!("**`{name}`**"), each.since, table.guard(name));
            for (selector, since) in &each.selectors {
                row(&mut text, &format!("`{selector}`"), *since, table.guard(&format!("{name} {selector}")));
            }
        }
    }
    text.push_str("\n## Functions and constants\n\n| library | name | macOS |\n| --- | --- | --- |\n");
    for ((library, name), since) in &table.functions {
        text.push_str(&format!("| {library} | `{name}` | {since} |\n"));
    }
    text
}

fn row(text: &mut String, what: &str, since: Version, guard: Option<&str>) {
    let guard = guard.map_or_else(String::new, |guard| format!(" `{guard}` "));
    text.push_str(&format!("| {what} | {since} |{guard}|\n"));
}
