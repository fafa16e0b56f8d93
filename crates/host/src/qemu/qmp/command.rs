//! The commands that selfsame gives to the monitor.

use selfsame_machine::network::Forward;
use serde_json::{Value, json};

use super::message::Id;
use crate::qemu::arguments::{CARD, hostfwd};

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
    /// Asks to be told by events what becomes of a state that is written or read.
    MigrationEvents,
    /// Takes the limit off the speed of writing a state, which is meant for networks.
    MigrationSpeed,
    /// Gives a descriptor that comes along a name, which [`Passed::Named`] means.
    GetFd,
    /// Puts a descriptor that comes along into a new set, whose number is the answer.
    AddFd,
    /// Puts a descriptor that comes along into a set of this number.
    AddFdTo {
        /// Its number.
        set: u32,
    },
    /// Writes a picture of the screen, in PNG, into such a set. From 7.1 on.
    Screendump {
        /// Its number.
        set: u32,
    },
    /// Removes such a set.
    RemoveFd {
        /// Its number.
        set: u32,
    },
    /// Writes the guest's state, stopping it if need be.
    Migrate(Passed),
    /// Reads the state that a QEMU started with `-incoming defer` waits for.
    MigrateIncoming(Passed),
    /// Asks what became of the state that was to be written.
    QueryMigrate,
    /// Leads a port of the host into the guest. QEMU has no other command for it than one of its monitor for people,
    /// which answers in words: none says that it is done.
    AddForward(Forward),
    /// Asks which ends of QEMU's connections to its host are open, those of the guest's ports among them.
    QueryChardev,
    /// Makes a disk larger. QEMU would make it smaller, too: the caller compares.
    BlockResize {
        /// Which one, from 0, as [`crate::qemu::arguments`] numbers them.
        disk: u32,
        /// Its size in bytes.
        size: u64,
    },
}

/// A descriptor that was passed to QEMU before, as a command names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Passed {
    /// By [`Command::GetFd`]: all versions know it, those from 9.1 call it out of date for files.
    Named,
    /// By [`Command::AddFd`], read or written as a file: from 8.2 on.
    Set(u32),
}

impl Passed {
    fn uri(self) -> String {
        match self {
            Self::Named => format!("fd:{STATE}"),
            Self::Set(set) => format!("file:/dev/fdset/{set}"),
        }
    }
}

/// The name under which [`Command::GetFd`] keeps its descriptor.
const STATE: &str = "state";

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
            Self::MigrationEvents => "migrate-set-capabilities",
            Self::MigrationSpeed => "migrate-set-parameters",
            Self::GetFd => "getfd",
            Self::AddFd => "add-fd",
            Self::AddFdTo { .. } => "add-fd",
            Self::Screendump { .. } => "screendump",
            Self::RemoveFd { .. } => "remove-fd",
            Self::Migrate(_) => "migrate",
            Self::MigrateIncoming(_) => "migrate-incoming",
            Self::QueryMigrate => "query-migrate",
            Self::AddForward(_) => "human-monitor-command",
            Self::QueryChardev => "query-chardev",
            Self::BlockResize { .. } => "block_resize",
        }
    }

    fn arguments(self) -> Option<Value> {
        match self {
            Self::QuerySandbox => Some(json!({ "option": "sandbox" })),
            Self::MigrationEvents => {
                Some(json!({ "capabilities": [{ "capability": "events", "state": true }] }))
            }
            // In bytes a second: more than any disk takes.
            Self::MigrationSpeed => Some(json!({ "max-bandwidth": 1_u64 << 40 })),
            Self::GetFd => Some(json!({ "fdname": STATE })),
            Self::Screendump { set } => {
                Some(json!({ "filename": format!("/dev/fdset/{set}"), "format": "png" }))
            }
            Self::AddFdTo { set } | Self::RemoveFd { set } => Some(json!({ "fdset-id": set })),
            Self::BlockResize { disk, size } => {
                Some(json!({ "node-name": format!("disk{disk}"), "size": size }))
            }
            Self::Migrate(passed) | Self::MigrateIncoming(passed) => Some(json!({ "uri": passed.uri() })),
            Self::AddForward(forward) => {
                let line = format!("hostfwd_add {CARD} {}", hostfwd(&forward));
                Some(json!({ "command-line": line }))
            }
            Self::Capabilities
            | Self::AddFd
            | Self::QueryMigrate
            | Self::QueryChardev
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
