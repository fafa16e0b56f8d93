//! The table of keys: their names, what they take, and where they may stand.

use std::fmt;
use std::path::PathBuf;

use toml::de::DeValue;

use super::Accelerator;

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// `qemu.binary`
    QemuBinary,
    /// `qemu.accelerator`
    QemuAccelerator,
    /// `qemu.firmware_code`
    QemuFirmwareCode,
    /// `qemu.firmware_variables`
    QemuFirmwareVariables,
    /// `qemu.binary_aarch64`
    QemuBinaryAarch64,
    /// `qemu.firmware_code_aarch64`
    QemuFirmwareCodeAarch64,
    /// `qemu.firmware_variables_aarch64`
    QemuFirmwareVariablesAarch64,
    /// `locks.directory`
    LocksDirectory,
    /// `stop.timeout_seconds`
    StopTimeoutSeconds,
    /// `quota.linux`
    QuotaLinux,
    /// `quota.macos`
    QuotaMacos,
}

/// Each slot is asked for by itself.
const MOST_SLOTS: u32 = 1024;

/// What a key was set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Path(PathBuf),
    Accelerator(Accelerator),
    Seconds(u32),
    Guests(u32),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths come out of TOML, which is Unicode, so the lossy form loses nothing.
        let text = |text: &str| toml::Value::from(text).to_string();
        match self {
            Self::Path(path) => formatter.write_str(&text(&path.to_string_lossy())),
            Self::Accelerator(accelerator) => formatter.write_str(&text(accelerator.text())),
            Self::Seconds(count) | Self::Guests(count) => count.fmt(formatter),
        }
    }
}

impl Key {
    /// Every key, in the order that `selfsame config` shows.
    pub const ALL: [Self; 11] = [
        Self::QemuBinary,
        Self::QemuAccelerator,
        Self::QemuFirmwareCode,
        Self::QemuFirmwareVariables,
        Self::QemuBinaryAarch64,
        Self::QemuFirmwareCodeAarch64,
        Self::QemuFirmwareVariablesAarch64,
        Self::LocksDirectory,
        Self::StopTimeoutSeconds,
        Self::QuotaLinux,
        Self::QuotaMacos,
    ];

    /// The dotted text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::QemuBinary => "qemu.binary",
            Self::QemuAccelerator => "qemu.accelerator",
            Self::QemuFirmwareCode => "qemu.firmware_code",
            Self::QemuFirmwareVariables => "qemu.firmware_variables",
            Self::QemuBinaryAarch64 => "qemu.binary_aarch64",
            Self::QemuFirmwareCodeAarch64 => "qemu.firmware_code_aarch64",
            Self::QemuFirmwareVariablesAarch64 => "qemu.firmware_variables_aarch64",
            Self::LocksDirectory => "locks.directory",
            Self::StopTimeoutSeconds => "stop.timeout_seconds",
            Self::QuotaLinux => "quota.linux",
            Self::QuotaMacos => "quota.macos",
        }
    }

    /// What the key is for, in one line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::QemuBinary => "the QEMU for x86_64 guests; else qemu-system-x86_64 on PATH",
            Self::QemuAccelerator => "auto, tcg or kvm",
            Self::QemuFirmwareCode => "OVMF's code, for x86_64 guests; else the usual places",
            Self::QemuFirmwareVariables => "the template of OVMF's variables; else the usual places",
            Self::QemuBinaryAarch64 => "the QEMU for aarch64 guests; else qemu-system-aarch64 on PATH",
            Self::QemuFirmwareCodeAarch64 => "AAVMF's code, for aarch64 guests; else the usual places",
            Self::QemuFirmwareVariablesAarch64 => "the template of AAVMF's variables; else the usual places",
            Self::LocksDirectory => "where identities are locked, for all users; in the system's file only",
            Self::StopTimeoutSeconds => "how long a guest may take to shut down before it is forced",
            Self::QuotaLinux => {
                "how many Linux guests may run at the same time; yours can only lower the system's"
            }
            Self::QuotaMacos => {
                "how many macOS guests may run at the same time; yours can only lower the system's"
            }
        }
    }

    /// The default as TOML shows it, where it is a value. A test keeps it equal to `Config::default()`.
    pub(super) const fn default_text(self) -> Option<&'static str> {
        match self {
            Self::QemuAccelerator => Some("\"auto\""),
            Self::StopTimeoutSeconds => Some("30"),
            Self::QemuBinary
            | Self::QemuFirmwareCode
            | Self::QemuFirmwareVariables
            | Self::QemuBinaryAarch64
            | Self::QemuFirmwareCodeAarch64
            | Self::QemuFirmwareVariablesAarch64
            | Self::LocksDirectory
            | Self::QuotaLinux
            | Self::QuotaMacos => None,
        }
    }

    /// Whether only the system's file may set it.
    pub(super) const fn is_for_all_users(self) -> bool {
        match self {
            Self::LocksDirectory => true,
            Self::QemuBinary
            | Self::QemuAccelerator
            | Self::QemuFirmwareCode
            | Self::QemuFirmwareVariables
            | Self::QemuBinaryAarch64
            | Self::QemuFirmwareCodeAarch64
            | Self::QemuFirmwareVariablesAarch64
            | Self::StopTimeoutSeconds
            | Self::QuotaLinux
            | Self::QuotaMacos => false,
        }
    }

    /// What the key takes, for people.
    pub(super) const fn takes(self) -> &'static str {
        match self {
            Self::QemuBinary
            | Self::QemuFirmwareCode
            | Self::QemuFirmwareVariables
            | Self::QemuBinaryAarch64
            | Self::QemuFirmwareCodeAarch64
            | Self::QemuFirmwareVariablesAarch64
            | Self::LocksDirectory => "an absolute path in quotes",
            Self::QemuAccelerator => "\"auto\", \"tcg\" or \"kvm\"",
            Self::StopTimeoutSeconds => "a whole number of seconds from 0 to 86400",
            Self::QuotaLinux | Self::QuotaMacos => "a whole number of guests from 0 to 1024",
        }
    }

    /// Reads the key's value, or says no.
    pub(super) fn read(self, value: &DeValue<'_>) -> Option<Value> {
        match self {
            Self::QemuBinary
            | Self::QemuFirmwareCode
            | Self::QemuFirmwareVariables
            | Self::QemuBinaryAarch64
            | Self::QemuFirmwareCodeAarch64
            | Self::QemuFirmwareVariablesAarch64
            | Self::LocksDirectory => {
                let path = PathBuf::from(value.as_str()?);
                // Relative to what? Commands run in any folder, and a NUL fits into no path.
                (path.is_absolute() && !value.as_str()?.contains('\0')).then_some(Value::Path(path))
            }
            Self::QemuAccelerator => {
                let word = value.as_str()?;
                let known = Accelerator::ALL.into_iter().find(|accelerator| accelerator.text() == word);
                known.map(Value::Accelerator)
            }
            Self::StopTimeoutSeconds => whole(value, 86_400).map(Value::Seconds),
            Self::QuotaLinux | Self::QuotaMacos => whole(value, MOST_SLOTS).map(Value::Guests),
        }
    }

    /// The key that was probably meant.
    pub(super) fn near(dotted: &str) -> Option<Self> {
        let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
        let distances = Self::ALL.into_iter().map(|key| {
            // The right word in the wrong table is one slip, not as many as the table's name has letters.
            let misplaced = distance(&last(key.text()), &last(dotted)) + 1;
            (distance(key.text(), dotted).min(misplaced), key)
        });
        let (distance, key) = distances.min_by_key(|(distance, _)| *distance)?;
        (distance <= 1 + last(dotted).chars().count() / 4).then_some(key)
    }
}

/// A whole number up to `most`.
fn whole(value: &DeValue<'_>, most: u32) -> Option<u32> {
    let integer = value.as_integer()?;
    let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    (number <= most).then_some(number)
}

/// How many letters must be put in, taken out, exchanged or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = exchanged.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_find_their_key_and_far_ones_none() {
        for (written, meant) in [
            ("qemu.acelerator", Key::QemuAccelerator),
            ("qemu.accelerator", Key::QemuAccelerator),
            ("stop.accelerator", Key::QemuAccelerator),
            ("accelerator", Key::QemuAccelerator),
            ("qemuu.binary", Key::QemuBinary),
            ("qemu.bniary", Key::QemuBinary),
            ("lock.directory", Key::LocksDirectory),
        ] {
            assert_eq!(Key::near(written), Some(meant), "{written}");
        }
        assert_eq!(Key::near("network.proxy"), None);
        assert_eq!(Key::near(""), None);
    }
}
