//! What the framework is to run: a VM's description turned into what a configuration needs, before any object is made.
//!
//! A plan is plain data. Making one checks what the framework could not run at all (a BIOS, QEMU's disk format), so that
//! the refusal names the VM's own words and not the framework's.

use std::path::{Path, PathBuf};

use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Code;
use selfsame_machine::identity::{Blob, Identity, MacAddress};
use selfsame_machine::layout::{AUXILIARY_STORAGE, CONSOLE_LOG, HARDWARE_MODEL, NVRAM};
use selfsame_machine::network::{Connection, Forward, Network};
use selfsame_machine::problem::{Hint, Problem, shell_word};
use selfsame_machine::spec::{self, Disk, DiskFormat, Guest, Spec};

/// What a configuration is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// The machine, and what it boots.
    pub platform: Platform,
    /// The disks, in order, and whether the guest may only read them.
    pub disks: Vec<(PathBuf, bool)>,
    /// A disc to boot from, as a USB drive that cannot be written.
    pub iso: Option<PathBuf>,
    /// The address of the network card.
    pub mac_address: MacAddress,
    /// The file that the serial console is appended to. A file, and no pipe: one that nobody reads would stop the guest.
    pub console: PathBuf,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    /// The virtual Mac.
    Mac {
        /// The identifier, byte for byte as it is in its file.
        identifier: Vec<u8>,
        /// That file.
        identifier_file: PathBuf,
        /// The hardware model, byte for byte.
        hardware_model: Vec<u8>,
        /// That file.
        hardware_model_file: PathBuf,
        /// The auxiliary storage. It exists: it is opened, and never made anew.
        auxiliary_storage: PathBuf,
    },
    /// The generic machine of Linux guests.
    Generic {
        /// The identifier, byte for byte as it is in its file.
        identifier: Vec<u8>,
        /// That file.
        identifier_file: PathBuf,
        /// How the first instruction is found.
        boot: Boot,
    },
}

/// How a generic machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// UEFI, with its variables in this file, which is made if it is missing.
    Efi {
        /// The file.
        variables: PathBuf,
    },
    /// A kernel without firmware. It must be an uncompressed arm64 `Image`.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// The initial file system.
        initrd: Option<PathBuf>,
        /// The kernel's command line.
        command_line: String,
    },
}

/// A VM as it was read from its folder.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The folder, absolute.
    pub folder: &'a Path,
    /// Its `vm.toml`.
    pub spec: &'a Spec,
    /// Its identifier.
    pub identifier: &'a Blob,
    /// Its hardware model's file, if it has one.
    pub hardware_model: Option<&'a [u8]>,
    /// Its disks: those of `vm.toml`, or what lies in the folder under its usual name.
    pub disks: &'a [Disk],
    /// How it is to be connected.
    pub connection: &'a Connection,
}

/// What keeps a VM from being run by the framework, whatever the Mac.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The identifier holds no identity.
    #[error("the machine identifier cannot be decoded")]
    NoIdentity,
    /// The identity is for another kind of guest.
    #[error("a {} guest cannot have the identity {identity}", guest.text())]
    WrongIdentity {
        /// The guest.
        guest: Guest,
        /// The identity.
        identity: Identity,
    },
    /// A file that only its installation makes is not there.
    #[error("`{}` is missing, and without it the installed macOS cannot boot", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A way to boot that these machines do not have.
    #[error("a {} guest cannot boot by {boot}", guest.text())]
    Boot {
        /// The guest.
        guest: Guest,
        /// What `vm.toml` says.
        boot: &'static str,
    },
    /// The framework takes paths as text.
    #[error("`{}` is no UTF-8, and the framework names files by text", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A guest that this kind of Mac cannot run.
    #[error("a guest of {architecture} cannot run on Apple silicon")]
    Foreign {
        /// What `vm.toml` says.
        architecture: Architecture,
    },
    /// Folders of the host, which are QEMU's matter so far.
    #[error("the folder `{tag}` cannot be shared: on a Mac, folders are not there yet")]
    Folders {
        /// The first folder's tag.
        tag: String,
    },
    /// A network that is no NAT.
    #[error("the framework connects guests by NAT only, and this one is to have the network `{network}`")]
    Network {
        /// The network.
        network: Network,
    },
    /// A port of the host, and the framework has no such thing.
    #[error("no port of the host leads into a guest of the framework, and `{port}` is to")]
    Port {
        /// The first one.
        port: Forward,
    },
    /// A disk in a format that only QEMU reads.
    #[error("the disk `{}` is in QEMU's format qcow2, which the framework cannot read", file.display())]
    Format {
        /// The disk's file.
        file: PathBuf,
    },
}

impl Problem for PlanError {
    fn code(&self) -> Code {
        match self {
            Self::NoIdentity => Code::IdentityInvalid,
            Self::WrongIdentity { .. } | Self::Missing { .. } | Self::Path { .. } => Code::BundleInvalid,
            Self::Boot { .. }
            | Self::Foreign { .. }
            | Self::Folders { .. }
            | Self::Format { .. }
            | Self::Network { .. }
            | Self::Port { .. } => Code::BackendUnavailable,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Missing { .. } => {
                vec![Hint::say("restore it from the backup that the disk is from: the two belong together")]
            }
            Self::Format { file } => {
                let raw = file.with_extension("img");
                let word = |path: &Path| shell_word(&path.to_string_lossy()).into_owned();
                let convert = format!("qemu-img convert -p -O raw {} {}", word(file), word(&raw));
                vec![Hint::run("make a raw image of it and name that one in vm.toml", convert)]
            }
            Self::Boot { .. } => vec![Hint::say("choose `firmware = \"uefi\"` in the [boot] of vm.toml")],
            Self::Network { .. } => vec![Hint::say("choose `network = \"nat\"` in vm.toml, or leave it out")],
            Self::Port { .. } => {
                vec![Hint::say(
                    "take the `ports` out of vm.toml: the guest has an address of its own, see `selfsame ip`",
                )]
            }
            Self::Path { .. } => vec![Hint::say("give the folder another name")],
            Self::Foreign { .. } => vec![Hint::say("run it by QEMU's emulation with `run --accel tcg`")],
            Self::Folders { .. } => {
                vec![Hint::say("take `folders` out of vm.toml, or run it without `--dir`")]
            }
            Self::NoIdentity | Self::WrongIdentity { .. } => Vec::new(),
        }
    }
}

impl Plan {
    /// Makes the plan of a VM. Looks for files by their names, and reads none.
    ///
    /// # Errors
    /// When the framework could not run it on any Mac.
    pub fn of(parts: &Parts<'_>) -> Result<Self, PlanError> {
        let Parts { folder, spec, identifier, disks, connection, .. } = parts;
        match connection.network {
            Network::Nat => {}
            network @ (Network::Isolated | Network::None) => return Err(PlanError::Network { network }),
        }
        if let Some(port) = connection.ports.first() {
            return Err(PlanError::Port { port: *port });
        }
        // What is in `vm.toml` is text already.
        if folder.to_str().is_none() {
            return Err(PlanError::Path { path: folder.to_path_buf() });
        }
        let identity = identifier.identity.ok_or(PlanError::NoIdentity)?;
        let guest = spec.guest.unwrap_or(match identity {
            Identity::Mac(_) => Guest::Macos,
            Identity::Generic(_) => Guest::Linux,
        });
        match spec.architecture_on(Architecture::Aarch64) {
            Architecture::Aarch64 => {}
            architecture @ Architecture::X86_64 => return Err(PlanError::Foreign { architecture }),
        }
        if let Some(folder) = spec.folders.first() {
            return Err(PlanError::Folders { tag: folder.tag.clone() });
        }
        let platform = match (guest, identity) {
            (Guest::Macos, Identity::Mac(_)) => mac(parts)?,
            (Guest::Linux, Identity::Generic(_)) => generic(parts)?,
            (guest, identity) => return Err(PlanError::WrongIdentity { guest, identity }),
        };
        let disk = |disk: &Disk| {
            let file = folder.join(&disk.file);
            match disk.format {
                DiskFormat::Raw => Ok((file, disk.read_only)),
                DiskFormat::Qcow2 => Err(PlanError::Format { file }),
            }
        };
        Ok(Self {
            cpus: spec.cpus,
            memory: spec.memory.count(),
            platform,
            disks: disks.iter().map(disk).collect::<Result<_, _>>()?,
            iso: spec.iso.as_ref().map(|iso| folder.join(iso)),
            mac_address: spec.mac_address.unwrap_or_else(|| MacAddress::from_digest(&identity.digest())),
            console: folder.join(CONSOLE_LOG),
        })
    }

    /// Whether the guest counts against the kernel's limit of macOS guests.
    #[must_use]
    pub const fn is_macos(&self) -> bool {
        matches!(self.platform, Platform::Mac { .. })
    }
}

fn mac(parts: &Parts<'_>) -> Result<Platform, PlanError> {
    let no_boot = |boot| PlanError::Boot { guest: Guest::Macos, boot };
    match &parts.spec.boot {
        // The default of `vm.toml`; a Mac has its own boot loader, whatever is written there for others.
        spec::Boot::Uefi => {}
        spec::Boot::Bios => return Err(no_boot("the PC BIOS")),
        spec::Boot::Kernel { .. } => return Err(no_boot("a Linux kernel")),
    }
    let hardware_model_file = parts.folder.join(HARDWARE_MODEL);
    let Some(hardware_model) = parts.hardware_model else {
        return Err(PlanError::Missing { path: hardware_model_file });
    };
    let auxiliary_storage = parts.folder.join(AUXILIARY_STORAGE);
    if !auxiliary_storage.exists() {
        return Err(PlanError::Missing { path: auxiliary_storage });
    }
    Ok(Platform::Mac {
        identifier: parts.identifier.raw.clone(),
        identifier_file: parts.folder.join(selfsame_machine::layout::IDENTIFIER),
        hardware_model: hardware_model.to_vec(),
        hardware_model_file,
        auxiliary_storage,
    })
}

fn generic(parts: &Parts<'_>) -> Result<Platform, PlanError> {
    let boot = match &parts.spec.boot {
        spec::Boot::Uefi => Boot::Efi { variables: parts.folder.join(NVRAM) },
        spec::Boot::Bios => return Err(PlanError::Boot { guest: Guest::Linux, boot: "the PC BIOS" }),
        spec::Boot::Kernel { kernel, initrd, append } => Boot::Kernel {
            kernel: parts.folder.join(kernel),
            initrd: initrd.as_ref().map(|initrd| parts.folder.join(initrd)),
            command_line: append.clone(),
        },
    };
    Ok(Platform::Generic {
        identifier: parts.identifier.raw.clone(),
        identifier_file: parts.folder.join(selfsame_machine::layout::IDENTIFIER),
        boot,
    })
}

#[cfg(test)]
mod tests {
    use selfsame_machine::identity::{Ecid, HardwareModel};

    use super::*;

    struct Vm {
        folder: tempfile::TempDir,
        spec: Spec,
        identifier: Blob,
        model: Option<Vec<u8>>,
        disks: Vec<Disk>,
        connection: Connection,
    }

    impl Vm {
        fn new(identity: Identity) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(AUXILIARY_STORAGE), "x").unwrap();
            let disk =
                Disk { file: "Disk.img".into(), format: DiskFormat::Raw, read_only: false, size: None };
            Self {
                folder,
                spec: Spec::default(),
                identifier: Blob::read(&identity.to_bytes()),
                model: Some(HardwareModel::v2(2, [13, 0, 0]).raw),
                disks: vec![disk],
                connection: Connection { network: Network::Nat, ports: Vec::new() },
            }
        }

        fn plan(&self) -> Result<Plan, PlanError> {
            Plan::of(&Parts {
                folder: self.folder.path(),
                spec: &self.spec,
                identifier: &self.identifier,
                hardware_model: self.model.as_deref(),
                disks: &self.disks,
                connection: &self.connection,
            })
        }
    }

    fn mac() -> Identity {
        Identity::Mac(Ecid::new(0x9CDE_470A_5DCF_5A35))
    }

    fn linux() -> Identity {
        "uuid:db087d0b-d366-40bc-809b-969690dcbe1e".parse().unwrap()
    }

    #[test]
    fn a_mac_takes_its_three_small_parts_as_they_are() {
        let vm = Vm::new(mac());
        let plan = vm.plan().unwrap();
        assert!(plan.is_macos());
        let Platform::Mac { identifier, hardware_model, auxiliary_storage, .. } = plan.platform else {
            panic!("no Mac")
        };
        assert_eq!(identifier, vm.identifier.raw);
        assert_eq!(Some(hardware_model), vm.model);
        assert_eq!(auxiliary_storage, vm.folder.path().join("AuxiliaryStorage"));
        assert_eq!(plan.disks, [(vm.folder.path().join("Disk.img"), false)]);
    }

    #[test]
    fn a_linux_guest_boots_by_firmware_or_kernel() {
        let mut vm = Vm::new(linux());
        let boot = |vm: &Vm| match vm.plan().unwrap().platform {
            Platform::Generic { boot, .. } => boot,
            Platform::Mac { .. } => panic!("a Mac"),
        };
        assert_eq!(boot(&vm), Boot::Efi { variables: vm.folder.path().join("NVRAM") });
        vm.spec.boot = spec::Boot::Kernel { kernel: "Kernel".into(), initrd: None, append: "quiet".into() };
        let kernel = vm.folder.path().join("Kernel");
        assert_eq!(boot(&vm), Boot::Kernel { kernel, initrd: None, command_line: "quiet".into() });
        vm.spec.boot = spec::Boot::Bios;
        assert_eq!(vm.plan().unwrap_err().to_string(), "a linux guest cannot boot by the PC BIOS");
    }

    #[test]
    fn a_folder_whose_name_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let vm = Vm::new(linux());
        let folder = Path::new(std::ffi::OsStr::from_bytes(b"/vms/\xff.vm"));
        let parts = Parts {
            folder,
            spec: &vm.spec,
            identifier: &vm.identifier,
            hardware_model: None,
            disks: &vm.disks,
            connection: &vm.connection,
        };
        assert_eq!(Plan::of(&parts), Err(PlanError::Path { path: folder.to_owned() }));
    }

    #[test]
    fn what_no_mac_could_run_is_refused_by_name() {
        let mut vm = Vm::new(linux());
        vm.spec.guest = Some(Guest::Macos);
        assert!(matches!(vm.plan(), Err(PlanError::WrongIdentity { .. })));
        let mut vm = Vm::new(mac());
        vm.model = None;
        assert!(matches!(vm.plan(), Err(PlanError::Missing { path }) if path.ends_with("HardwareModel")));
        let mut vm = Vm::new(linux());
        vm.spec.machine = Some("pc-q35-7.2".into());
        assert!(matches!(vm.plan(), Err(PlanError::Foreign { architecture: Architecture::X86_64 })));
        let mut vm = Vm::new(linux());
        vm.spec.folders = vec![spec::Folder { tag: "src".into(), path: "/src".into(), read_only: true }];
        let error = vm.plan().unwrap_err();
        assert_eq!(
            (error.code(), error),
            (Code::BackendUnavailable, PlanError::Folders { tag: "src".into() })
        );
        let mut vm = Vm::new(linux());
        vm.connection.ports.push("8080:80".parse().unwrap());
        assert_eq!(
            vm.plan().unwrap_err().to_string(),
            "no port of the host leads into a guest of the framework, and `8080:80` is to"
        );
        vm.connection.network = Network::Isolated;
        assert!(matches!(vm.plan(), Err(PlanError::Network { .. })));
        let vm = Vm::new(mac());
        std::fs::remove_file(vm.folder.path().join(AUXILIARY_STORAGE)).unwrap();
        assert!(matches!(vm.plan(), Err(PlanError::Missing { path }) if path.ends_with("AuxiliaryStorage")));
        let mut vm = Vm::new(mac());
        vm.disks[0] =
            Disk { file: "a b.qcow2".into(), format: DiskFormat::Qcow2, read_only: false, size: None };
        let error = vm.plan().unwrap_err();
        assert_eq!(error.code(), Code::BackendUnavailable);
        let command = error.hints()[0].command.clone().unwrap();
        assert!(command.ends_with("a b.img'") && command.starts_with("qemu-img convert"), "{command}");
    }
}
