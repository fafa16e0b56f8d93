//! `selfsame` alone: three lines.

use selfsame_host::context::Context;
use selfsame_host::library::list;
use selfsame_host::time::Time;
use selfsame_machine::code::Exit;

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
    data(&crate::report::printable(&format!(
        "{} of {} VMs run: {runs}\nslots: Linux guests need none; this host starts as many as it has memory for\nnext: {next} (all commands: selfsame --help)\n",
        live.len(),
        vms.len(),
    )));
    Ok(Exit::Ok)
}
