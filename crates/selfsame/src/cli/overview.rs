//! `selfsame` alone: three lines.

use selfsame_host::context::Context;
use selfsame_host::library::list;
use selfsame_host::quota::Quota;
use selfsame_host::time::Time;
use selfsame_machine::code::Exit;
use selfsame_machine::spec::Guest;

use super::Outcome;
use crate::output::data;

pub(super) fn run(context: &Context) -> Outcome {
    let vms = list(context, Time::now())?;
    let live: Vec<&str> =
        vms.iter().filter(|vm| vm.state.is_live()).map(|vm| vm.facts.name.as_str()).collect();
    let runs = if live.is_empty() { "nothing".to_owned() } else { live.join(", ") };
    let next = match (vms.is_empty(), live.first()) {
        (true, _) => "selfsame create NAME --disk IMAGE".to_owned(),
        (false, None) => "selfsame list; selfsame run -d NAME".to_owned(),
        (false, Some(name)) => format!("selfsame get {name}; selfsame stop {name}"),
    };
    let quota = Quota::look(context, Guest::Linux);
    let slots = match quota.limit {
        None => "Linux guests need none; this host starts as many as it has memory for".to_owned(),
        Some(limit) => format!("{} of {limit} for Linux guests are taken", quota.taken.len()),
    };
    data(&crate::report::printable(&format!(
        "{} of {} VMs run: {runs}\nslots: {slots}\nnext: {next} (all commands: selfsame --help)\n",
        live.len(),
        vms.len(),
    )));
    Ok(Exit::Ok)
}
