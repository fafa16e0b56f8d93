//! Folders of the host, which the guest mounts by 9p.

use super::Plan;
use super::line::{Line, value};

/// What a guest's owners, modes, links and devices become on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// They are written beside plain files, as extended attributes. For a QEMU that runs as root: else the guest's root
    /// could leave devices and programs that make whoever runs them root.
    Recorded,
    /// They are the files' own, as far as QEMU's user may make them so; what it may not is passed over. For every other
    /// user: what the guest makes is an ordinary file there.
    Own,
}

impl Ownership {
    /// What this process's QEMU has to do.
    #[must_use]
    pub fn of_this_process() -> Self {
        if rustix::process::geteuid().is_root() { Self::Recorded } else { Self::Own }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Recorded => "mapped-xattr",
            Self::Own => "none",
        }
    }
}

impl Plan {
    pub(super) fn folders(&self, line: &mut Line) {
        for (index, folder) in self.folders.iter().enumerate() {
            // Two file systems in one folder may have files of the same number, which a guest would take for one file.
            let mut told = format!(
                "local,id=folder{index},path={},security_model={},multidevs=remap",
                value(&folder.path),
                self.ownership.text()
            );
            if folder.read_only {
                told.push_str(",readonly=on");
            }
            line.option("-fsdev", told)
                .option("-device", format!("virtio-9p-pci,fsdev=folder{index},mount_tag={}", folder.tag));
        }
    }
}
