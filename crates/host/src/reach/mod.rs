//! Reaching a running guest: which ports of the host lead into it, whether its SSH server answers, and how the system's
//! OpenSSH is told to log in.
//!
//! ```text
//! Door::of ─▶ await_server (a banner, not only a connection: QEMU accepts before the guest does) ─▶ Session::run
//!    │                                                                                               ssh, scp
//!    └ address, port, user, the name under which the guest's host key is remembered
//! ```
//!
//! **Invariants.**
//! - The protocol is OpenSSH's. Nothing here speaks SSH; only the first line of a server is read.
//! - Host keys are remembered for an **identity**, not for an address: two VMs never mix them up, and a guest that was
//!   exchanged under an identity is noticed, whatever port leads to it.
//! - No configuration of the user's for other hosts has a say, and nothing of the user's is lent to the guest: no agent, no
//!   display, no shared connection. The user's keys and agent log in.
//!
//! **Who may call.** Commands. A supervisor uses [`ports`] alone, which never waits.

mod door;
mod known_hosts;
#[cfg(target_os = "linux")]
mod listeners;
pub mod ports;
mod problem;
mod session;
mod wait;

pub use door::{Door, Login, Via};
pub use known_hosts::{KnownHosts, alias};
pub use problem::ReachError;
pub use session::{Remote, Session, ssh_config};
pub use wait::{Patience, await_server};
