//! What keeps a guest from being reached.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use selfsame_machine::code::Code;
use selfsame_machine::network::Network;
use selfsame_machine::problem::{Hint, Problem, shell_word};

use crate::bundle::Named;

/// A guest cannot be reached, or nobody could be logged in.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// Its processors stand still.
    #[error("{name} is paused, and answers nobody")]
    Paused {
        /// The VM.
        name: Named,
    },
    /// Another user's, or another home's.
    #[error("{name} runs for another user or another home, and what leads into it is told only there")]
    Foreign {
        /// The VM.
        name: Named,
    },
    /// No port leads to its sshd.
    #[error("nothing leads into {name}: {}", match network {
        Some(Network::None) => "it runs without a network card",
        Some(Network::Nat | Network::Isolated) => "no port was free when it was started",
        None => "it was started by an older selfsame",
    })]
    NoDoor {
        /// The VM.
        name: Named,
        /// Its network, where it is known.
        network: Option<Network>,
    },
    /// The DHCP server of the system does not say.
    #[error("the address of {name} is not known: {}", if *hidden == 0 {
        "it has asked for none yet".to_owned()
    } else {
        format!("macOS has {hidden} address(es) under names of the guests' own choice, and does not tell whose")
    })]
    NoLease {
        /// The VM.
        name: Named,
        /// How many addresses could be its.
        hidden: usize,
    },
    /// Nobody answered.
    #[error("no SSH server answered for {name} at {at} within {} s", limit.as_secs())]
    Silent {
        /// The VM.
        name: Named,
        /// Where.
        at: SocketAddr,
        /// How long.
        limit: Duration,
    },
    /// Something else answered.
    #[error("what answers for {name} at {at} is no SSH server: it says {said:?}")]
    Stranger {
        /// The VM.
        name: Named,
        /// Where.
        at: SocketAddr,
        /// How it begins.
        said: String,
    },
    /// The guest ended meanwhile.
    #[error("{name} ended while its SSH server was waited for")]
    Ended {
        /// The VM.
        name: Named,
    },
    /// There is no OpenSSH.
    #[error("`{program}` of OpenSSH is not installed")]
    Missing {
        /// The program.
        program: &'static str,
    },
    /// It could not be started.
    #[error("cannot run `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It did not get through.
    #[error("`{program}` failed for {name}{}", said.as_ref().map(|line| format!(": {line}")).unwrap_or_default())]
    Failed {
        /// The VM.
        name: Named,
        /// The program.
        program: &'static str,
        /// Its last line.
        said: Option<String>,
        /// Whether it was refused for want of a key or password.
        denied: bool,
    },
    /// The guest has another host key.
    #[error("another guest answers for {name} than before: it shows another host key than this identity had")]
    HostKeyChanged {
        /// The VM.
        name: Named,
    },
    /// The keys cannot be remembered.
    #[error("guests' host keys cannot be remembered: `{}` {what}", path.display())]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, a clause.
        what: &'static str,
    },
    /// OpenSSH's own syntax has no place for a name.
    #[error("`{}` cannot be told to OpenSSH: it has a quote, a backslash, `${{` or a control character", path.display())]
    Unspeakable {
        /// The file.
        path: PathBuf,
    },
}

impl Problem for ReachError {
    fn code(&self) -> Code {
        match self {
            Self::Paused { .. } | Self::Foreign { .. } => Code::RequestDenied,
            Self::NoDoor { .. }
            | Self::NoLease { .. }
            | Self::Silent { .. }
            | Self::Stranger { .. }
            | Self::Ended { .. } => Code::NetUnreachable,
            Self::Missing { .. } => Code::SshMissing,
            Self::Start { .. } | Self::Failed { .. } => Code::SshFailed,
            Self::HostKeyChanged { .. } => Code::NetHostKeyChanged,
            Self::KnownHosts { .. } | Self::Unspeakable { .. } => Code::FileFailed,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Paused { name } => {
                vec![Hint::run("let it go on", format!("selfsame resume {}", name.word))]
            }
            Self::Foreign { .. } | Self::Start { .. } => Vec::new(),
            Self::NoDoor { name, network } => {
                let net = match network {
                    Some(Network::None) => "--net nat ",
                    Some(Network::Nat | Network::Isolated) | None => "",
                };
                vec![Hint::run("start it again", format!("selfsame restart {net}{}", name.word))]
            }
            Self::NoLease { hidden: 0, .. } => vec![Hint::say("wait until it has booted, and ask again")],
            Self::NoLease { .. } => vec![Hint::run(
                "ask the guest itself on its console; these are the addresses",
                "cat /var/db/dhcpd_leases",
            )],
            Self::Silent { name, .. } => vec![
                Hint::run("see whether it has booted", format!("selfsame get {}", name.word)),
                Hint::say("the guest needs an SSH server and a network by DHCP; `--wait` waits longer"),
            ],
            Self::Stranger { .. } => vec![Hint::say("see what listens at port 22 inside the guest")],
            Self::Ended { name } => {
                vec![Hint::run("see how", format!("selfsame events {}", name.word))]
            }
            Self::Missing { .. } if cfg!(target_os = "linux") => {
                vec![Hint::run("install it", "sudo apt-get install openssh-client")]
            }
            Self::Missing { .. } => vec![Hint::say("it comes with macOS: see that `/usr/bin` is in PATH")],
            Self::Failed { name, denied: true, .. } => vec![Hint::run(
                "say who to log in as, and with which key",
                format!("selfsame ssh -l USER -i KEY {}", name.word),
            )],
            Self::Failed { .. } => Vec::new(),
            Self::HostKeyChanged { name } => vec![
                Hint::say(
                    "it was installed anew or restored, or a twin runs in its place: be sure which before you log in",
                ),
                Hint::run("see what happened to it", format!("selfsame events {}", name.word)),
                Hint::run(
                    "if that is well, forget the old key",
                    format!("selfsame ssh --forget-host-key {}", name.word),
                ),
            ],
            Self::KnownHosts { path, .. } => {
                vec![Hint::run("look at it", format!("ls -ld {}", shell_word(&path.to_string_lossy())))]
            }
            Self::Unspeakable { .. } => vec![Hint::say("move it to a plainer name")],
        }
    }
}
