//! The pure domain of selfsame: who a virtual machine is, how it is described, and what may happen to it.
//!
//! **Invariant: no I/O.** Nothing here opens a file, reads the clock, spawns a process or draws a random number; time
//! and randomness are arguments. That is what lets every rule be tested as a function and fuzzed as bytes.
//!
//! **Boundary.** `host` gives these types their effects; `selfsame` shows them to people. Nothing here prints.

pub mod agent;
pub mod architecture;
pub mod backend;
pub mod code;
pub mod disk;
pub mod identity;
pub mod image;
pub mod layout;
pub mod lifecycle;
pub mod name;
pub mod network;
pub mod problem;
mod quote;
pub mod report;
pub mod seed;
pub mod sim;
pub mod size;
pub mod span;
pub mod spec;
