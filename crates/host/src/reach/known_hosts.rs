//! The file of guests' host keys: `known_hosts` in selfsame's own folder, in OpenSSH's format (sshd(8), "SSH_KNOWN_HOSTS FILE
//! FORMAT"). OpenSSH writes it; here it is looked at before, and lines are taken out of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use selfsame_machine::identity::Digest;

use super::problem::ReachError;
use crate::context::Context;
use crate::files::{FileError, read_bounded, write_atomically};

/// A key takes some hundred bytes, and a host has some thousand VMs.
const FILE_LIMIT: u64 = 16 << 20;

/// The name under which the host key of the guest with this identity is remembered.
#[must_use]
pub fn alias(digest: &Digest) -> String {
    let digits = digest.to_string();
    format!("selfsame-{}", digits.get(..16).unwrap_or(&digits))
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHosts {
    path: PathBuf,
}

impl KnownHosts {
    /// That of this home. It need not be there.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        Self { path: context.home.known_hosts() }
    }

    /// That of a VM which was made for one run: it goes with it, and no other guest's keys are touched for it.
    #[must_use]
    pub(super) fn of_one_run(folder: &Path) -> Self {
        Self { path: folder.join("known_hosts") }
    }

    #[cfg(test)]
    pub(super) const fn for_tests(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file's name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sees that keys can be remembered: OpenSSH itself would only warn, log in, and notice nothing at the next time.
    ///
    /// # Errors
    /// When it is a link or no file, or cannot be written.
    pub fn usable(&self) -> Result<(), ReachError> {
        let refused = |what| ReachError::KnownHosts { path: self.path.clone(), what };
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_symlink() => {
                return Err(refused("is a link, and where it leads others may write"));
            }
            Ok(found) if !found.is_file() => return Err(refused("is no file")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return Err(refused("cannot be looked at")),
        }
        let opened = File::options().append(true).create(true).open(&self.path);
        opened.map(drop).map_err(|_| refused("cannot be written"))
    }

    /// Forgets the keys under a name; says whether there were any.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn forget(&self, alias: &str) -> Result<bool, FileError> {
        let before = match read_bounded(&self.path, FILE_LIMIT) {
            Ok(before) => before,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(FileError::failed("read", &self.path)(error)),
        };
        let kept = without(&before, alias);
        if kept.len() == before.len() {
            return Ok(false);
        }
        write_atomically(&self.path, &kept)?;
        Ok(true)
    }
}

/// The lines of a file that do not name this host.
fn without(file: &[u8], alias: &str) -> Vec<u8> {
    let names = |line: &[u8]| {
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let first = fields.next().unwrap_or_default();
        // `@revoked` and `@cert-authority` stand before the names.
        let names = if first.starts_with(b"@") { fields.next().unwrap_or_default() } else { first };
        names.split(|byte| *byte == b',').any(|name| name == alias.as_bytes())
    };
    file.split_inclusive(|byte| *byte == b'\n').filter(|line| !names(line)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_that_guest_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = KnownHosts { path: folder.path().join("known_hosts") };
        assert!(!hosts.forget("a").unwrap());
        let file =
            "# a\na ssh-ed25519 AAAA\nab ssh-ed25519 AAAA\nb,a ssh-rsa AAAA\n@revoked a ssh-rsa B\n\nb x a";
        std::fs::write(&hosts.path, file).unwrap();
        assert!(hosts.forget("a").unwrap());
        let kept = std::fs::read_to_string(&hosts.path).unwrap();
        assert_eq!(kept, "# a\nab ssh-ed25519 AAAA\n\nb x a");
        assert!(!hosts.forget("a").unwrap());
    }

    #[test]
    fn a_file_that_could_not_remember_is_refused_before_anybody_logs_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        let hosts = KnownHosts { path: path.clone() };
        hosts.usable().unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/nowhere", &path).unwrap();
        assert!(hosts.usable().unwrap_err().to_string().contains("is a link"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(hosts.usable().unwrap_err().to_string().contains("is no file"));
    }
}
