use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::qemu::version::Version;

const SOON: Duration = Duration::from_secs(10);
const GREETING: &str = concat!(
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "#,
    r#""capabilities": ["oob"]}}"#
);
const SHUTDOWN: &str = concat!(
    r#"{"timestamp": {"seconds": 1795298503, "microseconds": 559216}, "event": "SHUTDOWN", "#,
    r#""data": {"guest": false, "reason": "host-qmp-quit"}}"#
);

/// All messages of some pieces, and the error that ends them.
fn read(pieces: &[&[u8]]) -> (Vec<Message>, Option<CodecError>) {
    let mut codec = Codec::default();
    let mut messages = Vec::new();
    for piece in pieces {
        codec.feed(piece);
        loop {
            match codec.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fn event(name: &str, data: serde_json::Value) -> QmpEvent {
    Event { name: name.to_owned(), data: data.as_object().unwrap().clone(), timestamp: None }.read()
}

#[test]
fn lines_become_messages() {
    let text = format!(
        "{GREETING}\r\n{SHUTDOWN}\n\r\n{}\n{}\n{}\n{}\n",
        r#"{"return": {}, "id": 7}"#,
        r#"{"error": {"class": "GenericError", "desc": "no"}, "id": 8, "extra": []}"#,
        r#"{"error": {"class": "GenericError", "desc": "JSON parse error"}}"#,
        r#"{"return": 1, "id": "text"}"#,
    );
    let (messages, error) = read(&[text.as_bytes()]);
    assert!(error.is_none(), "{error:?}");
    let version = Version { major: 7, minor: 2, micro: 22 };
    let fault = |desc: &str| QmpFault { class: "GenericError".to_owned(), desc: desc.to_owned() };
    assert_eq!(messages[0], Message::Greeting(Greeting { version, package: "Debian".to_owned() }));
    assert_eq!(messages[2], Message::Reply { id: Some(Id(7)), outcome: Ok(json!({})) });
    assert_eq!(messages[3], Message::Reply { id: Some(Id(8)), outcome: Err(fault("no")) });
    assert_eq!(messages[4], Message::Reply { id: None, outcome: Err(fault("JSON parse error")) });
    assert_eq!(messages[5], Message::Reply { id: None, outcome: Ok(json!(1)) });
    let Message::Event(event) = &messages[1] else { panic!("{:?}", messages[1]) };
    assert_eq!(event.timestamp, Some(Timestamp { seconds: 1_795_298_503, microseconds: 559_216 }));
    assert_eq!(event.read(), QmpEvent::Shutdown { guest: false, cause: Cause::HostQuit });
}

#[test]
fn events_are_read_and_unknown_ones_kept() {
    assert_eq!(event("STOP", json!({})), QmpEvent::Stop);
    assert_eq!(event("RESUME", json!({ "new": 1 })), QmpEvent::Resume);
    assert_eq!(event("POWERDOWN", json!({})), QmpEvent::Powerdown);
    assert_eq!(
        event("RESET", json!({ "guest": true, "reason": "guest-reset" })),
        QmpEvent::Reset { guest: true, cause: Cause::GuestReset }
    );
    assert_eq!(
        event("SHUTDOWN", json!({ "guest": true, "reason": "moon-phase" })),
        QmpEvent::Shutdown { guest: true, cause: Cause::Other("moon-phase".to_owned()) }
    );
    assert_eq!(
        event("GUEST_PANICKED", json!({ "action": "pause" })),
        QmpEvent::GuestPanicked { action: "pause".to_owned() }
    );
    let failure = json!({ "device": "", "node-name": "disk0", "operation": "write", "action": "stop",
        "nospace": true, "reason": "No space left on device" });
    assert_eq!(
        event("BLOCK_IO_ERROR", failure),
        QmpEvent::BlockIoError {
            node: "disk0".to_owned(),
            operation: "write".to_owned(),
            action: "stop".to_owned(),
            no_space: true,
            reason: "No space left on device".to_owned(),
        }
    );
    assert_eq!(event("RTC_CHANGE", json!({})), QmpEvent::Other { name: "RTC_CHANGE".to_owned() });
}

#[test]
fn states_are_read_and_unknown_ones_kept() {
    let state = |word: &str| RunState::of_reply(&json!({ "status": word, "singlestep": false }));
    assert_eq!(state("internal-error"), Some(RunState::InternalError));
    assert_eq!(state("colo"), Some(RunState::Other("colo".to_owned())));
    assert_eq!(RunState::of_reply(&json!({})), None);
    assert_eq!(RunState::read("io-error").to_string(), "io-error");
}

#[test]
fn garbage_is_an_error_with_its_place_and_stays_one() {
    let (messages, error) = read(&[b"{}\n  {\"a\": \x1b[31m}\n{}\n"]);
    assert_eq!(messages.len(), 1);
    assert_eq!(error.unwrap().to_string(), "byte 11 is not valid JSON, in `{\"a\": \\u{1b}[31m}`");

    let (_, error) = read(&[b"\n[1]\n"]);
    assert_eq!(error.unwrap().to_string(), "the line at byte 1 is no JSON object: `[1]`");

    let mut codec = Codec::default();
    codec.feed(b"hello\n{}\n");
    let first = codec.next_message().unwrap_err().to_string();
    codec.feed(b"{}\n");
    assert_eq!(codec.next_message().unwrap_err().to_string(), first);
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    let line = |length: usize| {
        let mut line = format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8)).into_bytes();
        line.push(b'\n');
        line
    };
    let (messages, error) = read(&[&line(LINE_LIMIT)]);
    assert!(error.is_none() && messages.len() == 1, "{error:?}");
    let (_, error) = read(&[b"{}\n", &line(LINE_LIMIT + 1)]);
    assert!(matches!(error, Some(CodecError::LineTooLong { offset: 3 })), "{error:?}");
    let endless = vec![b'x'; LINE_LIMIT + 1];
    let (_, error) = read(&[&endless]);
    assert!(matches!(error, Some(CodecError::LineTooLong { offset: 0 })), "{error:?}");
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let (_, error) = read(&[&[b'['; 500_000], b"\n"]);
    assert!(matches!(error, Some(CodecError::NotJson { .. })), "{error:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if let (_, Some(CodecError::NotJson { offset, .. } | CodecError::NotAnObject { offset, .. })) = read(&pieces) {
            prop_assert!(offset <= total as u64);
        }
    }

    #[test]
    fn no_text_like_qmp_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "\"QMP\"", ":", ",", "\"version\"", "\"qemu\"", "\"major\"", "7", "-1", "1e999", "null", "\"event\"",
        "\"return\"", "\"error\"", "\"class\"", "\"id\"", "[", "]", "\n", "\"\\ud800\"",
    ]), 0..40)) {
        let text = words.concat();
        let (_messages, _error) = read(&[text.as_bytes(), b"\n"]);
    }

    #[test]
    fn pieces_do_not_matter(cuts in prop::collection::vec(0usize..400, 0..6)) {
        let text = format!("{GREETING}\r\n{SHUTDOWN}\n\n{{\"return\": \"ü\"}}\n").into_bytes();
        let whole = read(&[&text]).0;
        prop_assert_eq!(whole.len(), 3);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
        prop_assert_eq!(read(&pieces).0, whole);
    }
}

/// A QEMU that greets, and then answers each line it gets with the next of the given texts.
fn fake(answers: Vec<String>) -> (UnixStream, JoinHandle<Vec<String>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let fake = std::thread::spawn(move || {
        let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
        let mut heard = Vec::new();
        (&theirs).write_all(format!("{GREETING}\n").as_bytes()).unwrap();
        for answer in answers {
            match lines.next() {
                Some(Ok(line)) => heard.push(line),
                Some(Err(_)) | None => break,
            }
            (&theirs).write_all(answer.as_bytes()).unwrap();
        }
        heard
    });
    (ours, fake)
}

const READY: &str = "{\"return\": {}, \"id\": 1}\n";

#[test]
fn a_call_keeps_what_it_meets_for_the_next_drain() {
    let answer = format!(
        "{SHUTDOWN}\n{{\"return\": \"stale\", \"id\": 99}}\n{{\"return\": {{\"status\": \"paused\"}}, \"id\": 2}}\n{{\"later\": 1}}\n"
    );
    let (stream, fake) = fake(vec![READY.to_owned(), answer]);
    let mut monitor = Monitor::handshake(stream, SOON).unwrap();
    assert_eq!(monitor.greeting().package, "Debian");
    assert_eq!(monitor.run_state(SOON).unwrap(), RunState::Paused);
    let heard = fake.join().unwrap();
    assert_eq!(heard[0], r#"{"execute":"qmp_capabilities","id":1}"#);

    let drained = monitor.drain();
    assert!(matches!(
        drained.messages.as_slice(),
        [Message::Event(_), Message::Reply { id: Some(Id(99)), .. }, Message::Other(_)]
    ));
    let end = drained.end.expect("the fake has hung up");
    assert!(end.is_closed(), "{end:?}");
}

#[test]
fn a_refusal_names_the_command_and_gives_the_reason_as_cause() {
    let refusal = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not now\"}, \"id\": 2}\n";
    let (stream, _fake) = fake(vec![READY.to_owned(), refusal.to_owned()]);
    let mut monitor = Monitor::handshake(stream, SOON).unwrap();
    let error = monitor.call(Command::Cont, SOON).unwrap_err();
    assert_eq!(error.to_string(), "QEMU refused `cont`");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("GenericError: not now"));
}

#[test]
fn silence_ends_in_time() {
    let (stream, _silent) = UnixStream::pair().unwrap();
    let started = Instant::now();
    let error = Monitor::handshake(stream, Duration::from_millis(30)).unwrap_err();
    assert_eq!(error.to_string(), "QEMU's monitor let 30 ms pass while it was waited for the greeting");
    assert!(started.elapsed() < SOON);
}

#[test]
fn a_monitor_that_takes_nothing_does_not_block_the_sender() {
    let (stream, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(format!("{GREETING}\n{READY}").as_bytes()).unwrap();
    let mut monitor = Monitor::handshake(stream, SOON).unwrap();
    let error = (0..1_000_000)
        .find_map(|_| monitor.send(Command::QueryStatus, Duration::from_millis(10)).err())
        .expect("the socket fills up");
    assert!(
        matches!(error, QmpError::TimedOut { waiting: Waiting::Writing(Command::QueryStatus), .. }),
        "{error:?}"
    );
}

#[test]
fn what_is_no_monitor_is_told_from_one_that_ended() {
    let (stream, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"login: ").unwrap();
    drop(theirs);
    let error = Monitor::handshake(stream, SOON).unwrap_err();
    assert!(matches!(&error, QmpError::Closed { unfinished, .. } if unfinished == "login:"), "{error:?}");

    let (stream, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"220 ready\r\n").unwrap();
    let error = Monitor::handshake(stream, SOON).unwrap_err();
    assert!(matches!(error, QmpError::Garbled { .. }), "{error:?}");

    let (stream, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"{\"return\": {}}\n").unwrap();
    let error = Monitor::handshake(stream, SOON).unwrap_err();
    assert!(matches!(error, QmpError::Unexpected { .. }), "{error:?}");
}
