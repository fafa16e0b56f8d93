//! The processor architectures that guests and hosts have here.
//!
//! What a machine of each is made of is QEMU's matter, and stands in one table of `host::qemu::architecture`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A processor architecture, of a guest or of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// 64-bit PCs.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The architecture that this program was built for, when it is one of these.
    #[must_use]
    pub fn of_host() -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.text() == std::env::consts::ARCH)
    }

    /// What guests are made for where nobody says: what the host is, so that its processor can run them.
    #[must_use]
    pub fn of_new_guests() -> Self {
        Self::of_host().unwrap_or(Self::X86_64)
    }

    /// The name that QEMU, the kernel and Rust agree on.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// How QEMU's versioned names of the machine that we use begin.
    #[must_use]
    pub const fn machine_prefix(self) -> &'static str {
        match self {
            Self::X86_64 => "pc-",
            Self::Aarch64 => "virt-",
        }
    }

    /// Whose machine has this versioned name.
    #[must_use]
    pub fn of_machine(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| name.starts_with(known.machine_prefix()))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_tell_their_architecture() {
        for (name, expected) in [
            ("pc-q35-7.2", Some(Architecture::X86_64)),
            ("pc-i440fx-7.2", Some(Architecture::X86_64)),
            ("virt-7.2", Some(Architecture::Aarch64)),
            ("q35", None),
            ("raspi3b", None),
        ] {
            assert_eq!(Architecture::of_machine(name), expected, "{name}");
        }
    }
}
