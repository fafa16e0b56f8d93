//! QEMU as a back end: finding it, describing a VM to it, starting it and talking to its monitor.
//!
//! ```text
//! Installation ──┐
//! Choice (accel) ┼─► Plan ──► arguments ──► process::spawn ──► QEMU ◄── Monitor (QMP)
//! Firmware ──────┘
//! ```
//!
//! **Invariants.**
//! - QEMU runs with the VM's folder as its working directory, so that the names it is given stay short and plain, and
//!   with descriptors that were opened by its starter wherever it would otherwise have to open a name.
//! - No file name is ever pasted into QEMU's `key=value` syntax: disks and firmware are JSON, kernels are arguments of
//!   their own.
//! - Only [`process::spawn`] passes descriptors on.
//!
//! **Boundary.** Nothing here decides whether a VM may start, takes a lock, waits on a thread or prints. Time-outs are
//! arguments; the one clock read is the monotonic one, to keep them.

pub mod accelerator;
pub mod architecture;
pub mod arguments;
pub mod firmware;
pub mod guest;
pub mod installation;
mod pictures;
pub mod process;
pub mod qmp;
pub mod transfer;
pub mod version;
