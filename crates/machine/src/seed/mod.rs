//! The seed: what a guest with cloud-init is told of itself at its first start.
//!
//! It is a small disk in the form that cloud-init's data source NoCloud looks for: a file system labelled `CIDATA` with
//! the files `meta-data`, `user-data` and `network-config` (cloud-init's documentation, "NoCloud"; 22.4 to 25.1). The
//! same input gives the same bytes.
//!
//! All text of ours is YAML whose values stand in double quotes with everything but plain ASCII escaped, so that no name
//! can say more than itself.

mod fat;
mod key;

pub use fat::{Volume, VolumeError};
pub use key::{FILE_LIMIT as KEYS_LIMIT, KeyError, PublicKeys};

use crate::code::Code;
use crate::identity::{Identity, MacAddress};
use crate::problem::{Hint, Problem};

/// User data that people give may be so large. cloud-init itself knows no limit; the clouds have 16 KiB to 256 KiB.
pub const USER_DATA_LIMIT: u64 = 1 << 20;

/// What a guest is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Who it is. Another identity is another instance for cloud-init, which then does its first start once more.
    pub identity: Identity,
    /// What the VM is called; see [`host_name`].
    pub name: String,
    /// The network card that gets an address by DHCP.
    pub mac_address: MacAddress,
    /// What it does at its first start.
    pub user_data: UserData,
}

/// What a guest does at its first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserData {
    /// Makes a user who may do everything with `sudo` and logs in with these keys.
    Login {
        /// The user.
        user: String,
        /// The keys, lines of `authorized_keys`.
        keys: Vec<String>,
    },
    /// What somebody wrote themselves.
    Verbatim(Vec<u8>),
}

/// Why a user cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Linux does not take it everywhere.
    #[error("`{}` cannot be a user's name: 1 to 32 of a-z, 0-9, _ and -, a letter or _ first", name.escape_debug())]
    Form {
        /// The name.
        name: String,
    },
    /// root.
    #[error("root is not made to log in: cloud images lock that out")]
    Root,
}

impl Problem for UserError {
    fn code(&self) -> Code {
        Code::SeedInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Form { .. } => Vec::new(),
            Self::Root => vec![Hint::say("name a user, who may do everything with `sudo`")],
        }
    }
}

/// Checks a user's name: `useradd` of every distribution takes it, and no shell makes anything else of it.
///
/// # Errors
/// When it is none.
pub fn check_user(name: &str) -> Result<(), UserError> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if name == "root" {
        return Err(UserError::Root);
    }
    if begins && name.len() <= 32 && name.chars().all(plain) {
        Ok(())
    } else {
        Err(UserError::Form { name: name.to_owned() })
    }
}

/// A VM's name as a host name (RFC 1123): small letters, digits and hyphens, at most 63, `vm` where nothing is left.
#[must_use]
pub fn host_name(name: &str) -> String {
    let mut host = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => host.push(c.to_ascii_lowercase()),
            _ if !host.is_empty() && !host.ends_with('-') => host.push('-'),
            _ => {}
        }
    }
    host.truncate(63);
    let host = host.trim_end_matches('-');
    if host.is_empty() { "vm".to_owned() } else { host.to_owned() }
}

/// A YAML scalar in double quotes (YAML 1.1 and 1.2 alike): all but plain ASCII is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match (c, u32::from(c)) {
            ('"' | '\\', _) => quoted.extend(['\\', c]),
            (' '..='~', _) => quoted.push(c),
            (_, code @ ..0x100) => quoted.push_str(&format!("\\x{code:02x}")),
            (_, code @ ..0x1_0000) => quoted.push_str(&format!("\\u{code:04x}")),
            (_, code) => quoted.push_str(&format!("\\U{code:08x}")),
        }
    }
    quoted.push('"');
    quoted
}

impl Seed {
    /// The files, by name.
    #[must_use]
    pub fn files(&self) -> [(&'static str, Vec<u8>); 3] {
        let meta = format!(
            "instance-id: {}\nlocal-hostname: {}\n",
            quoted(&self.identity.canonical()),
            quoted(&host_name(&self.name))
        );
        // The name `eth0` is kept with `set-name`: where cloud-init writes ifupdown's files it takes the key for the
        // card's name, whatever `match` says.
        let network = format!(
            "version: 2\nethernets:\n  eth0:\n    match:\n      macaddress: {}\n    set-name: eth0\n    dhcp4: true\n",
            quoted(&self.mac_address.to_string())
        );
        let user = match &self.user_data {
            UserData::Verbatim(bytes) => bytes.clone(),
            UserData::Login { user, keys } => login(user, keys).into_bytes(),
        };
        [("meta-data", meta.into_bytes()), ("network-config", network.into_bytes()), ("user-data", user)]
    }

    /// The whole disk.
    ///
    /// # Errors
    /// When the user data is too large.
    pub fn image(&self) -> Result<Vec<u8>, VolumeError> {
        let files = self.files();
        let digest = self.identity.digest().to_string();
        let serial = digest.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let volume = Volume {
            label: "CIDATA".to_owned(),
            serial: serial.unwrap_or_default(),
            files: files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect(),
        };
        volume.write()
    }
}

fn login(user: &str, keys: &[String]) -> String {
    let mut text = format!(
        "#cloud-config\nusers:\n  - name: {}\n    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n    shell: \"/bin/bash\"\n    lock_passwd: true\n",
        quoted(user)
    );
    if !keys.is_empty() {
        text.push_str("    ssh_authorized_keys:\n");
        for key in keys {
            text.push_str(&format!("      - {}\n", quoted(key)));
        }
    }
    text.push_str("ssh_pwauth: false\n");
    text
}

#[cfg(test)]
mod tests;
