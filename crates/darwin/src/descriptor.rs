//! Open files of a process: its list of descriptors, and what stands behind one.

use crate::bytes::{u32_at, u64_at};

/// `PROX_FDTYPE_VNODE`: a file or folder, as opposed to a socket, a pipe and the like.
const VNODE: u32 = 1;
/// `FWRITE` (XNU, `bsd/sys/fcntl.h`): the kernel keeps `O_WRONLY` and `O_RDWR` as this bit.
const WRITE: u32 = 2;

/// A descriptor in a process's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number, never negative.
    pub number: i32,
    /// Whether a file or folder stands behind it.
    pub is_vnode: bool,
}

/// Reads a list of `struct proc_fdinfo` (number and type, 4 bytes each) as `PROC_PIDLISTFDS` gives it (XNU,
/// `bsd/sys/proc_info.h`; confidence high). An incomplete entry at the end is left out.
#[must_use]
pub fn descriptors(bytes: &[u8]) -> Vec<Descriptor> {
    let (entries, _) = bytes.as_chunks::<8>();
    let entry = |entry: &[u8; 8]| {
        let number = u32_at(entry, 0)?.cast_signed();
        (number >= 0).then_some(Descriptor { number, is_vnode: u32_at(entry, 4)? == VNODE })
    };
    entries.iter().filter_map(entry).collect()
}

/// The file or folder behind a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenVnode {
    /// Its device, as `stat` gives it, without its sign.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Whether it may be written through this descriptor.
    pub is_writable: bool,
}

impl OpenVnode {
    /// `sizeof(struct vnode_fdinfo)`: `proc_fileinfo` (24), `vinfo_stat` (136), type, padding and file system (16).
    pub const SIZE: usize = 176;

    /// Reads a `struct vnode_fdinfo`, or the longer `struct vnode_fdinfowithpath`, which begins alike; `None` when the
    /// bytes are too few.
    ///
    /// Offsets: flags of the open file 0, device 24, inode 32 (XNU, `bsd/sys/proc_info.h`; confidence high).
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < Self::SIZE {
            return None;
        }
        Some(Self {
            is_writable: u32_at(bytes, 0)? & WRITE != 0,
            device: u64::from(u32_at(bytes, 24)?),
            inode: u64_at(bytes, 32)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_told_from_sockets() {
        let list: Vec<u8> =
            [0_u32, 1, 3, 2, u32::MAX, 1, 7, 1, 9].iter().flat_map(|number| number.to_le_bytes()).collect();
        let descriptor = |number, is_vnode| Descriptor { number, is_vnode };
        assert_eq!(descriptors(&list), [descriptor(0, true), descriptor(3, false), descriptor(7, true)]);
    }

    #[test]
    fn a_descriptor_tells_its_file_and_whether_it_writes() {
        let mut bytes = vec![0; OpenVnode::SIZE];
        bytes[24..28].copy_from_slice(&0x0100_0010_u32.to_le_bytes());
        bytes[32..40].copy_from_slice(&0x1_0000_0002_u64.to_le_bytes());
        let vnode = |is_writable| OpenVnode { device: 0x0100_0010, inode: 0x1_0000_0002, is_writable };
        for (flags, is_writable) in [(1_u32, false), (2, true), (3, true), (0x8001, false)] {
            bytes[..4].copy_from_slice(&flags.to_le_bytes());
            assert_eq!(OpenVnode::read(&bytes), Some(vnode(is_writable)));
        }
        assert_eq!(OpenVnode::read(&bytes[1..]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
            prop_assert!(descriptors(&bytes).iter().all(|descriptor| descriptor.number >= 0));
            prop_assert_eq!(OpenVnode::read(&bytes).is_some(), bytes.len() >= OpenVnode::SIZE);
        }
    }
}
