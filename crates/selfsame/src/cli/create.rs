//! `selfsame create`.

use std::ffi::OsString;
use std::path::PathBuf;

use selfsame_host::context::Context;
use selfsame_host::folders;
use selfsame_host::library::{DiskSource, NewBoot, NewVm, create, fresh_identity, fresh_mac, resolve};
use selfsame_host::time::Time;
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Exit;
use selfsame_machine::identity::{Kind, MacAddress};
use selfsame_machine::name::VmName;
use selfsame_machine::network::{Forward, Wish};
use selfsame_machine::size::Bytes;
use selfsame_machine::spec::{Display, Guest};

use super::net::Net;
use super::{Global, Outcome, usage_problem};
use crate::output::{Format, data, json, note};

/// Make a VM
///
/// It gets an identity of its own unless you name one. Its files are copied into its folder, sharing blocks where the
/// file system can.
///
/// Example: selfsame create web1 --disk debian.qcow2 --memory 2GiB
///
/// Example: selfsame create arm1 --disk debian-arm64.qcow2 --arch aarch64
///
/// Example: selfsame create web2 --disk debian.qcow2 --identity web1
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The VM's name
    name: OsString,
    /// A Linux guest (the rule on this host)
    #[arg(long, conflicts_with = "macos")]
    linux: bool,
    /// A macOS guest (on Apple silicon Macs)
    #[arg(long)]
    macos: bool,
    /// The architecture of its processors; another one than this host's is emulated [default: this host's]
    #[arg(long, value_enum, value_name = "ARCHITECTURE")]
    arch: Option<Arch>,
    /// Boot this kernel directly, without firmware of its own
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The initial file system that goes with the kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    append: Option<String>,
    /// Firmware for a guest that boots from its disk
    #[arg(long, value_enum, default_value = "uefi", value_name = "FIRMWARE")]
    firmware: Firmware,
    /// Copy this disk image, raw or qcow2
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["disk_size", "no_disk"])]
    disk: Option<PathBuf>,
    /// The size of an empty disk; it takes room only as it fills
    #[arg(long, value_name = "SIZE", default_value = "64GiB")]
    disk_size: Bytes,
    /// No disk
    #[arg(long, conflicts_with = "disk_size")]
    no_disk: bool,
    /// Put this image of an optical disc into the drive
    #[arg(long, value_name = "PATH")]
    iso: Option<PathBuf>,
    /// Let the guest mount this folder of the host as TAG: `[TAG:]PATH[:ro]`
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::AnyPath)]
    dir: Vec<OsString>,
    /// Virtual processors
    #[arg(long, value_name = "N", default_value = "2")]
    cpus: u32,
    /// Memory
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    memory: Bytes,
    /// The guest's screen, of which `screenshot` makes pictures
    #[arg(long, value_enum, default_value = "vga", value_name = "DISPLAY")]
    display: Screen,
    /// `fresh`, or an identity: uuid:…, a label, a library id, a VM's name, a file, base64 text
    #[arg(long, value_name = "ARG", default_value = "fresh")]
    identity: OsString,
    /// The network card's address
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<MacAddress>,
    /// To whom the network card leads
    #[arg(long, value_enum, default_value = "nat", value_name = "NETWORK")]
    net: Net,
    /// A port of the host that leads into the guest, [ADDRESS:]HOST:GUEST[/udp]; HOST may be 0, for any one that is free
    #[arg(short = 'p', long = "port", value_name = "PORT")]
    ports: Vec<Forward>,
    /// Make the VM's folder as PATH, not in the home; the VM is then named by that path
    #[arg(long, value_name = "PATH")]
    at: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Firmware {
    Uefi,
    Bios,
}

/// An architecture by name.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Aarch64,
}

impl Arch {
    const fn architecture(self) -> Architecture {
        match self {
            Self::X86_64 => Architecture::X86_64,
            Self::Aarch64 => Architecture::Aarch64,
        }
    }
}

/// A screen by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Screen {
    /// A VGA card
    Vga,
    /// No screen
    None,
}

impl Screen {
    pub(super) const fn display(self) -> Display {
        match self {
            Self::Vga => Display::Vga,
            Self::None => Display::None,
        }
    }
}

pub(super) fn run(context: &Context, global: &Global, arguments: Arguments) -> Outcome {
    let name = VmName::from_bytes(arguments.name.as_encoded_bytes())?;
    let macos = arguments.macos || (cfg!(target_os = "macos") && !arguments.linux);
    let (guest, kind) = if macos { (Guest::Macos, Kind::Mac) } else { (Guest::Linux, Kind::Generic) };
    let (identity, identifier, origin) = if arguments.identity == "fresh" {
        let (identity, origin) = fresh_identity(kind)?;
        (identity, identity.to_bytes(), origin.to_owned())
    } else {
        let known = resolve(context, &arguments.identity)?;
        (known.identity, known.raw, format!("given: {}", arguments.identity.to_string_lossy()))
    };
    if arguments.disk_size.count() == 0 {
        return Err(usage_problem("a disk of 0 bytes is none: say `--no-disk`"));
    }
    let boot = match (arguments.kernel, arguments.firmware) {
        (Some(kernel), _) => {
            NewBoot::Kernel { kernel, initrd: arguments.initrd, append: arguments.append.unwrap_or_default() }
        }
        (None, Firmware::Uefi) => NewBoot::Uefi,
        (None, Firmware::Bios) => NewBoot::Bios,
    };
    let disk = match (arguments.disk, arguments.no_disk) {
        (Some(image), _) => DiskSource::Image(image),
        (None, true) => DiskSource::None,
        (None, false) => DiskSource::Empty(arguments.disk_size),
    };
    // A VM without a card may come by one, but whoever names both now has not meant both.
    let wish = Wish { network: Some(arguments.net.network()), ports: Some(arguments.ports.clone()) };
    wish.of(arguments.net.network(), &[])?;
    let mac_address = match arguments.mac_address {
        Some(mac) => mac,
        None => fresh_mac()?,
    };
    let new = NewVm {
        name,
        at: arguments.at,
        guest,
        identity,
        identifier,
        origin,
        architecture: match (arguments.arch, guest) {
            (Some(arch), _) => Some(arch.architecture()),
            (None, Guest::Linux) => Some(Architecture::of_new_guests()),
            (None, Guest::Macos) => None,
        },
        cpus: arguments.cpus,
        memory: arguments.memory,
        display: arguments.display.display(),
        mac_address,
        network: arguments.net.network(),
        ports: arguments.ports,
        boot,
        disk,
        folders: folders::asked(&context.home, &arguments.dir)?,
        iso: arguments.iso,
        ephemeral: false,
    };
    let created = create(context, &new, Time::now())?;
    let predicted = identity.predictions();
    if global.format == Format::Json {
        json(&serde_json::json!({
            "schema": "created/1",
            "name": new.name.to_string(),
            "path": created.folder.to_string_lossy(),
            "identity": identity.canonical(),
            "mac_address": mac_address.to_string(),
            "twins": created.twins,
            "predicted": predicted,
        }));
        return Ok(Exit::Ok);
    }
    if global.quiet {
        data(&format!("{}\n", new.name));
    } else {
        let shown = predicted.product_uuid.value.or(predicted.hardware_uuid.value).unwrap_or_default();
        data(&format!(
            "{} made, {identity}\n  it will show itself as {shown}, MAC {mac_address}\n",
            new.name
        ));
    }
    for path in created.copied.iter().filter(|path| is_large(path)) {
        note(&format!(
            "note: `{}` was copied in full: this file system does not share blocks",
            path.display()
        ));
    }
    for twin in created.twins {
        note(&format!("note: {twin} has the same identity; the two will not run at the same time"));
    }
    Ok(Exit::Ok)
}

/// Whether copying it took time and room that one would rather have known of.
fn is_large(path: &std::path::Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 256 << 20)
}
