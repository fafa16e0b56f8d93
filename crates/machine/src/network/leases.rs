//! `/var/db/dhcpd_leases`: which address macOS's DHCP server gave to whom.
//!
//! Blocks in braces of `key=value` lines, as `bootpd` writes them (public copies in the sources and issues of Lima, tart and
//! vfkit; confidence: high):
//!
//! ```text
//! {
//!     name=debian
//!     ip_address=192.168.64.3
//!     hw_address=1,7a:47:bb:5f:97:c9
//!     identifier=1,7a:47:bb:5f:97:c9
//!     lease=0x6718ed8d
//! }
//! ```
//!
//! Numbers in `hw_address` come without leading zeros. `1,` says that a MAC address follows. Since macOS 15 it may be `ff,`
//! and a DUID, which follows from the guest's machine id and is not told apart from another VM's by anything that the host
//! knows: then nobody can say which address is whose, and [`find`] says so.

use std::net::Ipv4Addr;

use crate::identity::MacAddress;

/// More blocks are not read: the file is the system's, and has one for each guest that ever was.
const MAX_LEASES: usize = 4096;

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// To whom.
    pub holder: Holder,
    /// Until when, in seconds since 1970; 0 where it is not told.
    pub until: u64,
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A network card.
    Mac([u8; 6]),
    /// Something that named itself by other bytes.
    Other,
}

/// What the file says of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Its address: that of the lease which ends last.
    Address(Ipv4Addr),
    /// It is not there, and some are under names that no card can be told from.
    Hidden {
        /// How many.
        count: usize,
    },
    /// It is not there.
    Missing,
}

/// Reads the file. What is no lease is passed over.
#[must_use]
pub fn read(text: &str) -> Vec<Lease> {
    let mut leases = Vec::new();
    let mut block: Option<Block<'_>> = None;
    for line in text.lines().map(str::trim) {
        match (line, &mut block) {
            ("{", _) => block = Some(Block::default()),
            ("}", _) => {
                if leases.len() < MAX_LEASES {
                    leases.extend(block.take().and_then(|block| block.lease()));
                }
            }
            (line, Some(block)) => match line.split_once('=') {
                Some(("ip_address", value)) => block.address = value.parse().ok(),
                Some(("hw_address", value)) => block.holder = Some(value),
                Some(("lease", value)) => block.until = seconds(value),
                Some(_) | None => {}
            },
            (_, None) => {}
        }
    }
    leases
}

#[derive(Default)]
struct Block<'t> {
    address: Option<Ipv4Addr>,
    holder: Option<&'t str>,
    until: u64,
}

impl Block<'_> {
    fn lease(&self) -> Option<Lease> {
        let holder = mac(self.holder?).map_or(Holder::Other, Holder::Mac);
        Some(Lease { address: self.address?, holder, until: self.until })
    }
}

fn seconds(text: &str) -> u64 {
    text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// `1,7a:47:bb:5f:97:c9`, each number of one or two digits.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.strip_prefix("1,")?.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2) && !part.starts_with('+'))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// The address of a network card.
#[must_use]
pub fn find(leases: &[Lease], mac: MacAddress) -> Found {
    let own = leases.iter().filter(|lease| lease.holder == Holder::Mac(mac.bytes()));
    if let Some(lease) = own.max_by_key(|lease| lease.until) {
        return Found::Address(lease.address);
    }
    match leases.iter().filter(|lease| lease.holder == Holder::Other).count() {
        0 => Found::Missing,
        count => Found::Hidden { count },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
{
\tname=old
\tip_address=192.168.64.2
\thw_address=1,a:47:bb:5f:7:c9
\tidentifier=1,a:47:bb:5f:7:c9
\tlease=0x6718ed8d
}
{
\tname=new
\tip_address=192.168.64.3
\thw_address=1,a:47:bb:5f:7:c9
\tlease=0x6718ed8e
}
{
\tip_address=192.168.64.9
\thw_address=ff,f1:f5:dd:7f:0:2:0:0:ab:11:6b:4:59:e2:2:2
}
";

    #[test]
    fn the_lease_that_ends_last_counts() {
        let leases = read(FILE);
        assert_eq!(leases.len(), 3);
        let mac: MacAddress = "0a:47:bb:5f:07:c9".parse().unwrap();
        assert_eq!(find(&leases, mac), Found::Address([192, 168, 64, 3].into()));
    }

    #[test]
    fn a_duid_is_nobodys_address_for_certain() {
        let other: MacAddress = "0a:47:bb:5f:07:ca".parse().unwrap();
        assert_eq!(find(&read(FILE), other), Found::Hidden { count: 1 });
        assert_eq!(find(&read(&FILE.replace("ff,", "1,")), other), Found::Hidden { count: 1 });
        assert_eq!(find(&[], other), Found::Missing);
    }

    #[test]
    fn half_a_file_gives_its_whole_leases() {
        assert_eq!(read(&FILE[..FILE.len() - 2]).len(), 2);
        assert!(read("ip_address=1.2.3.4\n}\n}\n{\n{\n}").is_empty());
    }
}
