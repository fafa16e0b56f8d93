//! Guests of 512 bytes: a boot sector that the BIOS starts within a second, for what concerns only the serial port.

use std::path::PathBuf;

use super::user::User;

/// What the guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sector {
    /// It writes `R` when it is there, and then each byte that it reads.
    Echo,
    /// It writes every byte in turn, without end.
    Flood,
}

impl Sector {
    /// 16-bit code for the port of COM1 at 3F8.
    const fn code(self) -> &'static [u8] {
        match self {
            // mov dx,3f8; mov al,'R'; out dx,al
            // wait: mov dx,3fd; status: in al,dx; test al,1; jz status; mov dx,3f8; in al,dx; out dx,al; jmp wait
            Self::Echo => &[
                0xba, 0xf8, 0x03, 0xb0, b'R', 0xee, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xba,
                0xf8, 0x03, 0xec, 0xee, 0xeb, 0xf1,
            ],
            // mov bl,'A'
            // wait: mov dx,3fd; status: in al,dx; test al,20; jz status; mov dx,3f8; mov al,bl; out dx,al; inc bl; jmp wait
            Self::Flood => &[
                0xb3, b'A', 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0x88, 0xd8,
                0xee, 0xfe, 0xc3, 0xeb, 0xee,
            ],
        }
    }

    /// Makes a VM of it.
    pub(crate) fn create(self, user: &User, name: &str, more: &[&str]) -> PathBuf {
        let mut disk = self.code().to_vec();
        disk.resize(510, 0);
        disk.extend([0x55, 0xaa]);
        disk.resize(1 << 20, 0);
        let image = user.home.join(format!("{name}.img"));
        std::fs::write(&image, disk).unwrap();
        let mut arguments = vec!["--disk", image.to_str().unwrap()];
        arguments.extend(more);
        user.create_with(name, &arguments)
    }
}
