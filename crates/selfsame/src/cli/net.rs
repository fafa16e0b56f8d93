//! The options that say how a guest is connected.

use selfsame_host::supervisor::Link;
use selfsame_machine::network::{Forward, Network, Transport, Wish};
use selfsame_machine::spec::Spec;

/// A network by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Net {
    /// The guest reaches whom the host reaches, from behind its address
    Nat,
    /// It reaches nobody; ports of the host still lead in
    Isolated,
    /// It has no network card
    None,
}

impl Net {
    pub(super) const fn network(self) -> Network {
        match self {
            Self::Nat => Network::Nat,
            Self::Isolated => Network::Isolated,
            Self::None => Network::None,
        }
    }

    const fn of(network: Network) -> Self {
        match network {
            Network::Nat => Self::Nat,
            Network::Isolated => Self::Isolated,
            Network::None => Self::None,
        }
    }
}

/// How one run is connected.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RunOptions {
    /// The network of this run
    #[arg(long, value_enum, value_name = "NETWORK")]
    net: Option<Net>,
    /// A port of the host that leads into the guest, [ADDRESS:]HOST:GUEST[/udp]; for this run, in place of those of vm.toml
    #[arg(short = 'p', long = "port", value_name = "PORT")]
    ports: Vec<Forward>,
}

impl RunOptions {
    pub(super) fn wish(&self) -> Wish {
        Wish {
            network: self.net.map(Net::network),
            ports: Some(self.ports.clone()).filter(|ports| !ports.is_empty()),
        }
    }

    /// The same, with what counts where nothing else was said.
    pub(super) fn or(&self, wish: &Wish) -> Self {
        let own = self.wish();
        let ports = own.ports.or_else(|| wish.ports.clone());
        Self { net: self.net.or_else(|| wish.network.map(Net::of)), ports: ports.unwrap_or_default() }
    }
}

/// Ports as `vm.toml` has them.
pub(super) fn texts(ports: &[Forward]) -> Vec<String> {
    ports.iter().map(ToString::to_string).collect()
}

/// What of a network is worth a word.
pub(super) fn clause(spec: &Spec) -> String {
    let network = match spec.network {
        Network::Nat => String::new(),
        Network::Isolated | Network::None => format!(", network {}", spec.network),
    };
    let ports = texts(&spec.ports).join(" ");
    if ports.is_empty() { network } else { format!("{network}, ports {ports}") }
}

/// How a running guest is connected, for people.
pub(super) fn told(link: &Link) -> String {
    let port = |port: &Forward| {
        let transport = match port.transport {
            Transport::Tcp => "",
            Transport::Udp => "/udp",
        };
        format!("{}:{} to {}{transport}", port.address, port.port, port.guest_port)
    };
    let all = link.forwards.iter().map(port);
    let login = link.login.as_ref().map(|login| format!("{}, for ssh", port(login)));
    let words = std::iter::once(link.network.to_string()).chain(all).chain(login);
    words.collect::<Vec<_>>().join("; ")
}

/// How this program is told a wish: see [`super::supervise`].
pub(super) fn arguments(wish: &Wish) -> impl Iterator<Item = String> {
    let network = wish.network.map(|network| format!("--net={network}"));
    let ports = wish.ports.iter().flatten().map(|port| format!("--port={port}"));
    network.into_iter().chain(ports.collect::<Vec<_>>())
}
