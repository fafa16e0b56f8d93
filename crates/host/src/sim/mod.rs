//! Guests without a guest: the back end `sim`.
//!
//! It stands behind the same trait, gate, locks, store, driver and protocol as the others, so that what those do can be
//! tried hundreds of times a minute and with every misbehaviour there is. `run --backend sim[:BEHAVIOUR]` chooses it; the
//! option is hidden, since such a VM is of no use to anybody else. **Who may call:** `supervisor::engine`, and tests.
//!
//! ```text
//!  order ─▶ pending ──▶ carried out, an event is told
//!              ▲ at once, or `delay` later, or (`step`) when it is poked
//! ```
//!
//! - The guest lives in its supervisor, as the framework's does, and ends with it: there is nothing to adopt.
//! - One order is carried out after the other, in the order they came. Only a kill overtakes all.
//! - `run/KEY.sim` takes datagrams of one word ([`Poke`]): the next transition (`step`), or what a guest does of itself.
//!   Words that are none are passed over. A datagram to a guest that is gone goes nowhere.
//! - A saved state is a small file with a fixed first line. It goes through the vault as any other.
//! - With neither a delay nor a poke there is no thread and no timer. A delay is a thread that sleeps and rings.

mod error;
#[cfg(test)]
mod tests;

pub use error::SimError;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use selfsame_machine::backend::Backend;
use selfsame_machine::lifecycle::{BackendEvent, ExitStatus, Incident, IncidentKind, Order, Shutdown};
use selfsame_machine::problem::Report;
use selfsame_machine::sim::{Behaviour, Fault};

use crate::files::read_bounded;

/// The first line of a saved state.
const STATE: &str = "selfsame sim 1";
/// No saved state is longer.
const STATE_LIMIT: u64 = 64;
/// No word is longer; of a longer datagram the rest is cut off, which leaves no word.
const WORD: usize = 16;
/// So many datagrams are taken at one look.
const POKES: usize = 64;

/// What happens to a guest from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poke {
    /// The next transition is carried out.
    Step,
    /// It powers itself off.
    PowerOff,
    /// Its kernel panics.
    Panic,
    /// Its machine fails.
    Fail,
    /// It is reset.
    Reset,
    /// From now on it hangs.
    Hang,
}

impl Poke {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Step, Self::PowerOff, Self::Panic, Self::Fail, Self::Reset, Self::Hang];

    /// The word for it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::PowerOff => "power-off",
            Self::Panic => "panic",
            Self::Fail => "fail",
            Self::Reset => "reset",
            Self::Hang => "hang",
        }
    }
}

/// What the guest is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Nothing: it was not started, or has ended.
    Nothing,
    Running,
    Standing,
}

/// What is to be carried out.
#[derive(Debug, Clone)]
enum Transition {
    Ordered(Order),
    Own(Fault),
}

/// A guest that is played.
#[derive(Debug)]
pub struct Sim {
    behaviour: Behaviour,
    doing: Doing,
    pending: VecDeque<Transition>,
    told: Vec<BackendEvent>,
    /// A byte here is a look at [`Backend::take_events`]; one of [`DUE`], that a transition's time has come.
    bell: UnixStream,
    ringer: UnixStream,
    door: Option<UnixDatagram>,
    /// How often its state was saved; the state remembers it.
    saves: u64,
}

/// The time of a transition has come.
const DUE: u8 = b'd';
/// There are events.
const TOLD: u8 = b't';

impl Sim {
    /// A guest that was not started. `door` takes the pokes.
    ///
    /// # Errors
    /// When the kernel refuses a socket.
    pub fn new(behaviour: Behaviour, door: Option<UnixDatagram>) -> Result<Self, SimError> {
        let (bell, ringer) = UnixStream::pair().map_err(SimError::Socket)?;
        let sockets = [bell.set_nonblocking(true), ringer.set_nonblocking(true)];
        sockets.into_iter().collect::<Result<(), _>>().map_err(SimError::Socket)?;
        if let Some(door) = &door {
            door.set_nonblocking(true).map_err(SimError::Socket)?;
        }
        Ok(Self {
            behaviour,
            doing: Doing::Nothing,
            pending: VecDeque::new(),
            told: Vec::new(),
            bell,
            ringer,
            door,
            saves: 0,
        })
    }

    /// How often the guest's state was saved, over all its runs since it was started anew.
    #[must_use]
    pub const fn saves(&self) -> u64 {
        self.saves
    }

    /// Has `events` told again, before anything else.
    pub fn tell_again(&mut self, events: Vec<BackendEvent>) {
        self.told.splice(0..0, events);
        self.ring(TOLD);
    }

    /// Does what comes from outside.
    pub fn poke(&mut self, poke: Poke) {
        match poke {
            Poke::Step if self.behaviour.stepped => self.carry_out(),
            Poke::Step => {}
            Poke::Hang => {
                self.behaviour.faults.insert(Fault::Hang);
            }
            Poke::PowerOff if self.doing == Doing::Running => {
                self.end([BackendEvent::ShutDown(Shutdown::ByGuest)])
            }
            Poke::Panic if self.doing == Doing::Running => self.panic(),
            Poke::Reset if self.doing == Doing::Running => self.tell(BackendEvent::Reset),
            Poke::Fail if self.doing != Doing::Nothing => self.fail(),
            // A guest that stands still does nothing of itself.
            Poke::PowerOff | Poke::Panic | Poke::Reset | Poke::Fail => {}
        }
    }

    fn ring(&self, byte: u8) {
        // A bell that is full is heard as well.
        drop((&self.ringer).write(&[byte]));
    }

    fn tell(&mut self, event: BackendEvent) {
        self.told.push(event);
        self.ring(TOLD);
    }

    /// Has a transition carried out when its time comes.
    fn plan(&mut self, transition: Transition) -> Result<(), SimError> {
        self.pending.push_back(transition);
        if self.behaviour.stepped {
            return Ok(());
        }
        if self.behaviour.delay.is_zero() {
            self.carry_out();
            return Ok(());
        }
        let ringer = self.ringer.try_clone().map_err(SimError::Socket)?;
        let delay = self.behaviour.delay;
        let wait = move || {
            std::thread::sleep(delay);
            drop((&ringer).write(&[DUE]));
        };
        let thread = std::thread::Builder::new().name("delay".to_owned()).spawn(wait);
        thread.map(drop).map_err(SimError::Thread)
    }

    /// Carries out the transition that has waited longest.
    fn carry_out(&mut self) {
        match self.pending.pop_front() {
            Some(Transition::Ordered(order)) => self.obey(order),
            Some(Transition::Own(Fault::Panic)) if self.doing == Doing::Running => self.panic(),
            Some(Transition::Own(Fault::End)) if self.doing == Doing::Running => {
                self.end([BackendEvent::ShutDown(Shutdown::ByGuest)]);
            }
            Some(Transition::Own(_)) | None => {}
        }
    }

    fn obey(&mut self, order: Order) {
        let hangs = self.behaviour.has(Fault::Hang) && self.doing != Doing::Nothing;
        match order {
            Order::Start { paused } => self.start(paused),
            Order::Restore { from } => self.restore(&from),
            Order::Kill => self.end([]),
            Order::Save { .. } | Order::Pause | Order::Resume | Order::PowerDown(_) | Order::CutPower
                if hangs || self.doing == Doing::Nothing => {}
            Order::Save { to } => self.save(&to),
            Order::Pause => {
                if self.doing == Doing::Running {
                    self.doing = Doing::Standing;
                    self.tell(BackendEvent::Paused);
                }
            }
            Order::Resume => {
                if self.doing == Doing::Standing {
                    self.doing = Doing::Running;
                    self.tell(BackendEvent::Resumed);
                }
            }
            Order::PowerDown(_) => {
                if self.doing == Doing::Running && !self.behaviour.has(Fault::NoPowerDown) {
                    self.end([BackendEvent::ShutDown(Shutdown::ByGuest)]);
                }
            }
            Order::CutPower => self.end([]),
        }
    }

    fn start(&mut self, paused: bool) {
        if self.behaviour.has(Fault::FailStart) {
            return self.tell(BackendEvent::StartFailed(Box::new(SimError::Told.into())));
        }
        if self.behaviour.has(Fault::HangStart) {
            return;
        }
        self.doing = if paused { Doing::Standing } else { Doing::Running };
        self.tell(BackendEvent::Ready { paused });
        for fault in [Fault::Panic, Fault::End] {
            if self.behaviour.has(fault)
                && let Err(error) = self.plan(Transition::Own(fault))
            {
                let incident = Incident { kind: IncidentKind::Order, what: error.to_string() };
                self.tell(BackendEvent::Incident(incident));
            }
        }
    }

    fn restore(&mut self, from: &Path) {
        match read_state(from) {
            Ok(saves) => {
                self.saves = saves;
                self.start(true);
            }
            Err(error) => self.tell(BackendEvent::StartFailed(Box::new(error.into()))),
        }
    }

    fn save(&mut self, to: &Path) {
        let saved = if self.behaviour.has(Fault::FailSave) {
            Err(SimError::Told)
        } else {
            let text = format!("{STATE}\n{}\n", self.saves + 1);
            let written = File::create_new(to).and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|source| SimError::State { path: to.to_owned(), source })
        };
        match saved {
            Ok(()) => {
                self.saves += 1;
                self.tell(BackendEvent::Saved);
            }
            Err(error) => self.tell(BackendEvent::SaveFailed(Box::new(Report::from(error)))),
        }
    }

    fn panic(&mut self) {
        self.end([BackendEvent::Panicked, BackendEvent::ShutDown(Shutdown::ByPanic)]);
    }

    fn fail(&mut self) {
        let incident = Incident { kind: IncidentKind::Machine, what: "it was told to fail".to_owned() };
        self.told.push(BackendEvent::Incident(incident));
        self.finish(ExitStatus::Failed);
    }

    /// The guest is gone, after it has told these.
    fn end(&mut self, last: impl IntoIterator<Item = BackendEvent>) {
        self.told.extend(last);
        self.finish(ExitStatus::Unknown);
    }

    fn finish(&mut self, status: ExitStatus) {
        self.doing = Doing::Nothing;
        self.pending.clear();
        self.tell(BackendEvent::Exited(status));
    }

    /// Looks at the bell and the door.
    fn look(&mut self) {
        let mut bytes = [0; 256];
        while let Ok(count @ 1..) = self.bell.read(&mut bytes) {
            let due = bytes.iter().take(count).filter(|byte| **byte == DUE).count();
            (0..due).for_each(|_| self.carry_out());
        }
        for _ in 0..POKES {
            let mut word = [0; WORD];
            let Some(Ok(count)) = self.door.as_ref().map(|door| door.recv(&mut word)) else { break };
            let said = word.get(..count).unwrap_or_default().trim_ascii();
            let poke = Poke::ALL.into_iter().find(|poke| poke.text().as_bytes() == said);
            poke.into_iter().for_each(|poke| self.poke(poke));
        }
    }
}

/// Reads how often the guest of a state was saved.
fn read_state(path: &Path) -> Result<u64, SimError> {
    let failed = |source| SimError::State { path: path.to_owned(), source };
    let text = read_bounded(path, STATE_LIMIT).map_err(|error| failed(std::io::Error::other(error)))?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let saves = (lines.next() == Some(STATE)).then(|| lines.next()?.parse().ok()).flatten();
    saves.ok_or_else(|| SimError::Damaged { path: PathBuf::from(path) })
}

impl Backend for Sim {
    type Error = SimError;

    fn order(&mut self, order: Order) -> Result<(), SimError> {
        if order == Order::Kill {
            self.obey(order);
            return Ok(());
        }
        self.plan(Transition::Ordered(order))
    }

    fn take_events(&mut self) -> Vec<BackendEvent> {
        self.look();
        // What the look brought has rung once more; a look too many finds nothing.
        std::mem::take(&mut self.told)
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let door = self.door.iter().map(|door| door.as_fd());
        std::iter::once(self.bell.as_fd()).chain(door).collect()
    }
}
