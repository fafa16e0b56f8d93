//! Which classes and selectors a source uses, as far as its words tell.

use std::collections::BTreeSet;

use super::binding::Bindings;
use super::source::{Tokens, until_closed};

/// What is used: `CLASS` or `CLASS SELECTOR`.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pub(super) all: BTreeSet<String>,
    /// `CLASS METHOD` that seems to be called, and is said to be another's.
    elsewhere: BTreeSet<String>,
}

impl Uses {
    /// Looks through the tokens of all files. A method is found after the name of its class (`VZFoo::bar`), or after a dot
    /// (`foo.bar()`): then every class that is used and has such a method counts.
    pub(super) fn find(files: &[Tokens], bindings: &Bindings, elsewhere: &BTreeSet<String>) -> Self {
        let mut uses = Self::default();
        let names: BTreeSet<&str> = files
            .iter()
            .flatten()
            .map(String::as_str)
            .filter(|word| word.starts_with("VZ") || word.starts_with("NS"))
            .filter(|word| bindings.types.contains_key(*word))
            .collect();
        uses.all.extend(names.iter().map(|&name| name.to_owned()));
        for tokens in files {
            let word = |at: usize| tokens.get(at).map_or("", String::as_str);
            for at in 0..tokens.len() {
                if word(at) == "::" && names.contains(word(at.wrapping_sub(1))) {
                    uses.method(bindings, word(at - 1), word(at + 1));
                } else if word(at) == "." && word(at + 2) == "(" {
                    for name in &names {
                        let what = format!("{name} {}", word(at + 1));
                        if elsewhere.contains(&what) {
                            uses.elsewhere.insert(what);
                        } else {
                            uses.method(bindings, name, word(at + 1));
                        }
                    }
                }
            }
            for (protocol, selector) in delegates(tokens) {
                uses.all.insert(format!("{protocol} {selector}"));
            }
        }
        uses
    }

    fn method(&mut self, bindings: &Bindings, class: &str, name: &str) {
        if let Some((class, method)) = bindings.method(class, name) {
            self.all.insert(class.to_owned());
            self.all.insert(format!("{class} {}", method.selector));
        }
    }

    /// Of methods that are said to be another's: those that nobody seems to call.
    pub(super) fn unused<'a>(&'a self, elsewhere: &'a BTreeSet<String>) -> impl Iterator<Item = &'a String> {
        elsewhere.difference(&self.elsewhere)
    }
}

/// The selectors that classes of ours answer to, each with its protocol.
pub(super) fn delegates(tokens: &Tokens) -> Vec<(String, String)> {
    let word = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut protocol = "";
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        // `unsafe impl PROTOCOL for CLASS {`, or `impl CLASS {` for what is in no protocol.
        if word(at) == "impl" {
            protocol = if word(at + 2) == "for" { word(at + 1) } else { "" };
        } else if word(at) == "method"
            && word(at + 1) == "("
            && word(at.wrapping_sub(1)) == "("
            && !protocol.is_empty()
        {
            found.push((protocol.to_owned(), until_closed(tokens, at + 2).0));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::source::tokens;
    use super::*;

    #[test]
    fn the_selectors_of_a_class_of_ours_are_found_with_their_protocol() {
        let found = delegates(&tokens(
            "define_class!( #[unsafe(super(NSObject))] struct D; unsafe impl VZDelegate for D {
                #[unsafe(method(machine:didStop:))] fn a(&self) {} #[unsafe(method(b:))] fn b(&self) {} }
                impl D { #[unsafe(method(own))] fn own(&self) {} } );",
        ));
        let delegate = |selector: &str| ("VZDelegate".to_owned(), selector.to_owned());
        assert_eq!(found, [delegate("machine:didStop:"), delegate("b:")]);
    }
}
