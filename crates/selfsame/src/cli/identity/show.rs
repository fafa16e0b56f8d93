//! `selfsame identity show`.

use std::ffi::OsString;

use selfsame_host::context::Context;
use selfsame_host::library::resolve;
use selfsame_machine::code::Exit;
use selfsame_machine::identity::{Prediction, Shown};

use crate::cli::{Global, Outcome};
use crate::output::{Format, data, json, note, observation, pairs};

/// So many observations are shown.
const OBSERVATIONS: u32 = 20;

/// Show an identity: what it is, what guests will show, what they showed
///
/// Example: selfsame identity show uuid:db087d0b-d366-40bc-809b-969690dcbe1e
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// uuid:…, ecid:…, provisioning-udid:…, a library id, a label, a VM's name, a path, or base64 text
    #[arg(value_name = "ARG")]
    argument: OsString,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let known = resolve(context, &arguments.argument)?;
    let store = context.store_for_reading()?;
    let observed = store.observations().of(&known.identity.digest().to_string(), OBSERVATIONS)?;
    let mut shown = Shown::new(&known.identity, Some(&known.raw), known.findings);
    if let Some(row) = known.row {
        shown.label = row.label;
        shown.notes = Some(row.notes).filter(|notes| !notes.is_empty());
        shown.origin = Some(row.origin);
        shown.first_seen = Some(row.first_seen.to_string());
    }
    shown.observed = observed.iter().map(observation).collect();
    if global.quiet {
        data(&format!("{}\n", shown.canonical));
        return Ok(Exit::Ok);
    }
    if global.format == Format::Json {
        json(&shown);
        return Ok(Exit::Ok);
    }
    let mut lines = vec![("identity", shown.canonical.clone()), ("digest", shown.digest.to_string())];
    let known = [
        ("label", &shown.label),
        ("notes", &shown.notes),
        ("origin", &shown.origin),
        ("first seen", &shown.first_seen),
    ];
    lines.extend(known.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
    let predicted = &shown.predicted;
    let predictions = [
        ("Provisioning UDID", &predicted.provisioning_udid),
        ("Hardware UUID", &predicted.hardware_uuid),
        ("SMBIOS serial", &predicted.smbios_serial),
        ("product UUID", &predicted.product_uuid),
        ("serial", &predicted.serial),
    ];
    lines.extend(predictions.into_iter().map(|(key, prediction)| (key, told(prediction))));
    for observation in &observed {
        let facts = &observation.first.facts;
        let fact = |key: &str| facts.get(key).and_then(|value| value.as_str()).unwrap_or("-").to_owned();
        lines.push((
            "observed",
            format!(
                "{}: product UUID {}, serial {}",
                observation.last_seen.to_seconds(),
                fact("product_uuid"),
                fact("product_serial")
            ),
        ));
        for contradiction in observation.first.contradictions.as_array().into_iter().flatten() {
            let part =
                |key: &str| contradiction.get(key).and_then(|value| value.as_str()).unwrap_or("-").to_owned();
            lines.push((
                "CONTRADICTED",
                format!("{}: predicted {}, observed {}", part("what"), part("predicted"), part("observed")),
            ));
        }
    }
    data(&pairs(&lines));
    for finding in &shown.findings {
        note(&format!("note: byte {}: {}", finding.offset, finding.message));
    }
    Ok(Exit::Ok)
}

fn told(prediction: &Prediction) -> String {
    match &prediction.value {
        Some(value) => format!("{value} ({}: {})", prediction.confidence, prediction.reason),
        None => format!("- ({})", prediction.reason),
    }
}
