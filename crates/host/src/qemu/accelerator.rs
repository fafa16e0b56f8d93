//! What runs the guest's instructions: the processor, or a translator.
//!
//! **The rule** ([`choose`], pure): a guest of another architecture than the host's is translated, since there is no other
//! way. Else what is configured is used as it is. Otherwise hardware is used only where it is sure
//! to work, because a guest under a wrong accelerator does not fail, it just never boots. That `/dev/kvm` opens is not
//! enough: a host that is itself a paravirtualised guest (seen: Linux 6.18 with `CONFIG_KVM_PVM`) opens it, runs the
//! firmware, and gives up in the kernel after a minute. So on x86 the processor must have `vmx` or `svm`, too.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};

use serde::{Deserialize, Serialize};

use super::architecture::Architecture;

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// QEMU's translator: everywhere, for every architecture, slow.
    Tcg,
    /// Linux's hypervisor.
    Kvm,
    /// macOS's hypervisor.
    Hvf,
}

impl Accelerator {
    /// QEMU's word.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
            Self::Hvf => "hvf",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text())
    }
}

/// What is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// By the rule.
    #[default]
    Auto,
    /// The translator.
    Tcg,
    /// KVM, whatever the rule says.
    Kvm,
    /// HVF, whatever the rule says.
    Hvf,
}

/// The operating system, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Linux.
    Linux,
    /// macOS.
    MacOs,
    /// Any other.
    Other,
}

/// What happened when `/dev/kvm` was opened for reading and writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvmDevice {
    /// It opened.
    Opens,
    /// It does not exist.
    Missing,
    /// This user may not open it.
    Forbidden,
    /// It failed otherwise.
    Fails,
}

/// What the rule depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The operating system.
    pub system: System,
    /// The host's architecture, when it is one that we know.
    pub host: Option<Architecture>,
    /// Whether KVM's device opens.
    pub kvm: KvmDevice,
    /// Whether the processor has `vmx` or `svm`; meaningful on x86 only.
    pub virtualization_flag: bool,
}

impl Facts {
    /// Asks this host.
    #[must_use]
    pub fn gather() -> Self {
        let system = match std::env::consts::OS {
            "linux" => System::Linux,
            "macos" => System::MacOs,
            _ => System::Other,
        };
        let kvm = match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
            Ok(_) => KvmDevice::Opens,
            Err(error) if error.kind() == ErrorKind::NotFound => KvmDevice::Missing,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => KvmDevice::Forbidden,
            Err(_) => KvmDevice::Fails,
        };
        Self { system, host: Architecture::of_host(), kvm, virtualization_flag: has_flag(&first_processor()) }
    }
}

/// The first 64 kB of `/proc/cpuinfo`: its first processor, without reading those of a large machine.
fn first_processor() -> String {
    let mut text = Vec::new();
    match File::open("/proc/cpuinfo").and_then(|file| file.take(64 * 1024).read_to_end(&mut text)) {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

fn has_flag(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.trim() == "flags")
        .any(|(_, flags)| flags.split_ascii_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

/// Why an accelerator was chosen; its `Display` is a clause for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The configuration says so.
    Configured,
    /// The host offers it.
    Offered,
    /// The guest's architecture is not the host's.
    Foreign {
        /// The guest's.
        guest: Architecture,
    },
    /// `/dev/kvm` does not exist.
    NoDevice,
    /// `/dev/kvm` may not be opened.
    Forbidden,
    /// `/dev/kvm` does not open.
    DeviceFails,
    /// `/dev/kvm` opens, but the processor has neither `vmx` nor `svm`.
    NoFlag,
    /// No hypervisor is known for this operating system.
    NoHypervisor,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => formatter.write_str("it is configured"),
            Self::Offered => formatter.write_str("this host offers it"),
            Self::Foreign { guest } => write!(formatter, "this host cannot run {guest} instructions itself"),
            Self::NoDevice => formatter.write_str("/dev/kvm does not exist"),
            Self::Forbidden => formatter.write_str("this user may not open /dev/kvm"),
            Self::DeviceFails => formatter.write_str("/dev/kvm does not open"),
            Self::NoFlag => {
                formatter.write_str("/dev/kvm opens, but the processor shows neither vmx nor svm")
            }
            Self::NoHypervisor => formatter.write_str("no hypervisor is known for this operating system"),
        }
    }
}

/// The accelerator and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// Why this one.
    pub reason: Reason,
}

/// Applies the rule.
#[must_use]
pub fn choose(request: Request, guest: Architecture, facts: &Facts) -> Choice {
    let configured = |accelerator| Choice { accelerator, reason: Reason::Configured };
    // Whatever is configured: there is no other way, and that it is slow must have its reason.
    if facts.host != Some(guest) {
        return Choice { accelerator: Accelerator::Tcg, reason: Reason::Foreign { guest } };
    }
    match request {
        Request::Tcg => configured(Accelerator::Tcg),
        Request::Kvm => configured(Accelerator::Kvm),
        Request::Hvf => configured(Accelerator::Hvf),
        Request::Auto => match hypervisor(guest, facts) {
            Ok(accelerator) => Choice { accelerator, reason: Reason::Offered },
            Err(reason) => Choice { accelerator: Accelerator::Tcg, reason },
        },
    }
}

fn hypervisor(guest: Architecture, facts: &Facts) -> Result<Accelerator, Reason> {
    match facts.system {
        System::MacOs => Ok(Accelerator::Hvf),
        System::Other => Err(Reason::NoHypervisor),
        System::Linux => match facts.kvm {
            KvmDevice::Missing => Err(Reason::NoDevice),
            KvmDevice::Forbidden => Err(Reason::Forbidden),
            KvmDevice::Fails => Err(Reason::DeviceFails),
            KvmDevice::Opens => match guest {
                Architecture::X86_64 if !facts.virtualization_flag => Err(Reason::NoFlag),
                Architecture::X86_64 | Architecture::Aarch64 => Ok(Accelerator::Kvm),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PC: Facts = Facts {
        system: System::Linux,
        host: Some(Architecture::X86_64),
        kvm: KvmDevice::Opens,
        virtualization_flag: true,
    };

    fn auto(facts: Facts) -> (Accelerator, Reason) {
        let choice = choose(Request::Auto, Architecture::X86_64, &facts);
        (choice.accelerator, choice.reason)
    }

    #[test]
    fn hardware_is_used_only_where_it_is_sure_to_work() {
        use Accelerator::{Hvf, Kvm, Tcg};
        assert_eq!(auto(PC), (Kvm, Reason::Offered));
        assert_eq!(auto(Facts { virtualization_flag: false, ..PC }), (Tcg, Reason::NoFlag));
        assert_eq!(auto(Facts { kvm: KvmDevice::Missing, ..PC }), (Tcg, Reason::NoDevice));
        assert_eq!(auto(Facts { kvm: KvmDevice::Forbidden, ..PC }), (Tcg, Reason::Forbidden));
        assert_eq!(auto(Facts { kvm: KvmDevice::Fails, ..PC }), (Tcg, Reason::DeviceFails));
        assert_eq!(auto(Facts { system: System::MacOs, ..PC }), (Hvf, Reason::Offered));
        assert_eq!(auto(Facts { system: System::Other, ..PC }), (Tcg, Reason::NoHypervisor));
        for host in [Some(Architecture::Aarch64), None] {
            assert_eq!(auto(Facts { host, ..PC }), (Tcg, Reason::Foreign { guest: Architecture::X86_64 }));
        }
    }

    #[test]
    fn a_foreign_guest_is_translated_whatever_is_configured() {
        for request in [Request::Auto, Request::Tcg, Request::Kvm, Request::Hvf] {
            let choice = choose(request, Architecture::Aarch64, &PC);
            assert_eq!(choice.accelerator, Accelerator::Tcg);
            assert_eq!(choice.reason.to_string(), "this host cannot run aarch64 instructions itself");
        }
    }

    #[test]
    fn arm_has_no_flag_to_ask_for() {
        let facts = Facts { host: Some(Architecture::Aarch64), virtualization_flag: false, ..PC };
        assert_eq!(choose(Request::Auto, Architecture::Aarch64, &facts).accelerator, Accelerator::Kvm);
    }

    #[test]
    fn what_is_configured_is_used() {
        let nothing =
            Facts { system: System::Other, kvm: KvmDevice::Missing, virtualization_flag: false, ..PC };
        for (request, accelerator) in [
            (Request::Tcg, Accelerator::Tcg),
            (Request::Kvm, Accelerator::Kvm),
            (Request::Hvf, Accelerator::Hvf),
        ] {
            let expected = Choice { accelerator, reason: Reason::Configured };
            assert_eq!(choose(request, Architecture::X86_64, &nothing), expected);
        }
    }

    #[test]
    fn flags_are_whole_words_of_the_right_line() {
        assert!(has_flag("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(has_flag("flags : svm"));
        assert!(!has_flag("flags : fpu svml avmx\nvmx flags : vmx\nmodel name : vmx"));
        assert!(!has_flag(""));
    }

    #[test]
    fn this_host_can_be_asked() {
        assert_eq!(Facts::gather().host, Architecture::of_host());
    }
}
