//! A random sequence of requests and misbehaviours through the real driver, its socket and its vault, beside a small model
//! that knows nothing of how it is done.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use selfsame_machine::lifecycle::{Cause, IncidentKind};
use selfsame_machine::network::Network;
use selfsame_machine::sim::{Behaviour, Fault};

use super::*;
use crate::lock::FolderLock;
use crate::sim::{Poke, Sim};
use crate::state::Made;
use crate::supervisor::protocol::{Call, PROTOCOL};

/// What is asked for, and what happens to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Ask(Request),
    Poke(Poke),
}

/// Where the model thinks that the VM stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Stopped,
    Starting,
    Running,
    Paused,
    Stopping,
    Suspending,
    Ending(Cause),
    Ended(Cause),
}

impl Place {
    const fn text(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Suspending => "suspending",
            Self::Ending(_) => "ending",
            Self::Ended(_) => "ended",
        }
    }
}

/// The reference.
#[derive(Debug)]
struct Model {
    place: Place,
    behaviour: Behaviour,
    /// Whether the guest's processors run, as the guest itself knows it.
    computes: bool,
}

impl Model {
    fn has(&self, fault: Fault) -> bool {
        self.behaviour.has(fault)
    }

    fn hangs(&self) -> bool {
        self.has(Fault::Hang)
    }

    fn apply(&mut self, op: Op) {
        self.place = match op {
            Op::Ask(request) => self.ask(request),
            Op::Poke(poke) => self.poke(poke),
        };
        match self.place {
            Place::Running => self.computes = true,
            // One that hangs does not go on to hear of its power button.
            Place::Stopping => self.computes |= !self.hangs(),
            Place::Paused | Place::Stopped | Place::Starting => self.computes = false,
            Place::Suspending | Place::Ending(_) | Place::Ended(_) => {}
        }
    }

    fn ask(&self, request: Request) -> Place {
        let place = self.place;
        match (request, place) {
            (Request::Start { paused }, Place::Stopped) => self.start(paused),
            (Request::Pause, Place::Running) if !self.hangs() => Place::Paused,
            (Request::Resume, Place::Paused) if !self.hangs() => Place::Running,
            (Request::Suspend, Place::Running | Place::Paused) if self.hangs() => Place::Suspending,
            (Request::Suspend, Place::Running | Place::Paused) if self.has(Fault::FailSave) => place,
            (Request::Suspend, Place::Running | Place::Paused) => Place::Ended(Cause::Suspended),
            (Request::Stop { timeout_ms }, Place::Running | Place::Paused | Place::Stopping) => {
                match (self.hangs(), self.has(Fault::NoPowerDown), timeout_ms) {
                    (false, false, _) => Place::Ended(Cause::Requested),
                    (false, true, 0) => Place::Ended(Cause::Forced),
                    (true, _, 0) => Place::Ending(Cause::Forced),
                    (_, _, _) => Place::Stopping,
                }
            }
            (Request::Kill, Place::Ending(cause)) => Place::Ended(cause),
            (
                Request::Kill,
                Place::Starting | Place::Running | Place::Paused | Place::Stopping | Place::Suspending,
            ) => Place::Ended(Cause::Killed),
            (_, _) => place,
        }
    }

    fn start(&self, paused: bool) -> Place {
        if self.has(Fault::FailStart) {
            Place::Ended(Cause::StartFailed)
        } else if self.has(Fault::HangStart) {
            Place::Starting
        } else if paused {
            Place::Paused
        } else if self.has(Fault::Panic) {
            Place::Ended(Cause::Panic)
        } else if self.has(Fault::End) {
            Place::Ended(Cause::Guest)
        } else {
            Place::Running
        }
    }

    fn poke(&mut self, poke: Poke) -> Place {
        let up = !matches!(self.place, Place::Stopped | Place::Starting | Place::Ended(_));
        let ended = |cause| match self.place {
            Place::Ending(decided) => Place::Ended(decided),
            Place::Stopped
            | Place::Starting
            | Place::Running
            | Place::Paused
            | Place::Stopping
            | Place::Suspending
            | Place::Ended(_) => Place::Ended(cause),
        };
        match poke {
            Poke::Hang => {
                self.behaviour.faults.insert(Fault::Hang);
                self.place
            }
            Poke::PowerOff if self.computes && self.place == Place::Stopping => ended(Cause::Requested),
            Poke::PowerOff if self.computes => ended(Cause::Guest),
            Poke::Panic if self.computes => ended(Cause::Panic),
            Poke::Fail if up => ended(Cause::Crashed),
            Poke::Step | Poke::Reset | Poke::PowerOff | Poke::Panic | Poke::Fail => self.place,
        }
    }
}

/// A library that remembers only what must not be forgotten.
#[derive(Default)]
struct Notes {
    incidents: usize,
    state_failures: usize,
}

impl Chronicle for Notes {
    fn reported(&mut self, _report: GuestReport) {}
    fn changed(&mut self, _phase: &Phase, _request: Option<&Request>) {}
    fn happened(&mut self, incident: &Incident) {
        assert_eq!(incident.kind, IncidentKind::Machine);
        self.incidents += 1;
    }
    fn state_failed(&mut self, _why: &Report) {
        self.state_failures += 1;
    }
    fn failed(&mut self, what: &dyn selfsame_machine::problem::Problem) {
        panic!("an order was not handed over: {what}");
    }
}

/// One connection to the driver.
struct Talk(BufReader<UnixStream>);

impl Talk {
    fn to(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut talk = Self(BufReader::new(stream));
        assert!(talk.line().unwrap().contains("protocol"));
        talk
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        matches!(self.0.read_line(&mut line), Ok(1..)).then_some(line)
    }

    /// `None` when the driver has come to its end meanwhile.
    fn call(&mut self, want: Want) -> Option<Reply> {
        let mut line = serde_json::to_string(&Call { protocol: PROTOCOL, want }).unwrap();
        line.push('\n');
        self.0.get_mut().write_all(line.as_bytes()).ok()?;
        loop {
            match serde_json::from_str(&self.line()?).unwrap() {
                // What came of an earlier suspend is told to whoever asked for it, whenever it comes.
                Reply::Failed(_) => {}
                reply @ (Reply::Status(_)
                | Reply::Answer(_)
                | Reply::Ended(_)
                | Reply::Refused(_)
                | Reply::Attached
                | Reply::Picture { .. }) => return Some(reply),
            }
        }
    }

    fn phase(&mut self) -> String {
        match self.call(Want::Status) {
            Some(Reply::Status(status)) => status.phase,
            Some(other) => panic!("{other:?}"),
            None => "ended".to_owned(),
        }
    }
}

fn made() -> Made {
    Made {
        identity: "uuid:0".to_owned(),
        folder: "0-0".to_owned(),
        host: None,
        machine: String::new(),
        mac_address: String::new(),
        network: Network::Nat,
        display: String::new(),
        devices: 0,
        cpus: 1,
        memory: 1,
        accelerator: "sim".to_owned(),
        qemu: None,
        disks: Vec::new(),
    }
}

fn status() -> Status {
    Status {
        phase: String::new(),
        supervisor_pid: 0,
        backend_pid: None,
        adopted: false,
        identity: String::new(),
        accelerator: String::new(),
        accelerator_reason: String::new(),
        machine: String::new(),
        started: String::new(),
        folders: Vec::new(),
        network: None,
        agent: false,
    }
}

/// Plays the sequence, and compares after each step.
fn play(behaviour: &Behaviour, ops: &[Op]) {
    let root = tempfile::tempdir().unwrap();
    let (socket, door, folder) =
        (root.path().join("sock"), root.path().join("door"), root.path().join("web1.vm"));
    std::fs::create_dir(&folder).unwrap();
    let guest = Sim::new(behaviour.clone(), Some(UnixDatagram::bind(&door).unwrap())).unwrap();
    let (signals, _kept) = UnixStream::pair().unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let doors = Doors { listener, report: None, console: None, signals, bond: None };
    let vault = Vault::new(FolderLock::open(&folder).unwrap(), Some(made()));
    let on_signal = Request::Stop { timeout_ms: 0 };
    let pictures = Pictures::new(root.path().to_owned(), false);
    let driver = Driver::new(Life::new(), guest, doors, status(), on_signal, vault, pictures);
    let driver = std::thread::spawn(move || {
        let mut notes = Notes::default();
        (driver.run(&mut notes).end, notes)
    });
    let poke = UnixDatagram::unbound().unwrap();
    let mut talk = Talk::to(&socket);
    let mut model = Model { place: Place::Stopped, behaviour: behaviour.clone(), computes: false };
    let mut ops = ops.to_vec();
    // Whatever happened, it can be ended.
    ops.extend([Op::Ask(Request::Start { paused: false }), Op::Ask(Request::Kill)]);
    for (index, op) in ops.iter().enumerate() {
        let before = model.place;
        model.apply(*op);
        match op {
            Op::Ask(request) => match talk.call(Want::Request(*request)) {
                Some(Reply::Answer(Answer::Denied { .. } | Answer::AlreadySo)) => {
                    let same = model.place == before;
                    assert!(same, "{op:?} was not taken up, and the model says {:?}", model.place);
                }
                Some(Reply::Answer(Answer::Accepted)) | None => {}
                Some(other) => panic!("{other:?}"),
            },
            Op::Poke(word) => drop(poke.send_to(word.text().as_bytes(), &door)),
        }
        if matches!(model.place, Place::Ended(_)) {
            break;
        }
        let began = Instant::now();
        loop {
            let phase = talk.phase();
            if phase == model.place.text() {
                break;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "after {:?}: it is {phase}, and the model says {:?}",
                &ops[..=index],
                model.place
            );
        }
    }
    let began = Instant::now();
    while !driver.is_finished() {
        assert!(began.elapsed() < Duration::from_secs(20), "{behaviour} {ops:?}: it goes on, and {model:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    let (end, notes) = driver.join().unwrap();
    let Place::Ended(cause) = model.place else { panic!("the model has not come to an end: {model:?}") };
    assert_eq!(end.cause, cause, "{behaviour} {ops:?}");
    assert_eq!(
        folder.join("State").exists(),
        cause == Cause::Suspended,
        "a state is there whole or not at all"
    );
    assert!(!folder.join("State.new").exists(), "nothing half is left");
    let failed = ops.contains(&Op::Poke(Poke::Fail));
    assert!(notes.incidents == 0 || failed);
    assert!(notes.state_failures == 0 || behaviour.has(Fault::FailSave) || behaviour.has(Fault::Hang));
}

fn any_op() -> impl Strategy<Value = Op> {
    let ask = prop_oneof![
        Just(Request::Start { paused: false }),
        Just(Request::Start { paused: true }),
        Just(Request::Pause),
        Just(Request::Resume),
        Just(Request::Suspend),
        Just(Request::Stop { timeout_ms: 3_600_000 }),
        Just(Request::Stop { timeout_ms: 0 }),
        Just(Request::Kill),
    ];
    let poke = proptest::sample::select(&Poke::ALL[1..]);
    prop_oneof![6 => ask.prop_map(Op::Ask), 1 => poke.prop_map(Op::Poke)]
}

fn any_behaviour() -> impl Strategy<Value = Behaviour> {
    // Those that end a start are rare, or nothing else would ever be seen.
    let faults = proptest::collection::vec(proptest::sample::select(Fault::ALL), 0..3);
    prop_oneof![
        2 => Just(Behaviour::default()),
        1 => faults.prop_map(|faults| Behaviour { faults: faults.into_iter().collect(), ..Behaviour::default() })
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_and_whatever_happens_the_driver_does_as_the_model_says(
        behaviour in any_behaviour(),
        ops in proptest::collection::vec(any_op(), 1..14),
        paused: bool,
    ) {
        let mut all = vec![Op::Ask(Request::Start { paused })];
        all.extend(ops);
        play(&behaviour, &all);
    }
}
