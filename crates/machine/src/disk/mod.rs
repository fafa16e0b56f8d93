//! Disk images as bytes: what a file is, QEMU's qcow2 header read strictly, and the one image that we write ourselves.
//!
//! The readers get the beginning of a file and its length; they never see the file. Their findings carry the offset of
//! what is wrong. Who decides what to refuse is the caller: a copy needs another image than an overlay's base.

mod kind;
pub mod overlay;
pub mod qcow2;

pub use kind::{ImageKind, look};

/// So much of a file's beginning is enough for [`look`] and [`qcow2::Header::read`].
pub const HEAD: usize = 4096;
