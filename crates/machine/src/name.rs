//! A VM's name, which is also its folder's name, a word on command lines and a line in tables.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::Code;
use crate::identity::PREFIXES;
use crate::problem::{Hint, Problem};
use crate::quote::quoted;

/// The name of a VM.
///
/// Anything that people write is allowed, commas, equals signs and quotes included: the places that give them a meaning
/// (QEMU's options) are fed JSON. What is refused would be lost in a table, taken for an option, a path, a hidden file or
/// an identity, or would not fit a folder's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VmName(String);

/// The longest name in bytes: a folder's name may have 255, and ours gets a suffix and temporary siblings.
const MAX: usize = 200;

/// The suffix of our bundles' folders.
const SUFFIX: &str = ".vm";

/// The rule that a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameRule {
    /// There is none.
    #[error("it is empty")]
    Empty,
    /// More bytes than fit.
    #[error("it is longer than {MAX} bytes")]
    TooLong,
    /// Not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// A path separator.
    #[error("`/` separates folders")]
    Slash,
    /// Invisible or harmful in a terminal.
    #[error("control characters and marks that reorder text cannot be shown")]
    Control,
    /// Taken for an option.
    #[error("a leading `-` would be taken for an option")]
    LeadingDash,
    /// Taken for a hidden file or a parent folder.
    #[error("a leading `.` would hide it")]
    LeadingDot,
    /// A blank that nobody sees.
    #[error("blanks at its ends cannot be seen")]
    OuterBlank,
    /// Our own suffix.
    #[error("`.vm` is what selfsame puts behind the name")]
    Suffix,
    /// An identity's prefix.
    #[error("this beginning is that of an identity")]
    IdentityPrefix,
}

/// A text cannot be a VM's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be a VM's name: {rule} (byte {offset})", quoted(name))]
pub struct NameError {
    /// The refused text, with replacement characters where it is not UTF-8.
    pub name: String,
    /// Which rule it breaks.
    pub rule: NameRule,
    /// At which byte.
    pub offset: usize,
}

impl Problem for NameError {
    fn code(&self) -> Code {
        Code::NameInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        let bare = || Some(VmName::new(self.name.get(..self.offset)?).ok()?.to_string());
        match self.rule {
            NameRule::Suffix => {
                bare().map(|name| Hint::say(format!("name it `{name}`"))).into_iter().collect()
            }
            NameRule::LeadingDash => vec![Hint::say("put `./` before it if it is the path of a VM")],
            NameRule::LeadingDot | NameRule::Slash => {
                vec![Hint::say("use `--at PATH` for a VM in another folder")]
            }
            NameRule::IdentityPrefix => vec![Hint::say("give the identity with `--identity`")],
            NameRule::Empty
            | NameRule::TooLong
            | NameRule::NotUtf8
            | NameRule::Control
            | NameRule::OuterBlank => Vec::new(),
        }
    }
}

/// Whether a character would be invisible in a table, end a line of it or reorder it.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

impl VmName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks, and where.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        match broken(&name) {
            Some((rule, offset)) => Err(NameError { name, rule, offset }),
            None => Ok(Self(name)),
        }
    }

    /// Checks a name that an operating system gave, which may not even be text.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks, and where.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        match str::from_utf8(bytes) {
            Ok(name) => Self::new(name),
            Err(error) => Err(NameError {
                name: String::from_utf8_lossy(bytes).into_owned(),
                rule: NameRule::NotUtf8,
                offset: error.valid_up_to(),
            }),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn broken(name: &str) -> Option<(NameRule, usize)> {
    if name.is_empty() {
        return Some((NameRule::Empty, 0));
    }
    if name.len() > MAX {
        return Some((NameRule::TooLong, MAX));
    }
    for (offset, c) in name.char_indices() {
        if c == '/' {
            return Some((NameRule::Slash, offset));
        }
        if is_hostile(c) {
            return Some((NameRule::Control, offset));
        }
    }
    if name.starts_with('-') {
        return Some((NameRule::LeadingDash, 0));
    }
    if name.starts_with('.') {
        return Some((NameRule::LeadingDot, 0));
    }
    if name.starts_with(char::is_whitespace) {
        return Some((NameRule::OuterBlank, 0));
    }
    let end = name.trim_end().len();
    if end < name.len() {
        return Some((NameRule::OuterBlank, end));
    }
    // Of any case, because the file systems of Macs do not tell cases apart.
    let stem = name.len().saturating_sub(SUFFIX.len());
    if name.get(stem..).is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX)) {
        return Some((NameRule::Suffix, stem));
    }
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)).then_some((NameRule::IdentityPrefix, 0))
}

impl fmt::Display for VmName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl AsRef<str> for VmName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for VmName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl Serialize for VmName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for VmName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_people_give_are_fine() {
        for name in [
            "web1",
            "a,b=c",
            "it's \"it\"",
            "json:{}",
            "nbd:host",
            "é 漢字",
            "a..b",
            "x.vm2",
            "vm",
            "ECID:1",
            "~",
        ] {
            assert_eq!(VmName::new(name).unwrap().as_str(), name);
        }
        assert!(VmName::new("x".repeat(MAX)).is_ok());
    }

    #[test]
    fn refusals_say_which_rule_at_which_byte() {
        for (name, rule, offset) in [
            ("", NameRule::Empty, 0),
            (&"x".repeat(300), NameRule::TooLong, MAX),
            ("a/b", NameRule::Slash, 1),
            ("../x", NameRule::Slash, 2),
            ("..", NameRule::LeadingDot, 0),
            (".hidden", NameRule::LeadingDot, 0),
            ("-rf", NameRule::LeadingDash, 0),
            ("a\0b", NameRule::Control, 1),
            ("a\u{1b}[31m", NameRule::Control, 1),
            ("é\u{85}", NameRule::Control, 2),
            ("a\u{2028}b", NameRule::Control, 1),
            ("a\u{202E}b", NameRule::Control, 1),
            (" a", NameRule::OuterBlank, 0),
            ("a\u{3000}", NameRule::OuterBlank, 1),
            ("web.vm", NameRule::Suffix, 3),
            ("web.VM", NameRule::Suffix, 3),
            ("ecid:0x1", NameRule::IdentityPrefix, 0),
            ("udid:x", NameRule::IdentityPrefix, 0),
            ("serial:x", NameRule::IdentityPrefix, 0),
        ] {
            let error = VmName::new(name).unwrap_err();
            assert_eq!((error.rule, error.offset), (rule, offset), "{name:?}");
            assert_eq!(error.code(), Code::NameInvalid);
            assert!(!error.to_string().contains(is_hostile), "{error}");
        }
        let error = VmName::from_bytes(b"ab\xFFc").unwrap_err();
        assert_eq!((error.rule, error.offset), (NameRule::NotUtf8, 2));
        let error = VmName::new("web.vm").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"web.vm\" cannot be a VM's name: `.vm` is what selfsame puts behind the name (byte 3)"
        );
        assert_eq!(error.hints()[0].text, "name it `web`");
    }

    proptest! {
        #[test]
        fn a_name_is_one_visible_path_component(text: String) {
            match VmName::new(text.as_str()) {
                Ok(name) => {
                    let components: Vec<_> = std::path::Path::new(name.as_str()).components().collect();
                    prop_assert_eq!(components, [std::path::Component::Normal(text.as_ref())]);
                    prop_assert!(!text.contains(is_hostile));
                    prop_assert!(crate::identity::parse_prefixed(&text).is_none());
                }
                Err(error) => {
                    prop_assert!(error.offset <= text.len());
                    prop_assert!(text.is_char_boundary(error.offset) || error.rule == NameRule::TooLong);
                    prop_assert!(error.hints().len() < 2);
                }
            }
        }
    }
}
