//! The questions to the kernel, and the only unsafe code: bytes come back, and nothing is changed.
//!
//! Each function gives the kernel a buffer of its own, tells it the buffer's true length, and keeps of it no more than
//! the kernel says that it wrote.
#![expect(unsafe_code, reason = "Darwin offers these answers through C functions alone")]

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use crate::{OpenVnode, Process, Sketch};

// The readers' offsets are numbers; these are the structures they stand for.
const _: () = assert!(size_of::<libc::proc_bsdinfo>() == Process::SIZE);
const _: () = assert!(std::mem::offset_of!(libc::proc_bsdinfo, pbi_status) == 4);
const _: () = assert!(std::mem::offset_of!(libc::proc_bsdinfo, pbi_pid) == 12);
const _: () = assert!(std::mem::offset_of!(libc::proc_bsdinfo, pbi_uid) == 20);
const _: () = assert!(std::mem::offset_of!(libc::proc_bsdinfo, pbi_start_tvsec) == 120);
const _: () = assert!(std::mem::offset_of!(libc::proc_bsdinfo, pbi_start_tvusec) == 128);
const _: () = assert!(size_of::<libc::proc_bsdshortinfo>() == Sketch::SIZE);
const _: () = assert!(std::mem::offset_of!(libc::proc_bsdshortinfo, pbsi_status) == 12);
const _: () = assert!(std::mem::offset_of!(libc::proc_bsdshortinfo, pbsi_comm) == 16);
const _: () = assert!(size_of::<libc::proc_fdinfo>() == 8);
const _: () = assert!(std::mem::offset_of!(libc::vinfo_stat, vst_dev) == 0);
const _: () = assert!(std::mem::offset_of!(libc::vinfo_stat, vst_ino) == 8);
// The `libc` crate has no `proc_fileinfo`: two words, an `off_t`, two words.
const _: () = assert!(24 + size_of::<libc::vnode_info>() == OpenVnode::SIZE);

/// `PROC_ALL_PIDS` and `PROC_PIDFDVNODEINFO` (XNU, `bsd/sys/proc_info.h`), which the `libc` crate lacks.
const ALL_PIDS: u32 = 1;
const VNODE_INFO: c_int = 1;
/// `ARG_MAX`: `KERN_PROCARGS2` refuses a larger buffer (XNU, `bsd/sys/syslimits.h`).
const ARG_MAX: usize = 1 << 20;
/// No answer with a list is larger; one that would be is cut off there.
const LIST_MAX: usize = 16 << 20;
/// No value of a `sysctl` that is asked for here is larger.
const VALUE_MAX: usize = 64 * 1024;

/// The value of a `sysctl` by its name.
pub(crate) fn value(name: &CStr) -> io::Result<Vec<u8>> {
    let mut length = VALUE_MAX;
    let mut buffer = vec![0_u8; length];
    // SAFETY: `name` ends with a NUL; the kernel writes at most `length` bytes, which is the buffer's length, and stores
    // in `length` how many it wrote. With a null new value of length 0 it changes nothing.
    let outcome = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            buffer.as_mut_ptr().cast::<c_void>(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    kept(outcome == 0, buffer, Some(length))
}

/// The answer of `KERN_PROCARGS2`.
pub(crate) fn arguments(pid: c_int) -> io::Result<Vec<u8>> {
    let mut name = [libc::CTL_KERN, libc::KERN_PROCARGS2, pid];
    let mut ask = |buffer: Option<&mut Vec<u8>>, length: &mut usize| {
        let place = buffer.map_or(std::ptr::null_mut(), |buffer| {
            *length = buffer.len();
            buffer.as_mut_ptr().cast::<c_void>()
        });
        // SAFETY: the name has the three numbers that are announced; `place` is null, which asks for the length alone, or
        // a buffer of `length` bytes, and the kernel writes no more than those and stores in `length` how many it wrote.
        unsafe { libc::sysctl(name.as_mut_ptr(), 3, place, length, std::ptr::null_mut(), 0) }
    };
    let mut length = 0;
    if ask(None, &mut length) != 0 {
        return Err(io::Error::last_os_error());
    }
    // Another program may have taken its place since, with more arguments; what does not fit would be cut off in front.
    let mut buffer = vec![0_u8; length.saturating_add(4096).min(ARG_MAX)];
    let outcome = ask(Some(&mut buffer), &mut length);
    kept(outcome == 0, buffer, Some(length))
}

/// The answer of `proc_listpids` about all processes.
pub(crate) fn pids() -> io::Result<Vec<u8>> {
    list(|buffer, length| {
        // SAFETY: `buffer` is null, which asks for the length alone, or has `length` bytes, and no more are written.
        unsafe { libc::proc_listpids(ALL_PIDS, 0, buffer, length) }
    })
}

/// The answer of `PROC_PIDLISTFDS`.
pub(crate) fn descriptors(pid: c_int) -> io::Result<Vec<u8>> {
    list(|buffer, length| {
        // SAFETY: as above.
        unsafe { libc::proc_pidinfo(pid, libc::PROC_PIDLISTFDS, 0, buffer, length) }
    })
}

/// The answer of `PROC_PIDTBSDINFO`.
pub(crate) fn process(pid: c_int) -> io::Result<Vec<u8>> {
    of_process(pid, libc::PROC_PIDTBSDINFO, Process::SIZE)
}

/// The answer of `PROC_PIDT_SHORTBSDINFO`.
pub(crate) fn sketch(pid: c_int) -> io::Result<Vec<u8>> {
    of_process(pid, libc::PROC_PIDT_SHORTBSDINFO, Sketch::SIZE)
}

/// The answer of `PROC_PIDFDVNODEINFO` about a descriptor behind which a file or folder stands.
pub(crate) fn vnode(pid: c_int, descriptor: c_int) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; OpenVnode::SIZE];
    let length = c_length(buffer.len());
    // SAFETY: the buffer has `length` bytes, and the kernel writes no more.
    let written = unsafe {
        libc::proc_pidfdinfo(pid, descriptor, VNODE_INFO, buffer.as_mut_ptr().cast::<c_void>(), length)
    };
    kept(written > 0, buffer, usize::try_from(written).ok())
}

/// A kqueue that becomes readable when the process ends, and stays so: nobody fetches the event.
pub(crate) fn exit_queue(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: it takes no argument.
    let descriptor = unsafe { libc::kqueue() };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made just now, and nobody else owns it.
    let queue = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: the descriptor is open, and `FD_CLOEXEC` is the argument that `F_SETFD` takes.
    if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let change = libc::kevent {
        ident: usize::try_from(pid).map_err(io::Error::other)?,
        filter: libc::EVFILT_PROC,
        flags: libc::EV_ADD,
        fflags: libc::NOTE_EXIT,
        data: 0,
        udata: std::ptr::null_mut(),
    };
    // SAFETY: one change is announced and there is one; no event is asked for, so that none is written, and a null
    // time-out is allowed then. An error of the change comes back as the call's own.
    let outcome =
        unsafe { libc::kevent(descriptor, &raw const change, 1, std::ptr::null_mut(), 0, std::ptr::null()) };
    if outcome == 0 { Ok(queue) } else { Err(io::Error::last_os_error()) }
}

fn of_process(pid: c_int, flavor: c_int, size: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; size];
    let length = c_length(size);
    // SAFETY: the buffer has `length` bytes, and the kernel writes no more.
    let written = unsafe { libc::proc_pidinfo(pid, flavor, 0, buffer.as_mut_ptr().cast::<c_void>(), length) };
    kept(written > 0, buffer, usize::try_from(written).ok())
}

/// Asks for a list until it fits: the kernel cuts off what does not, without a word. `ask` gives how many bytes were
/// written, or would be for a null buffer; 0 and less are an error.
fn list(ask: impl Fn(*mut c_void, c_int) -> c_int) -> io::Result<Vec<u8>> {
    let mut size = usize::try_from(ask(std::ptr::null_mut(), 0)).unwrap_or(0);
    if size == 0 {
        return Err(io::Error::last_os_error());
    }
    loop {
        size = size.saturating_mul(2).min(LIST_MAX);
        let mut buffer = vec![0_u8; size];
        let written = ask(buffer.as_mut_ptr().cast::<c_void>(), c_length(size));
        let fits = usize::try_from(written).is_ok_and(|written| written < size);
        if fits || size == LIST_MAX {
            return kept(written > 0, buffer, usize::try_from(written).ok());
        }
    }
}

fn c_length(size: usize) -> c_int {
    c_int::try_from(size).unwrap_or(c_int::MAX)
}

/// What the kernel wrote, or why it did not.
fn kept(succeeded: bool, mut buffer: Vec<u8>, written: Option<usize>) -> io::Result<Vec<u8>> {
    match written {
        Some(written) if succeeded => {
            buffer.truncate(written);
            Ok(buffer)
        }
        Some(_) | None => Err(io::Error::last_os_error()),
    }
}
