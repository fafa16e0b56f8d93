//! `doctor`: what is wrong with this host and its VMs.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use selfsame_machine::architecture::Architecture;
use selfsame_machine::identity::Severity;
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};
use serde::Serialize;

use super::back_ends;
use crate::bundle::{Bundle, name_of};
use crate::context::Context;
use crate::library::{VmState, folders_in};
use crate::lock::PlaceSource;
use crate::supervisor::{RunNames, RunRecord};

/// What complaints about no VM are about.
pub(super) const HOST: &str = "host";

/// How much a complaint weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Good to know.
    Note,
    /// It works, and may surprise.
    Warning,
    /// It does not work.
    Error,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Complaint {
    /// How much it weighs.
    pub weight: Weight,
    /// What it is about: a VM's name, or `host`.
    pub about: String,
    /// What was found.
    pub text: String,
    /// What to do.
    pub hints: Vec<Hint>,
}

pub(super) fn complaint(weight: Weight, about: &str, text: impl Into<String>, hints: Vec<Hint>) -> Complaint {
    Complaint { weight, about: about.to_owned(), text: text.into(), hints }
}

pub(super) fn from_report(weight: Weight, about: &str, report: Report) -> Complaint {
    let text = std::iter::once(report.message).chain(report.causes).collect::<Vec<_>>().join(": ");
    complaint(weight, about, text, report.hints)
}

/// Checks what all VMs of this host need.
#[must_use]
pub fn check_host(context: &Context) -> Vec<Complaint> {
    let mut found = Vec::new();
    match context.store_for_reading() {
        Ok(store) => match store.check() {
            Ok(problems) => found.extend(problems.into_iter().map(|text| {
                complaint(Weight::Error, HOST, format!("the library is damaged: {text}"), Vec::new())
            })),
            Err(error) => found.push(from_report(Weight::Error, HOST, error.into())),
        },
        Err(error) => found.push(from_report(Weight::Error, HOST, error.into())),
    }
    if let Err(error) = context.locks() {
        found.push(from_report(Weight::Error, HOST, error.into()));
    }
    if context.lock_source() == PlaceSource::Environment {
        let text = format!(
            "SELFSAME_LOCK_DIR moves the locks to `{}`: VMs started without it are not seen",
            context.lock_path().display()
        );
        found.push(complaint(
            Weight::Warning,
            HOST,
            text,
            vec![Hint::run("go back", "unset SELFSAME_LOCK_DIR")],
        ));
    }
    found.extend(back_ends::check(context));
    found.extend(orphans(context));
    found
}

/// Guests whose supervisor is gone, and records of runs whose end nobody saw.
fn orphans(context: &Context) -> Vec<Complaint> {
    let run = context.home.run();
    let Ok(entries) = std::fs::read_dir(&run) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(key) =
            name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|key| key.parse().ok())
        else {
            continue;
        };
        let Some(record) = RunRecord::read(&run, RunNames(key)) else { continue };
        let folder = record.folder();
        let vm = name_of(&folder);
        let word = shell_word(&vm).into_owned();
        match VmState::ask(
            context,
            key,
            record.identity.parse().ok().map(|id: selfsame_machine::identity::Identity| id.digest()).as_ref(),
        ) {
            Ok(VmState::Orphaned { .. }) => found.push(complaint(
                Weight::Warning,
                &vm,
                "its guest runs, but its supervisor is gone",
                vec![Hint::run(
                    "take it over; the guest goes on undisturbed",
                    format!("selfsame run -d {word}"),
                )],
            )),
            Ok(VmState::Stopped) => found.push(complaint(
                Weight::Note,
                &vm,
                "its last run ended while no supervisor watched; the next run closes the books",
                Vec::new(),
            )),
            Ok(VmState::Silent(error)) => {
                found.push(complaint(Weight::Error, &vm, error.to_string(), error.hints()))
            }
            Ok(VmState::Supervised(_) | VmState::Suspended(_) | VmState::Foreign) | Err(_) => {}
        }
    }
    found
}

/// Checks every VM of the home, and what they share that they should not.
#[must_use]
pub fn check_vms(context: &Context) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut by_identity: HashMap<String, Vec<String>> = HashMap::new();
    let mut by_mac: HashMap<String, Vec<(String, String)>> = HashMap::new();
    let mut foreign: BTreeMap<&'static str, (Architecture, Vec<String>)> = BTreeMap::new();
    for folder in folders_in(&context.home.vms()) {
        found.extend(check_vm(&folder));
        if let Ok(bundle) = Bundle::read(&folder) {
            let architecture = bundle.architecture();
            if architecture != Architecture::of_new_guests() && cfg!(target_os = "linux") {
                let (_, names) = foreign.entry(architecture.text()).or_insert((architecture, Vec::new()));
                names.push(bundle.name.clone());
            }
            let identity = bundle.identity.canonical();
            by_mac
                .entry(bundle.mac_address().to_string())
                .or_default()
                .push((bundle.name.clone(), identity.clone()));
            by_identity.entry(identity).or_default().push(bundle.name);
        }
    }
    for (architecture, names) in foreign.into_values() {
        found.extend(back_ends::missing_for(context, architecture, &names.join(", ")));
    }
    for (identity, names) in by_identity.into_iter().filter(|(_, names)| names.len() > 1) {
        found.push(complaint(
            Weight::Warning,
            &names.join(", "),
            format!("twins: they share {identity}, and never run at the same time"),
            Vec::new(),
        ));
    }
    // Twins share their address as a matter of course; strangers that do so only by mistake.
    for (mac, vms) in by_mac {
        let strangers =
            vms.iter().any(|(_, identity)| vms.first().is_some_and(|(_, first)| first != identity));
        if strangers {
            let names: Vec<String> = vms.into_iter().map(|(name, _)| name).collect();
            found.push(complaint(
                Weight::Warning,
                &names.join(", "),
                format!("they share the MAC address {mac}, and cannot run at the same time"),
                vec![Hint::say("give each another `mac_address` in its vm.toml")],
            ));
        }
    }
    found.sort_by(|a, b| (&a.about, &a.text).cmp(&(&b.about, &b.text)));
    found
}

/// Checks one bundle.
#[must_use]
pub fn check_vm(folder: &Path) -> Vec<Complaint> {
    let name = name_of(folder);
    let bundle = match Bundle::read(folder) {
        Ok(bundle) => bundle,
        Err(error) => return vec![from_report(Weight::Error, &name, error.into())],
    };
    let mut found: Vec<Complaint> = bundle
        .identifier
        .findings
        .iter()
        .map(|finding| {
            let weight = match finding.severity {
                Severity::Note => Weight::Note,
                Severity::Warning => Weight::Warning,
                Severity::Error => Weight::Error,
            };
            complaint(
                weight,
                &name,
                format!("MachineIdentifier, byte {}: {}", finding.offset, finding.message),
                Vec::new(),
            )
        })
        .collect();
    let disks = bundle.disks();
    if disks.is_empty() && bundle.spec.disks.is_none() {
        found.push(complaint(Weight::Warning, &name, "it has no disk", Vec::new()));
    }
    found.extend(bundle.spec.folders.iter().filter(|folder| !Path::new(&folder.path).is_dir()).map(
        |folder| {
            let text = format!("its folder `{}` is not there: `{}`", folder.tag, folder.path);
            let word = shell_word(&name).into_owned();
            let hint = Hint::run("run it without its folders", format!("selfsame set --no-dir {word}"));
            complaint(Weight::Warning, &name, text, vec![hint])
        },
    ));
    let kernel = match &bundle.spec.boot {
        selfsame_machine::spec::Boot::Kernel { kernel, initrd, .. } => {
            std::iter::once(kernel).chain(initrd).map(PathBuf::from).collect()
        }
        selfsame_machine::spec::Boot::Uefi | selfsame_machine::spec::Boot::Bios => Vec::new(),
    };
    let files = disks.into_iter().map(|disk| (PathBuf::from(disk.file), !disk.read_only));
    let files = files.chain(kernel.into_iter().map(|file| (file, false)));
    for (file, written) in files.chain(bundle.spec.iso.iter().map(|iso| (PathBuf::from(iso), false))) {
        found.extend(check_file(&name, &bundle.folder.join(file), written));
    }
    found
}

fn check_file(name: &str, path: &Path, written: bool) -> Option<Complaint> {
    let look = || vec![Hint::run("look at it", format!("ls -ld {}", shell_word(&path.to_string_lossy())))];
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Some(complaint(Weight::Error, name, format!("`{}`: {error}", path.display()), look()));
        }
    };
    if !metadata.is_file() {
        return Some(complaint(
            Weight::Error,
            name,
            format!("`{}` is no plain file", path.display()),
            look(),
        ));
    }
    let access = if written { rustix::fs::Access::WRITE_OK } else { rustix::fs::Access::READ_OK };
    if rustix::fs::access(path, access).is_err() {
        let text = format!("`{}` may not be {}", path.display(), if written { "written" } else { "read" });
        return Some(complaint(Weight::Error, name, text, look()));
    }
    if metadata.nlink() > 1 && written {
        let text = format!("`{}` has {} names: another VM may write it", path.display(), metadata.nlink());
        return Some(complaint(Weight::Warning, name, text, look()));
    }
    None
}
