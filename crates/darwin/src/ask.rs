//! The questions of `host`, each with its answer read.
//!
//! Passive throughout. What the kernel does not show to this user is an error, never an empty answer: `EPERM` for another
//! user's process, `EINVAL` for its arguments, `ESRCH` for one that is gone.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use crate::{Arguments, Descriptor, OpenVnode, Process, Sketch, facts, kernel};

/// The pids of all processes, other users' too, in no order.
///
/// # Errors
/// What the kernel says.
pub fn pids() -> io::Result<Vec<u32>> {
    Ok(crate::pids(&kernel::pids()?))
}

/// A process of this user, or any for root. One that has ended and waits for its parent is mostly not found.
///
/// # Errors
/// When there is none or it is another user's.
pub fn process(pid: u32) -> io::Result<Process> {
    Process::read(&kernel::process(signed(pid)?)?).ok_or_else(unreadable)
}

/// What everybody may know of any process.
///
/// # Errors
/// When there is none.
pub fn sketch(pid: u32) -> io::Result<Sketch> {
    Sketch::read(&kernel::sketch(signed(pid)?)?).ok_or_else(unreadable)
}

/// What a process of this user, or any for root, was started with.
///
/// # Errors
/// When there is none, it is another user's, or its answer cannot be read.
pub fn arguments(pid: u32) -> io::Result<Arguments> {
    Arguments::read(&kernel::arguments(signed(pid)?)?).ok_or_else(unreadable)
}

/// The descriptors that a process of this user, or any for root, has open.
///
/// # Errors
/// When there is none or it is another user's.
pub fn descriptors(pid: u32) -> io::Result<Vec<Descriptor>> {
    Ok(crate::descriptors(&kernel::descriptors(signed(pid)?)?))
}

/// The file or folder behind a descriptor of a process.
///
/// # Errors
/// When either is gone or another user's, or something else stands behind the descriptor.
pub fn vnode(pid: u32, descriptor: Descriptor) -> io::Result<OpenVnode> {
    OpenVnode::read(&kernel::vnode(signed(pid)?, descriptor.number)?).ok_or_else(unreadable)
}

/// A descriptor that `poll` calls readable once the process has ended, and from then on. Any user's process may be asked
/// for (XNU, `bsd/kern/kern_event.c`, `filt_procattach`).
///
/// # Errors
/// When there is no such process, or no descriptor is left.
pub fn exit_queue(pid: u32) -> io::Result<OwnedFd> {
    kernel::exit_queue(pid)
}

/// The build of macOS, such as `25A354`.
#[must_use]
pub fn build() -> Option<String> {
    text(c"kern.osversion")
}

/// The version of macOS, such as `26.0.1`.
#[must_use]
pub fn product_version() -> Option<String> {
    text(c"kern.osproductversion")
}

/// A UUID, new with each boot.
#[must_use]
pub fn boot_session() -> Option<String> {
    text(c"kern.bootsessionuuid")
}

/// The model of this Mac, such as `Mac14,2`; `VirtualMac2,1` in a virtual machine.
#[must_use]
pub fn model() -> Option<String> {
    text(c"hw.model")
}

/// The kernel's name, version and build as one line.
#[must_use]
pub fn kernel_version() -> Option<String> {
    text(c"kern.version")
}

/// The arguments that the kernel was booted with; `None` also when there are none.
#[must_use]
pub fn boot_arguments() -> Option<String> {
    text(c"kern.bootargs")
}

/// Whether this Mac can run virtual machines (Hypervisor.framework); `None` when the kernel does not say.
#[must_use]
pub fn can_virtualize() -> Option<bool> {
    kernel::value(c"kern.hv_support").ok().and_then(|value| facts::number(&value)).map(|number| number != 0)
}

/// The memory of this Mac in bytes; `None` when the kernel does not say.
#[must_use]
pub fn memory() -> Option<u64> {
    let number = kernel::value(c"hw.memsize").ok().and_then(|value| facts::number(&value));
    number.and_then(|number| u64::try_from(number).ok())
}

fn text(name: &CStr) -> Option<String> {
    kernel::value(name).ok().and_then(|value| facts::text(&value))
}

/// No pid is that large, so no process has it.
fn signed(pid: u32) -> io::Result<i32> {
    i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is shorter than it says")
}
