//! The one table of stable error codes and of the exit status each leads to.
//!
//! A code is dotted text that programs may match on: it is never renamed and never given another meaning. `docs/errors/`
//! has a section for every row, and a test keeps the two equal.

use std::fmt;
use std::str::FromStr;

macro_rules! exits {
    ($($variant:ident $status:literal, $meaning:literal;)+) => {
        /// The process's exit status: what class of thing went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Exit {
            $(#[doc = $meaning] $variant = $status,)+
        }

        impl Exit {
            /// Every exit status, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// What it says, a sentence without its full stop.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }
        }
    };
}

exits! {
    Ok 0, "Done";
    Failed 1, "Failed for a reason that belongs to no other class";
    Usage 2, "The command line cannot be understood";
    NotFound 3, "The named thing does not exist";
    Already 4, "The name is taken, or the VM runs already";
    InUse 5, "The identity, MAC address, disk or bundle is in use";
    QuotaFull 6, "The host's quota of guests is used up";
    SlotsLeaked 7, "The kernel leaks slots";
    LeaseLost 8, "The fleet gave the identity to another host";
    Refused 9, "Refused by a rule";
    Found 10, "A check ran and found something";
    Internal 70, "A fault in selfsame itself";
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub const fn status(self) -> u8 {
        self as u8
    }
}

macro_rules! codes {
    ($($variant:ident $text:literal => $exit:ident, $title:literal;)+) => {
        /// A stable error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $title] $variant,)+
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The dotted text, for example `identity.in_use`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What the code means, in a few words that do not depend on the occasion.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// The exit status that a command failing with this code ends with.
            #[must_use]
            pub const fn exit(self) -> Exit {
                match self { $(Self::$variant => Exit::$exit),+ }
            }
        }
    };
}

codes! {
    UsageInvalid "usage.invalid" => Usage, "The command line cannot be understood";
    NameInvalid "name.invalid" => Usage, "The name cannot be a VM's name";
    SizeInvalid "size.invalid" => Usage, "The size cannot be understood or is out of range";
    IdentityArgument "identity.argument" => Usage, "The argument names no identity";
    IdentityAmbiguous "identity.ambiguous" => Usage, "The argument names several identities";
    IdentityInvalid "identity.invalid" => Failed, "The data is not a machine identifier";
    IdentityUnsupported "identity.unsupported" => Refused, "No such identity can be made";
    IdentityNotFound "identity.not_found" => NotFound, "No such identity in the library";
    IdentityExists "identity.exists" => Already, "The library has this identity, or the label is taken";
    IdentityInUse "identity.in_use" => InUse, "A VM with this identity is running";
    IdentityUnknown "identity.unknown" => InUse, "Whether a twin is running cannot be told";
    IdentityChanged "identity.changed" => Refused, "The VM's identity is not that of its last good start";
    MacInUse "mac.in_use" => InUse, "A VM with this MAC address is running";
    MacInvalid "mac.invalid" => Usage, "Not a usable MAC address";
    DiskInUse "disk.in_use" => InUse, "Another process uses the disk";
    BundleInUse "bundle.in_use" => InUse, "Another process holds the VM's folder";
    BundleInvalid "bundle.invalid" => Failed, "The VM's files cannot be used";
    VmNotFound "vm.not_found" => NotFound, "No such VM";
    VmExists "vm.exists" => Already, "The name is taken";
    VmRunning "vm.running" => Already, "The VM runs already";
    VmProtected "vm.protected" => Refused, "The VM is protected";
    VmStartFailed "vm.start_failed" => Failed, "The VM did not start";
    VmFailed "vm.failed" => Failed, "The VM ended by a failure";
    StateMismatch "state.mismatch" => Refused, "The VM is not what its saved state was made with";
    StateDamaged "state.damaged" => Failed, "The VM's saved state is damaged";
    NetPortInUse "net.port_in_use" => InUse, "A port of the host is in use";
    NetPortRefused "net.port_refused" => Refused, "A port of the host cannot be used";
    NetUnreachable "net.unreachable" => Failed, "Nothing leads into the guest, or nobody answers there";
    NetHostKeyChanged "net.host_key_changed" => Refused, "The guest shows another host key than before";
    SshMissing "ssh.missing" => Failed, "OpenSSH's client is not installed";
    SshFailed "ssh.failed" => Failed, "OpenSSH's client failed";
    RequestDenied "request.denied" => Refused, "The request does not fit the VM's state";
    RequestTimedOut "request.timed_out" => Failed, "The VM did not do it in time";
    ImageUnknown "image.unknown" => NotFound, "No such image";
    ImageInvalid "image.invalid" => Failed, "The file cannot be a guest's disk";
    ImageFetch "image.fetch" => Failed, "The image cannot be fetched";
    ImageInUse "image.in_use" => InUse, "The image is being fetched";
    ImageMismatch "image.mismatch" => Refused, "The image is not what was published";
    SeedInvalid "seed.invalid" => Usage, "The guest cannot be told so at its first start";
    BackendUnavailable "backend.unavailable" => Refused, "This host cannot run such a guest";
    FolderRefused "folder.refused" => Refused, "The folder cannot be shared with a guest";
    AgentNone "agent.none" => Failed, "No agent listens in the guest";
    AgentBusy "agent.busy" => Failed, "Another process talks to the guest's agent";
    AgentSilent "agent.silent" => Failed, "The guest's agent does not answer";
    AgentProtocol "agent.protocol" => Failed, "The guest's agent talks nonsense";
    AgentRefused "agent.refused" => Failed, "The guest's agent refused";
    LockPlace "lock.place" => Failed, "The folder of locks cannot be used";
    LockFile "lock.file" => Failed, "A lock file cannot be used";
    StoreCorrupt "store.corrupt" => Failed, "The library's database is damaged";
    StoreNewer "store.newer" => Failed, "The library was written by a newer selfsame";
    StoreLocked "store.locked" => Failed, "Another process holds the library";
    StoreFailed "store.failed" => Failed, "The library cannot be read or written";
    QuotaFull "quota.full" => QuotaFull, "The host runs as many guests of this kind as it may";
    VzUnentitled "vz.unentitled" => Refused, "This selfsame is not signed for Virtualization.framework";
    VzUnsupported "vz.unsupported" => Refused, "This Mac's Virtualization.framework cannot do it";
    VzKeychain "vz.keychain" => Failed, "The login keychain is locked";
    VzFailed "vz.failed" => Failed, "Virtualization.framework failed";
    QemuMissing "qemu.missing" => Failed, "QEMU is not installed";
    QemuTooOld "qemu.too_old" => Failed, "QEMU is too old";
    QemuFailed "qemu.failed" => Failed, "QEMU failed";
    QemuProtocol "qemu.protocol" => Failed, "QEMU's monitor did not answer as it should";
    FirmwareMissing "firmware.missing" => Failed, "The guest's firmware is not installed";
    SupervisorUnresponsive "supervisor.unresponsive" => Failed, "The VM's supervisor does not answer";
    SupervisorProtocol "supervisor.protocol" => Failed, "The VM's supervisor is of another version";
    SupervisorDied "supervisor.died" => Internal, "The supervisor ended before it could report";
    HomeUnusable "home.unusable" => Failed, "selfsame's own folder cannot be used";
    ConfigInvalid "config.invalid" => Failed, "A configuration file cannot be used";
    SetupFailed "setup.failed" => Failed, "What selfsame puts on this computer could not be changed";
    FileFailed "file.failed" => Failed, "A file cannot be read or written";
    FileExists "file.exists" => Already, "The file exists";
    InternalFault "internal.fault" => Internal, "A fault in selfsame itself";
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text())
    }
}

/// The text is no known code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known error code")]
pub struct UnknownCode(pub String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|code| code.text() == text).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_stands_once() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.text().parse(), Ok(*code));
            assert!(
                !Code::ALL[..index].iter().any(|other| other.text() == code.text()),
                "{code} stands twice"
            );
        }
    }

    #[test]
    fn a_failure_never_ends_with_zero() {
        for code in Code::ALL {
            assert_ne!(code.exit(), Exit::Ok, "{code}");
        }
    }
}
