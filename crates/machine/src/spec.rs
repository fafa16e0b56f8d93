//! `vm.toml`: what a VM is made of, beside the small files of Apple's layout.
//!
//! A bundle without `vm.toml` is complete all the same: every field has a default, so that a folder made by another tool
//! (`MachineIdentifier`, `Disk.img`, …) runs unchanged. The identity is never written here: the identifier file is the
//! only place that decides it.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::identity::MacAddress;
use crate::network::{self, Forward, Network, WishError};
use crate::size::Bytes;

mod change;
pub mod folder;

pub use change::{Change, ChangeError, says_protected};
pub use folder::Folder;

/// The version of the file's format.
pub const SCHEMA: u32 = 1;

/// What kind of guest a VM is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guest {
    /// Linux, or anything else that boots through UEFI.
    Linux,
    /// macOS on Apple silicon.
    Macos,
}

impl Guest {
    /// The word that `vm.toml` and JSON use.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Macos => "macos",
        }
    }
}

/// How the guest's first instruction is found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "firmware", rename_all = "lowercase")]
pub enum Boot {
    /// UEFI, with variables kept in the bundle's `NVRAM`.
    #[default]
    Uefi,
    /// The PC BIOS.
    Bios,
    /// A kernel of the bundle, without firmware.
    Kernel {
        /// The kernel, a file name relative to the bundle.
        kernel: String,
        /// The initial file system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        initrd: Option<String>,
        /// The kernel's command line.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        append: String,
    },
}

/// How a disk's content is laid out in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

impl DiskFormat {
    /// The word that QEMU, `vm.toml` and JSON use.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The file, relative to the bundle, or absolute.
    pub file: String,
    /// Its format.
    pub format: DiskFormat,
    /// The guest may not write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// How large the guest's disk is to be at least: a smaller one is grown at the next start.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "size_text")]
    pub size: Option<Bytes>,
}

fn size_text<S: serde::Serializer>(size: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    match size {
        Some(size) => size.serialize_text(serializer),
        None => serializer.serialize_none(),
    }
}

/// The screen that a guest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Display {
    /// A VGA card, of which a picture can be made. Nobody has to look at it.
    #[default]
    Vga,
    /// No screen: the serial console only.
    None,
}

impl Display {
    /// The word that `vm.toml` and JSON use.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Vga => "vga",
            Self::None => "none",
        }
    }

    /// Whether it is what a VM has of which nothing is said.
    const fn is_default(&self) -> bool {
        matches!(self, Self::Vga)
    }
}

/// Where a VM came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// When it was made, RFC 3339.
    pub created: String,
    /// The program and version that made it.
    pub by: String,
    /// How it came to its identity: `fresh`, or what was asked for.
    pub identity: String,
}

/// How people log in to the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's name in the guest, as `ssh` takes it.
    pub user: String,
    /// A private key that was made for this guest, relative to the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The content of `vm.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The version of the format, [`SCHEMA`].
    pub schema: u32,
    /// What kind of guest; without it the identifier's kind decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// The architecture of its processors; see [`Spec::architecture_on`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// Virtual processors, 1 to 256.
    #[serde(default = "default_cpus")]
    pub cpus: u32,
    /// Memory, a whole number of MiB.
    #[serde(default = "default_memory", serialize_with = "Bytes::serialize_text")]
    pub memory: Bytes,
    /// The address of the network card; without it one is derived from the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<MacAddress>,
    /// To whom its network card leads.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// Ports of the host that lead into it.
    #[serde(default, with = "network::texts", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Forward>,
    /// The versioned machine type that the guest was first started with, such as `pc-q35-7.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The guest's screen.
    #[serde(default, skip_serializing_if = "Display::is_default")]
    pub display: Display,
    /// It is not deleted before this is lifted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
    /// It is started when its user's session begins, where that was set up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub autostart: bool,
    /// It was made for one run, and is deleted at its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// How it boots.
    #[serde(default)]
    pub boot: Boot,
    /// Its disks, the first one first in boot order; without the list, `Disk.img` or `disk.qcow2` of the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disks: Option<Vec<Disk>>,
    /// An image of an optical disc in the drive, relative to the bundle, or absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iso: Option<String>,
    /// Folders of the host that the guest can mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<Folder>,
    /// How people log in to it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

fn is_default(network: &Network) -> bool {
    *network == Network::default()
}

const fn default_cpus() -> u32 {
    2
}

const fn default_memory() -> Bytes {
    Bytes::mebibytes(2048)
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            guest: None,
            architecture: None,
            cpus: default_cpus(),
            memory: default_memory(),
            mac_address: None,
            network: Network::default(),
            ports: Vec::new(),
            machine: None,
            display: Display::default(),
            protected: false,
            autostart: false,
            ephemeral: false,
            boot: Boot::default(),
            disks: None,
            iso: None,
            folders: Vec::new(),
            login: None,
            origin: None,
        }
    }
}

/// Why a `vm.toml` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It is no TOML, or a key or value does not fit. Carries the place in the file.
    #[error("line {line}, column {column}: {message}")]
    Invalid {
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A newer selfsame wrote it.
    #[error("its schema is {found}; this selfsame knows {SCHEMA}")]
    Newer {
        /// The schema it states.
        found: u32,
    },
    /// A value is out of its range.
    #[error("`{key}` is {value}; {rule}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be, a clause.
        rule: &'static str,
    },
    /// The ports cannot be together.
    #[error("`ports` cannot be so")]
    Ports(#[source] WishError),
}

impl Spec {
    /// Reads a `vm.toml`.
    ///
    /// # Errors
    /// When it cannot be used as it stands, with the place in the text.
    pub fn read(text: &str) -> Result<Self, SpecError> {
        let spec: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let before = text.get(..offset).unwrap_or_default();
            SpecError::Invalid {
                line: before.matches('\n').count() + 1,
                column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
                message: error.message().replace('\n', "; "),
            }
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// Writes it as TOML.
    #[must_use]
    pub fn write(&self) -> String {
        // The types hold nothing that TOML cannot: no maps with odd keys, no numbers above i64.
        let text = |spec: &Self| toml::to_string(spec).unwrap_or_default();
        let plain = text(&Self { folders: Vec::new(), ..self.clone() });
        // In one line, so that they can be exchanged later as one value.
        let folders = Change { folders: Some(self.folders.clone()), ..Change::default() };
        folders.edit(&plain).map_or_else(|_| text(self), |(written, _)| written)
    }

    /// The architecture of the guest's processors on a host of that one: what is written here, else whose machine it was
    /// first started with, else the host's.
    #[must_use]
    pub fn architecture_on(&self, host: Architecture) -> Architecture {
        let by_machine = || self.machine.as_deref().and_then(Architecture::of_machine);
        self.architecture.or_else(by_machine).unwrap_or(host)
    }

    /// Checks the ranges that the types do not.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn check(&self) -> Result<(), SpecError> {
        let out = |key, value: String, rule| Err(SpecError::OutOfRange { key, value, rule });
        if self.schema != SCHEMA {
            return Err(SpecError::Newer { found: self.schema });
        }
        if !(1..=256).contains(&self.cpus) {
            return out("cpus", self.cpus.to_string(), "it must be 1 to 256");
        }
        if !self.memory.count().is_multiple_of(1 << 20)
            || !(32 << 20..=16 << 40).contains(&self.memory.count())
        {
            return out(
                "memory",
                self.memory.to_string(),
                "it must be a whole number of MiB from 32 MiB to 16 TiB; a number without a unit is bytes",
            );
        }
        network::check(&self.ports).map_err(SpecError::Ports)?;
        if self.machine.as_deref().is_some_and(|name| !is_machine_name(name)) {
            return out("machine", format!("{:?}", self.machine), "it must be a name such as `pc-q35-7.2`");
        }
        if let Some(architecture) = self.architecture {
            self.check_architecture(architecture)?;
        }
        if self.folders.len() > folder::MOST_FOLDERS {
            return out("folders", format!("a list of {}", self.folders.len()), "it may have 16");
        }
        for (index, folder) in self.folders.iter().enumerate() {
            if let Some((key, value, rule)) = folder.fault() {
                return out(key, value, rule);
            }
            if self.folders.iter().take(index).any(|before| before.tag == folder.tag) {
                return out("folders.tag", format!("{:?}", folder.tag), "another folder has it already");
            }
        }
        Ok(())
    }
}

impl Spec {
    /// Checks what only one architecture has.
    fn check_architecture(&self, architecture: Architecture) -> Result<(), SpecError> {
        let out = |key, value: String, rule| Err(SpecError::OutOfRange { key, value, rule });
        let other = self.machine.as_deref().filter(|name| {
            Architecture::of_machine(name).is_some_and(|of_machine| of_machine != architecture)
        });
        if let Some(name) = other {
            return out("machine", format!("{name:?}"), "it must be a machine of the VM's `architecture`");
        }
        match architecture {
            Architecture::X86_64 if self.guest == Some(Guest::Macos) => {
                out("architecture", "x86_64".to_owned(), "a macOS guest is `aarch64`")
            }
            Architecture::Aarch64 if self.boot == Boot::Bios => {
                out("boot.firmware", "bios".to_owned(), "only `x86_64` has the PC BIOS")
            }
            Architecture::X86_64 | Architecture::Aarch64 => Ok(()),
        }
    }
}

fn is_machine_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_description_is_a_complete_one() {
        assert_eq!(Spec::read("schema = 1").unwrap(), Spec::default());
    }

    #[test]
    fn what_is_written_reads_back() {
        let spec = Spec {
            guest: Some(Guest::Linux),
            cpus: 4,
            mac_address: Some("06:e8:a3:b0:23:b4".parse().unwrap()),
            network: Network::Isolated,
            ports: vec!["8080:80".parse().unwrap(), "0.0.0.0:5353:53/udp".parse().unwrap()],
            machine: Some("pc-q35-7.2".into()),
            display: Display::None,
            boot: Boot::Kernel {
                kernel: "Kernel".into(),
                initrd: Some("Initrd".into()),
                append: "console=ttyS0 \"quoted\"".into(),
            },
            disks: Some(vec![Disk {
                file: "a,b=\"c\".img".into(),
                format: DiskFormat::Raw,
                read_only: true,
                size: Some(Bytes::gibibytes(20)),
            }]),
            iso: Some("/x.iso".into()),
            folders: vec![
                Folder { tag: "src".into(), path: "/home/me/a \"b\"".into(), read_only: true },
                Folder { tag: "out".into(), path: "/out".into(), read_only: false },
            ],
            origin: Some(Origin { created: "t".into(), by: "b".into(), identity: "fresh".into() }),
            ..Spec::default()
        };
        assert_eq!(Spec::read(&spec.write()).unwrap(), spec);
        insta::assert_snapshot!(spec.write(), @r#"
        schema = 1
        folders = [{ tag = "src", path = '/home/me/a "b"', read_only = true }, { tag = "out", path = "/out" }]
        guest = "linux"
        cpus = 4
        memory = "2GiB"
        mac_address = "06:e8:a3:b0:23:b4"
        network = "isolated"
        ports = ["8080:80", "0.0.0.0:5353:53/udp"]
        machine = "pc-q35-7.2"
        display = "none"
        iso = "/x.iso"

        [boot]
        firmware = "kernel"
        kernel = "Kernel"
        initrd = "Initrd"
        append = 'console=ttyS0 "quoted"'

        [[disks]]
        file = 'a,b="c".img'
        format = "raw"
        read_only = true
        size = "20GiB"

        [origin]
        created = "t"
        by = "b"
        identity = "fresh"
        "#);
    }

    #[test]
    fn the_architecture_is_what_is_written_or_what_it_ran_on_or_the_hosts() {
        use Architecture::{Aarch64, X86_64};
        let spec = |text: &str| Spec::read(&format!("schema = 1\n{text}")).unwrap();
        assert_eq!(spec("").architecture_on(Aarch64), Aarch64);
        assert_eq!(spec("").architecture_on(X86_64), X86_64);
        assert_eq!(spec("machine = 'pc-q35-7.2'").architecture_on(Aarch64), X86_64);
        assert_eq!(spec("machine = 'virt-7.2'").architecture_on(X86_64), Aarch64);
        assert_eq!(spec("architecture = 'aarch64'").architecture_on(X86_64), Aarch64);
        let refused = |text: &str| Spec::read(&format!("schema = 1\n{text}")).unwrap_err().to_string();
        insta::assert_snapshot!(refused("architecture = 'aarch64'\nmachine = 'pc-q35-7.2'"), @r#"`machine` is "pc-q35-7.2"; it must be a machine of the VM's `architecture`"#);
        insta::assert_snapshot!(refused("architecture = 'aarch64'\nboot = { firmware = 'bios' }"), @"`boot.firmware` is bios; only `x86_64` has the PC BIOS");
        insta::assert_snapshot!(refused("architecture = 'x86_64'\nguest = 'macos'"), @"`architecture` is x86_64; a macOS guest is `aarch64`");
    }

    #[test]
    fn folders_have_tags_of_their_own_and_absolute_paths() {
        let refused =
            |text: &str| Spec::read(&format!("schema = 1\nfolders = [{text}]")).unwrap_err().to_string();
        insta::assert_snapshot!(refused("{ tag = 'a b', path = '/x' }"), @r#"`folders.tag` is "a b"; it must be 1 to 31 of the letters a to z and A to Z, digits, `.`, `_` and `-`"#);
        insta::assert_snapshot!(refused("{ tag = 'a', path = 'x' }"), @r#"`folders.path` is "x"; it must be an absolute path"#);
        insta::assert_snapshot!(refused("{ tag = 'a', path = '/x' }, { tag = 'a', path = '/y' }"), @r#"`folders.tag` is "a"; another folder has it already"#);
        let many: Vec<String> = (0..17).map(|n| format!("{{ tag = 't{n}', path = '/x' }}")).collect();
        insta::assert_snapshot!(refused(&many.join(",")), @"`folders` is a list of 17; it may have 16");
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let at = |text: &str| Spec::read(text).unwrap_err().to_string();
        insta::assert_snapshot!(at("schema = 1\ncpu = 2\n"), @"line 2, column 1: unknown field `cpu`, expected one of `schema`, `guest`, `architecture`, `cpus`, `memory`, `mac_address`, `network`, `ports`, `machine`, `display`, `protected`, `autostart`, `ephemeral`, `boot`, `disks`, `iso`, `folders`, `login`, `origin`");
        insta::assert_snapshot!(at("schema = 1\ncpus = 0"), @"`cpus` is 0; it must be 1 to 256");
        insta::assert_snapshot!(at("schema = 2"), @"its schema is 2; this selfsame knows 1");
        insta::assert_snapshot!(at("schema = 1\nmemory = \"100\""), @"`memory` is 100; it must be a whole number of MiB from 32 MiB to 16 TiB; a number without a unit is bytes");
        insta::assert_snapshot!(at("schema = 1\nmemory = \"x\""), @r#"line 2, column 10: "x" is no size: a whole number and KiB, MiB, GiB or TiB are, like 4GiB"#);
        insta::assert_snapshot!(at("schema = 1\nports = [\"80\"]"), @r#"line 2, column 9: "80" leads no port into a guest: `[ADDRESS:]HOST:GUEST[/udp]` is, like 8080:80"#);
        insta::assert_snapshot!(at("schema = 1\nports = [\"80:1\", \"80:2\"]"), @"`ports` cannot be so");
        insta::assert_snapshot!(at("schema = 1\nnetwork = \"bridge\""), @"line 2, column 11: unknown variant `bridge`, expected one of `nat`, `isolated`, `none`");
        insta::assert_snapshot!(at("schema = ["), @"line 1, column 11: unclosed array, expected `]`");
    }
}
