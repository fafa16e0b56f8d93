//! Why a start is refused, and what to do about it.

use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};

use selfsame_machine::spec::Guest;

use crate::bundle::{Named, name_of};
use crate::evidence::Use;

/// Something stands in the way of a start.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A process that is none of ours holds the folder.
    #[error("`{}` is locked by {}", folder.display(), if holders.is_empty() { "a process that this user may not see".to_owned() } else { holders.join(", ") })]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Who holds it.
        holders: Vec<String>,
    },
    /// A VM with this identity runs under selfsame.
    #[error("{}", twin_message(name, identity, other.as_ref()))]
    Identity {
        /// The VM that was to start.
        name: Named,
        /// The identity.
        identity: String,
        /// The one that runs, where it is known.
        other: Option<Named>,
    },
    /// A VM with this MAC address runs under selfsame.
    #[error("{name} has the MAC address {mac}, and so has {}, which is running", other.as_ref().map_or("another VM", |other| &other.name))]
    Mac {
        /// The VM that was to start.
        name: Named,
        /// The address.
        mac: String,
        /// The one that runs.
        other: Option<Named>,
    },
    /// Something else runs a twin.
    #[error("{} is a twin of {name}, and it is in use: {sign}", name_of(twin))]
    Twin {
        /// The VM that was to start.
        name: Named,
        /// The twin's folder.
        twin: PathBuf,
        /// How one can tell.
        sign: String,
    },
    /// Whether a twin runs cannot be told.
    #[error("whether `{}`, a twin of {name}, is running cannot be told: {reason}", twin.display())]
    Unknown {
        /// The VM that was to start.
        name: Named,
        /// The twin's folder.
        twin: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something uses the VM's own disk.
    #[error("a disk of {name} is in use: {sign}")]
    Disk {
        /// The VM that was to start.
        name: Named,
        /// How one can tell.
        sign: String,
    },
    /// As many guests run as may.
    #[error("{}", full_message(name, *guest, *limit, holders, waiting))]
    Quota {
        /// The VM that was to start.
        name: Named,
        /// Its kind.
        guest: Guest,
        /// How many may run.
        limit: u32,
        /// Those that run, as far as they are known.
        holders: Vec<Named>,
        /// Those that wait, in their order.
        waiting: Vec<String>,
    },
    /// The identity is another one than last time.
    #[error("`{what}` of {name} is not that of its last good start ({last})")]
    Changed {
        /// The VM that was to start.
        name: Named,
        /// The file.
        what: &'static str,
        /// When it last started well.
        last: String,
    },
}

fn twin_message(name: &Named, identity: &str, other: Option<&Named>) -> String {
    match other {
        Some(other) if other.name != name.name => {
            format!("{name} is a twin of {other}, and {other} is running")
        }
        Some(other) => format!("{name} is a twin of {}, which is running", other.word),
        None => format!("a VM with the identity of {name} ({identity}) is running"),
    }
}

/// So many of those that wait are named.
const SHOWN: usize = 3;

fn full_message(name: &Named, guest: Guest, limit: u32, holders: &[Named], waiting: &[String]) -> String {
    let kind = match guest {
        Guest::Linux => "Linux",
        Guest::Macos => "macOS",
    };
    let names: Vec<&str> = holders.iter().map(|holder| holder.name.as_str()).collect();
    let who = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    // A line may be long.
    let shown = waiting.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = waiting.len().saturating_sub(SHOWN);
    let line = match (waiting.len(), more) {
        (0, _) => String::new(),
        (1, _) => format!("; {shown} waits for a slot"),
        (count, 0) => format!("; {count} wait for a slot: {shown}"),
        (count, _) => format!("; {count} wait for a slot: {shown}, …"),
    };
    // Those that run may be fewer: what is free belongs to those who wait.
    if limit > 0 && u32::try_from(holders.len()).is_ok_and(|running| running < limit) && !waiting.is_empty() {
        return format!("{name} is a {kind} guest, {limit} may run here, and others come first{line}");
    }
    match limit {
        0 => format!("{name} is a {kind} guest, and none may run here"),
        1 => format!("{name} is a {kind} guest, and the one that may run here runs{who}{line}"),
        _ => format!("{name} is a {kind} guest, and the {limit} that may run here run{who}{line}"),
    }
}

impl Problem for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::Folder { .. } => Code::BundleInUse,
            Self::Identity { .. } | Self::Twin { .. } => Code::IdentityInUse,
            Self::Mac { .. } => Code::MacInUse,
            Self::Unknown { .. } => Code::IdentityUnknown,
            Self::Disk { .. } => Code::DiskInUse,
            Self::Quota { .. } => Code::QuotaFull,
            Self::Changed { .. } => Code::IdentityChanged,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let why =
            |name: &Named| Hint::run("see what stands in the way", format!("selfsame why {}", name.word));
        match self {
            Self::Folder { .. } => vec![Hint::say("end that process, and try again")],
            Self::Identity { name, other, .. } => {
                let stop = other.as_ref().map(|other| {
                    Hint::run("stop the one that runs", format!("selfsame stop {}", other.word))
                });
                stop.into_iter().chain([why(name)]).collect()
            }
            Self::Mac { name, .. } => vec![
                Hint::say("give one of them another `mac_address` in its vm.toml, or stop the one that runs"),
                why(name),
            ],
            Self::Twin { name, .. } => {
                vec![Hint::say("end the process that uses it, and try again"), why(name)]
            }
            Self::Unknown { name, twin, .. } => vec![
                Hint::run("ask as root, who may look everywhere", format!("sudo selfsame why {}", name.word)),
                Hint::run(
                    "or, if you know that it does not run, say so; that is written down",
                    format!("selfsame run {} --despite {}", name.word, shell_word(&twin.to_string_lossy())),
                ),
            ],
            Self::Quota { name, limit, holders, .. } => {
                let wait = (*limit > 0)
                    .then(|| Hint::run("wait for a slot", format!("selfsame run -d --wait {}", name.word)));
                let stop = holders
                    .first()
                    .map(|holder| Hint::run("stop one of them", format!("selfsame stop {}", holder.word)));
                let show = Hint::run("see the limit and who holds the slots", "selfsame quota show");
                stop.into_iter().chain(wait).chain([show]).collect()
            }
            Self::Disk { .. } => vec![Hint::say("end the process that uses it, and try again")],
            Self::Changed { name, what, .. } => vec![
                Hint::say(format!(
                    "if that was no intention, put the old `{what}` back; `selfsame events {}` names the old identity",
                    name.word
                )),
                Hint::run("if it was, say so once", format!("selfsame run {} --accept-identity", name.word)),
            ],
        }
    }
}

/// The sign in an answer that was not expected to be free.
pub(super) fn sign_of(answer: Use, path: &Path) -> String {
    super::in_the_way(answer).unwrap_or_else(|| format!("`{}` is locked", path.display()))
}
