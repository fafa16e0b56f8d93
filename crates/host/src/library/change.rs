//! Changing what a VM is made of: `vm.toml`, whole or not at all.
//!
//! Two commands, or a command and a supervisor, may change one file at the same time: the file is locked from the
//! reading to the renaming, so that neither undoes the other's change. What people wrote into it stays
//! ([`selfsame_machine::spec::Change`]).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};
use selfsame_machine::size::Bytes;
use selfsame_machine::spec::{Change, ChangeError, SCHEMA, Spec};

use crate::bundle::{Bundle, BundleError, SPEC};
use crate::files::{FileError, device_and_inode, read_bounded, write_atomically, write_new};

/// No description is larger.
const LIMIT: u64 = 64 * 1024;
/// How long somebody else may hold the file: a change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The VM cannot be made of that.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("`{}` is not changed", path.display())]
    Text {
        path: PathBuf,
        #[source]
        source: ChangeError,
    },
    #[error("a VM of {asked} does not fit into this host, which has {host} of memory")]
    Memory { asked: Bytes, host: Bytes },
}

impl Problem for Refused {
    fn code(&self) -> Code {
        match self {
            Self::Text { source: ChangeError::After(_), .. } => Code::UsageInvalid,
            Self::Text { source: ChangeError::Before(_) | ChangeError::Entangled { .. }, .. } => {
                Code::BundleInvalid
            }
            Self::Memory { .. } => Code::BackendUnavailable,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Text { source: ChangeError::After(_), .. } | Self::Memory { .. } => Vec::new(),
            Self::Text { path, .. } => {
                let path = shell_word(&path.to_string_lossy()).into_owned();
                vec![Hint::run("change it by hand", format!("${{EDITOR:-vi}} {path}"))]
            }
        }
    }
}

/// A change that was worked out and not yet made. The file is locked until this is written or dropped.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    path: PathBuf,
    text: String,
    /// The locked file; `None` where there is none yet.
    locked: Option<File>,
    /// What the VM was made of.
    pub before: Spec,
    /// What it will be made of.
    pub after: Spec,
}

/// Works out a change of the VM in `folder`; writes nothing.
///
/// # Errors
/// When the folder is no VM, the description cannot be used before or afterwards, or more memory is asked for than this
/// host has.
pub fn prepare(folder: &Path, change: &Change) -> Result<Prepared, Report> {
    let bundle = Bundle::read(folder)?;
    if !bundle.described && bundle.disks().is_empty() {
        // A description would make a VM out of what is none.
        return Err(BundleError::Empty { folder: bundle.folder }.into());
    }
    if let (Some(asked), Some(host)) = (change.memory, crate::capacity::memory())
        && asked > host
    {
        return Err(Refused::Memory { asked, host }.into());
    }
    let path = folder.join(SPEC);
    let locked = lock(&path).map_err(FileError::failed("lock", &path))?;
    let text = match &locked {
        None => format!("schema = {SCHEMA}\n"),
        Some(_) => {
            let bytes = read_bounded(&path, LIMIT).map_err(FileError::failed("read", &path))?;
            let not_text = |error: std::string::FromUtf8Error| BundleError::NotText {
                path: path.clone(),
                offset: error.utf8_error().valid_up_to(),
            };
            String::from_utf8(bytes).map_err(not_text)?
        }
    };
    let before = Spec::read(&text).map_err(|source| BundleError::Spec { path: path.clone(), source })?;
    let edited = change.edit(&text);
    let (text, after) = edited.map_err(|source| Refused::Text { path: path.clone(), source })?;
    Ok(Prepared { path, text, locked, before, after })
}

impl Prepared {
    /// Makes the change in one step. A description that was a link becomes a file: what the link leads to may be another
    /// VM's.
    ///
    /// # Errors
    /// When the file cannot be written; then the old one is there, whole.
    pub fn write(self) -> Result<(), Report> {
        let written = match &self.locked {
            _ if self.before == self.after => Ok(()),
            Some(_) => write_atomically(&self.path, self.text.as_bytes()),
            None => write_new(&self.path, self.text.as_bytes()),
        };
        Ok(written?)
    }
}

/// Locks the file that stands at `path` then; `None` when there is none. A change exchanges the file, so that one which
/// waited for another must look again.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let began = Instant::now();
    loop {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let (locked, found) = (rustix::fs::fstat(&file)?, rustix::fs::stat(path));
                if found.is_ok_and(|found| device_and_inode(&found) == device_and_inode(&locked)) {
                    return Ok(Some(file));
                }
            }
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
        if began.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds it"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{IDENTIFIER, RAW_DISK};
    use std::os::unix::fs::PermissionsExt as _;

    fn vm() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let identity: selfsame_machine::identity::Identity =
            "uuid:db087d0b-d366-40bc-809b-969690dcbe1e".parse().unwrap();
        std::fs::write(folder.path().join(IDENTIFIER), identity.to_bytes()).unwrap();
        folder
    }

    fn cpus(count: u32) -> Change {
        Change { cpus: Some(count), ..Change::default() }
    }

    #[test]
    fn a_vm_without_a_description_gets_one_and_what_is_no_vm_gets_none() {
        let folder = vm();
        let path = folder.path().join(SPEC);
        assert_eq!(prepare(folder.path(), &cpus(3)).unwrap_err().code, Code::BundleInvalid);
        assert!(!path.exists());
        std::fs::write(folder.path().join(RAW_DISK), "").unwrap();
        prepare(folder.path(), &cpus(3)).unwrap().write().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "schema = 1\ncpus = 3\n");
    }

    #[test]
    fn changes_at_the_same_time_are_all_made_and_the_mode_stays() {
        let folder = vm();
        let path = folder.path().join(SPEC);
        std::fs::write(&path, "schema = 1\n# mine\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let changes = [
            cpus(5),
            Change { memory: Some(Bytes::mebibytes(64)), ..Change::default() },
            Change { protected: Some(true), ..Change::default() },
            Change { machine: Some("pc-q35-7.2".into()), ..Change::default() },
        ];
        std::thread::scope(|scope| {
            for change in &changes {
                scope.spawn(|| prepare(folder.path(), change).unwrap().write().unwrap());
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        let spec = Spec::read(&text).unwrap();
        assert_eq!((spec.cpus, spec.memory, spec.protected), (5, Bytes::mebibytes(64), true), "{text}");
        assert!(spec.machine.is_some() && text.contains("# mine\n"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn more_memory_than_the_host_has_is_refused() {
        let folder = vm();
        std::fs::write(folder.path().join(SPEC), "schema = 1\n").unwrap();
        let change = Change { memory: Some(Bytes::gibibytes(16 << 10)), ..Change::default() };
        assert_eq!(prepare(folder.path(), &change).unwrap_err().code, Code::BackendUnavailable);
    }
}
