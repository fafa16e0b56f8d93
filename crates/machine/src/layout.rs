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
/// What the guest is told of itself at its first start, as a disk.
pub const SEED: &str = "seed.img";
/// The folder of logs.
pub const LOGS: &str = "Logs";
/// The serial console's log, in [`LOGS`].
pub const CONSOLE_LOG: &str = "Logs/console.log";
/// What the console's log held before it was cut, in [`LOGS`].
pub const CONSOLE_LOG_OLD: &str = "Logs/console.log.1";
/// What QEMU wrote to its standard error, in [`LOGS`].
pub const QEMU_LOG: &str = "Logs/qemu.log";
/// The kernel of a guest without firmware.
pub const KERNEL: &str = "Kernel";
/// The initial file system of a guest without firmware.
pub const INITRD: &str = "Initrd";
/// What the supervisor said before it died, in [`LOGS`].
pub const SUPERVISOR_LOG: &str = "Logs/supervisor.log";
/// The state that a suspended VM goes on from: a folder that is there whole or not at all.
pub const STATE: &str = "State";
/// The same while it is made.
pub const STATE_NEW: &str = "State.new";
/// The same while it is removed.
pub const STATE_OLD: &str = "State.old";
/// The guest's memory and devices, in the back end's own format, in [`STATE`].
pub const STATE_MEMORY: &str = "memory";
/// What the state was made with, in [`STATE`].
pub const STATE_DESCRIPTION: &str = "state.toml";
/// Everything that a VM's folder holds, but for disks of other names.
pub const PARTS: [&str; 16] = [
    IDENTIFIER,
    SPEC,
    HARDWARE_MODEL,
    AUXILIARY_STORAGE,
    NVRAM,
    RAW_DISK,
    QCOW2_DISK,
    SEED,
    LOGS,
    KERNEL,
    INITRD,
    STATE,
    STATE_NEW,
    STATE_OLD,
    LOGIN_KEY,
    "LoginKey.pub",
];
/// A private key that was made to log in to this one guest; its public half lies beside it, with `.pub`.
pub const LOGIN_KEY: &str = "LoginKey";
/// What a VM's folder is called after its name.
pub const EXTENSION: &str = "vm";
