//! The agent in a guest: how it is reached, and what is asked of it.
//!
//! ```text
//! exec ──▶ Session (waits) ──┐                        ┌────────────┐
//!                            ├─ KEY.agent.lock ─▶ Door ─ KEY.agent ─▶ QEMU ─▶ port ─▶ the agent
//! supervisor ──▶ PowerDown ──┘                        └────────────┘
//!               (never waits)
//! ```
//!
//! QEMU talks to one connection at a time and lets others wait unheard, and the agent mixes up what it is told by two. So
//! whoever talks to it holds a lock, and holds it for one short exchange. The lock's file is made at the start of the guest
//! and removed with its sockets: nobody else makes it, so a late caller leaves nothing behind.
//!
//! **Invariant.** A supervisor only uses [`PowerDown`]: nothing that a guest or another process does makes it wait.
//!
//! **Invariant.** The agent is a program of the guest: all that it says is read by `selfsame_machine::agent`, with bounds.
//! Whether it listens is never asked of it; QEMU knows.

mod door;
mod error;
mod execution;
mod power_down;
mod session;
#[cfg(test)]
mod tests;

pub use door::Door;
pub use error::AgentError;
pub use execution::{Execution, execute};
pub use power_down::{Heard, PowerDown};
pub use session::Session;
