//! The guest's network cards, and ports of the host that lead to them.

use std::fmt;
use std::net::Ipv4Addr;

use super::Plan;
use super::line::{Line, value};

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The protocol.
    pub transport: Transport,
    /// The host's address to listen on.
    pub address: Ipv4Addr,
    /// The host's port.
    pub port: u16,
    /// The guest's port.
    pub guest_port: u16,
}

impl fmt::Display for Forward {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(formatter, "{transport}:{}:{}-:{}", self.address, self.port, self.guest_port)
    }
}

impl Plan {
    pub(super) fn network(&self, line: &mut Line) {
        for (index, mac) in self.mac_addresses.iter().enumerate() {
            let mut netdev = format!("user,id=net{index}");
            if index == 0 {
                for forward in &self.forwards {
                    netdev.push_str(&format!(",hostfwd={forward}"));
                }
            }
            // Without a ROM there is no network boot, and no file of another package that may be missing.
            line.option("-netdev", netdev)
                .option("-device", format!("virtio-net-pci,netdev=net{index},mac={},romfile=", value(mac)));
        }
    }
}
