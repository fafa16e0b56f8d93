//! Waiting until a guest's SSH server answers.
//!
//! QEMU's user network accepts a connection before the guest has heard of it, and resets or forgets it when nobody is
//! there. Only the server's first line is an answer.

use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use selfsame_machine::network::banner::{Heard, LIMIT, judge};

use super::door::{Door, Via};
use super::problem::ReachError;

/// The first wait for a word at one connection; each further one waits half as long again. A connection that was made
/// before the guest had a network may never be answered, and a slow guest needs more than the first.
const FIRST_SILENCE: Duration = Duration::from_secs(2);
/// The longest.
const LAST_SILENCE: Duration = Duration::from_secs(20);
/// The pause between two connections.
const PAUSE: Duration = Duration::from_millis(250);

/// How long somebody waits, and when they are told that they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// In all.
    pub limit: Duration,
    /// When `slow` is called, once.
    pub quiet: Duration,
}

/// What one connection came to.
enum Tried {
    Answered,
    Stranger(Vec<u8>),
    /// Nobody listens at all.
    Refused,
    /// It was closed, or nothing was said.
    Nothing,
}

/// Waits until an SSH server answers. Sleeps between its tries.
///
/// # Errors
/// When none does in time, something else does, or the guest ends.
pub fn await_server(door: &Door, patience: Patience, mut slow: impl FnMut()) -> Result<(), ReachError> {
    let began = Instant::now();
    let mut silence = FIRST_SILENCE;
    let mut told = false;
    loop {
        let left = patience.limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(ReachError::Silent { name: door.name.clone(), at: door.at, limit: patience.limit });
        }
        // Whoever is to be told is told in time, not at the end of a long silence.
        let until_told = patience.quiet.saturating_sub(began.elapsed());
        let most = if told { left } else { left.min(until_told.max(Duration::from_millis(10))) };
        match attempt(door.at, silence.min(most)) {
            Tried::Answered => return Ok(()),
            Tried::Stranger(said) => {
                let said = String::from_utf8_lossy(&said).chars().take(60).collect();
                return Err(ReachError::Stranger { name: door.name.clone(), at: door.at, said });
            }
            // QEMU listens as long as it lives.
            Tried::Refused if door.via == Via::Forward => {
                return Err(ReachError::Ended { name: door.name.clone() });
            }
            Tried::Refused | Tried::Nothing => {}
        }
        if told {
            silence = (silence * 3 / 2).min(LAST_SILENCE);
        } else if began.elapsed() >= patience.quiet {
            told = true;
            slow();
        }
        std::thread::sleep(PAUSE.min(patience.limit.saturating_sub(began.elapsed())));
    }
}

/// Connects, and listens for at most `silence` in all.
fn attempt(at: SocketAddr, silence: Duration) -> Tried {
    let began = Instant::now();
    let mut stream = match TcpStream::connect_timeout(&at, silence) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Tried::Refused,
        Err(_) => return Tried::Nothing,
    };
    let (mut said, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        match judge(&said) {
            Heard::Server => return Tried::Answered,
            Heard::Stranger => return Tried::Stranger(said),
            Heard::Nothing => {}
        }
        let left = silence.saturating_sub(began.elapsed());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Tried::Nothing;
        }
        match stream.read(&mut chunk) {
            // What said something else and hung up is no server that is still starting.
            Ok(0) if !said.is_empty() => return Tried::Stranger(said),
            Ok(0) => return Tried::Nothing,
            Ok(count) => {
                let room = LIMIT.saturating_sub(said.len());
                said.extend(chunk.iter().take(count.min(room)));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Tried::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    const SHORT: Patience = Patience { limit: Duration::from_secs(4), quiet: Duration::from_millis(300) };

    /// Waits for a server that treats each of its connections, counted from 0, so.
    fn wait_for(
        serve: impl Fn(usize, TcpStream) + Send + 'static,
        patience: Patience,
    ) -> (Result<(), ReachError>, u32) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door::for_tests(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for (index, stream) in listener.incoming().enumerate() {
                let stream = stream.unwrap();
                kept.push(stream.try_clone().unwrap());
                serve(index, stream);
                if index < 2 {
                    // QEMU's way: accepted, and then closed.
                    kept.clear();
                }
            }
        });
        let mut told = 0;
        let outcome = await_server(&door, patience, || told += 1);
        (outcome, told)
    }

    #[test]
    fn a_server_that_comes_up_late_is_waited_for() {
        let late = |index: usize, mut stream: TcpStream| {
            if index == 3 {
                stream.write_all(b"welcome\r\nSSH-2.0-Test\r\n").unwrap();
            }
        };
        let (outcome, told) = wait_for(late, Patience { limit: Duration::from_secs(30), ..SHORT });
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(told, 1);
    }

    #[test]
    fn a_server_that_is_there_is_not_waited_for() {
        let began = Instant::now();
        let (outcome, told) = wait_for(|_, mut stream| stream.write_all(b"SSH-2.0-Test\r\n").unwrap(), SHORT);
        assert!(outcome.is_ok() && told == 0, "{outcome:?}");
        assert!(began.elapsed() < Duration::from_millis(250), "it slept");
    }

    #[test]
    fn silence_has_an_end() {
        let began = Instant::now();
        let (outcome, told) = wait_for(|_, _| {}, Patience { limit: Duration::from_secs(1), ..SHORT });
        assert!(matches!(outcome, Err(ReachError::Silent { .. })), "{outcome:?}");
        assert!((900..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        assert_eq!(told, 1);
    }

    #[test]
    fn garbage_without_an_end_is_a_stranger() {
        let endless = |_, mut stream: TcpStream| while stream.write_all(&[b'x'; 4096]).is_ok() {};
        let (outcome, _) = wait_for(endless, SHORT);
        assert!(
            matches!(&outcome, Err(ReachError::Stranger { said, .. }) if said.len() == 60),
            "{outcome:?}"
        );
        let polite = |_, mut stream: TcpStream| {
            stream.write_all(b"HTTP/1.0 400\r\n\r\n\x1b[2J").unwrap();
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        };
        let (outcome, _) = wait_for(polite, SHORT);
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("HTTP/1.0 400") && !error.to_string().contains('\x1b'), "{error}");
    }

    #[test]
    fn a_port_that_nobody_has_any_more_says_that_the_guest_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door::for_tests(listener.local_addr().unwrap());
        drop(listener);
        let outcome = await_server(&door, SHORT, || {});
        assert!(matches!(outcome, Err(ReachError::Ended { .. })), "{outcome:?}");
    }
}
