//! Real guests that boot: a kernel and busybox under emulation, a few seconds each. At most 30 boots in the whole suite.

mod aarch64;
mod boots;
mod console;
mod debian;
mod firmware;
mod folders;
mod reach;
