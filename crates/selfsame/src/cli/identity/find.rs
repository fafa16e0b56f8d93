//! `selfsame identity find`.

use selfsame_host::context::Context;
use selfsame_host::store::IdentityRow;
use selfsame_machine::code::{Code, Exit};
use selfsame_machine::identity::Identity;
use selfsame_machine::problem::{Hint, Report};

use super::rows;
use crate::cli::{Global, Outcome};

/// Find identities by anything that they are, show or were called
///
/// Looks for the text in the identity, label, notes, predicted values (Hardware UUID, Provisioning UDID, serial, product
/// UUID) and in what guests showed.
///
/// Example: selfsame identity find mdm
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The text, or a part of it
    text: String,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let store = context.store_for_reading()?;
    let wanted = arguments.text.to_lowercase();
    let mut found: Vec<IdentityRow> = Vec::new();
    for row in store.identities().list(None)? {
        let own = [Some(&row.canonical), row.label.as_ref(), Some(&row.notes), row.origin_detail.as_ref()];
        let hit = own.into_iter().flatten().any(|text| text.to_lowercase().contains(&wanted))
            || row.canonical.parse::<Identity>().is_ok_and(|identity| predicts(&identity, &wanted))
            || store
                .observations()
                .of(&row.digest, 5)?
                .iter()
                .any(|observation| observation.first.facts.to_string().to_lowercase().contains(&wanted));
        if hit {
            found.push(row);
        }
    }
    if found.is_empty() {
        return Err(Report {
            code: Code::IdentityNotFound,
            message: format!("no identity in the library is, shows or is called `{}`", arguments.text),
            causes: Vec::new(),
            hints: vec![Hint::run("see what there is", "selfsame identity list")],
        });
    }
    rows(global, &found);
    Ok(Exit::Ok)
}

fn predicts(identity: &Identity, wanted: &str) -> bool {
    let predicted = identity.predictions();
    [
        predicted.provisioning_udid,
        predicted.hardware_uuid,
        predicted.smbios_serial,
        predicted.product_uuid,
        predicted.serial,
    ]
    .into_iter()
    .filter_map(|prediction| prediction.value)
    .any(|value| value.to_lowercase().contains(wanted))
}
