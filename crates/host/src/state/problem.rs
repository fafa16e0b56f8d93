//! Why a VM cannot be suspended, or cannot go on from its state.

use std::fmt;
use std::io;
use std::path::PathBuf;

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem};

use crate::bundle::Named;

/// One thing in which a VM is not what its state was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The identity.
    Identity,
    /// The folder: this one is a copy, or came from a backup.
    Folder,
    /// The computer.
    Host,
    /// The machine type.
    Machine,
    /// The set of devices that this selfsame gives to each guest.
    Devices,
    /// The address of the network card.
    MacAddress,
    /// To whom the network card leads.
    Network,
    /// The number of processors.
    Cpus,
    /// The size of the memory.
    Memory,
    /// The screen.
    Display,
    /// What runs the guest's instructions.
    Accelerator,
    /// QEMU, which is older now.
    Version,
    /// Which disks it has.
    Disks,
    /// Folders of the host, which it had none of.
    Folders,
    /// A disk's file: gone, another one, or with another size or time of its last change.
    Disk {
        /// The file, as `vm.toml` names it.
        file: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Identity => "identity",
            Self::Folder => "folder",
            Self::Host => "computer",
            Self::Machine => "machine type",
            Self::Devices => "set of devices",
            Self::MacAddress => "MAC address",
            Self::Network => "network",
            Self::Cpus => "number of processors",
            Self::Memory => "memory",
            Self::Display => "display",
            Self::Accelerator => "accelerator",
            Self::Version => "version of QEMU",
            Self::Disks => "disks",
            Self::Folders => "list of shared folders",
            Self::Disk { file } => return write!(formatter, "disk `{file}`"),
        })
    }
}

/// A VM cannot be suspended, or cannot go on from its state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is not what its state was made with.
    #[error("{name} cannot go on from its state: its {what} was {saved} then, and is {now} now")]
    Mismatch {
        /// The VM.
        name: Named,
        /// What differs.
        what: Difference,
        /// What it was when the VM was suspended.
        saved: String,
        /// What it is now.
        now: String,
    },
    /// A file of the state is missing, or is not what was written.
    #[error("the state of {name} is damaged: `{}`: {why}", path.display())]
    Damaged {
        /// The VM.
        name: Named,
        /// The file.
        path: PathBuf,
        /// What is wrong, a clause about the file.
        why: String,
    },
    /// The back end did not take a state whose bytes are what was written.
    #[error("{name} could not go on from its state: {}", output.last().map_or("QEMU said nothing", String::as_str))]
    NotTaken {
        /// The VM.
        name: Named,
        /// The last lines that it wrote.
        output: Vec<String>,
    },
    /// What the guest was started with was not written down: an older selfsame started it.
    #[error("an older selfsame started this guest, and did not write down what a state needs")]
    NotDescribed,
    /// The state cannot be written.
    #[error("cannot write the state: `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Problem for StateError {
    fn code(&self) -> Code {
        match self {
            Self::Mismatch { .. } => Code::StateMismatch,
            Self::Damaged { .. } => Code::StateDamaged,
            Self::NotTaken { .. } => Code::VmStartFailed,
            Self::NotDescribed => Code::RequestDenied,
            Self::File { .. } => Code::FileFailed,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Mismatch { name, what, saved, .. } => vec![remedy(name, what, saved), discard(name)],
            Self::Damaged { name, .. } => {
                let restore = Hint::say("put the VM's folder back from a backup that has the state whole");
                vec![restore, discard(name)]
            }
            Self::NotTaken { name, .. } => {
                vec![
                    Hint::run("see all that QEMU said", format!("selfsame get {}", name.word)),
                    discard(name),
                ]
            }
            Self::NotDescribed => vec![Hint::say("stop it and run it again")],
            Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => vec![Hint::say(
                "the state takes up to as much room as the guest has memory: make room on that volume",
            )],
            Self::File { .. } => Vec::new(),
        }
    }
}

fn discard(name: &Named) -> Hint {
    Hint::run(
        "or throw the state away and start anew, as after a power cut",
        format!("selfsame suspend --discard {}", name.word),
    )
}

fn remedy(name: &Named, what: &Difference, saved: &str) -> Hint {
    match what {
        Difference::Identity => Hint::say(format!("put back the `MachineIdentifier` of {saved}")),
        Difference::Folder => Hint::say(
            "run the VM in the folder that was suspended: this one is a copy, or came from a backup",
        ),
        Difference::Host => Hint::say("run it on the computer on which it was suspended"),
        Difference::Machine => Hint::say(format!("write `machine = \"{saved}\"` into vm.toml again")),
        Difference::Devices => {
            Hint::say("let it go on with the selfsame that suspended it, and shut it down there")
        }
        Difference::MacAddress => {
            Hint::run("give it that one again", format!("selfsame set --mac-address {saved} {}", name.word))
        }
        Difference::Network => {
            Hint::run("run it with that one", format!("selfsame run --net {saved} {}", name.word))
        }
        Difference::Cpus => Hint::say(format!("write `cpus = {saved}` into vm.toml again")),
        Difference::Memory => Hint::say(format!("write `memory = \"{saved}\"` into vm.toml again")),
        Difference::Display => {
            Hint::run("give it that one again", format!("selfsame set --display {saved} {}", name.word))
        }
        Difference::Accelerator => {
            Hint::run("run it with that one", format!("selfsame run --accel {saved} {}", name.word))
        }
        Difference::Version => {
            Hint::say(format!("install QEMU {saved} or newer, or name it in `qemu.binary`"))
        }
        Difference::Disks => Hint::say(format!("give it the same disks again: {saved}")),
        Difference::Folders => {
            Hint::say("run it without `--dir`; `set --no-dir` takes those of vm.toml away")
        }
        Difference::Disk { .. } => Hint::say(
            "put the disk back as it was: the guest remembers what it had read of it, and would damage another",
        ),
    }
}
