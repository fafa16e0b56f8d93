//! The guest's disks, and the disc in its drive.

use std::path::PathBuf;

pub use selfsame_machine::spec::DiskFormat;
use serde_json::json;

use super::Plan;
use super::line::{Line, PlanError, raw, utf8};
use crate::qemu::architecture::Hardware;

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The image or block device.
    pub file: PathBuf,
    /// The format, told and never guessed: a guest could write another format's header into a raw disk.
    pub format: DiskFormat,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

impl Plan {
    /// Disks start before the CD: an empty disk falls through to the installer, an installed one does not.
    ///
    /// The order begins at 1, because QEMU gives 0 to a kernel of its own loading and refuses the same number twice.
    pub(super) fn drives(&self, line: &mut Line) -> Result<(), PlanError> {
        for (index, disk) in self.disks.iter().enumerate() {
            let node = json!({
                "node-name": format!("disk{index}"),
                "driver": disk.format.text(),
                "read-only": disk.read_only,
                "discard": "unmap",
                "file": {
                    "driver": "file",
                    "filename": utf8(&disk.file)?,
                    "read-only": disk.read_only,
                    "discard": "unmap",
                    "locking": "on",
                },
            });
            let order = index + 1;
            line.option("-blockdev", node.to_string())
                .option("-device", format!("virtio-blk-pci,drive=disk{index},bootindex={order}"));
        }
        if let Some(iso) = &self.iso {
            let order = self.disks.len() + 1;
            let (controller, drive) = Hardware::of(self.architecture).optical;
            line.option("-blockdev", raw("iso", iso, true)?);
            if let Some(controller) = controller {
                line.option("-device", controller);
            }
            line.option("-device", format!("{drive},drive=iso,bootindex={order}"));
        }
        Ok(())
    }
}
