//! The commands that selfsame gives to the monitor.

use serde_json::{Value, json};

use super::message::Id;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Ends the negotiation that the greeting opens.
    Capabilities,
    /// Asks what the guest is doing; see [`super::RunState`].
    QueryStatus,
    /// Asks for the UUID that QEMU was started with.
    QueryUuid,
    /// Asks for the version.
    QueryVersion,
    /// Asks which machines this QEMU offers.
    QueryMachines,
    /// Asks whether this QEMU was built with the option `-sandbox`.
    QuerySandbox,
    /// Presses the power button. A guest that does not listen yet never learns of it.
    SystemPowerdown,
    /// Pauses the guest.
    Stop,
    /// Lets the guest run.
    Cont,
    /// Ends QEMU at once.
    Quit,
}

impl Command {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capabilities => "qmp_capabilities",
            Self::QueryStatus => "query-status",
            Self::QueryUuid => "query-uuid",
            Self::QueryVersion => "query-version",
            Self::QueryMachines => "query-machines",
            Self::QuerySandbox => "query-command-line-options",
            Self::SystemPowerdown => "system_powerdown",
            Self::Stop => "stop",
            Self::Cont => "cont",
            Self::Quit => "quit",
        }
    }

    fn arguments(self) -> Option<Value> {
        match self {
            Self::QuerySandbox => Some(json!({ "option": "sandbox" })),
            Self::Capabilities
            | Self::QueryStatus
            | Self::QueryUuid
            | Self::QueryVersion
            | Self::QueryMachines
            | Self::SystemPowerdown
            | Self::Stop
            | Self::Cont
            | Self::Quit => None,
        }
    }

    /// The whole line, with its end.
    #[must_use]
    pub fn line(self, id: Id) -> String {
        let mut object = json!({ "execute": self.name(), "id": id.0 });
        if let Some(arguments) = self.arguments() {
            object["arguments"] = arguments;
        }
        format!("{object}\n")
    }
}
