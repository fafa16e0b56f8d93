//! `selfsame identity new`.

use selfsame_host::context::Context;
use selfsame_host::library::fresh_identity;
use selfsame_machine::code::Exit;
use selfsame_machine::identity::{Identity, Kind, parse_prefixed};
use selfsame_machine::problem::Report;

use super::{row, rows};
use crate::cli::{Global, Outcome, usage_problem};
use crate::output::note;

/// Make identities and keep them in the library
///
/// Fresh ones, or the one that a number or UUID asks for.
///
/// Example: selfsame identity new --label mdm-test
///
/// Example: selfsame identity new --macos --ecid 0x5FADE97DCBBBEDA5
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// For Linux guests, by UUID (the rule on this host)
    #[arg(long, conflicts_with = "macos")]
    linux: bool,
    /// For macOS guests, by ECID
    #[arg(long)]
    macos: bool,
    /// The identity with this ECID, decimal or 0x and hexadecimal
    #[arg(long, value_name = "NUMBER", group = "wanted")]
    ecid: Option<String>,
    /// The identity that shows this Provisioning UDID in guests up to macOS 14
    #[arg(long, value_name = "UDID", group = "wanted")]
    provisioning_udid: Option<String>,
    /// The identity with this UUID
    #[arg(long, value_name = "UUID", group = "wanted")]
    uuid: Option<String>,
    /// A serial number cannot be chosen: says why
    #[arg(long, value_name = "SERIAL", group = "wanted", hide = true)]
    serial: Option<String>,
    /// A Hardware UUID cannot be chosen: says why
    #[arg(long, value_name = "UUID", group = "wanted", hide = true)]
    hardware_uuid: Option<String>,
    /// A name for it in the library
    #[arg(long)]
    label: Option<String>,
    /// What there is to know about it
    #[arg(long, value_name = "TEXT", default_value = "")]
    notes: String,
    /// Make so many
    #[arg(short = 'n', long, value_name = "N", default_value = "1", conflicts_with_all = ["wanted", "label"], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
}

pub(super) fn run(context: &Context, global: &Global, arguments: &Arguments) -> Outcome {
    let forms = [
        ("ecid:", &arguments.ecid),
        ("provisioning-udid:", &arguments.provisioning_udid),
        ("uuid:", &arguments.uuid),
        ("serial:", &arguments.serial),
        ("hardware-uuid:", &arguments.hardware_uuid),
    ];
    let wanted = forms.into_iter().find_map(|(prefix, value)| Some(format!("{prefix}{}", value.as_ref()?)));
    let made: Vec<(Identity, &str)> = match &wanted {
        Some(text) => {
            let no_identity = || usage_problem(format!("`{text}` names no identity"));
            vec![(parse_prefixed(text).ok_or_else(no_identity)??, "inverse")]
        }
        None => fresh(arguments)?,
    };
    if arguments.provisioning_udid.is_some() {
        note("note: guests from macOS 15 on show another Provisioning UDID, which belongs to the host");
    }
    if let Some(label) = &arguments.label {
        super::set::check_label(label)?;
    }
    let store = context.store()?;
    let made: Vec<_> = made
        .iter()
        .map(|(identity, origin)| {
            let mut row = row(identity, identity.to_bytes(), origin, wanted.clone());
            row.label.clone_from(&arguments.label);
            row.notes.clone_from(&arguments.notes);
            row
        })
        .collect();
    store.atomically(|store| made.iter().try_for_each(|row| store.identities().insert(row)))?;
    rows(global, &made);
    Ok(Exit::Ok)
}

fn fresh(arguments: &Arguments) -> Result<Vec<(Identity, &'static str)>, Report> {
    let macos = arguments.macos || (cfg!(target_os = "macos") && !arguments.linux);
    let kind = if macos { Kind::Mac } else { Kind::Generic };
    (0..arguments.count).map(|_| Ok(fresh_identity(kind)?)).collect()
}
