//! How a guest is connected: its network, and the ports of the host that lead into it.
//!
//! ```text
//! HOST:GUEST   ADDRESS:HOST:GUEST   …/tcp   …/udp        HOST empty or 0: any port that is free
//! ```
//!
//! The host's address is 127.0.0.1 where none is written: a port is opened to others on somebody's explicit word only
//! (`0.0.0.0:8080:80`). Addresses are IPv4, because QEMU's user network forwards nothing else in all versions.

pub mod banner;
pub mod leases;
mod wish;

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::Code;
use crate::identity::Digest;
use crate::problem::{Hint, Problem};
use crate::quote::quoted;

pub(crate) use wish::check;
pub use wish::{Connection, Wish, WishError};

/// So many ports may lead into one guest.
pub const MAX_PORTS: usize = 64;

/// The first of the ports from which one leads to a guest's sshd. No kernel gives a port from here on to a connection by
/// itself on Linux (`ip_local_port_range` ends at 60999), so that such a port is mostly free.
pub const LOGIN_PORTS: std::ops::RangeInclusive<u16> = 61_000..=65_535;

/// To whom a guest's network card leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// To everybody whom the host reaches, from behind the host's address.
    #[default]
    Nat,
    /// To nobody: only ports of the host lead in.
    Isolated,
    /// There is no card.
    None,
}

impl Network {
    /// The word that `vm.toml`, JSON and the command line use.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Isolated => "isolated",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text())
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// The word for it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port of the host that leads into the guest. As an object in JSON, as its text in `vm.toml` ([`texts`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Forward {
    /// The protocol.
    pub transport: Transport,
    /// The host's address to listen on.
    pub address: Ipv4Addr,
    /// The host's port; 0 for any one that is free.
    pub port: u16,
    /// The guest's port.
    pub guest_port: u16,
}

/// What is wrong with the text of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForwardRule {
    /// Not two or three parts.
    #[error("`[ADDRESS:]HOST:GUEST[/udp]` is, like 8080:80")]
    Form,
    /// An address that is none of four numbers.
    #[error("its address must be four numbers with dots between, like 127.0.0.1")]
    Address,
    /// The host's port is no number of that size.
    #[error("the host's port must be 0 to 65535, or nothing for any one that is free")]
    HostPort,
    /// The guest's port is no number of that size.
    #[error("the guest's port must be 1 to 65535")]
    GuestPort,
    /// Another protocol.
    #[error("the protocol is `tcp` or `udp`")]
    Transport,
}

/// A text names no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} leads no port into a guest: {rule}", quoted(text))]
pub struct ForwardError {
    /// The refused text.
    pub text: String,
    /// What is wrong with it.
    pub rule: ForwardRule,
}

impl Problem for ForwardError {
    fn code(&self) -> Code {
        Code::UsageInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        match self.rule {
            ForwardRule::Form if number(&self.text).is_some_and(|port| port != 0) => {
                vec![Hint::say(format!(
                    "`{0}:{0}` leads the host's port {0} to the guest's, `0:{0}` any free one",
                    self.text
                ))]
            }
            ForwardRule::Form
            | ForwardRule::Address
            | ForwardRule::HostPort
            | ForwardRule::GuestPort
            | ForwardRule::Transport => Vec::new(),
        }
    }
}

/// A port in plain digits: no sign, no blank, no leading zero, which some would read as octal.
fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |rule| ForwardError { text: text.to_owned(), rule };
        let (ports, transport) = match text.split_once('/') {
            None => (text, Transport::Tcp),
            Some((ports, "tcp")) => (ports, Transport::Tcp),
            Some((ports, "udp")) => (ports, Transport::Udp),
            Some(_) => return Err(refused(ForwardRule::Transport)),
        };
        let parts: Vec<&str> = ports.split(':').collect();
        let (address, port, guest_port) = match parts.as_slice() {
            [port, guest] => (Ipv4Addr::LOCALHOST, *port, *guest),
            [address, port, guest] => {
                (address.parse().map_err(|_| refused(ForwardRule::Address))?, *port, *guest)
            }
            _ => return Err(refused(ForwardRule::Form)),
        };
        let port = if port.is_empty() { Some(0) } else { number(port) };
        Ok(Self {
            transport,
            address,
            port: port.ok_or_else(|| refused(ForwardRule::HostPort))?,
            guest_port: number(guest_port)
                .filter(|port| *port != 0)
                .ok_or_else(|| refused(ForwardRule::GuestPort))?,
        })
    }
}

/// The shortest text that reads back.
impl fmt::Display for Forward {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address != Ipv4Addr::LOCALHOST {
            write!(formatter, "{}:", self.address)?;
        }
        write!(formatter, "{}:{}", self.port, self.guest_port)?;
        match self.transport {
            Transport::Tcp => Ok(()),
            Transport::Udp => formatter.write_str("/udp"),
        }
    }
}

impl Forward {
    /// One that leads to the guest's sshd, from a port of loopback.
    #[must_use]
    pub const fn login(port: u16) -> Self {
        Self { transport: Transport::Tcp, address: Ipv4Addr::LOCALHOST, port, guest_port: 22 }
    }

    /// Whether the two want one port of the host. Ports that are yet to be chosen are in nobody's way.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let all = Ipv4Addr::UNSPECIFIED;
        self.port != 0
            && self.port == other.port
            && self.transport == other.transport
            && (self.address == other.address || self.address == all || other.address == all)
    }
}

/// The ports in the order in which one is tried for the guest's sshd: the identity's own first, so that it is the same at
/// each start where it is free, then the next ones, around the range.
pub fn login_ports(digest: &Digest) -> impl Iterator<Item = u16> {
    let (first, last) = (*LOGIN_PORTS.start(), *LOGIN_PORTS.end());
    let count = u32::from(last - first) + 1;
    let [.., a, b, c, d] = *digest.bytes();
    let own = u32::from_be_bytes([a, b, c, d]) % count;
    (0..count).filter_map(move |step| {
        let offset = u16::try_from((own + step) % count).ok()?;
        first.checked_add(offset)
    })
}

/// Ports as texts, for `vm.toml`.
pub mod texts {
    use super::{Deserialize as _, Deserializer, Forward, Serializer};

    /// Writes each as its text.
    ///
    /// # Errors
    /// What the format says.
    pub fn serialize<S: Serializer>(ports: &[Forward], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ports.iter().map(ToString::to_string))
    }

    /// Reads each from its text.
    ///
    /// # Errors
    /// When one names no port.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Forward>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Forward, ForwardRule> {
        text.parse().map_err(|error: ForwardError| error.rule)
    }

    #[test]
    fn a_port_is_read_strictly() {
        let plain = |port, guest_port| Forward { guest_port, ..Forward::login(port) };
        assert_eq!(read("8080:80"), Ok(plain(8080, 80)));
        assert_eq!(read(":80"), Ok(plain(0, 80)));
        assert_eq!(read("0:80/tcp"), Ok(plain(0, 80)));
        let udp = Forward { transport: Transport::Udp, ..plain(5353, 53) };
        assert_eq!(read("127.0.0.1:5353:53/udp"), Ok(udp));
        let open = Forward { address: Ipv4Addr::UNSPECIFIED, ..plain(1, 65535) };
        assert_eq!(read("0.0.0.0:1:65535"), Ok(open));
        for (text, rule) in [
            ("", ForwardRule::Form),
            ("80", ForwardRule::Form),
            ("1:2:3:4", ForwardRule::Form),
            ("::1:80:80", ForwardRule::Form),
            ("localhost:80:80", ForwardRule::Address),
            (":80:80", ForwardRule::Address),
            ("127.0.0.01:80:80", ForwardRule::Address),
            ("65536:80", ForwardRule::HostPort),
            ("+80:80", ForwardRule::HostPort),
            ("080:80", ForwardRule::HostPort),
            (" 80:80", ForwardRule::HostPort),
            ("80:0", ForwardRule::GuestPort),
            ("80:", ForwardRule::GuestPort),
            ("80:80 ", ForwardRule::GuestPort),
            ("80:80/sctp", ForwardRule::Transport),
            ("80:80/UDP", ForwardRule::Transport),
            ("80:80/udp/udp", ForwardRule::Transport),
            ("80:80,x", ForwardRule::GuestPort),
        ] {
            assert_eq!(read(text), Err(rule), "{text}");
        }
    }

    #[test]
    fn a_port_alone_is_refused_with_what_was_probably_meant() {
        let error = "80".parse::<Forward>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""80" leads no port into a guest: `[ADDRESS:]HOST:GUEST[/udp]` is, like 8080:80"#
        );
        assert!(error.hints()[0].text.contains("`80:80`"));
        assert!("x".parse::<Forward>().unwrap_err().hints().is_empty());
    }

    #[test]
    fn ports_collide_where_the_host_would_refuse_the_second() {
        let collide = |one: &str, other: &str| {
            let (one, other): (Forward, Forward) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.collides(&other), other.collides(&one));
            one.collides(&other)
        };
        assert!(collide("80:1", "80:2") && collide("80:1", "0.0.0.0:80:2"));
        assert!(!collide("80:1", "81:1") && !collide("80:1", "80:1/udp"));
        assert!(!collide("80:1", "127.0.0.2:80:1") && !collide("0:1", "0:1"));
    }

    #[test]
    fn an_identity_has_its_own_port_and_all_others_after_it() {
        let digest = |last: u8| format!("{}{last:02x}", "00".repeat(31)).parse::<Digest>().unwrap();
        assert_eq!(login_ports(&digest(22)).next(), Some(61_022));
        let mut all: Vec<u16> = login_ports(&digest(255)).collect();
        assert_eq!(all.first(), Some(&61_255));
        all.sort_unstable();
        assert!(all.into_iter().eq(LOGIN_PORTS));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(port: u16, guest_port in 1u16.., address: u32, udp: bool) {
            let transport = if udp { Transport::Udp } else { Transport::Tcp };
            let forward = Forward { transport, address: address.into(), port, guest_port };
            prop_assert_eq!(forward.to_string().parse(), Ok(forward));
        }
    }
}
