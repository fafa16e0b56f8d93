//! What a guest is told at its first start, read from files of whoever makes it: public keys and user data.

use std::io;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};
use selfsame_machine::seed::{KEYS_LIMIT, KeyError, PublicKeys, USER_DATA_LIMIT};

use crate::files::{FileError, read_bounded};

/// A file that cannot be told to a guest.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// No public keys.
    #[error("`{}` is no file of public keys", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        #[source]
        source: KeyError,
    },
    /// User data that is too large.
    #[error("`{}` is larger than {USER_DATA_LIMIT} bytes, which is no user data", path.display())]
    Large {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Problem for FirstStartError {
    fn code(&self) -> Code {
        match self {
            Self::Keys { .. } | Self::Large { .. } => Code::SeedInvalid,
            Self::File(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Keys { path, source: KeyError::Private { .. } } => {
                let public = format!("{}.pub", path.display());
                vec![Hint::run("look at the public one", format!("ls -l {}", shell_word(&public)))]
            }
            Self::Keys { source, .. } => source.hints(),
            Self::Large { .. } => vec![Hint::say("have the guest fetch what is large")],
            Self::File(error) => error.hints(),
        }
    }
}

/// Reads a file of public keys.
///
/// # Errors
/// When it cannot be read, or a line of it is no public key.
pub fn read_keys(path: &Path) -> Result<Vec<String>, FirstStartError> {
    let data = read_bounded(path, KEYS_LIMIT).map_err(FileError::failed("read", path))?;
    let keys = PublicKeys::read(&data);
    keys.map(|keys| keys.0).map_err(|source| FirstStartError::Keys { path: path.to_owned(), source })
}

/// Reads user data, whatever it says.
///
/// # Errors
/// When it cannot be read or is too large.
pub fn read_user_data(path: &Path) -> Result<Vec<u8>, FirstStartError> {
    match read_bounded(path, USER_DATA_LIMIT) {
        Ok(data) => Ok(data),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(FirstStartError::Large { path: path.to_owned() })
        }
        Err(error) => Err(FileError::failed("read", path)(error).into()),
    }
}

/// The keys that OpenSSH itself offers: `id_*.pub` in `.ssh` of this folder, by name. What is no key is passed over.
#[must_use]
pub fn usual_keys(home: &Path) -> Vec<(PathBuf, Vec<String>)> {
    let Ok(entries) = std::fs::read_dir(home.join(".ssh")) else { return Vec::new() };
    let usual = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("id_") && name.ends_with(".pub")
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(usual).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| read_keys(&path).ok().map(|keys| (path, keys))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_keys_are_those_of_openssh() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(usual_keys(home.path()), []);
        let ssh = home.path().join(".ssh");
        std::fs::create_dir(&ssh).unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        std::fs::write(ssh.join("id_b.pub"), key).unwrap();
        std::fs::write(ssh.join("id_a.pub"), format!("{key} me\n{key}\n")).unwrap();
        std::fs::write(ssh.join("id_c.pub"), "no key").unwrap();
        std::fs::write(ssh.join("id_d"), key).unwrap();
        std::fs::write(ssh.join("other.pub"), key).unwrap();
        let found = usual_keys(home.path());
        let names: Vec<_> =
            found.iter().map(|(path, keys)| (path.file_name().unwrap(), keys.len())).collect();
        assert_eq!(names, [("id_a.pub".as_ref(), 2), ("id_b.pub".as_ref(), 1)]);
    }

    #[test]
    fn a_private_key_is_refused_and_the_public_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id_ed25519");
        std::fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n").unwrap();
        let error = read_keys(&path).unwrap_err();
        assert_eq!(error.code(), Code::SeedInvalid);
        assert!(error.hints()[0].command.as_deref().unwrap().ends_with("id_ed25519.pub"));
        std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert!(read_user_data(&path).is_ok());
        std::fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(matches!(read_user_data(&path), Err(FirstStartError::Large { .. })));
    }
}
