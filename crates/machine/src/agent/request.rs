//! What the agent is told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The number by which the answer to a synchronisation is known. JSON holds 53 bits of it without loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncId(u64);

impl SyncId {
    /// One of some random bits.
    #[must_use]
    pub const fn new(random: u64) -> Self {
        Self(random & ((1 << 53) - 1))
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// A command to run in the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// The program, looked for in the agent's `PATH` where it is no path.
    pub program: String,
    /// Its arguments, without its own name.
    pub arguments: Vec<String>,
    /// Its whole environment, `KEY=VALUE`; empty: that of the agent.
    pub environment: Vec<String>,
    /// What it reads; `None`: nothing.
    pub input: Option<Vec<u8>>,
    /// Whether the agent keeps what it writes.
    pub capture: bool,
}

/// One thing to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Begin an exchange.
    Sync(SyncId),
    /// Answer.
    Ping,
    /// Tell the version, and what is allowed.
    Info,
    /// Run a command.
    Exec(Exec),
    /// Tell what became of a command.
    ExecStatus {
        /// Its number, as the agent gave it.
        pid: i64,
    },
    /// Power the guest down. A success has no answer.
    PowerDown,
    /// Tell the network interfaces.
    NetworkInterfaces,
}

impl Request {
    /// The name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sync(_) => "guest-sync-delimited",
            Self::Ping => "guest-ping",
            Self::Info => "guest-info",
            Self::Exec(_) => "guest-exec",
            Self::ExecStatus { .. } => "guest-exec-status",
            Self::PowerDown => "guest-shutdown",
            Self::NetworkInterfaces => "guest-network-get-interfaces",
        }
    }

    fn arguments(&self) -> Option<Value> {
        match self {
            Self::Sync(id) => Some(json!({ "id": id.number() })),
            Self::Exec(exec) => Some(exec.arguments()),
            Self::ExecStatus { pid } => Some(json!({ "pid": pid })),
            Self::PowerDown => Some(json!({ "mode": "powerdown" })),
            Self::Ping | Self::Info | Self::NetworkInterfaces => None,
        }
    }

    /// The whole line with its end. That of a synchronisation begins with the byte that makes the agent forget half a
    /// line of somebody before.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut object = json!({ "execute": self.name() });
        if let Some(arguments) = self.arguments() {
            object["arguments"] = arguments;
        }
        let mut line = Vec::new();
        if matches!(self, Self::Sync(_)) {
            line.push(0xff);
        }
        line.extend(object.to_string().bytes());
        line.push(b'\n');
        line
    }
}

impl Exec {
    fn arguments(&self) -> Value {
        let mut value =
            json!({ "path": self.program, "arg": self.arguments, "capture-output": self.capture });
        if !self.environment.is_empty() {
            value["env"] = json!(self.environment);
        }
        if let Some(input) = &self.input {
            value["input-data"] = Value::String(STANDARD.encode(input));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_on_the_wire() {
        let line = |request: Request| String::from_utf8_lossy(&request.line()).into_owned();
        let exec = Exec {
            program: "cat".into(),
            arguments: vec!["-".into()],
            environment: vec!["A=b c".into()],
            input: Some(b"\0\n".to_vec()),
            capture: true,
        };
        let said = [
            Request::Sync(SyncId::new(u64::MAX)),
            Request::Ping,
            Request::Info,
            Request::Exec(Exec { program: "true".into(), ..Exec::default() }),
            Request::Exec(exec),
            Request::ExecStatus { pid: 7 },
            Request::PowerDown,
            Request::NetworkInterfaces,
        ];
        insta::assert_snapshot!(said.into_iter().map(line).collect::<String>());
    }
}
