//! `why`: the steps of a start, walked in order without taking anything.

use std::path::Path;

use selfsame_machine::network::Wish;
use selfsame_machine::problem::{Hint, Problem, Report};
use serde::Serialize;

use crate::bundle::Bundle;
use crate::context::Context;
use crate::evidence::{Observer, flock_holders};
use crate::gate::{TwinState, in_the_way, is_held, twins_of};
use crate::library::VmState;
use crate::lock::{Subject, is_claimed, noted_holder};
use crate::process::describe;
use crate::quota::Quota;
use crate::reach::ports;
use crate::time::Time;

/// What was found at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Nothing stands in the way.
    Free,
    /// The VM itself is there: it runs.
    Own,
    /// Something stands in the way.
    Blocked,
    /// It cannot be told.
    Unknown,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The number of the step in a run.
    pub step: u8,
    /// What it is about.
    pub about: &'static str,
    /// What was found.
    pub finding: Finding,
    /// The same for people.
    pub text: String,
}

/// A whole walk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Walk {
    /// The state's word.
    pub state: String,
    /// The steps in order.
    pub rows: Vec<Row>,
    /// What to do.
    pub hints: Vec<Hint>,
}

impl Walk {
    /// Whether a start would be refused, or might be.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.rows.iter().any(|row| matches!(row.finding, Finding::Blocked | Finding::Unknown))
    }
}

/// Walks the steps of a start of the VM in `folder`.
///
/// # Errors
/// When the bundle cannot be read, or the kernel or the library cannot be asked.
pub fn walk(context: &Context, folder: &Path, now: Time) -> Result<Walk, Report> {
    let bundle = Bundle::read(folder)?;
    let digest = bundle.identity.digest();
    let asked = |error| crate::files::FileError::failed("ask about", folder)(error);
    let state = VmState::ask(context, bundle.key, Some(&digest)).map_err(asked)?.in_folder(folder);
    let runs = state.is_live();
    let mut walk = Walk { state: state.text().to_owned(), rows: Vec::new(), hints: Vec::new() };
    walk.supervisor(&bundle, &state);
    if !runs {
        walk.ports(context, &bundle);
    }
    let mut row = |step, about, finding, text| walk.rows.push(Row { step, about, finding, text });

    let holders: Vec<String> =
        flock_holders(bundle.key.device, bundle.key.inode).into_iter().map(describe).collect();
    match (is_held(folder), runs) {
        (false, _) => row(1, "bundle", Finding::Free, "nobody holds the folder".to_owned()),
        (true, true) => row(1, "bundle", Finding::Own, format!("held by this VM: {}", holders.join(", "))),
        (true, false) => row(1, "bundle", Finding::Blocked, format!("held by {}", or_unseen(&holders))),
    }

    if let Err(error) = crate::folders::of_run(&context.home, &bundle.spec.folders, &[]) {
        row(1, "folders", Finding::Blocked, error.to_string());
    }

    let claims = [
        (2, "identity", Subject::Identity(digest), bundle.identity.to_string()),
        (3, "MAC address", Subject::Mac(bundle.mac_address()), bundle.mac_address().to_string()),
    ];
    for (step, about, subject, value) in claims {
        let held = is_claimed(context.lock_path(), &subject).map_err(asked)?;
        let note = noted_holder(context.lock_path(), &subject);
        let holder = note.filter(|note| Path::new(&note.folder) != bundle.folder);
        match (held, runs, holder) {
            (false, _, _) => row(step, about, Finding::Free, format!("nobody runs {value}")),
            (true, true, _) => row(step, about, Finding::Own, format!("{value} is held by this VM")),
            (true, false, Some(note)) => row(
                step,
                about,
                Finding::Blocked,
                format!("{value} is held by the VM in `{}` (supervisor {})", note.folder, note.pid),
            ),
            (true, false, None) => {
                row(step, about, Finding::Blocked, format!("{value} is held by another VM"))
            }
        }
    }

    let store = context.store_for_reading()?;
    let (twins, unreadable) = twins_of(context, &store, &bundle, now)?;
    if twins.is_empty() {
        row(4, "twins", Finding::Free, "no other VM with this identity is known".to_owned());
    }
    let held = is_claimed(context.lock_path(), &Subject::Identity(digest)).map_err(asked)? && !runs;
    let holder = noted_holder(context.lock_path(), &Subject::Identity(digest)).filter(|_| held);
    for twin in twins {
        let path = twin.folder.display();
        if holder.as_ref().is_some_and(|note| Path::new(&note.folder) == twin.folder) {
            row(4, "twins", Finding::Blocked, format!("`{path}` runs under selfsame"));
            continue;
        }
        match twin.state {
            TwinState::Free => row(4, "twins", Finding::Free, format!("no process uses a file of `{path}`")),
            TwinState::Absent => row(4, "twins", Finding::Free, format!("`{path}` is gone")),
            TwinState::InUse(sign) => {
                row(4, "twins", Finding::Blocked, format!("`{path}` is in use: {sign}"))
            }
            TwinState::Unknown(reason) => {
                row(4, "twins", Finding::Unknown, format!("`{path}` cannot be asked about: {reason}"));
            }
        }
    }
    if unreadable > 0 {
        row(4, "twins", Finding::Free, format!("{unreadable} VM(s) could not be read; `doctor` names them"));
    }
    let mut observer = Observer::default();
    for file in bundle.written_files() {
        match (in_the_way(observer.used(&file, &[])), runs) {
            (Some(sign), true) => row(4, "disks", Finding::Own, sign),
            (Some(sign), false) => row(4, "disks", Finding::Blocked, sign),
            (None, _) => {}
        }
    }
    drop(store);
    walk.slot(context, &bundle, runs);
    walk.backend(context);
    if walk.is_blocked() && !runs {
        walk.hints.push(Hint::say("end what stands in the way, and run it again"));
    }
    Ok(walk)
}

impl Walk {
    fn supervisor(&mut self, bundle: &Bundle, state: &VmState) {
        let name = &bundle.name;
        let (finding, text) = match state {
            VmState::Stopped => (Finding::Free, "no supervisor: it is not running".to_owned()),
            VmState::Suspended(_) => (
                Finding::Free,
                "no supervisor: it is suspended, and a start compares it with its state first".to_owned(),
            ),
            VmState::Supervised(status) => {
                (Finding::Own, format!("{name} is {} (supervisor {})", status.phase, status.supervisor_pid))
            }
            VmState::Orphaned { pid } => {
                let command = format!("selfsame run -d {}", selfsame_machine::problem::shell_word(name));
                self.hints.push(Hint::run("take it over; the guest goes on undisturbed", command));
                let pid = pid.map(|pid| format!(" ({})", describe(pid))).unwrap_or_default();
                (Finding::Own, format!("its guest runs{pid}, but its supervisor is gone"))
            }
            VmState::Silent(error) => {
                self.hints.extend(error.hints());
                (Finding::Blocked, error.to_string())
            }
            VmState::Foreign => (
                Finding::Blocked,
                "another user's supervisor, or one of another SELFSAME_HOME, drives it".to_owned(),
            ),
        };
        self.rows.push(Row { step: 0, about: "supervisor", finding, text });
    }

    /// A row only where `vm.toml` names a port.
    fn ports(&mut self, context: &Context, bundle: &Bundle) {
        let Ok(connection) = Wish::default().of(bundle.spec.network, &bundle.spec.ports) else { return };
        if connection.ports.iter().all(|port| port.port == 0) {
            return;
        }
        let (finding, text) = match ports::check(context, &context.named(&bundle.folder), &connection.ports) {
            Ok(()) => (Finding::Free, "nobody has the ports that are to lead into it".to_owned()),
            Err(error) => {
                self.hints.extend(error.hints());
                (Finding::Blocked, error.to_string())
            }
        };
        self.rows.push(Row { step: 0, about: "ports", finding, text });
    }

    /// A row only where a limit is set.
    fn slot(&mut self, context: &Context, bundle: &Bundle, runs: bool) {
        let quota = Quota::look(context, bundle.guest());
        let Some(limit) = quota.limit else { return };
        let full = u32::try_from(quota.taken.len()).is_ok_and(|taken| taken >= limit);
        let finding = match (runs, full) {
            (true, _) => Finding::Own,
            (false, true) => Finding::Blocked,
            (false, false) => Finding::Free,
        };
        let text =
            format!("{} of {limit} slots for {} guests are taken", quota.taken.len(), quota.guest.text());
        self.rows.push(Row { step: 5, about: "slot", finding, text });
    }

    fn backend(&mut self, context: &Context) {
        let (finding, text) = match super::back_ends::chosen(context) {
            Ok(text) => (Finding::Free, text),
            Err(report) => {
                self.hints.extend(report.hints);
                (Finding::Blocked, report.message)
            }
        };
        self.rows.push(Row { step: 7, about: "back end", finding, text });
    }
}

fn or_unseen(holders: &[String]) -> String {
    if holders.is_empty() { "a process that this user may not see".to_owned() } else { holders.join(", ") }
}
