//! What objc2's crates bind: classes and protocols, with the Rust name and the selector of each method.
//!
//! Read from their source, which is generated from Apple's headers in one fixed form. It has no word about the macOS that
//! brought each; that is what `crates/vz/surface.toml` is for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::workshop::Workshop;
use super::{source, toolchain, whole};

/// The crates whose classes are looked for.
const CRATES: [&str; 2] = ["objc2-virtualization", "objc2-foundation"];

/// A class or a protocol.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Type {
    /// The class it extends, if it is one and that is known.
    pub(super) parent: Option<String>,
    pub(super) methods: Vec<Method>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Method {
    /// Its name in Rust.
    pub(super) name: String,
    pub(super) selector: String,
}

/// All that is bound, by name.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    pub(super) types: BTreeMap<String, Type>,
}

impl Bindings {
    /// Reads the source of the crates that this version of selfsame uses.
    pub(super) fn read(work: &Workshop) -> Result<Self> {
        let mut bindings = Self::default();
        for folder in folders(work)? {
            for tokens in source::folder(&folder.join("src/generated"))? {
                bindings.file(&tokens);
            }
        }
        ensure!(
            bindings.method("VZVirtualMachine", "startWithCompletionHandler").is_some(),
            "objc2's crates are written in another form than is read here"
        );
        Ok(bindings)
    }

    /// The method of a class or of those it extends, with the name of the one that has it.
    pub(super) fn method(&self, class: &str, name: &str) -> Option<(&str, &Method)> {
        let mut current = self.types.get_key_value(class);
        // Far more than any line of classes is long.
        for _ in 0..20 {
            let (class, found) = current?;
            if let Some(method) = found.methods.iter().find(|method| method.name == name) {
                return Some((class, method));
            }
            current = self.types.get_key_value(found.parent.as_deref()?);
        }
        None
    }

    /// Takes in one file.
    fn file(&mut self, tokens: &[String]) {
        let word = |at: usize| tokens.get(at).map_or("", String::as_str);
        let mut parent = None;
        let mut container = String::new();
        let mut selector = None;
        for at in 0..tokens.len() {
            match word(at) {
                "super" if word(at + 1) == "(" => parent = Some(word(at + 2).to_owned()),
                "struct" => {
                    if let Some(parent) = parent.take() {
                        self.types.entry(word(at + 1).to_owned()).or_default().parent = Some(parent);
                    }
                }
                "trait" => {
                    word(at + 1).clone_into(&mut container);
                    self.types.entry(container.clone()).or_default();
                }
                "impl" => container = implemented(tokens.get(at + 1..).unwrap_or_default()),
                "method" if word(at + 1) == "(" => {
                    // A last `_` stands for an error that is handed back as a result; it is no part of the selector.
                    let (text, _) = source::until_closed(tokens, at + 2);
                    selector = Some(text.strip_suffix('_').unwrap_or(&text).to_owned());
                }
                "fn" => {
                    if let Some(selector) = selector.take() {
                        let method = Method { name: word(at + 1).to_owned(), selector };
                        self.types.entry(container.clone()).or_default().methods.push(method);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The type that an `impl` is for, from what follows that word.
fn implemented(tokens: &[String]) -> String {
    let mut depth = 0_usize;
    let mut name = "";
    for token in tokens {
        match token.as_str() {
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            "{" | "where" => break,
            // What stood before is the trait.
            "for" if depth == 0 => name = "",
            word if depth == 0 && name.is_empty() => name = word,
            _ => {}
        }
    }
    name.to_owned()
}

/// Where cargo keeps the sources of the crates.
fn folders(work: &Workshop) -> Result<Vec<PathBuf>> {
    let text = whole::text(&mut toolchain::metadata(work)).context("cannot ask cargo for its packages")?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("`cargo metadata` gave no JSON")?;
    let packages = metadata.get("packages").and_then(serde_json::Value::as_array).context("no packages")?;
    CRATES
        .iter()
        .map(|wanted| {
            let word = |package: &serde_json::Value, key: &str| {
                package.get(key).and_then(serde_json::Value::as_str).map(str::to_owned)
            };
            let package = packages.iter().find(|package| word(package, "name").as_deref() == Some(wanted));
            let manifest = package.and_then(|package| word(package, "manifest_path"));
            let manifest =
                PathBuf::from(manifest.with_context(|| format!("{wanted} is not among the packages"))?);
            Ok(manifest.parent().context("a manifest has no folder")?.to_path_buf())
        })
        .collect()
}

#[cfg(test)]
pub(super) fn from_text(text: &str) -> Bindings {
    let mut bindings = Bindings::default();
    bindings.file(&source::tokens(text));
    bindings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_protocols_and_what_they_inherit_are_read() {
        let bindings = from_text(
            "extern_class!( /// x\n #[unsafe(super(NSObject))] #[derive(Debug)] pub struct VZParent; );
             extern_class!( #[unsafe(super(VZParent, NSObject))] pub struct VZChild<T: ?Sized = A>; );
             impl VZParent { extern_methods!(
                 #[unsafe(method(startWith:and:_))] #[unsafe(method_family = none)]
                 pub unsafe fn startWith_and(&self, a: &B); ); }
             impl<T: Message> VZChild<T> { extern_methods!( #[unsafe(method(new))] pub unsafe fn new() -> X; ); }
             unsafe impl Send for VZChild {}
             extern_protocol!( pub unsafe trait VZDelegate: NSObjectProtocol {
                 #[optional] #[unsafe(method(did:))] unsafe fn did(&self, a: &B); } );",
        );
        let selector = |class, name| {
            bindings.method(class, name).map(|(class, method)| (class, method.selector.as_str()))
        };
        assert_eq!(selector("VZChild", "startWith_and"), Some(("VZParent", "startWith:and:")));
        assert_eq!(selector("VZChild", "new"), Some(("VZChild", "new")));
        assert_eq!(selector("VZDelegate", "did"), Some(("VZDelegate", "did:")));
        assert_eq!(selector("VZParent", "new"), None);
    }
}
