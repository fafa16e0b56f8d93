//! What the arguments of a supervisor say about what it drives.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// How the title (argument 0) of a supervisor begins: `selfsame: NAME`.
const TITLE: &[u8] = b"selfsame: ";
/// The hidden command, argument 1.
const COMMAND: &str = "supervise";

/// The folder of the VM that a process with these arguments was started to drive; `None` when it is no supervisor.
///
/// Supervisors are started as `selfsame: NAME supervise … -- FOLDER`, with an absolute folder
/// ([`crate::supervisor::launch`], and the hidden command of the binary). Whoever likes can start a process with such
/// arguments: that hinders starts, and frees nothing.
#[must_use]
pub fn supervised_folder(arguments: &[OsString]) -> Option<&Path> {
    let [title, command, .., separator, folder] = arguments else { return None };
    let is_supervisor = title.as_bytes().starts_with(TITLE) && command == COMMAND && separator == "--";
    Some(Path::new(folder)).filter(|folder| is_supervisor && folder.is_absolute())
}

#[cfg(any(target_os = "macos", test))]
pub(super) use rivals::{Driven, is_rival};

#[cfg(any(target_os = "macos", test))]
mod rivals {
    use std::path::Path;

    use selfsame_machine::identity::{Digest, MacAddress};

    use crate::bundle::{Bundle, read_identity};
    use crate::lock::{FolderKey, Subject};

    /// What a supervisor drives, as its VM's folder tells now. What cannot be read is not known.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in super::super) struct Driven {
        pub(super) key: Option<FolderKey>,
        pub(super) identity: Option<Digest>,
        pub(super) mac: Option<MacAddress>,
    }

    impl Driven {
        /// Reads the folder.
        pub(in super::super) fn of(folder: &Path) -> Self {
            let bundle = Bundle::read(folder).ok();
            // An unreadable `vm.toml` hides the address, and not the identity.
            let identity = bundle.as_ref().map(|bundle| bundle.identity);
            let identity = identity.or_else(|| read_identity(folder).ok().flatten());
            Self {
                key: rustix::fs::stat(folder).ok().map(|stat| FolderKey::of(&stat)),
                identity: identity.map(|identity| identity.digest()),
                mac: bundle.map(|bundle| bundle.mac_address()),
            }
        }

        /// Whether it is what the subject names.
        pub(in super::super) fn is(&self, subject: &Subject) -> bool {
            match subject {
                Subject::Supervisor(key) => self.key == Some(*key),
                Subject::Identity(digest) => self.identity == Some(*digest),
                Subject::Mac(address) => self.mac == Some(*address),
            }
        }
    }

    /// Whether a start by a process that began at `own` must give way to a supervisor that began at `other`, both in
    /// microseconds since 1970.
    ///
    /// Only to an older one: whoever runs a VM is older than whoever wants to, and of two that start at once only one waits
    /// for the other. A moment later than `now` is no younger process, but one from before the clock was set back.
    pub(in super::super) const fn is_rival(own: u64, other: u64, now: u64) -> bool {
        other <= own || other > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{FolderKey, Subject};
    use selfsame_machine::identity::Identity;

    fn folder_of(arguments: &[&str]) -> Option<String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        supervised_folder(&arguments).map(|folder| folder.display().to_string())
    }

    #[test]
    fn a_supervisor_is_known_by_its_title_and_its_command() {
        let folder = Some("/vms/a b.vm".to_owned());
        assert_eq!(folder_of(&["selfsame: a b", "supervise", "--", "/vms/a b.vm"]), folder);
        assert_eq!(
            folder_of(&["selfsame: a b", "supervise", "--paused", "--despite", "/x", "--", "/vms/a b.vm"]),
            folder
        );
        for stranger in [
            &["selfsame", "supervise", "--", "/vms/a.vm"][..],
            &["selfsame: a", "run", "--", "/vms/a.vm"],
            &["selfsame: a", "supervise", "/vms/a.vm"],
            &["selfsame: a", "supervise", "--", "a.vm"],
            &["selfsame: a", "supervise", "--"],
            &["selfsame: a"],
            &[],
        ] {
            assert_eq!(folder_of(stranger), None, "{stranger:?}");
        }
    }

    #[test]
    fn a_folder_tells_what_its_supervisor_drives() {
        let folder = tempfile::tempdir().unwrap();
        let identity: Identity = "uuid:db087d0b-d366-40bc-809b-969690dcbe1e".parse().unwrap();
        let blob = identity.to_bytes();
        std::fs::write(folder.path().join(crate::bundle::IDENTIFIER), blob).unwrap();
        let driven = Driven::of(folder.path());
        let key = FolderKey::of(&rustix::fs::stat(folder.path()).unwrap());
        assert!(driven.is(&Subject::Supervisor(key)));
        assert!(!driven.is(&Subject::Supervisor(FolderKey { inode: key.inode + 1, ..key })));
        assert!(driven.is(&Subject::Identity(identity.digest())));
        let mac = crate::bundle::Bundle::read(folder.path()).unwrap().mac_address();
        assert!(driven.is(&Subject::Mac(mac)));

        std::fs::write(folder.path().join(crate::bundle::SPEC), "damaged").unwrap();
        let driven = Driven::of(folder.path());
        assert!(driven.is(&Subject::Identity(identity.digest())), "the identity does not depend on vm.toml");
        assert!(!driven.is(&Subject::Mac(mac)), "what is not known is not claimed");

        let nothing = Driven::of(&folder.path().join("gone"));
        assert_eq!(nothing, Driven { key: None, identity: None, mac: None });
    }

    #[test]
    fn of_two_that_start_at_once_one_waits_for_the_other() {
        let now = 1_000;
        for (one, other) in [(10, 20), (20, 10)] {
            assert!(is_rival(one, other, now) != is_rival(other, one, now));
        }
        assert!(is_rival(20, 10, now), "whoever runs is older");
        assert!(is_rival(10, 10, now), "who began at the same moment may be running already");
        assert!(is_rival(20, 1_001, now), "the clock was set back since it started");
    }
}
