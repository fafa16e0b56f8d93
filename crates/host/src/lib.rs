//! This computer, for selfsame: locks, the library of VMs, supervisors, and QEMU as a back end.
//!
//! **Boundary.** `machine` decides, this crate touches files, processes and the clock. Nothing here prints: every failure
//! is a [`selfsame_machine::problem::Problem`] with its facts in fields.

pub mod agent;
pub mod backend;
pub mod bundle;
pub mod capacity;
pub mod config;
pub mod context;
pub mod diagnosis;
pub mod disk;
pub mod evidence;
pub mod files;
pub mod folders;
pub mod gate;
pub mod home;
pub mod images;
pub mod library;
pub mod lock;
pub mod log;
pub mod process;
pub mod qemu;
pub mod quota;
pub mod reach;
pub mod setup;
pub mod sim;
pub mod socket;
pub mod state;
pub mod store;
pub mod supervisor;
pub mod time;
pub mod watch;
