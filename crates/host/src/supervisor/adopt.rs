//! Taking over a guest whose supervisor is gone.
//!
//! A process is taken for the guest only if all of this holds: it has the bundle's folder open with a lock (on macOS, which
//! does not tell of single descriptors: it has the locked folder open and is the process of the record), its pid and
//! start time are those of one process throughout, and the monitor in our own `run/` leads to a QEMU with the UUID that
//! the record names. A guest whose state was being written goes on being suspended; one that was left beside a whole
//! state is ended, because the state is what counts. Its end is followed by a handle on the process; how it ends only its parent could tell.

use std::time::Duration;

use rustix::process::Signal;
use selfsame_machine::lifecycle::{Cause, End, ExitStatus, Life, MEMORY};
use selfsame_machine::problem::Report;

use super::launch::Options;
use super::problem::SupervisorError;
use super::record::RunRecord;
use super::start::status;
use super::{Hold, Up};
use crate::backend::AnyBackend;
use crate::files::FileError;
use crate::gate::held_folder;
use crate::lock::FolderLock;
use crate::process::{self, ProcessHandle, ProcessId};
use crate::qemu::arguments::AGENT;
use crate::qemu::guest::Qemu;
use crate::qemu::qmp::{Monitor, RunState};
use crate::state::{consume, summary, tidy, unfinished};

/// How long the orphan's monitor may take to answer.
const GREETING: Duration = Duration::from_secs(5);

impl Hold {
    pub(super) fn adopt(&mut self, options: &Options, folder: &FolderLock) -> Result<Up, Report> {
        let run = self.context.home.run();
        let name = self.context.named(&options.folder);
        let key = folder.key();
        let record = RunRecord::read(&run, self.names).filter(RunRecord::is_of_this_boot);
        let recorded = record.as_ref().and_then(|record| record.qemu).map(|qemu| qemu.pid);
        let holders: Vec<u32> = process::openers(key.device, key.inode)
            .into_iter()
            // Where the kernel does not tell whose descriptor has the lock, only the process of the record may be it.
            .filter(|opener| opener.locked.unwrap_or(recorded == Some(opener.pid)))
            .map(|opener| opener.pid)
            .filter(|pid| *pid != std::process::id())
            .collect();
        let (Some(record), Some(pid)) = (record, holders.first()) else {
            return Err(held_folder(&options.folder, folder).into());
        };
        let not_ours = |reason: String| {
            let holders: Vec<String> = holders.iter().map(|pid| process::describe(*pid)).collect();
            SupervisorError::NotOurs { name: name.clone(), holders: holders.join(", "), reason }
        };
        let id = ProcessId::of(*pid).ok_or_else(|| not_ours("it has just ended".to_owned()))?;
        if record.qemu.is_some_and(|recorded| recorded != id) {
            return Err(not_ours("it is not the process that was started".to_owned()).into());
        }
        let handle = ProcessHandle::open(id).map_err(|error| not_ours(error.to_string()))?;
        let connection = self.sockets.connect(&self.names.monitor()).ok().flatten();
        let connection = connection.ok_or_else(|| not_ours("its monitor cannot be reached".to_owned()))?;
        let mut monitor =
            Monitor::handshake(connection, GREETING).map_err(|error| not_ours(error.to_string()))?;
        let uuid = monitor.uuid(GREETING).map_err(|error| not_ours(error.to_string()))?;
        if uuid != record.qemu_uuid {
            return Err(not_ours(format!("its UUID is {uuid}, not {}", record.qemu_uuid)).into());
        }
        let state = monitor.run_state(GREETING).map_err(|error| not_ours(error.to_string()))?;
        if state == RunState::Prelaunch && !record.paused && summary(&self.folder.pinned()).is_none() {
            // Its supervisor was killed before it let it go: it has run nothing, and the next start makes it anew.
            drop(handle.signal(Signal::KILL));
            return Err(held_folder(&options.folder, folder).into());
        }
        let agent = monitor.is_port_open(AGENT, GREETING).map_err(|error| not_ours(error.to_string()))?;
        self.settle_state(&record, &handle, &state, options, folder)?;
        let record =
            RunRecord { supervisor: ProcessId::own().unwrap_or(record.supervisor), qemu: Some(id), ..record };
        // Losing this writing loses nothing: the next adoption finds the process by its locks.
        drop(record.write(&run, self.names));
        super::chronicle::adopted(&self.context, &record, &name.name);
        let report = self.sockets.connect(&self.names.report()).ok().flatten();
        let report = report.filter(|stream| stream.set_nonblocking(true).is_ok());
        // One that an older selfsame started has no such socket: its console is its log.
        let console = self.sockets.connect(&self.names.console()).ok().flatten();
        let mut guest = Qemu::adopted(id, handle, monitor, &state);
        guest.reach_agent(self.agent(&options.folder));
        let mut life = Life::adopted(state != RunState::Running);
        let here = self.folder.pinned();
        match unfinished(&here) {
            // It was not brought to stand still before its supervisor was gone, and nobody asks for it any more.
            Some(_) if state == RunState::Running => tidy(&here),
            Some(ran) => {
                guest.adopt_save(here.join(MEMORY))?;
                life = Life::suspending(ran);
            }
            None => {}
        }
        let mut notes = vec![format!("took over {name} (QEMU {}), whose supervisor was gone", id.pid)];
        if options.folders.iter().any(|folder| !record.folders.contains(folder)) {
            notes.push("it has the folders that it was started with, and not those of `--dir`".to_owned());
        }
        life.agent = agent;
        Ok(Up {
            life: life.sharing_folders(!record.folders.is_empty()).of_one_run(record.ephemeral),
            guest: AnyBackend::Qemu(Box::new(guest)),
            report,
            console,
            status: status(&record, true, agent),
            record,
            notes,
            passage: None,
        })
    }

    /// A guest that is found beside a whole state has not gone on from it yet, or has left it behind: then its QEMU is
    /// ended, and the state counts. Only one that runs counts for more than the state, which is removed.
    fn settle_state(
        &self,
        record: &RunRecord,
        handle: &ProcessHandle,
        state: &RunState,
        options: &Options,
        folder: &FolderLock,
    ) -> Result<(), Report> {
        let here = self.folder.pinned();
        if summary(&here).is_none() {
            return Ok(());
        }
        if *state == RunState::Running {
            return Ok(consume(&here).map_err(FileError::failed("remove the state in", &options.folder))?);
        }
        let end = End::new(Cause::Suspended, ExitStatus::Unknown);
        let record = RunRecord { ended: Some((end.cause, end.to_string())), ..record.clone() };
        drop(record.write(&self.context.home.run(), self.names));
        drop(handle.signal(Signal::KILL));
        // It is about to give its locks back, which the caller waits for.
        Err(held_folder(&options.folder, folder).into())
    }
}
