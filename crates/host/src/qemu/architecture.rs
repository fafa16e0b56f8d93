//! What QEMU's machines of each architecture are made of: one table, so that nothing else asks which one it is.
//!
//! Tried with QEMU 7.2.22: `q35` with SeaBIOS and OVMF, `virt` with AAVMF.

pub use selfsame_machine::architecture::Architecture;

use super::accelerator::Accelerator;

/// What differs between the machines.
#[derive(Debug, PartialEq, Eq)]
pub struct Hardware {
    /// The file name of the QEMU that emulates it.
    pub program: &'static str,
    /// QEMU's unversioned name for the machine we use, an alias of the newest versioned one.
    pub machine_alias: &'static str,
    /// Options of the machine under the translator, and under a hypervisor.
    machine_options: [&'static str; 2],
    /// The processor that the translator shows: all that it knows.
    translated_cpu: &'static str,
    /// Devices that all guests have, one word each for `-device`.
    pub(super) devices: &'static [&'static str],
    /// The controller of the optical drive, where the machine has none of its own, and the drive on it.
    pub(super) optical: (Option<&'static str>, &'static str),
    /// The graphics card, all of its `-device`, where a guest has a display. At a place of its own where it is on the bus: a
    /// guest finds its network where it was, with a screen or without.
    pub display: &'static str,
    /// Whether a kernel is started by the firmware. Without it, Arm has no SMBIOS, and so no identity.
    pub kernel_needs_firmware: bool,
    /// Whether there is a BIOS.
    pub has_bios: bool,
    /// The packages of Debian and Fedora that bring QEMU.
    pub(super) packages: (&'static str, &'static str),
    /// The packages of Debian and Fedora that bring the firmware.
    pub(super) firmware_packages: (&'static str, &'static str),
    /// Where the pairs of firmware are, best first: folder, code, template of the variables.
    pub(super) firmware: &'static [(&'static str, &'static str, &'static str)],
}

impl Hardware {
    /// The table.
    #[must_use]
    pub const fn of(architecture: Architecture) -> &'static Self {
        match architecture {
            Architecture::X86_64 => &PC,
            Architecture::Aarch64 => &ARM,
        }
    }

    /// What follows the machine's name.
    pub(super) const fn machine_options(&self, accelerator: Accelerator) -> &'static str {
        let [translated, accelerated] = self.machine_options;
        match accelerator {
            Accelerator::Tcg => translated,
            Accelerator::Kvm | Accelerator::Hvf => accelerated,
        }
    }

    /// The processor: all that the translator knows, or the host's own, passed through.
    pub(super) const fn cpu(&self, accelerator: Accelerator) -> &'static str {
        match accelerator {
            Accelerator::Tcg => self.translated_cpu,
            Accelerator::Kvm | Accelerator::Hvf => "host",
        }
    }
}

const PC: Hardware = Hardware {
    program: "qemu-system-x86_64",
    machine_alias: "q35",
    machine_options: ["", ""],
    translated_cpu: "max",
    // vmgenid tells the guest when it goes on from a copied state. QEMU draws a new one at each start.
    devices: &["vmgenid,guid=auto", "pvpanic"],
    // A drive on the machine's own SATA: every installer's kernel and both firmwares know it.
    optical: (None, "ide-cd,bus=ide.0"),
    display: "VGA,bus=pcie.0,addr=0x1e",
    kernel_needs_firmware: false,
    has_bios: true,
    packages: ("qemu-system-x86", "qemu-system-x86-core"),
    firmware_packages: ("ovmf", "edk2-ovmf"),
    firmware: &[
        ("usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
        ("usr/share/edk2/ovmf", "OVMF_CODE.fd", "OVMF_VARS.fd"),
        ("usr/share/edk2/x64", "OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
        ("usr/share/qemu", "ovmf-x86_64-code.bin", "ovmf-x86_64-vars.bin"),
        ("usr/share/OVMF", "OVMF_CODE.fd", "OVMF_VARS.fd"),
        ("opt/homebrew/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
        ("usr/local/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
        ("usr/share/qemu", "edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
    ],
};

const ARM: Hardware = Hardware {
    program: "qemu-system-aarch64",
    machine_alias: "virt",
    // Version 2 of the interrupt controller, the default, ends at 8 processors. A hypervisor has what the host has.
    machine_options: [",gic-version=3", ",gic-version=max"],
    // QEMU's own way to sign pointers instead of the architected one: on 7.2 a guest boots 4 times faster with it.
    translated_cpu: "max,pauth-impdef=on",
    // There is no vmgenid on Arm, and the ISA bus of pvpanic neither.
    devices: &["pvpanic-pci"],
    optical: (Some("virtio-scsi-pci,id=optical"), "scsi-cd,bus=optical.0"),
    // Memory of a VGA card cannot be mapped by Arm guests under KVM.
    // Built into every QEMU, while virtio-gpu is a module that may be missing; AAVMF draws on it.
    display: "ramfb",
    kernel_needs_firmware: true,
    has_bios: false,
    packages: ("qemu-system-arm", "qemu-system-aarch64-core"),
    firmware_packages: ("qemu-efi-aarch64", "edk2-aarch64"),
    firmware: &[
        ("usr/share/AAVMF", "AAVMF_CODE.fd", "AAVMF_VARS.fd"),
        ("usr/share/edk2/aarch64", "QEMU_EFI-pflash.raw", "vars-template-pflash.raw"),
        ("usr/share/edk2/aarch64", "QEMU_CODE.fd", "QEMU_VARS.fd"),
        ("usr/share/qemu", "aavmf-aarch64-code.bin", "aavmf-aarch64-vars.bin"),
        ("opt/homebrew/share/qemu", "edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
        ("usr/local/share/qemu", "edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
        ("usr/share/qemu", "edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
    ],
};
