//! Whoever talks to a supervisor's socket without being selfsame, or being another one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::TestEnv;

struct Caller(BufReader<UnixStream>);

impl Caller {
    /// Connects and reads the greeting.
    fn new(env: &TestEnv) -> (Self, Value) {
        let stream = UnixStream::connect(env.run_file("sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut caller = Self(BufReader::new(stream));
        let greeting = caller.read();
        (caller, greeting)
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn call(&mut self, line: &[u8]) -> Value {
        self.0.get_mut().write_all(line).unwrap();
        self.0.get_mut().write_all(b"\n").unwrap();
        self.read()
    }
}

#[test]
fn hazard_a_caller_speaks_another_protocol_or_none() {
    let env = TestEnv::new();
    env.create("web1");
    env.started("web1");
    let (mut caller, greeting) = Caller::new(&env);
    assert_eq!(greeting["protocol"], 1, "{greeting}");
    let other = json!({ "protocol": 99, "want": { "request": { "request": "kill" } } });
    let refused = caller.call(other.to_string().as_bytes());
    assert_eq!(refused["refused"]["code"], "supervisor.protocol", "{refused}");
    assert!(refused["refused"]["detail"].as_str().unwrap().contains("protocol 99"), "{refused}");
    let garbage: [&[u8]; 6] =
        [b"", b"{", b"\xff\xfe", b"null", b"{\"protocol\":1}", br#"{"protocol":1,"want":"fly"}"#];
    for line in garbage {
        let refused = caller.call(line);
        assert_eq!(refused["refused"]["code"], "supervisor.protocol", "{refused}");
    }
    // The same caller, in the right words, is heard.
    let status = caller.call(br#"{"protocol":1,"want":"status"}"#);
    assert_eq!(status["status"]["phase"], "paused", "{status}");
}

#[test]
fn hazard_a_caller_floods_the_supervisor() {
    let env = TestEnv::new();
    env.create("web1");
    env.started("web1");
    // A line without an end.
    let (mut flood, _) = Caller::new(&env);
    let endless = vec![b'x'; 1 << 20];
    let dropped = flood.0.get_mut().write_all(&endless).is_err()
        || matches!(flood.0.read(&mut [0; 16]), Ok(0) | Err(_));
    assert!(dropped, "a caller that never ends its line is dropped");
    // Calls without end, whose replies nobody reads.
    let (mut deaf, _) = Caller::new(&env);
    let calls = b"{\"protocol\":1,\"want\":\"status\"}\n".repeat(1000);
    let gave_up = (0..2000).any(|_| deaf.0.get_mut().write_all(&calls).is_err());
    assert!(gave_up, "a caller that never reads is dropped");
    assert_eq!(env.state("web1"), "paused");
}

#[test]
fn hazard_many_callers_say_nothing() {
    let env = TestEnv::new();
    env.create("web1");
    env.started("web1");
    let idle: Vec<_> = (0..50).map(|_| Caller::new(&env)).collect();
    assert_eq!(env.state("web1"), "paused");
    drop(env.run(["resume", "web1"]).ok());
    drop(env.run(["kill", "web1"]).ok());
    drop(idle);
    env.nothing_is_left();
}

#[test]
fn hazard_the_socket_is_an_older_supervisors() {
    let env = TestEnv::new();
    env.create("web1");
    let pids = env.started("web1");
    // In the supervisor's place, something that speaks another protocol.
    let socket = env.run_file("sock");
    std::fs::remove_file(&socket).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let greeting = b"{\"selfsame\":\"9.0.0\",\"protocol\":99,\"pid\":4242}\n";
            drop(stream.and_then(|mut stream| stream.write_all(greeting)));
        }
    });
    for verb in ["pause", "kill"] {
        let error = env.json([verb, "web1"]).refused(1, "supervisor.protocol");
        let told = error["detail"].as_str().unwrap();
        assert!(told.contains("9.0.0") && told.contains("99"), "{told}");
    }
    assert!(crate::support::is_alive(pids.qemu));
}
