//! What the files of a VM's folder are called: the names of Apple's sample code, and ours beside them.

/// The identifier's file.
pub const IDENTIFIER: &str = "MachineIdentifier";
/// The description's file.
pub const SPEC: &str = "vm.toml";
/// The hardware model's file (macOS guests).
pub const HARDWARE_MODEL: &str = "HardwareModel";
/// The auxiliary storage (macOS guests).
pub const AUXILIARY_STORAGE: &str = "AuxiliaryStorage";
/// The UEFI variables (Linux guests).
pub const NVRAM: &str = "NVRAM";
/// The disk, byte for byte.
pub const RAW_DISK: &str = "Disk.img";
/// The disk in QEMU's format.
pub const QCOW2_DISK: &str = "disk.qcow2";
/// The folder of logs.
pub const LOGS: &str = "Logs";
/// The serial console's log, in [`LOGS`].
pub const CONSOLE_LOG: &str = "Logs/console.log";
/// What QEMU wrote to its standard error, in [`LOGS`].
pub const QEMU_LOG: &str = "Logs/qemu.log";
/// The kernel of a guest without firmware.
pub const KERNEL: &str = "Kernel";
/// The initial file system of a guest without firmware.
pub const INITRD: &str = "Initrd";
/// Everything that a VM's folder holds, but for disks of other names.
pub const PARTS: [&str; 10] =
    [IDENTIFIER, SPEC, HARDWARE_MODEL, AUXILIARY_STORAGE, NVRAM, RAW_DISK, QCOW2_DISK, LOGS, KERNEL, INITRD];
/// What a VM's folder is called after its name.
pub const EXTENSION: &str = "vm";
