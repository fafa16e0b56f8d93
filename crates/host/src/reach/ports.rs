//! Ports of the host that lead into guests: whether they are free, and who has those that are not.
//!
//! A port is asked for by taking it for a moment. That proves nothing about the next moment: whoever needs it must be able
//! to be refused (see `supervisor::engine`).

use std::io;
use std::net::{SocketAddrV4, TcpListener, UdpSocket};

use selfsame_machine::code::Code;
use selfsame_machine::network::{Forward, Transport};
use selfsame_machine::problem::{Hint, Problem};

use crate::bundle::Named;
use crate::context::Context;
use crate::supervisor::{RunNames, RunRecord};

/// A port that a VM was to have cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody has it.
    #[error("{name} wants port {} of the host, which {} has", shown(port), holder.as_deref().unwrap_or("somebody else"))]
    InUse {
        /// The VM.
        name: Named,
        /// The port.
        port: Forward,
        /// Who has it, as far as that can be told.
        holder: Option<String>,
        /// The VM's ports with a free one in place of this.
        instead: Vec<Forward>,
    },
    /// The system does not give it.
    #[error("{name} wants port {} of the host, which {}", shown(port), why(source))]
    Refused {
        /// The VM.
        name: Named,
        /// The port.
        port: Forward,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Ports ran out.
    #[error("no port of the host is free for port {} of {name}", port.guest_port)]
    NoneFree {
        /// The VM.
        name: Named,
        /// The port that was to be any.
        port: Forward,
    },
}

impl PortError {
    /// For a port of a VM's `ports` that was found taken.
    pub(crate) fn taken(context: &Context, name: Named, port: &Forward, ports: &[Forward]) -> Self {
        let replaced =
            |other: &Forward| Forward { port: if other == port { 0 } else { other.port }, ..*other };
        Self::InUse {
            name,
            port: *port,
            holder: holder(context, port),
            instead: ports.iter().map(replaced).collect(),
        }
    }
}

/// A port with its address and protocol.
fn shown(port: &Forward) -> String {
    format!("{}:{}/{}", port.address, port.port, port.transport.text())
}

fn why(source: &io::Error) -> String {
    if source.kind() == io::ErrorKind::PermissionDenied {
        format!("only a privileged user may have: those below {} are kept for them", first_for_all())
    } else if source.kind() == io::ErrorKind::AddrNotAvailable {
        "is at an address that this host does not have".to_owned()
    } else {
        "the system does not give".to_owned()
    }
}

/// The first port that everybody may have.
fn first_for_all() -> u16 {
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    told.and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

impl Problem for PortError {
    fn code(&self) -> Code {
        match self {
            Self::InUse { .. } | Self::NoneFree { .. } => Code::NetPortInUse,
            Self::Refused { .. } => Code::NetPortRefused,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::InUse { name, instead, .. } => {
                let ports: String = instead.iter().map(|port| format!("-p {port} ")).collect();
                vec![Hint::run(
                    "take any port that is free, for this run",
                    format!("selfsame run -d {ports}{}", name.word),
                )]
            }
            Self::Refused { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                let first = first_for_all();
                vec![Hint::say(format!("choose a port from {first} on; 0 takes any one that is free"))]
            }
            Self::Refused { .. } => {
                vec![Hint::say("leave the address out for 127.0.0.1, or take 0.0.0.0 for all")]
            }
            Self::NoneFree { .. } => Vec::new(),
        }
    }
}

/// Takes a port for a moment, and says which it was.
///
/// # Errors
/// What the system says: it is taken, or not to be had.
pub fn try_port(port: &Forward) -> io::Result<u16> {
    let at = SocketAddrV4::new(port.address, port.port);
    let taken = match port.transport {
        Transport::Tcp => TcpListener::bind(at)?.local_addr()?,
        Transport::Udp => UdpSocket::bind(at)?.local_addr()?,
    };
    Ok(taken.port())
}

/// Checks that the ports which somebody named can be had just now.
///
/// # Errors
/// The first that cannot.
pub fn check(context: &Context, name: &Named, ports: &[Forward]) -> Result<(), PortError> {
    for port in ports.iter().filter(|port| port.port != 0) {
        match try_port(port) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(PortError::taken(context, name.clone(), port, ports));
            }
            Err(source) => return Err(PortError::Refused { name: name.clone(), port: *port, source }),
        }
    }
    Ok(())
}

/// Who has a port: a VM whose record says so, else the process that the kernel names.
fn holder(context: &Context, port: &Forward) -> Option<String> {
    let run = context.home.run();
    let vm = RunRecord::keys(&run).unwrap_or_default().into_iter().find_map(|key| {
        let record = RunRecord::read(&run, RunNames(key)).filter(RunRecord::is_of_this_boot)?;
        let lives = record.qemu.is_some_and(|qemu| qemu.lives());
        let link = record.link.as_ref().filter(|_| lives)?;
        let has = link.forwards.iter().chain(&link.login).any(|own| own.collides(port));
        has.then(|| format!("the VM {}", context.named(&record.folder()).name))
    });
    vm.or_else(|| listener(port))
}

#[cfg(target_os = "linux")]
fn listener(port: &Forward) -> Option<String> {
    super::listeners::holder(port.transport, port.port)
}

/// macOS tells of other processes' sockets only to programs with a private interface.
#[cfg(not(target_os = "linux"))]
fn listener(_: &Forward) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_back_at_once() {
        let any: Forward = "0:80".parse().unwrap();
        let port = try_port(&any).unwrap();
        let named = Forward { port, ..any };
        assert_eq!(try_port(&named).unwrap(), port);
        let held = TcpListener::bind((any.address, port)).unwrap();
        assert_eq!(try_port(&named).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let udp = Forward { transport: Transport::Udp, ..named };
        assert_eq!(try_port(&udp).unwrap(), port, "that of another protocol is another port");
        drop(held);
    }

    #[test]
    fn what_the_system_does_not_give_is_told_with_its_reason() {
        let name = Named { name: "web1".into(), word: "web1".into() };
        let port: Forward = "80:80".parse().unwrap();
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = PortError::Refused { name: name.clone(), port, source };
        assert!(error.to_string().contains("only a privileged user may have"), "{error}");
        let instead = vec![Forward { port: 0, ..port }, "1:2/udp".parse().unwrap()];
        let error = PortError::InUse { name, port, holder: Some("nginx (pid 7)".into()), instead };
        assert_eq!(
            error.to_string(),
            "web1 wants port 127.0.0.1:80/tcp of the host, which nginx (pid 7) has"
        );
        assert_eq!(error.hints()[0].command.as_deref(), Some("selfsame run -d -p 0:80 -p 1:2/udp web1"));
    }
}
