//! Agents that no guest can be brought to be, played by a thread at a real socket.

use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use selfsame_machine::agent::{Exec, ExecStatus, LINE_LIMIT, Request};
use selfsame_machine::code::Code;
use selfsame_machine::problem::Problem as _;
use serde_json::{Value, json};

use super::*;
use crate::bundle::Named;
use crate::lock::FolderKey;
use crate::supervisor::RunNames;

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(10);

/// A folder with a socket, its lock, and nobody behind it.
struct Place {
    folder: tempfile::TempDir,
    names: RunNames,
    listener: UnixListener,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let names = RunNames(FolderKey { device: 1, inode: 2 });
    let listener = UnixListener::bind(folder.path().join(names.agent())).unwrap();
    std::fs::write(folder.path().join(names.agent_lock()), b"").unwrap();
    Place { folder, names, listener }
}

impl Place {
    fn door(&self) -> Door {
        let name = Named { name: "web1".into(), word: "web1".into() };
        Door::open(self.folder.path(), self.names, name).unwrap()
    }

    /// Plays one connection after the other, as QEMU lets them through, for as long as the test runs. A busy host takes more
    /// of them for the same: what a command's first exchange is too short for is asked in others.
    fn play(&self, play: impl Fn(&UnixStream) + Send + 'static) {
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(|stream| play(&stream.unwrap())));
    }
}

/// Reads one request; `None` when the other side has gone.
fn request(reader: &mut impl std::io::BufRead) -> Option<Value> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok().filter(|count| *count > 0)?;
    let line = line.strip_prefix(b"\xff").unwrap_or(&line);
    Some(serde_json::from_slice(line).unwrap())
}

fn say(mut stream: &UnixStream, value: &Value) {
    // The other side may have had enough.
    drop(stream.write_all(format!("{value}\n").as_bytes()));
}

/// Answers synchronisations well, and all else as told; `None` is silence.
fn serve(stream: &UnixStream, answer: impl Fn(&Value) -> Option<Value>) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = request(&mut reader) {
        if asked["execute"] == "guest-sync-delimited" {
            drop((&mut { stream }).write_all(b"\xff"));
            say(stream, &json!({ "return": asked["arguments"]["id"] }));
        } else if let Some(answer) = answer(&asked) {
            say(stream, &answer);
        }
    }
}

fn exec() -> Exec {
    Exec { program: "true".into(), capture: true, ..Exec::default() }
}

fn run(door: &Door) -> Result<Execution, AgentError> {
    execute(door, exec(), Some(SOON))
}

/// An agent whose commands end at once.
fn well(asked: &Value) -> Option<Value> {
    Some(match asked["execute"].as_str().unwrap() {
        "guest-exec" => json!({ "return": { "pid": 12 } }),
        _ => json!({ "return": { "exited": true, "exitcode": 3, "out-data": "aGkK" } }),
    })
}

#[test]
fn a_command_runs_in_one_exchange_after_what_was_left_for_others() {
    let place = place();
    place.play(|stream| {
        let mut stale = stream;
        stale.write_all(b"turn\": {}}\n\xff{\"return\": 1}\n{\"return\": {\"pid\": 666}}\n").unwrap();
        serve(stream, well);
    });
    let Execution::Ended(ExecStatus::Ended { status, output, .. }) = run(&place.door()).unwrap() else {
        panic!("it ended");
    };
    assert_eq!((status, output.as_slice()), (3, &b"hi\n"[..]));
}

#[test]
fn a_long_command_leaves_others_their_turn() {
    let place = place();
    let looks = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = looks.clone();
    let connections = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let listener = place.listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            serve(&stream.unwrap(), |asked| {
                if asked["execute"] == "guest-exec" {
                    return Some(json!({ "return": { "pid": 12 } }));
                }
                // Its end is known at the twelfth look, after about two seconds.
                let ended = seen.fetch_add(1, Ordering::Relaxed) > 12;
                Some(json!({ "return": { "exited": ended, "exitcode": 0 } }))
            });
        }
    });
    let (door, other) = (place.door(), place.door());
    std::thread::scope(|scope| {
        let long = scope.spawn(|| run(&door));
        std::thread::sleep(Duration::from_millis(300));
        let asked = Session::begin(&other, Some(SOON)).unwrap().ask(&Request::Ping, LINE_LIMIT);
        assert!(asked.is_ok(), "{asked:?}");
        assert!(!long.is_finished(), "it was heard in between");
        assert!(matches!(long.join().unwrap(), Ok(Execution::Ended(_))));
    });
    assert!(connections.load(Ordering::Relaxed) > 4, "each look is an exchange of its own");
}

#[test]
fn a_lying_agent_is_not_believed() {
    let lies = [
        json!({ "return": { "pid": "12" } }),
        json!({ "return": [] }),
        json!({ "return": { "exited": true, "exitcode": 0 } }),
        json!(null),
        json!({ "pid": 12 }),
    ];
    for lie in lies {
        let place = place();
        let told = lie.clone();
        place.play(move |stream| serve(stream, |_| Some(told.clone())));
        let error = run(&place.door()).unwrap_err();
        assert_eq!(error.code(), Code::AgentProtocol, "{lie}: {error}");
    }
    // A command that it began, and whose end is a lie, or another's.
    for (end, code) in [
        (json!({ "return": { "exited": true } }), Code::AgentProtocol),
        (json!({ "return": { "exited": true, "exitcode": 256 } }), Code::AgentProtocol),
        (json!({ "return": { "exited": true, "exitcode": 0, "out-data": "?" } }), Code::AgentProtocol),
        (
            json!({ "error": { "class": "GenericError", "desc": "Invalid parameter 'pid'" } }),
            Code::AgentRefused,
        ),
    ] {
        let place = place();
        let told = end.clone();
        place.play(move |stream| {
            serve(
                stream,
                |asked| if asked["execute"] == "guest-exec" { well(asked) } else { Some(told.clone()) },
            );
        });
        let error = run(&place.door()).unwrap_err();
        assert_eq!(error.code(), code, "{end}: {error}");
    }
}

#[test]
fn an_agent_that_answers_with_the_number_of_another_is_not_heard() {
    let place = place();
    place.play(|stream| {
        let mut reader = BufReader::new(stream);
        while request(&mut reader).is_some() {
            drop((&mut { stream }).write_all(b"\xff{\"return\": 4711}\n{\"return\": {\"pid\": 1}}\n"));
        }
    });
    let began = Instant::now();
    let error = Session::begin(&place.door(), Some(Duration::from_millis(300))).unwrap_err();
    assert_eq!(error.code(), Code::AgentSilent, "{error}");
    assert!(began.elapsed() < SOON);
}

#[test]
fn a_hanging_agent_costs_the_time_that_was_given() {
    let place = place();
    let limit = Duration::from_millis(300);
    // Before the command is begun, and after.
    place.play(|stream| drop((&mut { stream }).read_to_end(&mut Vec::new())));
    assert_eq!(execute(&place.door(), exec(), Some(limit)).unwrap(), Execution::TimedOut { pid: None });
    let place = self::place();
    place.play(|stream| serve(stream, |asked| well(asked).filter(|_| asked["execute"] == "guest-exec")));
    assert_eq!(execute(&place.door(), exec(), Some(limit)).unwrap(), Execution::TimedOut { pid: Some(12) });
    // It says a byte now and then: that is no reason to wait longer.
    let place = self::place();
    place.play(|stream| {
        while (&mut { stream }).write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let began = Instant::now();
    let error = Session::begin(&place.door(), Some(limit)).unwrap_err();
    assert!(matches!(error, AgentError::Silent { .. }) && began.elapsed() < SOON, "{error:?}");
}

#[test]
fn a_flooding_agent_is_given_up() {
    let place = place();
    place.play(|stream| {
        let mut reader = BufReader::new(stream);
        let asked = request(&mut reader).unwrap();
        drop((&mut { stream }).write_all(b"\xff"));
        say(stream, &json!({ "return": asked["arguments"]["id"] }));
        // No line of it ends.
        while (&mut { stream }).write_all(&[b'x'; 4096]).is_ok() {}
    });
    let error = run(&place.door()).unwrap_err();
    assert!(matches!(error, AgentError::Nonsense { .. }), "{error:?}");
    let place = self::place();
    place.play(|stream| while (&mut { stream }).write_all(&[b'\n'; 1 << 16]).is_ok() {});
    let error = execute(&place.door(), exec(), Some(Duration::from_secs(60))).unwrap_err();
    assert!(matches!(error, AgentError::Nonsense { .. }), "{error:?}");
}

#[test]
fn an_agent_that_goes_in_between_is_told_so() {
    let place = place();
    place.play(|stream| {
        let mut reader = BufReader::new(stream);
        drop(request(&mut reader));
    });
    let error = run(&place.door()).unwrap_err();
    assert!(matches!(error, AgentError::Closed { .. }), "{error:?}");
    let place = self::place();
    // The socket is there, and nobody behind it; then no socket; then no guest with a port.
    let door = place.door();
    let Place { folder, names, listener } = place;
    drop(listener);
    assert!(matches!(run(&door), Err(AgentError::None { .. })));
    std::fs::remove_file(folder.path().join(names.agent())).unwrap();
    assert!(matches!(run(&door), Err(AgentError::None { .. })));
    std::fs::remove_file(folder.path().join(names.agent_lock())).unwrap();
    assert!(matches!(run(&door), Err(AgentError::None { .. })));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "a late caller leaves nothing behind");
}

#[test]
fn two_never_talk_at_once() {
    let place = place();
    // Mixed bytes would be no JSON, which the player asserts; an exchange that is not whole would not be served to its end.
    place.play(|stream| serve(stream, well));
    let doors: Vec<Door> = (0..8).map(|_| place.door()).collect();
    std::thread::scope(|scope| {
        let all: Vec<_> = doors.iter().map(|door| scope.spawn(|| run(door))).collect();
        for one in all {
            let ended = one.join().unwrap();
            assert!(matches!(ended, Ok(Execution::Ended(ExecStatus::Ended { status: 3, .. }))), "{ended:?}");
        }
    });
}

fn hear(power_down: &mut PowerDown) -> Heard {
    let began = Instant::now();
    while began.elapsed() < SOON {
        match power_down.hear() {
            Heard::Nothing => std::thread::sleep(Duration::from_millis(2)),
            heard @ (Heard::It | Heard::Refusal(_) | Heard::Over) => return heard,
        }
    }
    panic!("nothing was heard");
}

#[test]
fn a_supervisor_never_waits_for_an_agent() {
    let quickly = |what: &str, work: &mut dyn FnMut()| {
        let began = Instant::now();
        work();
        assert!(began.elapsed() < Duration::from_millis(500), "{what}: {:?}", began.elapsed());
    };
    // Nobody accepts.
    let place = place();
    let door = place.door();
    quickly("a silent one", &mut || {
        let mut told = PowerDown::begin(&door).unwrap();
        assert_eq!(told.hear(), Heard::Nothing);
        // And whoever else wants to talk to it has to wait.
        assert!(matches!(PowerDown::begin(&door), Err(AgentError::Busy { .. })));
    });
    // As many wait as the kernel lets.
    let mut waiting = Vec::new();
    while let Ok(Some(stream)) =
        crate::socket::SocketFolder::open(place.folder.path()).unwrap().connect_now(&place.names.agent())
    {
        waiting.push(stream);
        assert!(waiting.len() < 10_000, "the queue has no end");
    }
    quickly("a full queue", &mut || {
        assert!(matches!(PowerDown::begin(&door), Err(AgentError::Busy { .. })));
    });
    // One that floods is read a little at a time, and given up.
    let place = self::place();
    place.play(|stream| while (&mut { stream }).write_all(&[b'x'; 1 << 16]).is_ok() {});
    let mut told = PowerDown::begin(&place.door()).unwrap();
    quickly("a flood", &mut || drop(told.hear()));
    assert_eq!(hear(&mut told), Heard::Over);
    drop(told);
}

#[test]
fn what_the_agent_says_to_its_orders_is_heard() {
    let place = place();
    place.play(|stream| {
        serve(stream, |asked| {
            assert_eq!(*asked, json!({ "execute": "guest-shutdown", "arguments": { "mode": "powerdown" } }));
            None
        })
    });
    let mut told = PowerDown::begin(&place.door()).unwrap();
    assert_eq!(hear(&mut told), Heard::It);
    drop(told);
    let place = self::place();
    let refusal = json!({ "error": { "class": "CommandNotFound", "desc": "disabled" } });
    place.play(move |stream| serve(stream, |_| Some(refusal.clone())));
    let mut told = PowerDown::begin(&place.door()).unwrap();
    let mut heard = hear(&mut told);
    if heard == Heard::It {
        heard = hear(&mut told);
    }
    assert!(matches!(&heard, Heard::Refusal(refusal) if refusal.text == "disabled"), "{heard:?}");
    drop(told);
}
