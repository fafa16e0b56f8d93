//! The hand-checked table of what came with which macOS, and its comparison with what is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result, bail};

use super::source::{self, Tokens};
use super::surface_uses::Uses;
use super::toolchain::DEPLOYMENT;

/// A macOS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl Version {
    fn read(text: &str) -> Result<Self> {
        let (major, minor) = text.split_once('.').with_context(|| format!("`{text}` is not MAJOR.MINOR"))?;
        Ok(Self(major.parse().context("a version")?, minor.parse().context("a version")?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A class or a protocol.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) since: Version,
    pub(super) selectors: BTreeMap<String, Version>,
}

/// `crates/vz/surface.toml`.
#[derive(Debug)]
pub(super) struct Table {
    /// Where the versions are from.
    pub(super) source: String,
    pub(super) types: BTreeMap<String, Type>,
    /// By library and name.
    pub(super) functions: BTreeMap<(String, String), Version>,
    /// What is asked for at run time, and the code that asks.
    guards: Vec<(String, String)>,
    /// `CLASS METHOD`, with the method's name in Rust: what seems to be called, and is a method of something else.
    pub(super) elsewhere: BTreeSet<String>,
}

impl Table {
    pub(super) fn read(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context("not TOML")?;
        for key in table.keys() {
            if !["source", "types", "functions", "guards", "elsewhere"].contains(&key.as_str()) {
                bail!("`{key}` is no part of it");
            }
        }
        let mut read = Self {
            source: word(table.get("source").context("`source` is missing")?)?.to_owned(),
            types: BTreeMap::new(),
            functions: BTreeMap::new(),
            guards: Vec::new(),
            elsewhere: BTreeSet::new(),
        };
        for (name, value) in entries(&table, "types") {
            read.types.insert(name.clone(), one(value).with_context(|| name.clone())?);
        }
        for (library, value) in entries(&table, "functions") {
            for (name, since) in value.as_table().context("a library is no table")? {
                read.functions
                    .insert((library.clone(), name.clone()), version(since).with_context(|| name.clone())?);
            }
        }
        for (guard, value) in entries(&table, "guards") {
            for what in value.as_array().with_context(|| format!("`{guard}` is no list"))? {
                read.guards.push((word(what)?.to_owned(), guard.clone()));
            }
        }
        // The value is the reason, for those who read the table.
        read.elsewhere.extend(entries(&table, "elsewhere").map(|(name, _)| name.clone()));
        Ok(read)
    }

    /// The code that asks for something before it is used.
    pub(super) fn guard(&self, what: &str) -> Option<&str> {
        self.guards.iter().find(|(of, _)| of == what).map(|(_, guard)| guard.as_str())
    }

    /// Everything in which the table and the code do not agree.
    pub(super) fn compare(
        &self,
        uses: &Uses,
        functions: &BTreeSet<(String, String)>,
        files: &[Tokens],
    ) -> Vec<String> {
        let mut findings = Vec::new();
        let mut listed = BTreeSet::new();
        let mut versions = Vec::new();
        for (name, each) in &self.types {
            listed.insert(name.clone());
            versions.push((name.clone(), each.since));
            for (selector, since) in &each.selectors {
                let what = format!("{name} {selector}");
                if *since < each.since {
                    findings.push(format!("`{what}` cannot be older than {name}"));
                }
                listed.insert(what.clone());
                // A class that was asked for has what came with it.
                if *since > each.since {
                    versions.push((what, *since));
                }
            }
        }
        differ("is used and not in the table", uses.all.difference(&listed), &mut findings);
        differ("is in the table and not used", listed.difference(&uses.all), &mut findings);

        let listed: BTreeSet<_> = self.functions.keys().cloned().collect();
        let names = |(library, name): &(String, String)| format!("{name} of {library}");
        differ("is used and not in the table", functions.difference(&listed).map(names), &mut findings);
        differ("is in the table and not used", listed.difference(functions).map(names), &mut findings);
        differ("is not called anywhere", uses.unused(&self.elsewhere), &mut findings);

        versions.extend(self.functions.iter().map(|((_, name), since)| (name.clone(), *since)));
        let deployment = Version::read(DEPLOYMENT).ok();
        for (what, since) in versions {
            let newer = Some(since) > deployment;
            match self.guard(&what) {
                None if newer => {
                    findings.push(format!("`{what}` came with macOS {since}, and nothing asks for it first"))
                }
                Some(guard) if !newer => {
                    findings.push(format!("`{what}` is on every macOS, and `{guard}` is its check"))
                }
                _ => {}
            }
        }
        for (what, guard) in &self.guards {
            if !files.iter().any(|tokens| source::contains(tokens, &source::tokens(guard))) {
                findings.push(format!("`{guard}`, the check for `{what}`, is not in the code"));
            }
            let function = self.functions.keys().any(|(_, name)| name == what);
            let class = what.split(' ').next().and_then(|name| self.types.get(name));
            let selector = what.split_once(' ').map(|(_, selector)| selector);
            let known =
                class.is_some_and(|class| selector.is_none_or(|name| class.selectors.contains_key(name)));
            if !function && !known {
                findings.push(format!("`{what}` has a check and is not in the table"));
            }
        }
        findings
    }
}

fn differ(how: &str, names: impl Iterator<Item = impl fmt::Display>, findings: &mut Vec<String>) {
    findings.extend(names.map(|name| format!("`{name}` {how}")));
}

fn entries<'a>(table: &'a toml::Table, key: &str) -> impl Iterator<Item = (&'a String, &'a toml::Value)> {
    table.get(key).and_then(toml::Value::as_table).into_iter().flatten()
}

fn one(value: &toml::Value) -> Result<Type> {
    let since = version(value.get("since").context("`since` is missing")?)?;
    let mut selectors = BTreeMap::new();
    if let Some(list) = value.get("with").and_then(toml::Value::as_array) {
        for selector in list {
            selectors.insert(word(selector)?.to_owned(), since);
        }
    }
    if let Some(later) = value.get("later").and_then(toml::Value::as_table) {
        for (selector, since) in later {
            if selectors.insert(selector.clone(), version(since)?).is_some() {
                bail!("`{selector}` stands there twice");
            }
        }
    }
    Ok(Type { since, selectors })
}

fn version(value: &toml::Value) -> Result<Version> {
    Version::read(word(value)?)
}

fn word(value: &toml::Value) -> Result<&str> {
    value.as_str().with_context(|| format!("`{value}` is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::binding;

    const TABLE: &str = "source = \"x\"\n[types.VZA]\nsince = \"11.0\"\nwith = [\"new\"]\n\
        later = { \"save:\" = \"14.0\" }\n[guards]\n\"sel!(save:)\" = [\"VZA save:\"]\n";
    const BINDINGS: &str =
        "extern_class!(#[unsafe(super(NSObject))] pub struct VZA;); impl VZA { extern_methods!(
        #[unsafe(method(new))] pub fn new(); #[unsafe(method(save:))] pub fn save(&self, a: A);
        #[unsafe(method(count))] pub fn count(&self); ); }";
    const CODE: &str = "let a = VZA::new(); if a.respondsToSelector(sel!(save:)) { a.save(b) }";

    fn compare(table: &str, code: &str) -> Vec<String> {
        let table = Table::read(table).unwrap();
        let files = [source::tokens(code)];
        let uses = Uses::find(&files, &binding::from_text(BINDINGS), &table.elsewhere);
        table.compare(&uses, &BTreeSet::new(), &files)
    }

    #[test]
    fn a_table_that_says_what_the_code_does_is_in_order() {
        assert_eq!(compare(TABLE, CODE), Vec::<String>::new());
    }

    #[test]
    fn what_is_used_and_not_listed_is_found_and_the_other_way_round() {
        let found = compare(&TABLE.replace("\"new\"", ""), CODE);
        assert_eq!(found, ["`VZA new` is used and not in the table"]);
        let found = compare(TABLE, &CODE.replace("VZA::new()", "VZA"));
        assert_eq!(found, ["`VZA new` is in the table and not used"]);
    }

    #[test]
    fn what_is_newer_than_the_deployment_target_needs_a_check_that_is_there() {
        let found = compare(&TABLE.replace("\"VZA save:\"", ""), CODE);
        assert_eq!(found, ["`VZA save:` came with macOS 14.0, and nothing asks for it first"]);
        let found = compare(TABLE, "VZA::new().save(b)");
        assert_eq!(found, ["`sel!(save:)`, the check for `VZA save:`, is not in the code"]);
        let found = compare(&TABLE.replace("14.0", "12.0"), CODE);
        assert_eq!(found, ["`VZA save:` is on every macOS, and `sel!(save:)` is its check"]);
    }

    #[test]
    fn a_method_of_something_else_that_has_the_same_name_can_be_told_apart() {
        let code = format!("{CODE} list.count()");
        assert_eq!(compare(TABLE, &code), ["`VZA count` is used and not in the table"]);
        let table = format!("{TABLE}[elsewhere]\n\"VZA count\" = \"Iterator\"\n");
        assert_eq!(compare(&table, &code), Vec::<String>::new());
        assert_eq!(compare(&table, CODE), ["`VZA count` is not called anywhere"]);
    }
}
