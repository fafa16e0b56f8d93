//! Leading ports of the host into a guest of QEMU.
//!
//! A port that somebody named goes into QEMU's command line: QEMU does not start without it, and it is there before the
//! guest's first instruction. A port that is ours to choose is asked for at the monitor when QEMU runs: whoever took it
//! meanwhile costs a further try and not the start.

use std::time::Duration;

use selfsame_machine::identity::Digest;
use selfsame_machine::network::{Connection, Forward, Network, login_ports};

use crate::qemu::arguments::hostfwd;
use crate::qemu::qmp::{Command, Monitor, QmpError};
use crate::reach::ports::try_port;
use crate::supervisor::Link;

/// How long QEMU may take to open a port.
const PATIENCE: Duration = Duration::from_secs(5);
/// So often is a port that was free a moment ago asked for, before that is called a shortage.
const TRIES: usize = 16;

/// The ports for the command line.
pub(super) fn named(connection: &Connection) -> Vec<Forward> {
    connection.ports.iter().filter(|port| port.port != 0).copied().collect()
}

/// The port that kept QEMU from starting, by its last words.
pub(super) fn missed<'c>(connection: &'c Connection, output: &[String]) -> Option<&'c Forward> {
    let words = "Could not set up host forwarding rule";
    let line = output.iter().find(|line| line.contains(words))?;
    connection.ports.iter().find(|port| line.contains(&format!("'{}'", hostfwd(port))))
}

/// Opens what was left open: any ports, and the one to the guest's sshd. The inner error is a port for which none was free;
/// that to the sshd is nobody's wish, and only missing then.
pub(super) fn open(
    monitor: &mut Monitor,
    connection: &Connection,
    digest: &Digest,
) -> Result<Result<Link, Forward>, QmpError> {
    let mut link = Link { network: connection.network, forwards: Vec::new(), login: None };
    for port in &connection.ports {
        if port.port != 0 {
            link.forwards.push(*port);
            continue;
        }
        let free = (0..TRIES).filter_map(|_| try_port(port).ok());
        match first(monitor, free.map(|number| Forward { port: number, ..*port }))? {
            Some(opened) => link.forwards.push(opened),
            None => return Ok(Err(*port)),
        }
    }
    link.login = match connection.network {
        Network::None => None,
        Network::Nat | Network::Isolated => {
            let all = login_ports(digest).map(Forward::login);
            first(monitor, all.filter(|port| try_port(port).is_ok()).take(TRIES))?
        }
    };
    Ok(Ok(link))
}

/// Opens the first port that QEMU gets.
fn first(monitor: &mut Monitor, ports: impl Iterator<Item = Forward>) -> Result<Option<Forward>, QmpError> {
    for port in ports {
        let said = monitor.call(Command::AddForward(port), PATIENCE)?;
        // It answers in words for people, and with none when it is done.
        if said.as_str().is_some_and(|words| words.trim().is_empty()) {
            return Ok(Some(port));
        }
    }
    Ok(None)
}
