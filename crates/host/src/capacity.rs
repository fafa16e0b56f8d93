//! What this computer has: processors and memory, as the kernel tells them.

use selfsame_machine::size::Bytes;

/// The processors that this process may use: those of the host, fewer where an affinity or a container's quota says so.
/// `None` when the kernel does not tell.
#[must_use]
pub fn processors() -> Option<u32> {
    std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok())
}

/// The memory of the host, used or not, without swap space. `None` when the kernel does not tell.
///
/// Linux: `totalram` of `sysinfo(2)`. macOS: `hw.memsize` of `sysctl(3)`; no Mac has run it.
#[must_use]
pub fn memory() -> Option<Bytes> {
    #[cfg(target_os = "linux")]
    let count = {
        let info = rustix::system::sysinfo();
        info.totalram.checked_mul(u64::from(info.mem_unit))
    };
    #[cfg(target_os = "macos")]
    let count = selfsame_darwin::ask::memory();
    count.map(Bytes::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_computer_has_both() {
        assert!(processors().is_some_and(|count| count >= 1));
        assert!(memory().is_some_and(|memory| memory > Bytes::mebibytes(64)));
    }
}
