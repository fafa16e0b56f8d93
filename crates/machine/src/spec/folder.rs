//! Folders of the host that a guest may use, and how people name them: `[TAG:]PATH[:ro]`.
//!
//! **The rule for colons.** The last word `:ro` or `:rw` says whether the guest may write; a folder whose name really ends
//! so is written with another one behind it (`./a:ro:rw`). What stands before the first colon is a tag if no `/` comes
//! before that colon; a path with a colon in its first part is therefore written with `./` before it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest tag: the transport by which the guest learns of it has 32 bytes, one of them for the end.
const LONGEST_TAG: usize = 31;

/// So many folders a VM may have at most.
pub const MOST_FOLDERS: usize = 16;

/// A folder of the host that the guest can mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The name by which the guest mounts it.
    pub tag: String,
    /// The folder, absolute.
    pub path: String,
    /// The guest may not write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Folder {
    /// What keeps it from being one, as a clause about the value and the value itself.
    pub(super) fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        if !is_tag(&self.tag) {
            return Some(("folders.tag", format!("{:?}", self.tag), TAG_RULE));
        }
        if !self.path.starts_with('/') || self.path.contains('\0') {
            return Some(("folders.path", format!("{:?}", self.path), "it must be an absolute path"));
        }
        None
    }
}

/// A form that [`Request`] reads back as exactly this.
impl fmt::Display for Folder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.tag, self.path, if self.read_only { "ro" } else { "rw" })
    }
}

/// A folder as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The tag, if it was said.
    pub tag: Option<String>,
    /// The path, as it was said.
    pub path: String,
    /// The guest may not write.
    pub read_only: bool,
}

const TAG_RULE: &str = "it must be 1 to 31 of the letters a to z and A to Z, digits, `.`, `_` and `-`";

/// The text names no folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no path in it.
    #[error("`{text}` names no folder: it is read as [TAG:]PATH[:ro]")]
    NoPath {
        /// The text.
        text: String,
    },
    /// What stands before the first colon can be no tag.
    #[error("`{tag}` is no tag: {TAG_RULE}; a path with a colon begins with `./` or `/`")]
    Tag {
        /// What stands there.
        tag: String,
    },
}

impl FromStr for Request {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, read_only) = match text.strip_suffix(":ro") {
            Some(rest) => (rest, true),
            None => (text.strip_suffix(":rw").unwrap_or(text), false),
        };
        let printable = |text: &str| text.escape_debug().to_string();
        let (tag, path) = match rest.split_once(':') {
            Some((before, path)) if !before.contains('/') => {
                if !is_tag(before) {
                    return Err(RequestError::Tag { tag: printable(before) });
                }
                (Some(before.to_owned()), path)
            }
            Some(_) | None => (None, rest),
        };
        if path.is_empty() || path.contains('\0') {
            return Err(RequestError::NoPath { text: printable(text) });
        }
        Ok(Self { tag, path: path.to_owned(), read_only })
    }
}

fn is_tag(text: &str) -> bool {
    (1..=LONGEST_TAG).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The tag of a folder that was given none: its name made a tag, unlike those that are taken.
#[must_use]
pub fn tag_for(path: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' }
    };
    let name: String = name.chars().map(letter).collect();
    let name = name.trim_matches(['-', '.']);
    // Room for a number behind it.
    let name = if name.is_empty() { "share" } else { name.get(..LONGEST_TAG - 3).unwrap_or(name) };
    if !is_taken(name) {
        return name.to_owned();
    }
    let numbered = (2..=MOST_FOLDERS + 2).map(|number| format!("{name}-{number}"));
    numbered.into_iter().find(|tag| !is_taken(tag)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<(Option<String>, String, bool), RequestError> {
        text.parse::<Request>().map(|request| (request.tag, request.path, request.read_only))
    }

    #[test]
    fn colons_are_read_by_the_rule() {
        let some = |tag: &str| Some(tag.to_owned());
        for (text, expected) in [
            ("/src", (None, "/src", false)),
            ("src", (None, "src", false)),
            ("/src:ro", (None, "/src", true)),
            ("code:/src", (some("code"), "/src", false)),
            ("code:src:ro", (some("code"), "src", true)),
            ("code:/a:b:ro", (some("code"), "/a:b", true)),
            ("./a:b", (None, "./a:b", false)),
            ("/a:ro:rw", (None, "/a:ro", false)),
            ("x:/a:ro:ro", (some("x"), "/a:ro", true)),
            ("ro:ro", (None, "ro", true)),
        ] {
            let (tag, path, read_only) = expected;
            assert_eq!(read(text), Ok((tag, path.to_owned(), read_only)), "{text}");
        }
        for text in ["", ":ro", "code:", "code::ro", "/a\0b"] {
            assert!(matches!(read(text), Err(RequestError::NoPath { .. })), "{text:?}: {:?}", read(text));
        }
        for text in [":/src", "my code:/src", "ü:/x", &format!("{}:/x", "t".repeat(32))] {
            assert!(matches!(read(text), Err(RequestError::Tag { .. })), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn a_folder_without_a_tag_is_called_by_its_name() {
        let free = |_: &str| false;
        assert_eq!(tag_for("/home/me/src", free), "src");
        assert_eq!(tag_for("/home/me/My Sources/", free), "My-Sources");
        assert_eq!(tag_for("/", free), "share");
        assert_eq!(tag_for("/üöä", free), "share");
        assert_eq!(tag_for("/x/src", |tag| tag == "src"), "src-2");
        assert_eq!(tag_for("/x/src", |tag| ["src", "src-2"].contains(&tag)), "src-3");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(tag in "[a-zA-Z0-9._-]{1,31}", path in "/[^\0]{0,40}", read_only: bool) {
            let folder = Folder { tag: tag.clone(), path: path.clone(), read_only };
            prop_assert_eq!(read(&folder.to_string()), Ok((Some(tag), path, read_only)));
        }

        #[test]
        fn any_name_becomes_a_tag(path in "\\PC{0,60}") {
            let tag = tag_for(&path, |_| false);
            prop_assert!(is_tag(&tag), "{tag:?}");
            let other = tag_for(&path, |taken| taken == tag);
            prop_assert!(is_tag(&other) && other != tag, "{other:?}");
        }
    }
}
