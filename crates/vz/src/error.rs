//! What the framework says when it fails, typed, and what that means for the VM.
//!
//! An `NSError` is an outer sentence with the reason below it, sometimes several levels deep. It is taken down whole (a
//! chain of [`Link`]s) and then judged once ([`Link::verdict`]): the limit of macOS guests and a lock that somebody holds
//! are found wherever they stand. Nothing is decided from translated texts where a code says it.
//!
//! Codes: `VZError.h` as bound by objc2-virtualization 0.3.2, Code-Hex/vz and tmc/apple, which agree (confidence: high).
//! Texts and nesting: issues of public tools that show them (confidence: medium; no Mac has shown them to us).

use std::fmt;
use std::path::PathBuf;

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

use crate::plan::PlanError;

/// No more links of a chain are kept.
const DEPTH: usize = 8;

/// POSIX `EAGAIN` on Darwin: somebody holds the lock.
const EAGAIN: i64 = 35;

macro_rules! vz_codes {
    ($($variant:ident $code:literal $name:literal;)+) => {
        /// A code of `VZErrorDomain`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum VzCode {
            $(#[doc = concat!("`VZError.", $name, "`.")] $variant,)+
            /// One that a newer macOS brought.
            Other(i64),
        }

        impl VzCode {
            /// All that are known, in the order of their numbers.
            pub const KNOWN: &[Self] = &[$(Self::$variant),+];

            /// The code for a number of the domain.
            #[must_use]
            pub const fn of(number: i64) -> Self {
                match number { $($code => Self::$variant,)+ other => Self::Other(other) }
            }

            /// The number.
            #[must_use]
            pub const fn number(self) -> i64 {
                match self { $(Self::$variant => $code,)+ Self::Other(number) => number }
            }

            /// The name that Apple's documentation uses.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ Self::Other(_) => "unknown" }
            }
        }
    };
}

vz_codes! {
    Internal 1 "internal";
    InvalidConfiguration 2 "invalidVirtualMachineConfiguration";
    InvalidState 3 "invalidVirtualMachineState";
    InvalidStateTransition 4 "invalidVirtualMachineStateTransition";
    InvalidDiskImage 5 "invalidDiskImage";
    LimitExceeded 6 "virtualMachineLimitExceeded";
    Network 7 "networkError";
    OutOfDiskSpace 8 "outOfDiskSpace";
    Cancelled 9 "operationCancelled";
    NotSupported 10 "notSupported";
    Save 11 "save";
    Restore 12 "restore";
    CatalogLoadFailed 10001 "restoreImageCatalogLoadFailed";
    InvalidCatalog 10002 "invalidRestoreImageCatalog";
    NoSupportedRestoreImages 10003 "noSupportedRestoreImagesInCatalog";
    RestoreImageLoadFailed 10004 "restoreImageLoadFailed";
    InvalidRestoreImage 10005 "invalidRestoreImage";
    InstallationRequiresUpdate 10006 "installationRequiresUpdate";
    InstallationFailed 10007 "installationFailed";
    NbdNegotiationFailed 20001 "networkBlockDeviceNegotiationFailed";
    NbdDisconnected 20002 "networkBlockDeviceDisconnected";
    UsbControllerNotFound 30001 "usbControllerNotFound";
    DeviceAlreadyAttached 30002 "deviceAlreadyAttached";
    DeviceInitializationFailure 30003 "deviceInitializationFailure";
    DeviceNotFound 30004 "deviceNotFound";
}

/// Whose code an error carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// `VZErrorDomain`.
    Vz,
    /// `NSPOSIXErrorDomain`: an `errno` of Darwin.
    Posix,
    /// Another one, by its name.
    Other(String),
}

/// One error of a chain, with the rest of the chain below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose code it is.
    pub domain: Domain,
    /// The code.
    pub code: i64,
    /// What it says, in the user's language.
    pub text: String,
    /// The reason it gives, in the user's language.
    pub reason: Option<String>,
    /// What lies below it.
    pub below: Option<Box<Self>>,
}

/// What the links of one error are called together, outermost first.
pub type Chain = Vec<Link>;

/// What an error means for the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Something holds the VM's files; it may let go of them soon.
    Busy,
    /// The kernel runs as many macOS guests as it grants.
    Limit,
    /// macOS 15 or newer could not make a key for the guest: the login keychain is locked.
    Keychain,
    /// This program may not use the framework.
    Unentitled,
    /// Anything else.
    Other,
}

/// Texts by which a locked keychain shows, where no code does (macOS 15; openai/tart `docs/faq.md`; confidence: medium).
const KEYCHAIN: [&str; 3] = ["SecKeyCreateRandomKey", "Failed to generate keypair", "Security Server"];

/// The entitlement without which the framework refuses every configuration.
const ENTITLEMENT: &str = "com.apple.security.virtualization";

impl Link {
    /// Chains errors, outermost first; `None` for none. More than eight are not kept.
    #[must_use]
    pub fn chain(links: Chain) -> Option<Self> {
        links.into_iter().take(DEPTH).rev().fold(None, |below, link| {
            let below = below.map(Box::new);
            Some(Self { below, ..link })
        })
    }

    /// The links, outermost first.
    pub fn iter(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |link| link.below.as_deref())
    }

    /// The code, if it is one of the framework's.
    #[must_use]
    pub fn vz_code(&self) -> Option<VzCode> {
        (self.domain == Domain::Vz).then(|| VzCode::of(self.code))
    }

    fn says(&self, words: &str) -> bool {
        self.text.contains(words) || self.reason.as_ref().is_some_and(|reason| reason.contains(words))
    }

    /// What it means.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let any = |test: &dyn Fn(&Self) -> bool| self.iter().any(test);
        if any(&|link| link.vz_code() == Some(VzCode::LimitExceeded)) {
            Verdict::Limit
        } else if any(&|link| {
            matches!(link.vz_code(), Some(VzCode::InvalidConfiguration | VzCode::InvalidDiskImage))
        }) && any(&|link| link.domain == Domain::Posix && link.code == EAGAIN)
        {
            Verdict::Busy
        } else if any(&|link| KEYCHAIN.iter().any(|words| link.says(words))) {
            Verdict::Keychain
        } else if any(&|link| link.says(ENTITLEMENT)) {
            Verdict::Unentitled
        } else {
            Verdict::Other
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.trim_end_matches('.');
        let reason = self.reason.as_deref().map(|reason| reason.trim_end_matches('.')).unwrap_or_default();
        match (text.contains(reason), reason.contains(text)) {
            (true, _) => formatter.write_str(text)?,
            (false, true) => formatter.write_str(reason)?,
            (false, false) => write!(formatter, "{text}: {reason}")?,
        }
        match &self.domain {
            Domain::Vz => write!(formatter, " (VZError {}, {})", self.code, VzCode::of(self.code).name()),
            Domain::Posix => write!(formatter, " (errno {})", self.code),
            Domain::Other(name) => write!(formatter, " ({name} {})", self.code),
        }
    }
}

impl std::error::Error for Link {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.below.as_deref().map(|below| below as _)
    }
}

/// What this Mac cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsupported {
    /// Run guests at all.
    Guests,
    /// Run a guest of this hardware model.
    HardwareModel,
    /// Save the state of a guest, or start from one.
    SavedState,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Guests => {
                "run guests: it needs Apple silicon, and must not be a VM itself unless its host nests them"
            }
            Self::HardwareModel => "run this hardware model: the guest was made for a newer macOS",
            Self::SavedState => "save and restore guests: macOS 14 is the first that can",
        })
    }
}

/// Why the framework did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum VzError {
    /// The program lacks the entitlement.
    #[error("`{}` is not signed with the entitlement {ENTITLEMENT}", program.display())]
    Unentitled {
        /// The program's file.
        program: PathBuf,
    },
    /// This Mac cannot do it.
    #[error("this Mac cannot {0}")]
    Unsupported(Unsupported),
    /// The VM is not one that the framework can run.
    #[error("Virtualization.framework cannot run it so")]
    Plan(#[source] PlanError),
    /// The framework does not take a file of the VM.
    #[error("Virtualization.framework does not accept `{}`", path.display())]
    Rejected {
        /// The file.
        path: PathBuf,
    },
    /// The framework failed.
    #[error("{}", sentence(*.verdict, doing))]
    Failed {
        /// What it was to do, such as `start the guest`.
        doing: &'static str,
        /// What that means.
        verdict: Verdict,
        /// What it said.
        #[source]
        source: Link,
    },
    /// A part of ours failed around it.
    #[error("cannot {doing}")]
    System {
        /// What was to be done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn sentence(verdict: Verdict, doing: &str) -> String {
    match verdict {
        Verdict::Busy => "another process uses the VM: it holds its auxiliary storage or a disk".to_owned(),
        Verdict::Limit => "this Mac runs as many macOS guests as its kernel allows".to_owned(),
        Verdict::Keychain => "macOS could not make the guest's key: the login keychain is locked".to_owned(),
        Verdict::Unentitled => format!("this program lacks the entitlement {ENTITLEMENT}"),
        Verdict::Other => format!("Virtualization.framework could not {doing}"),
    }
}

impl VzError {
    /// The framework failed to do something.
    #[must_use]
    pub fn failed(doing: &'static str, source: Link) -> Self {
        Self::Failed { doing, verdict: source.verdict(), source }
    }

    /// Whether waiting may help.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Failed { verdict: Verdict::Busy, .. })
    }
}

impl Problem for VzError {
    fn code(&self) -> Code {
        match self {
            Self::Unentitled { .. } | Self::Failed { verdict: Verdict::Unentitled, .. } => Code::VzUnentitled,
            Self::Unsupported(_) => Code::VzUnsupported,
            Self::Plan(error) => error.code(),
            Self::Rejected { .. } => Code::BundleInvalid,
            Self::Failed { verdict: Verdict::Busy, .. } => Code::BundleInUse,
            Self::Failed { verdict: Verdict::Limit, .. } => Code::QuotaFull,
            Self::Failed { verdict: Verdict::Keychain, .. } => Code::VzKeychain,
            Self::Failed { verdict: Verdict::Other, .. } | Self::System { .. } => Code::VzFailed,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let sign = |program: &str| {
            Hint::run(
                "sign it, with the entitlements file of selfsame's source",
                format!("codesign --force --sign - --entitlements mac/selfsame.entitlements {program}"),
            )
        };
        match self {
            Self::Unentitled { program } => vec![sign(&shell_word(&program.to_string_lossy()))],
            Self::Failed { verdict: Verdict::Unentitled, .. } => vec![sign("\"$(command -v selfsame)\"")],
            Self::Failed { verdict: Verdict::Busy, .. } => {
                vec![Hint::run(
                    "see which processes are virtual machines",
                    "pgrep -fl com.apple.Virtualization",
                )]
            }
            Self::Failed { verdict: Verdict::Limit, .. } => vec![
                Hint::run("see what runs", "selfsame list"),
                Hint::say(
                    "if no macOS guest runs in any tool, the kernel has kept a slot: restarting the Mac frees it",
                ),
            ],
            Self::Failed { verdict: Verdict::Keychain, .. } => {
                vec![Hint::run("unlock it", "security unlock-keychain login.keychain-db")]
            }
            Self::Rejected { path } => vec![Hint::run(
                "look at what it holds",
                format!("plutil -p {}", shell_word(&path.to_string_lossy())),
            )],
            Self::Plan(error) => error.hints(),
            Self::Unsupported(_) | Self::Failed { .. } | Self::System { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use selfsame_machine::problem::Report;

    use super::*;

    fn link(domain: Domain, code: i64, text: &str) -> Link {
        Link { domain, code, text: text.to_owned(), reason: None, below: None }
    }

    fn chain(links: Vec<Link>) -> Link {
        Link::chain(links).unwrap()
    }

    #[test]
    fn codes_read_back_and_unknown_ones_are_kept() {
        for code in VzCode::KNOWN {
            assert_eq!(VzCode::of(code.number()), *code);
        }
        assert_eq!(VzCode::of(40_001).number(), 40_001);
        assert!(VzCode::KNOWN.windows(2).all(|pair| pair[0].number() < pair[1].number()));
    }

    #[test]
    fn a_held_lock_is_busy_only_with_its_errno() {
        let outer = || link(Domain::Vz, 2, "Failed to lock auxiliary storage.");
        assert_eq!(chain(vec![outer(), link(Domain::Posix, 35, "busy")]).verdict(), Verdict::Busy);
        let disk = vec![link(Domain::Vz, 5, "Invalid disk image."), link(Domain::Posix, 35, "busy")];
        assert_eq!(chain(disk).verdict(), Verdict::Busy);
        assert_eq!(chain(vec![outer(), link(Domain::Posix, 2, "no such file")]).verdict(), Verdict::Other);
        assert_eq!(chain(vec![outer()]).verdict(), Verdict::Other);
        let foreign = vec![link(Domain::Vz, 7, "network"), link(Domain::Posix, 35, "busy")];
        assert_eq!(chain(foreign).verdict(), Verdict::Other, "not every EAGAIN is a lock");
    }

    #[test]
    fn the_limit_is_found_however_deep_it_lies() {
        for depth in 0..DEPTH {
            let mut links = vec![link(Domain::Vz, 10_007, "Installation failed."); depth];
            links.push(link(Domain::Vz, 6, "No value exists in nvram for the provided key."));
            let error = VzError::failed("start the guest", chain(links));
            assert_eq!(error.code(), Code::QuotaFull, "{depth}");
        }
        assert_eq!(chain(vec![link(Domain::Posix, 6, "not ours")]).verdict(), Verdict::Other);
    }

    #[test]
    fn a_chain_without_end_is_cut() {
        let links = vec![link(Domain::Vz, 1, "again"); 1_000];
        assert_eq!(chain(links).iter().count(), DEPTH);
    }

    #[test]
    fn a_locked_keychain_and_a_missing_entitlement_are_told_by_what_is_said() {
        let keychain = vec![
            link(Domain::Vz, 1, "Internal Virtualization error."),
            link(Domain::Other("NSOSStatusErrorDomain".into()), -25_308, "SecKeyCreateRandomKey_ios failed"),
        ];
        let error = VzError::failed("start the guest", chain(keychain));
        assert_eq!(error.code(), Code::VzKeychain);
        assert_eq!(error.hints()[0].command.as_deref(), Some("security unlock-keychain login.keychain-db"));
        let text = "The process doesn’t have the “com.apple.security.virtualization” entitlement.";
        let error = VzError::failed("check the VM", chain(vec![link(Domain::Vz, 2, text)]));
        assert_eq!(error.code(), Code::VzUnentitled);
    }

    #[test]
    fn the_whole_chain_is_shown() {
        let mut outer = link(Domain::Vz, 2, "Invalid virtual machine configuration.");
        outer.reason = Some("Failed to lock auxiliary storage.".to_owned());
        let inner = link(Domain::Posix, 35, "Resource temporarily unavailable");
        let report = Report::from(VzError::failed("check the VM", chain(vec![outer, inner])));
        insta::assert_snapshot!(
            format!("{}: {}\n{}", report.code, report.message, report.causes.join("\n")),
            @r"
        bundle.in_use: another process uses the VM: it holds its auxiliary storage or a disk
        Invalid virtual machine configuration: Failed to lock auxiliary storage (VZError 2, invalidVirtualMachineConfiguration)
        Resource temporarily unavailable (errno 35)
        "
        );
    }
}
