//! What a run's network is to be: what `vm.toml` says, unless the start says otherwise.

use serde::{Deserialize, Serialize};

use super::{Forward, Network};
use crate::code::Code;
use crate::problem::{Hint, Problem};

/// What a start says of the network, for that run only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wish {
    /// The network, in place of that of `vm.toml`.
    pub network: Option<Network>,
    /// The ports, in place of all those of `vm.toml`.
    pub ports: Option<Vec<Forward>>,
}

/// How a guest is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The network.
    pub network: Network,
    /// The ports that are wanted; none without a network.
    pub ports: Vec<Forward>,
}

/// Ports that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// Nothing could lead in.
    #[error("no port leads into a guest without a network card")]
    NoCard,
    /// Two want the same.
    #[error("`{one}` and `{other}` want the same port of the host")]
    Twice {
        /// The first.
        one: Forward,
        /// The second.
        other: Forward,
    },
    /// More than anybody wants.
    #[error("{count} ports are too many: at most {} lead into one guest", super::MAX_PORTS)]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl Problem for WishError {
    fn code(&self) -> Code {
        Code::UsageInvalid
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::NoCard => {
                vec![Hint::say("`isolated` keeps the guest from reaching anybody, and lets ports lead in")]
            }
            Self::Twice { .. } | Self::TooMany { .. } => Vec::new(),
        }
    }
}

/// Checks that ports can be together.
///
/// # Errors
/// When two want one port of the host, or there are too many.
pub(crate) fn check(ports: &[Forward]) -> Result<(), WishError> {
    if ports.len() > super::MAX_PORTS {
        return Err(WishError::TooMany { count: ports.len() });
    }
    let twice = ports.iter().enumerate().find_map(|(index, one)| {
        let rest = ports.get(index + 1..).unwrap_or_default();
        rest.iter().find(|other| one.collides(other)).map(|other| (*one, *other))
    });
    twice.map_or(Ok(()), |(one, other)| Err(WishError::Twice { one, other }))
}

impl Wish {
    /// How the guest of a VM with this `network` and these `ports` is connected. Ports that `vm.toml` has for another
    /// network lead nowhere where there is no card, and come back with it.
    ///
    /// # Errors
    /// When the ports of the wish cannot be.
    pub fn of(&self, network: Network, ports: &[Forward]) -> Result<Connection, WishError> {
        let network = self.network.unwrap_or(network);
        let ports = match (&self.ports, network) {
            (Some(ports), Network::None) if !ports.is_empty() => return Err(WishError::NoCard),
            (_, Network::None) => Vec::new(),
            (Some(ports), Network::Nat | Network::Isolated) => ports.clone(),
            (None, Network::Nat | Network::Isolated) => ports.to_vec(),
        };
        check(&ports)?;
        Ok(Connection { network, ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(texts: &[&str]) -> Vec<Forward> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_run_says_otherwise_for_itself() {
        let written = ports(&["8080:80"]);
        let of = |network, wished: Option<&[&str]>| {
            Wish { network, ports: wished.map(ports) }.of(Network::Isolated, &written)
        };
        let connection = |network, ports: &[Forward]| Ok(Connection { network, ports: ports.to_vec() });
        assert_eq!(of(None, None), connection(Network::Isolated, &written));
        assert_eq!(of(Some(Network::Nat), Some(&["1:2"])), connection(Network::Nat, &ports(&["1:2"])));
        assert_eq!(of(Some(Network::None), None), connection(Network::None, &[]));
        assert_eq!(of(Some(Network::None), Some(&["1:2"])), Err(WishError::NoCard));
        assert!(matches!(of(None, Some(&["1:2", "0.0.0.0:1:3"])), Err(WishError::Twice { .. })));
    }

    #[test]
    fn there_is_an_end_to_ports() {
        let many = vec![Forward::login(0); super::super::MAX_PORTS];
        assert_eq!(check(&many), Ok(()));
        let more = [many.as_slice(), &[Forward::login(0)]].concat();
        assert_eq!(check(&more), Err(WishError::TooMany { count: 65 }));
    }
}
