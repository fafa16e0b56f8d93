//! A client of QMP, QEMU's monitor protocol.
//!
//! QMP is JSON objects, one per line, both ways. QEMU greets, waits for `qmp_capabilities`, and from then on answers
//! commands in order and says what happens in between. It talks to **one client at a time**: a second one is accepted
//! by the kernel and hears nothing until the first has gone.
//!
//! Two layers, so that all reading of foreign bytes is a pure function:
//!
//! ```text
//! bytes ─► Codec ─► Message ─► Monitor ─► the caller's poll loop
//!          (pure)              (stream, ids, time-outs)
//! ```
//!
//! **Invariants.** No message is lost: what a blocking call meets while it waits is handed out by the next drain. No
//! call waits longer than it was told to. Fields and events that we do not know are kept or skipped, never an error:
//! QEMU adds some with every version (7.2 sends `singlestep` in `query-status`, 10.0 does not).
//!
//! Knowledge: QEMU's `docs/interop/qmp-spec.rst`, and measurements with 7.2.22 and 10.0.2.

mod codec;
mod command;
mod error;
mod event;
mod message;
mod monitor;
mod run_state;
#[cfg(test)]
mod tests;
mod words;

pub(in crate::qemu) use codec::excerpt;
pub use codec::{Codec, CodecError, LINE_LIMIT};
pub use command::{Command, Passed};
pub use error::{QmpError, Waiting};
pub use event::{Cause, MigrationStatus, QmpEvent};
pub use message::{Event, Greeting, Id, Message, QmpFault, Timestamp};
pub use monitor::{Drained, Monitor};
pub use run_state::RunState;
