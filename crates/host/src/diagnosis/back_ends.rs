//! What runs guests on this host: whether it is there, and may be used.

use selfsame_machine::problem::Report;
#[cfg(target_os = "macos")]
use selfsame_vz::{Unsupported, VzError, entitled, facts};

use super::doctor::{Complaint, HOST, Weight, complaint, from_report};
use crate::context::Context;
use crate::qemu::architecture::Architecture;

/// A Mac runs its guests without QEMU.
const WITHOUT_QEMU: Weight = if cfg!(target_os = "macos") { Weight::Note } else { Weight::Error };
const WITHOUT_FIRMWARE: Weight = if cfg!(target_os = "macos") { Weight::Note } else { Weight::Warning };

/// Checks the back ends of this host.
pub(super) fn check(context: &Context) -> Vec<Complaint> {
    let found = qemu(context);
    #[cfg(target_os = "macos")]
    let found = [framework(), found].concat();
    found
}

/// What would run a guest here, in words.
///
/// # Errors
/// Why nothing would.
#[cfg(not(target_os = "macos"))]
pub(super) fn chosen(context: &Context) -> Result<String, Report> {
    let guest = Architecture::of_new_guests();
    let installation = context.installation(guest)?;
    let choice = context.accelerator(guest, None);
    Ok(format!(
        "QEMU {} at `{}`, {} ({})",
        installation.version,
        installation.binary.display(),
        choice.accelerator.text(),
        choice.reason
    ))
}

/// What would run a guest here, in words.
///
/// # Errors
/// Why nothing would.
#[cfg(target_os = "macos")]
pub(super) fn chosen(_context: &Context) -> Result<String, Report> {
    if let Some(error) = refusal() {
        return Err(error.into());
    }
    Ok(selfsame_vz::EXPERIMENTAL.to_owned())
}

/// Why the framework runs no guest for this program, if it does not.
#[cfg(target_os = "macos")]
fn refusal() -> Option<VzError> {
    if entitled() == Some(false) {
        let program = std::env::current_exe().unwrap_or_else(|_| "selfsame".into());
        return Some(VzError::Unentitled { program });
    }
    (!facts().supported).then_some(VzError::Unsupported(Unsupported::Guests))
}

fn qemu(context: &Context) -> Vec<Complaint> {
    let guest = Architecture::of_new_guests();
    let mut found = Vec::new();
    match context.installation(guest) {
        Ok(installation) if !installation.sandbox => {
            let text = format!("`{}` was built without its sandbox", installation.binary.display());
            found.push(complaint(Weight::Note, HOST, text, Vec::new()));
        }
        Ok(_) => {}
        Err(report) => found.push(from_report(WITHOUT_QEMU, HOST, report)),
    }
    if let Err(error) = context.firmware(guest) {
        found.push(from_report(WITHOUT_FIRMWARE, HOST, error.into()));
    }
    found
}

/// What VMs of another architecture than the host's lack, told only where there are such VMs.
pub(super) fn missing_for(context: &Context, guest: Architecture, vms: &str) -> Vec<Complaint> {
    let qemu = context.installation(guest).err();
    let firmware = context.firmware(guest).err().map(Report::from);
    let missing = qemu.into_iter().chain(firmware);
    missing.map(|report| from_report(Weight::Warning, vms, report)).collect()
}

#[cfg(target_os = "macos")]
fn framework() -> Vec<Complaint> {
    let mut found = vec![complaint(Weight::Note, HOST, selfsame_vz::EXPERIMENTAL, Vec::new())];
    found.extend(refusal().map(|error| from_report(Weight::Error, HOST, error.into())));
    if !facts().saves {
        let error = VzError::Unsupported(Unsupported::SavedState);
        found.push(from_report(Weight::Note, HOST, error.into()));
    }
    found
}
