//! Public keys for `authorized_keys`, checked line by line.
//!
//! Only bare keys: `TYPE BASE64 [COMMENT]` as `ssh-keygen` writes them (RFC 4253, 6.6: the type's name stands again, with
//! its length, at the beginning of the decoded bytes). Options before a key are not taken: they say what a key may do in
//! a guest, and belong into user data of one's own.

use base64::Engine as _;

use crate::code::Code;
use crate::problem::{Hint, Problem};

/// A file of keys may be so large.
pub const FILE_LIMIT: u64 = 64 * 1024;
/// So many keys are taken of one file.
const COUNT: usize = 64;

const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Checked lines of `authorized_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys(pub Vec<String>);

/// Why a file holds no public keys. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It must never leave the computer that it is on.
    #[error("line {line}: this is a private key, which is never given to a guest")]
    Private {
        /// The line.
        line: usize,
    },
    /// Another form of public keys.
    #[error("line {line}: this key is in another form than OpenSSH's")]
    Form {
        /// The line.
        line: usize,
    },
    /// A certificate.
    #[error("line {line}: this is a certificate, and no key")]
    Certificate {
        /// The line.
        line: usize,
    },
    /// Not a type that is known, or an option before it.
    #[error(
        "line {line}: it begins with `{}`, which is no type of key that is taken; options are not either",
        word.escape_debug()
    )]
    Type {
        /// The line.
        line: usize,
        /// How it begins.
        word: String,
    },
    /// The key itself.
    #[error("line {line}, column {column}: the key is damaged")]
    Damaged {
        /// The line.
        line: usize,
        /// Where the key begins.
        column: usize,
    },
    /// Bytes that are no text.
    #[error("line {line}: it is no text")]
    NotText {
        /// The line.
        line: usize,
    },
    /// None at all.
    #[error("it holds no key")]
    None,
    /// More than anybody has.
    #[error("it holds more than {COUNT} keys")]
    Many,
}

impl Problem for KeyError {
    fn code(&self) -> Code {
        Code::SeedInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Private { .. } => {
                vec![Hint::say("give the public one, whose file's name ends in `.pub`")]
            }
            Self::Form { .. } => vec![Hint::run("convert it", "ssh-keygen -i -f FILE".to_owned())],
            Self::Certificate { .. }
            | Self::Type { .. }
            | Self::Damaged { .. }
            | Self::NotText { .. }
            | Self::None
            | Self::Many => vec![Hint::run("make a pair of keys", "ssh-keygen -t ed25519".to_owned())],
        }
    }
}

impl PublicKeys {
    /// Reads a file's content.
    ///
    /// # Errors
    /// The first line that is no public key.
    pub fn read(data: &[u8]) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (index, bytes) in data.split(|byte| *byte == b'\n').enumerate() {
            let line = index + 1;
            let text = std::str::from_utf8(bytes).map_err(|_| KeyError::NotText { line })?;
            let text = text.trim_matches([' ', '\t', '\r']);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if text.chars().any(|c| c.is_control() && c != '\t') {
                return Err(KeyError::NotText { line });
            }
            keys.push(key(text, line)?);
            if keys.len() > COUNT {
                return Err(KeyError::Many);
            }
        }
        if keys.is_empty() { Err(KeyError::None) } else { Ok(Self(keys)) }
    }
}

fn key(text: &str, line: usize) -> Result<String, KeyError> {
    let is_private = text.starts_with("-----BEGIN") && text.contains("PRIVATE KEY");
    if is_private || text.starts_with("PuTTY-User-Key-File") || text.starts_with("SSH PRIVATE KEY FILE") {
        return Err(KeyError::Private { line });
    }
    if text.starts_with("----") {
        return Err(KeyError::Form { line });
    }
    let (kind, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    if kind.ends_with("-cert-v01@openssh.com") {
        return Err(KeyError::Certificate { line });
    }
    if !TYPES.contains(&kind) {
        let word = kind.chars().take(40).collect();
        return Err(KeyError::Type { line, word });
    }
    let rest = rest.trim_start();
    let (blob, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let column = text.chars().count() - rest.chars().count() + 1;
    let decoded = base64::engine::general_purpose::STANDARD.decode(blob);
    let decoded = decoded.map_err(|_| KeyError::Damaged { line, column })?;
    let length = decoded.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
    let named = decoded.get(4..).and_then(|rest| rest.get(..kind.len()));
    // Behind the name comes the key itself: 32 bytes for the shortest.
    let whole = decoded.len() >= 4 + kind.len() + 4 + 32;
    if length.map(u64::from) != Some(kind.len() as u64) || named != Some(kind.as_bytes()) || !whole {
        return Err(KeyError::Damaged { line, column });
    }
    let comment = comment.trim();
    Ok(if comment.is_empty() { format!("{kind} {blob}") } else { format!("{kind} {blob} {comment}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn keys_are_taken_with_their_comments() {
        let text = format!("# mine\r\n\n  {KEY}\t me @ here \r\n{KEY}\n");
        assert_eq!(
            PublicKeys::read(text.as_bytes()),
            Ok(PublicKeys(vec![format!("{KEY} me @ here"), KEY.into()]))
        );
    }

    #[test]
    fn all_else_is_refused_with_its_line() {
        let read = |text: &str| PublicKeys::read(text.as_bytes()).map(drop);
        for private in [
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "PuTTY-User-Key-File-3: ssh-ed25519",
        ] {
            assert_eq!(
                read(&format!("{KEY}\n{private}\nb3Bl")),
                Err(KeyError::Private { line: 2 }),
                "{private}"
            );
        }
        assert_eq!(read("---- BEGIN SSH2 PUBLIC KEY ----"), Err(KeyError::Form { line: 1 }));
        assert_eq!(read("ssh-rsa-cert-v01@openssh.com AAAA"), Err(KeyError::Certificate { line: 1 }));
        let option = format!("command=\"x\" {KEY}");
        assert!(
            matches!(read(&option), Err(KeyError::Type { line: 1, word }) if word.starts_with("command"))
        );
        assert!(matches!(read("ssh-dss AAAA"), Err(KeyError::Type { .. })));
        assert_eq!(read("ssh-ed25519"), Err(KeyError::Damaged { line: 1, column: 12 }));
        assert_eq!(read(&KEY[..KEY.len() - 4]), Err(KeyError::Damaged { line: 1, column: 13 }));
        assert_eq!(
            read(&KEY.replace("ed25519 ", "ed25519  !")),
            Err(KeyError::Damaged { line: 1, column: 14 })
        );
        assert_eq!(
            read(&KEY.replacen("ssh-ed25519", "ssh-rsa", 1)),
            Err(KeyError::Damaged { line: 1, column: 9 })
        );
        assert_eq!(read("\n# none\n"), Err(KeyError::None));
        assert_eq!(read(&format!("{KEY}\n").repeat(65)), Err(KeyError::Many));
        assert_eq!(PublicKeys::read(b"\xff"), Err(KeyError::NotText { line: 1 }));
        assert_eq!(read(&format!("{KEY} a\u{1b}[2J")), Err(KeyError::NotText { line: 1 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(data: Vec<u8>) {
            drop(PublicKeys::read(&data));
        }
    }
}
