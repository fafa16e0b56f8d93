//! Processes: `proc_bsdinfo`, `proc_bsdshortinfo` and the list of pids.

use crate::bytes::{array, before_nul, u32_at, u64_at};

/// `SZOMB` (XNU, `bsd/sys/proc.h`): it has ended and waits for its parent.
const ZOMBIE: u32 = 5;

/// A process as `PROC_PIDTBSDINFO` tells it: to its own user and to root (XNU, `bsd/kern/proc_info.c`: the flavour
/// checks for the same user).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// When it started, in microseconds since 1970-01-01 UTC by the clock of that moment. Never 0 for a process that was
    /// started by another.
    pub start: u64,
    /// Whether it has ended and only waits for its parent.
    pub is_zombie: bool,
    /// Its effective user.
    pub user: u32,
}

impl Process {
    /// `sizeof(struct proc_bsdinfo)`.
    pub const SIZE: usize = 136;

    /// Reads a `struct proc_bsdinfo`; `None` when the bytes are too few.
    ///
    /// Offsets: status 4, pid 12, uid 20, start in seconds 120 and microseconds 128 (XNU, `bsd/sys/proc_info.h`;
    /// confidence high).
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (seconds, microseconds) = (u64_at(bytes, 120)?, u64_at(bytes, 128)?);
        Some(Self {
            pid: u32_at(bytes, 12)?,
            start: seconds.saturating_mul(1_000_000).saturating_add(microseconds),
            is_zombie: u32_at(bytes, 4)? == ZOMBIE,
            user: u32_at(bytes, 20)?,
        })
    }
}

/// A process as `PROC_PIDT_SHORTBSDINFO` tells it to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    /// The process id.
    pub pid: u32,
    /// Whether it has ended and only waits for its parent.
    pub is_zombie: bool,
    /// The name of its program, at most 16 bytes; bytes that are no UTF-8 are replaced.
    pub name: String,
}

impl Sketch {
    /// `sizeof(struct proc_bsdshortinfo)`.
    pub const SIZE: usize = 64;

    /// Reads a `struct proc_bsdshortinfo`; `None` when the bytes are too few.
    ///
    /// Offsets: pid 0, status 12, name 16 to 31 (XNU, `bsd/sys/proc_info.h`; confidence high).
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let name: [u8; 16] = array(bytes, 16)?;
        Some(Self {
            pid: u32_at(bytes, 0)?,
            is_zombie: u32_at(bytes, 12)? == ZOMBIE,
            name: String::from_utf8_lossy(before_nul(&name)).into_owned(),
        })
    }
}

/// Reads a list of pids as `proc_listpids` gives it: 32-bit numbers, unused places 0. Without what is no pid.
#[must_use]
pub fn pids(bytes: &[u8]) -> Vec<u32> {
    let (entries, _) = bytes.as_chunks();
    entries.iter().map(|entry| i32::from_le_bytes(*entry)).filter_map(positive).collect()
}

fn positive(number: i32) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
        bytes[offset..offset + value.len()].copy_from_slice(value);
    }

    #[test]
    fn a_process_starts_at_a_microsecond() {
        let mut bytes = vec![0; Process::SIZE];
        put(&mut bytes, 4, &2_u32.to_le_bytes());
        put(&mut bytes, 12, &4711_u32.to_le_bytes());
        put(&mut bytes, 20, &501_u32.to_le_bytes());
        put(&mut bytes, 120, &1_700_000_000_u64.to_le_bytes());
        put(&mut bytes, 128, &42_u64.to_le_bytes());
        let process = Process { pid: 4711, start: 1_700_000_000_000_042, is_zombie: false, user: 501 };
        assert_eq!(Process::read(&bytes), Some(process.clone()));
        put(&mut bytes, 4, &ZOMBIE.to_le_bytes());
        assert_eq!(Process::read(&bytes), Some(Process { is_zombie: true, ..process }));
        assert_eq!(Process::read(&bytes[..Process::SIZE - 1]), None);
        put(&mut bytes, 120, &u64::MAX.to_le_bytes());
        assert_eq!(Process::read(&bytes).map(|process| process.start), Some(u64::MAX));
    }

    #[test]
    fn a_name_may_fill_its_field() {
        let mut bytes = vec![0; Sketch::SIZE];
        put(&mut bytes, 0, &9_u32.to_le_bytes());
        put(&mut bytes, 16, b"selfsame");
        let sketch = Sketch { pid: 9, is_zombie: false, name: "selfsame".into() };
        assert_eq!(Sketch::read(&bytes), Some(sketch.clone()));
        put(&mut bytes, 16, b"0123456789abcdef");
        put(&mut bytes, 32, &u32::MAX.to_le_bytes());
        assert_eq!(Sketch::read(&bytes), Some(Sketch { name: "0123456789abcdef".into(), ..sketch }));
    }

    #[test]
    fn what_is_no_pid_is_left_out() {
        let list: Vec<u8> = [0_i32, 1, -1, 502, 0].iter().flat_map(|pid| pid.to_le_bytes()).collect();
        assert_eq!(pids(&list), [1, 502]);
        assert_eq!(pids(&list[..list.len() - 5]), [1]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Process::read(&bytes).is_some(), bytes.len() >= Process::SIZE);
            prop_assert_eq!(Sketch::read(&bytes).is_some(), bytes.len() >= 32);
            prop_assert!(pids(&bytes).len() <= bytes.len() / 4);
        }
    }
}
