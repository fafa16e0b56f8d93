//! Addresses of images, and the names of the files that they are kept in.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::catalogue::official;

/// No address is longer.
const LIMIT: usize = 2048;
/// So much of a publisher's name is kept.
const NAME: usize = 100;

/// An address that can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url(String);

/// Why a text is no address of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another way to fetch.
    #[error("only addresses with `https://` or `http://` can be fetched")]
    Scheme,
    /// No host.
    #[error("it names no host")]
    Host,
    /// A name or a password in it would end up in lists and messages.
    #[error("a user or a password in an address is not taken: it would be shown wherever the address is")]
    Credentials,
    /// Blanks, control characters, or letters that belong escaped.
    #[error("its character {at} cannot stand in an address; it is written with `%` and two digits")]
    Character {
        /// Which one, from 1.
        at: usize,
    },
    /// It is too long.
    #[error("it is longer than {LIMIT} characters")]
    Long,
}

impl Url {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether the connection proves who answers.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// What `location`, from an answer to a request for this one, leads to.
    ///
    /// # Errors
    /// When it leads to nothing that can be fetched.
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        let location = location.split('#').next().unwrap_or_default();
        if location.contains("://") {
            return location.parse();
        }
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        if let Some(other) = location.strip_prefix("//") {
            return format!("{scheme}://{other}").parse();
        }
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let path = rest.get(host.len()..).unwrap_or_default().split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        match location.strip_prefix('/') {
            Some(absolute) => format!("{scheme}://{host}/{absolute}").parse(),
            None => format!("{scheme}://{host}{folder}/{location}").parse(),
        }
    }
}

/// Schemes and hosts in small letters.
impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.split('#').next().unwrap_or_default();
        if text.len() > LIMIT {
            return Err(UrlError::Long);
        }
        let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
        if let Some(at) = text.chars().position(|c| !plain(c)) {
            return Err(UrlError::Character { at: at + 1 });
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "https" && scheme != "http" {
            return Err(UrlError::Scheme);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if host.contains('@') {
            return Err(UrlError::Credentials);
        }
        if host.is_empty() || host.starts_with(':') {
            return Err(UrlError::Host);
        }
        Ok(Self(format!("{scheme}://{}{path}", host.to_ascii_lowercase())))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// What the file that an address leads to is called where images are kept.
///
/// An official image keeps its publisher's name, which people can type. Any other gets digits of its address before the
/// name, for two addresses may end in the same name. The name is short, plain ASCII, and no hidden file.
#[must_use]
pub fn file_name(url: &Url) -> String {
    let published = official().iter().flat_map(|official| [official.x86_64, official.aarch64]);
    if let Some(published) = published.into_iter().find(|published| published.url() == url.0) {
        return published.file.to_owned();
    }
    let path = url.0.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let kept: String = last.chars().rev().take(NAME).map(plain).collect();
    let kept: String = kept.chars().rev().collect();
    let digits: String =
        Sha256::digest(url.0.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}-{kept}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Result<String, UrlError> {
        text.parse::<Url>().map(|url| url.to_string())
    }

    #[test]
    fn addresses_are_read_strictly() {
        assert_eq!(url("HTTPS://Example.ORG/A?b#c").unwrap(), "https://example.org/A?b");
        assert_eq!(url("http://[::1]:8080").unwrap(), "http://[::1]:8080");
        assert_eq!(url("ftp://example.org/a"), Err(UrlError::Scheme));
        assert_eq!(url("file:///etc/passwd"), Err(UrlError::Scheme));
        assert_eq!(url("https:///a"), Err(UrlError::Host));
        assert_eq!(url("https://u:p@example.org/a"), Err(UrlError::Credentials));
        assert_eq!(url("https://example.org/a b"), Err(UrlError::Character { at: 22 }));
        assert_eq!(url("https://example.org/a\r\nHost: x"), Err(UrlError::Character { at: 22 }));
        assert_eq!(url(&format!("https://x/{}", "a".repeat(LIMIT))), Err(UrlError::Long));
    }

    #[test]
    fn redirects_are_followed_from_where_they_were_met() {
        let from: Url = "https://a.org/b/c?d=/e".parse().unwrap();
        for (location, to) in [
            ("https://x.org/y", "https://x.org/y"),
            ("http://x.org", "http://x.org"),
            ("//x.org/y", "https://x.org/y"),
            ("/y?z", "https://a.org/y?z"),
            ("y", "https://a.org/b/y"),
            ("y#z", "https://a.org/b/y"),
        ] {
            assert_eq!(from.join(location).unwrap().text(), to, "{location}");
        }
        assert_eq!(from.join("file:///etc/passwd"), Err(UrlError::Scheme));
        assert_eq!("https://a.org".parse::<Url>().unwrap().join("b").unwrap().text(), "https://a.org/b");
    }

    #[test]
    fn names_are_told_apart_and_lead_nowhere() {
        let name = |text: &str| file_name(&text.parse().unwrap());
        assert_ne!(name("https://a.org/disk.img"), name("https://b.org/disk.img"));
        assert!(name("https://a.org/x/disk.img?y=../..").ends_with("-disk.img"));
        assert!(name("https://a.org/%2e%2e%2f..").ends_with("-_2e_2e_2f.."));
        assert_eq!(name("https://a.org/").len(), 9);
    }

    proptest! {
        #[test]
        fn a_name_is_one_plain_file_name(path in "[ -~]{0,300}") {
            if let Ok(url) = format!("https://a.org/{path}").parse::<Url>() {
                let name = file_name(&url);
                prop_assert!(name.len() <= NAME + 9 && !name.starts_with('.') && !name.contains('/'), "{}", name);
            }
        }

        #[test]
        fn any_location_is_answered(location: String) {
            let from: Url = "https://a.org/b/c".parse().unwrap();
            if let Ok(url) = from.join(&location) {
                prop_assert_eq!(url.text().parse::<Url>(), Ok(url.clone()));
            }
        }
    }
}
