//! What a supervisor and its clients say to each other: one JSON object a line over a unix socket.
//!
//! The supervisor speaks first ([`Greeting`]); a client sends a [`Call`] and reads one [`Reply`]. Both sides state
//! [`PROTOCOL`]; on a mismatch nothing is done and the reason is told, because a supervisor lives as long as its guest
//! and may be older than the command that talks to it.

use selfsame_machine::lifecycle::{Answer, Cause, Request, ShutdownBy};
use selfsame_machine::network::{Forward, Network};
use selfsame_machine::problem::Report;
use selfsame_machine::spec::Folder;
use serde::{Deserialize, Serialize};

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;

/// No line is longer.
pub(super) const LINE_LIMIT: usize = 64 * 1024;

/// The first line, from the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The supervisor's version of selfsame.
    pub selfsame: String,
    /// Its version of the protocol.
    pub protocol: u32,
    /// Its process id.
    pub pid: u32,
}

/// A line from a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The client's version of the protocol.
    pub protocol: u32,
    /// What it wants.
    pub want: Want,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// The state.
    Status,
    /// Something done.
    Request(Request),
    /// An answer when the VM has ended, however long that takes.
    End,
    /// The state when an agent listens in the guest, however long that takes; the end, when that comes first.
    Agent,
    /// The guest's console: behind the reply this connection carries its bytes both ways, and nothing else.
    Console {
        /// So many of the last bytes come first, as far as they are kept.
        tail: u32,
        /// The client sends nothing.
        read_only: bool,
    },
    /// A picture of the guest's screen: behind the reply come its bytes.
    Screenshot,
}

/// A line from the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The state.
    Status(Box<Status>),
    /// The answer to a request.
    Answer(Answer),
    /// The VM has ended.
    Ended(Ended),
    /// What follows is the guest's console.
    Attached,
    /// So many bytes follow: a picture of the guest's screen, in PNG.
    Picture {
        /// How many.
        size: u64,
    },
    /// What was accepted came to nothing: the VM that was to be suspended is as it was before.
    Failed(Report),
    /// The call was not understood.
    Refused(Report),
}

/// A running VM, as its supervisor knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where it stands: the text of a life cycle's phase.
    pub phase: String,
    /// The supervisor's process.
    pub supervisor_pid: u32,
    /// The process that runs the guest.
    pub backend_pid: Option<u32>,
    /// This supervisor found the guest running.
    pub adopted: bool,
    /// The identity's canonical text.
    pub identity: String,
    /// What the guest's processors are made of: `tcg`, `kvm`, …
    pub accelerator: String,
    /// Why that one.
    pub accelerator_reason: String,
    /// The versioned machine type.
    pub machine: String,
    /// The folders of the host that the guest can mount.
    #[serde(default)]
    pub folders: Vec<Folder>,
    /// When the guest was started, RFC 3339.
    pub started: String,
    /// How it is connected; `None` where an older selfsame started it.
    #[serde(default)]
    pub network: Option<Link>,
    /// Whether an agent listens in the guest. Supervisors before 0.1.0 do not tell.
    #[serde(default)]
    pub agent: bool,
}

/// How a running guest is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// To whom its card leads.
    pub network: Network,
    /// The ports of the host that lead into it as `vm.toml` or the start said, with the numbers that they have.
    pub forwards: Vec<Forward>,
    /// The port that leads to its sshd, where one was free.
    pub login: Option<Forward>,
}

/// How a VM ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why, in one word.
    pub cause: Cause,
    /// What brought it down, where it was asked to power off.
    #[serde(default)]
    pub shutdown_by: Option<ShutdownBy>,
    /// Why, in a clause about the VM.
    pub explanation: String,
    /// The last lines that the back end wrote, where the end was a failure.
    pub last_output: Vec<String>,
}

/// The first and only line that a supervisor writes to its standard output, for the command that started it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The guest is there.
    Up {
        /// Its state.
        status: Box<Status>,
        /// What people should know although it started.
        notes: Vec<String>,
    },
    /// It is not, and nothing is left of the attempt.
    Failed(Report),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_on_the_wire_stay_as_they_are() {
        let call = |want| serde_json::to_string(&Call { protocol: PROTOCOL, want }).unwrap();
        assert_eq!(call(Want::Status), r#"{"protocol":1,"want":"status"}"#);
        assert_eq!(call(Want::Agent), r#"{"protocol":1,"want":"agent"}"#);
        assert_eq!(
            call(Want::Request(Request::Stop { timeout_ms: 5 })),
            r#"{"protocol":1,"want":{"request":{"request":"stop","timeout_ms":5}}}"#
        );
        assert_eq!(
            call(Want::Console { tail: 4096, read_only: true }),
            r#"{"protocol":1,"want":{"console":{"tail":4096,"read_only":true}}}"#
        );
        assert_eq!(call(Want::Screenshot), r#"{"protocol":1,"want":"screenshot"}"#);
        assert_eq!(serde_json::to_string(&Reply::Attached).unwrap(), r#""attached""#);
        assert_eq!(serde_json::to_string(&Reply::Picture { size: 7 }).unwrap(), r#"{"picture":{"size":7}}"#);
        let denied = Answer::Denied { reason: "r".into(), unblock: "u".into() };
        assert_eq!(
            serde_json::to_string(&Reply::Answer(denied)).unwrap(),
            r#"{"answer":{"answer":"denied","reason":"r","unblock":"u"}}"#
        );
    }
}
