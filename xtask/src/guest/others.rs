//! Test guests that only some tests need, each in a folder of its own beside the ordinary one:
//!
//! - `target/guest/generic`: the distribution's kernel for any computer, with 9p, which its kernel for virtual machines
//!   has not (70 MB).
//! - `target/guest/aarch64`: kernel, busybox, firmware and QEMU for Arm (33 MB, and 14 MB of package lists, since this system's are
//!   not for Arm). Nothing is installed, and the system's architectures stay as they are.
//!
//! Each has a `guest.toml` as the ordinary guest has, written last.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::modules::Modules;
use super::packages::{Apt, Unpacked};
use super::{Scripts, file_system, first_line, is_current, replace};

/// One more guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    Generic,
    Aarch64,
}

impl Other {
    /// The guest that an option of the chore asks for.
    pub(super) fn of_option(option: &str) -> Option<Self> {
        match option {
            "--generic" => Some(Self::Generic),
            "--aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Packages that depend on its newest kernel.
    const fn kernels(self) -> &'static [&'static str] {
        match self {
            Self::Generic => &["linux-image-amd64", "linux-image-generic"],
            Self::Aarch64 => &["linux-image-cloud-arm64", "linux-image-virtual", "linux-image-arm64"],
        }
    }

    /// Modules without which it is of no use.
    const fn needed(self) -> &'static [&'static str] {
        match self {
            Self::Generic => {
                &["button", "evdev", "virtio_pci", "virtio_net", "virtio_console", "9p", "9pnet_virtio"]
            }
            Self::Aarch64 => &["evdev", "virtio_pci", "virtio_net", "virtio_blk", "virtio_console"],
        }
    }

    /// Makes it, unless it is there.
    pub(super) fn make(self, guest: &Path, scripts: &Scripts, fresh: bool) -> Result<()> {
        let started = Instant::now();
        let folder = guest.join(self.folder());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let result = folder.join("guest.toml");
        let present = Unpacked::present(&folder);
        if let Some(present) = present.as_ref().filter(|_| !fresh)
            && is_current(&result, &first_line(scripts, present, &[]))
        {
            return Ok(());
        }
        let unpacked = match present {
            Some(present) if !fresh => present,
            Some(_) | None => self.obtain(&folder)?,
        };
        let modules = Modules::find(&unpacked.modules()?)?;
        let wanted: Vec<&str> = [self.needed(), &super::WELCOME].concat();
        let wanted: Vec<&str> = wanted.into_iter().filter(|name| modules.has(name)).collect();
        let initrd = folder.join("initrd.gz");
        replace(&initrd, &file_system(&unpacked, &modules.in_order(&wanted)?, scripts)?)?;
        let mut table = toml::Table::new();
        for (key, path) in self.files(&folder, &unpacked, initrd)? {
            let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            table.insert(key.to_owned(), path.into());
        }
        replace(&result, format!("{}\n{table}", first_line(scripts, &unpacked, &[])).as_bytes())?;
        let shown = folder.strip_prefix(guest).unwrap_or(&folder).display();
        eprintln!(
            "the test guest is ready in target/guest/{shown} ({:.1} s)",
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn obtain(self, folder: &Path) -> Result<Unpacked> {
        match self {
            Self::Generic => Unpacked::obtain(folder, self.kernels()),
            Self::Aarch64 => {
                let tools = folder.join("tools");
                fs::create_dir_all(&tools)?;
                // QEMU is a program of this system, and the firmware is for every one.
                Unpacked::these(&tools, &["qemu-system-arm", "qemu-system-data", "qemu-efi-aarch64"])?;
                // QEMU takes it for the root of its data; see `scripts/setup`.
                let bundle = tools.join("packages/usr/bin/qemu-bundle");
                if bundle.symlink_metadata().is_err() {
                    std::os::unix::fs::symlink("../..", &bundle)
                        .with_context(|| format!("cannot create {}", bundle.display()))?;
                }
                Unpacked::newest(&Apt::foreign(&folder.join("apt"), "arm64")?, folder, self.kernels())
            }
        }
    }

    fn files(
        self,
        folder: &Path,
        unpacked: &Unpacked,
        initrd: PathBuf,
    ) -> Result<Vec<(&'static str, PathBuf)>> {
        let mut files = vec![("kernel", unpacked.kernel()?), ("initrd", initrd)];
        if self == Self::Aarch64 {
            let tools = folder.join("tools/packages/usr");
            files.extend([
                ("qemu", tools.join("bin/qemu-system-aarch64")),
                ("firmware_code", tools.join("share/AAVMF/AAVMF_CODE.fd")),
                ("firmware_variables", tools.join("share/AAVMF/AAVMF_VARS.fd")),
            ]);
        }
        Ok(files)
    }
}
