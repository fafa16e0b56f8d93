//! `selfsame create`.

mod first_start;

use std::ffi::OsString;
use std::path::PathBuf;

use selfsame_host::context::Context;
use selfsame_host::folders;
use selfsame_host::images::{Images, Source, Vouched};
use selfsame_host::library::{
    DiskSource, NewBoot, NewVm, check_free, create, fresh_identity, fresh_mac, resolve,
};
use selfsame_host::time::Time;
use selfsame_machine::architecture::Architecture;
use selfsame_machine::code::Exit;
use selfsame_machine::identity::{Kind, MacAddress};
use selfsame_machine::image::checksum::Checksum;
use selfsame_machine::name::VmName;
use selfsame_machine::network::{Forward, Wish};
use selfsame_machine::size::Bytes;
use selfsame_machine::spec::{Display, Guest};

use super::image::ProgressLine;
use super::net::Net;
use super::{Global, Outcome, usage_problem};
use crate::output::{Format, data, json, note};

/// Make a VM
///
/// It gets an identity of its own unless you name one. Its files are copied into its folder, sharing blocks where the
/// file system can.
///
/// With `--image` it is made of a cloud image: an official one by its name (`selfsame image list`), a file, or an address.
/// Such a guest is told at its first start who it is, and makes a user for you who logs in with your public key: those of
/// `--ssh-key`, else `~/.ssh/id_*.pub`.
///
/// Example: selfsame create web1 --image debian-13 --disk-size 20GiB
///
/// Example: selfsame create web1 --image debian-13 --user me --ssh-key id_ed25519.pub
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
    #[arg(long, value_name = "IMAGE", conflicts_with = "no_disk")]
    disk: Option<PathBuf>,
    /// Copy a cloud image: debian-13, ubuntu-24.04, …, a file, or an address
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["disk", "no_disk"])]
    image: Option<OsString>,
    /// The hash that the image must have: SHA-256 or SHA-512, in hexadecimal
    #[arg(long, value_name = "HEX", requires = "image")]
    sha256: Option<Checksum>,
    /// The size of the disk: 64GiB if it is empty, else at least that of the image; it takes room only as it fills
    #[arg(long, value_name = "SIZE", conflicts_with = "no_disk")]
    disk_size: Option<Bytes>,
    /// No disk
    #[arg(long)]
    no_disk: bool,
    #[command(flatten)]
    first_start: first_start::FirstStartOptions,
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

/// It takes room only as it fills.
const EMPTY_DISK: Bytes = Bytes::gibibytes(64);

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Firmware {
    Uefi,
    Bios,
}

/// An architecture by name.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Aarch64,
}

impl Arch {
    pub(super) const fn architecture(self) -> Architecture {
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
    if arguments.disk_size.is_some_and(|size| size.count() == 0) {
        return Err(usage_problem("a disk of 0 bytes is none: say `--no-disk`"));
    }
    // Before anything is fetched: who waited for an image has not waited for a refusal.
    check_free(context, &name, arguments.at.as_deref())?;
    let source = arguments.image.as_deref().map(Source::of).transpose()?;
    let (first_start, told) = arguments.first_start.read(source.as_ref(), guest)?;
    let boot = match (arguments.kernel, arguments.firmware) {
        (Some(kernel), _) => {
            NewBoot::Kernel { kernel, initrd: arguments.initrd, append: arguments.append.unwrap_or_default() }
        }
        (None, Firmware::Uefi) => NewBoot::Uefi,
        (None, Firmware::Bios) => NewBoot::Bios,
    };
    let size = arguments.disk_size;
    let mut got = None;
    let architecture = arguments.arch.map_or_else(Architecture::of_new_guests, Arch::architecture);
    let disk = match (arguments.disk, source, arguments.no_disk) {
        (Some(image), ..) => DiskSource::Image { image, size },
        (None, Some(source), _) => {
            let mut display = ProgressLine::new(global);
            let images = Images::of(&context.prepare()?);
            let checksum = arguments.sha256.as_ref();
            let image =
                images.get(&source, architecture, checksum, false, &mut |progress| display.show(&progress));
            display.end();
            let image = got.insert(image?).path.clone();
            DiskSource::Image { image, size }
        }
        (None, None, true) => DiskSource::None,
        (None, None, false) => DiskSource::Empty(size.unwrap_or(EMPTY_DISK)),
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
            (Some(_), _) | (None, Guest::Linux) => Some(architecture),
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
        first_start,
        login: None,
        login_key: None,
        variables: None,
        ephemeral: false,
    };
    let created = create(context, &new, Time::now())?;
    let predicted = identity.predictions();
    let user = new.first_start.as_ref().and_then(|first| first.user.as_deref());
    if global.format == Format::Json {
        json(&serde_json::json!({
            "schema": "created/1",
            "name": new.name.to_string(),
            "path": created.folder.to_string_lossy(),
            "identity": identity.canonical(),
            "mac_address": mac_address.to_string(),
            "twins": created.twins,
            "image": got.as_ref().map(super::image::document),
            "login_user": user,
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
    if got.as_ref().is_some_and(|got| got.vouched == Vouched::Nobody) {
        note("note: nobody vouches for the image: say `--sha256` with the hash that its publisher names");
    }
    for line in told {
        note(&line);
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
