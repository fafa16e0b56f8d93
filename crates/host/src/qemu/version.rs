//! QEMU's version number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version as the monitor's greeting states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub micro: u32,
}

impl Version {
    /// The oldest version that the tests run with, Debian 12's.
    pub const OLDEST: Self = Self { major: 7, minor: 2, micro: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{}.{}.{}", self.major, self.minor, self.micro))
    }
}
