//! The guest's network cards, and ports of the host that lead to the first.

use selfsame_machine::network::{Forward, Network};

use super::Plan;
use super::line::{Line, value};

/// What QEMU calls the network of the first card.
pub const CARD: &str = "net0";

/// A port as QEMU reads it. The guest's address is left to QEMU: the one that its own DHCP server gives to the first guest.
#[must_use]
pub fn hostfwd(forward: &Forward) -> String {
    let Forward { transport, address, port, guest_port } = forward;
    format!("{}:{address}:{port}-:{guest_port}", transport.text())
}

impl Plan {
    pub(super) fn network(&self, line: &mut Line) {
        let restrict = match self.network {
            // No card, and nothing of a network.
            Network::None => return,
            // The guest reaches nobody, the host and its name server included; what leads in still does.
            Network::Isolated => ",restrict=on",
            Network::Nat => "",
        };
        for (index, mac) in self.mac_addresses.iter().enumerate() {
            let mut netdev = format!("user,id=net{index}{restrict}");
            if index == 0 {
                for forward in &self.forwards {
                    netdev.push_str(&format!(",hostfwd={}", hostfwd(forward)));
                }
            }
            // Without a ROM there is no network boot, and no file of another package that may be missing.
            line.option("-netdev", netdev)
                .option("-device", format!("virtio-net-pci,netdev=net{index},mac={},romfile=", value(mac)));
        }
    }
}
