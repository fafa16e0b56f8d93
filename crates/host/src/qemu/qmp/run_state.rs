//! What `query-status` says the guest is doing.

use serde_json::Value;

use super::words::words;

words! {
    /// The state of the guest's processors, as QEMU tells it.
    RunState {
        /// The guest runs.
        Running = "running",
        /// Paused on request.
        Paused = "paused",
        /// Waiting for the state that it continues from.
        InMigrate = "inmigrate",
        /// Started with `-S`, never run yet.
        Prelaunch = "prelaunch",
        /// The accelerator gave up. No event but STOP tells of it, and the process goes on living.
        InternalError = "internal-error",
        /// The guest's kernel reported a panic.
        GuestPanicked = "guest-panicked",
        /// Powered off, kept by `-no-shutdown`.
        Shutdown = "shutdown",
        /// Its state has been written out; running it on would part it from that state.
        PostMigrate = "postmigrate",
        /// Paused because a disk failed.
        IoError = "io-error",
        /// Asleep on the guest's own wish.
        Suspended = "suspended",
    }
}

impl RunState {
    /// Reads the value that `query-status` returns.
    #[must_use]
    pub fn of_reply(value: &Value) -> Option<Self> {
        value.get("status").and_then(Value::as_str).map(Self::read)
    }
}
