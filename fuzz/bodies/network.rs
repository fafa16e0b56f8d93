//! Any text for a port, any file of leases, any first words of a server.

use selfsame_machine::network::banner::{Heard, LIMIT, judge};
use selfsame_machine::network::{Forward, leases};

/// What is a port reads back from its own text; leases are as many as there are blocks; a verdict about a server stands
/// whatever comes later, and one comes before the limit.
pub(crate) fn check(data: &[u8]) {
    let heard = judge(data);
    if data.len() >= LIMIT {
        assert_ne!(heard, Heard::Nothing);
    }
    if heard != Heard::Nothing {
        assert_eq!(judge(&[data, b"x\nSSH-2.0-late\n"].concat()), heard);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(forward) = text.parse::<Forward>() {
        assert_eq!(forward.to_string().parse(), Ok(forward));
        assert_ne!(forward.guest_port, 0);
    }
    let found = leases::read(text);
    assert!(found.len() <= text.matches('}').count());
    let Ok(mac) = "06:e8:a3:b0:23:b4".parse() else { return };
    if let leases::Found::Address(address) = leases::find(&found, mac) {
        assert!(found.iter().any(|lease| lease.address == address));
    }
}
