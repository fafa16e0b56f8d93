//! What QEMU says: one value per line.

use serde_json::{Map, Value};

use crate::qemu::version::Version;

/// Ties a reply to its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u64);

/// The first message of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// QEMU's version.
    pub version: Version,
    /// The distribution's name for its build, often empty.
    pub package: String,
}

/// A command failed, in QEMU's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {desc}")]
pub struct QmpFault {
    /// The class, nearly always `GenericError`.
    pub class: String,
    /// The sentence for people.
    pub desc: String,
}

/// When QEMU noticed something, by the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970; -1 when QEMU could not tell.
    pub seconds: i64,
    /// Microseconds within the second.
    pub microseconds: i64,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The name, in capitals.
    pub name: String,
    /// The details, empty for many.
    pub data: Map<String, Value>,
    /// When.
    pub timestamp: Option<Timestamp>,
}

/// One line from QEMU.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The greeting.
    Greeting(Greeting),
    /// The answer to a command.
    Reply {
        /// The command's id; absent when QEMU could not read the command.
        id: Option<Id>,
        /// The value returned, or the fault.
        outcome: Result<Value, QmpFault>,
    },
    /// Something happened.
    Event(Event),
    /// An object of another shape.
    Other(Map<String, Value>),
}

impl Message {
    /// Sorts an object into one of the kinds; an object that only resembles one becomes [`Message::Other`].
    pub(super) fn of_object(object: Map<String, Value>) -> Self {
        if let Some(greeting) = object.get("QMP").and_then(greeting) {
            return Self::Greeting(greeting);
        }
        let id = object.get("id").and_then(Value::as_u64).map(Id);
        if let Some(value) = object.get("return") {
            return Self::Reply { id, outcome: Ok(value.clone()) };
        }
        if let Some(fault) = object.get("error").and_then(fault) {
            return Self::Reply { id, outcome: Err(fault) };
        }
        if let Some(name) = text(&object, "event") {
            let data = object.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
            return Self::Event(Event { name, data, timestamp: object.get("timestamp").and_then(timestamp) });
        }
        Self::Other(object)
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn greeting(value: &Value) -> Option<Greeting> {
    let version = value.get("version")?;
    let numbers = version.get("qemu")?;
    let number = |key| numbers.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    Some(Greeting {
        version: Version { major: number("major")?, minor: number("minor")?, micro: number("micro")? },
        package: version.get("package").and_then(Value::as_str).unwrap_or_default().to_owned(),
    })
}

fn fault(value: &Value) -> Option<QmpFault> {
    let object = value.as_object()?;
    Some(QmpFault { class: text(object, "class")?, desc: text(object, "desc")? })
}

fn timestamp(value: &Value) -> Option<Timestamp> {
    let number = |key| value.get(key).and_then(Value::as_i64);
    Some(Timestamp { seconds: number("seconds")?, microseconds: number("microseconds")? })
}
