//! What the QEMU guest agent is told and what it answers: JSON objects, one a line, over a port named [`PORT`].
//!
//! ```text
//! Request ─► bytes                                     bytes ─► Reader ─► Reply ─► Executed, ExecStatus, …
//! ```
//!
//! The agent is a program in the guest, so it is not believed: it may lie, flood, fall silent or be something else.
//! - An exchange begins with a synchronisation: a byte that no JSON holds, and a number drawn for it. What comes before the
//!   answer with that byte and that number belongs to somebody who has gone, and is thrown away.
//! - Every line, every list and all that is thrown away has a limit; what is beyond it ends the exchange.
//! - Answers have no numbers of their own: they come in the order of what was asked.
//!
//! Knowledge: QEMU's `qga/qapi-schema.json` and `docs/interop/qemu-ga.rst`, read for 7.2 and 10.0.

mod read;
mod reader;
mod request;

pub use read::{AgentInfo, ExecStatus, Executed, Interface, Misshapen};
pub use reader::{ReadError, Reader, Refusal, Reply};
pub use request::{Exec, Request, SyncId};

/// The name of the port, by which the agent finds it in the guest.
pub const PORT: &str = "org.qemu.guest_agent.0";

/// No ordinary answer is longer.
pub const LINE_LIMIT: usize = 64 * 1024;

/// No answer that carries a command's output is longer: the agent keeps 16 MiB of each of two streams (`commands.c`,
/// `GUEST_EXEC_MAX_OUTPUT`), which are base64 here.
pub const OUTPUT_LIMIT: usize = 48 << 20;

/// So much may be said before the answer to the synchronisation: an answer that somebody asked for and never read.
pub const STALE_LIMIT: usize = 64 << 20;

/// No more than this goes to a command's standard input: the whole of it is one line, which the guest holds several times.
pub const INPUT_LIMIT: usize = 4 << 20;
