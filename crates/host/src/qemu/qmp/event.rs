//! The events that a supervisor acts upon.

use serde_json::{Map, Value};

use super::message::Event;
use super::words::words;

words! {
    /// Why QEMU stopped or reset the guest.
    Cause {
        /// The command `quit`.
        HostQuit = "host-qmp-quit",
        /// The command `system_reset`.
        HostReset = "host-qmp-system-reset",
        /// A signal to QEMU.
        HostSignal = "host-signal",
        /// A window was closed.
        HostUi = "host-ui",
        /// QEMU itself failed.
        HostError = "host-error",
        /// The guest powered off. Whether somebody pressed the power button before, QEMU does not say.
        GuestShutdown = "guest-shutdown",
        /// The guest restarted.
        GuestReset = "guest-reset",
        /// The guest's kernel panicked.
        GuestPanic = "guest-panic",
        /// A part of the guest was reset.
        SubsystemReset = "subsystem-reset",
        /// A snapshot was loaded.
        SnapshotLoad = "snapshot-load",
    }
}

words! {
    /// How far the writing or reading of a state is. Only what decides is named; all others are on the way.
    MigrationStatus {
        /// None was begun.
        None = "none",
        /// It is done; QEMU has handed everything to the system.
        Completed = "completed",
        /// It came to nothing.
        Failed = "failed",
        /// It was called off.
        Cancelled = "cancelled",
    }
}

impl MigrationStatus {
    /// Reads the value that `query-migrate` returns; a QEMU that never wrote a state returns no status.
    #[must_use]
    pub fn of_reply(value: &Value) -> Self {
        value.get("status").and_then(Value::as_str).map_or(Self::None, Self::read)
    }
}

/// An event, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QmpEvent {
    /// The guest was paused.
    Stop,
    /// The guest runs again.
    Resume,
    /// The power button was pressed.
    Powerdown,
    /// The guest is off; QEMU ends now.
    Shutdown {
        /// Whether the guest did it itself.
        guest: bool,
        /// Why.
        cause: Cause,
    },
    /// The guest restarts. One restart brings two or three of these: never count them.
    Reset {
        /// Whether the guest did it itself.
        guest: bool,
        /// Why.
        cause: Cause,
    },
    /// The guest's kernel panicked.
    GuestPanicked {
        /// What QEMU does about it: `pause`, `poweroff` or `run`.
        action: String,
    },
    /// The writing or reading of a state has come so far.
    Migration(MigrationStatus),
    /// A disk failed to read or write.
    BlockIoError {
        /// The disk's node, else its device.
        node: String,
        /// `read` or `write`.
        operation: String,
        /// What QEMU does about it: `report`, `ignore` or `stop`.
        action: String,
        /// The host's disk is full.
        no_space: bool,
        /// The system's words.
        reason: String,
    },
    /// A program in the guest opened or closed a port.
    PortChange {
        /// The port's device, by the id that it was given.
        id: String,
        /// Whether it is open now.
        open: bool,
    },
    /// Anything else.
    Other {
        /// The event's name.
        name: String,
    },
}

impl Event {
    /// What the event means.
    #[must_use]
    pub fn read(&self) -> QmpEvent {
        let data = &self.data;
        match self.name.as_str() {
            "STOP" => QmpEvent::Stop,
            "RESUME" => QmpEvent::Resume,
            "POWERDOWN" => QmpEvent::Powerdown,
            "SHUTDOWN" => QmpEvent::Shutdown { guest: flag(data, "guest"), cause: cause(data) },
            "RESET" => QmpEvent::Reset { guest: flag(data, "guest"), cause: cause(data) },
            "GUEST_PANICKED" => QmpEvent::GuestPanicked { action: word(data, "action") },
            "MIGRATION" => QmpEvent::Migration(MigrationStatus::read(&word(data, "status"))),
            "BLOCK_IO_ERROR" => QmpEvent::BlockIoError {
                node: Some(word(data, "node-name"))
                    .filter(|n| !n.is_empty())
                    .unwrap_or_else(|| word(data, "device")),
                operation: word(data, "operation"),
                action: word(data, "action"),
                no_space: flag(data, "nospace"),
                reason: word(data, "reason"),
            },
            "VSERPORT_CHANGE" => QmpEvent::PortChange { id: word(data, "id"), open: flag(data, "open") },
            other => QmpEvent::Other { name: other.to_owned() },
        }
    }
}

fn flag(data: &Map<String, Value>, key: &str) -> bool {
    data.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn word(data: &Map<String, Value>, key: &str) -> String {
    data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn cause(data: &Map<String, Value>) -> Cause {
    Cause::read(data.get("reason").and_then(Value::as_str).unwrap_or_default())
}
