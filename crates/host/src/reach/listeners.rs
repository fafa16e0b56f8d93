//! Who listens at a port, as Linux tells it: `/proc/net/tcp` and its siblings (proc(5)) name a socket's inode and its
//! owner, and `/proc/PID/fd` who has that socket.

use std::fs;

use selfsame_machine::network::Transport;

/// A socket that holds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    inode: u64,
    uid: u32,
}

/// The state of a TCP socket that listens, and that of a UDP socket that is not connected.
const LISTENS: (&str, &str) = ("0A", "07");

/// Who holds a port, as well as it can be told.
pub(super) fn holder(transport: Transport, port: u16) -> Option<String> {
    let (files, state) = match transport {
        Transport::Tcp => (["tcp", "tcp6"], LISTENS.0),
        Transport::Udp => (["udp", "udp6"], LISTENS.1),
    };
    let socket = files.iter().find_map(|file| {
        let text = fs::read_to_string(format!("/proc/net/{file}")).ok()?;
        find(&text, state, port)
    })?;
    Some(match owner(socket.inode) {
        Some(pid) => crate::process::describe(pid),
        None => format!("a process of the user with id {}", socket.uid),
    })
}

/// The first socket in that state at that port.
fn find(text: &str, state: &str, port: u16) -> Option<Socket> {
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let fits = u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&state);
        fits.then_some(Socket { uid: fields.get(7)?.parse().ok()?, inode: fields.get(9)?.parse().ok()? })
    })
}

/// A process that has the socket open, as far as this user may look.
fn owner(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    crate::process::all().find(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|link| link.as_os_str() == wanted.as_str())
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn who_listens_is_found() {
        let own = crate::process::describe(std::process::id());
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(holder(Transport::Tcp, tcp.local_addr().unwrap().port()), Some(own.clone()));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(holder(Transport::Udp, udp.local_addr().unwrap().port()), Some(own));
    }

    #[test]
    fn the_table_is_read_by_its_columns() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 11 1\n\
             1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1\n\
             2: torn\n";
        assert_eq!(find(table, "0A", 8080), Some(Socket { inode: 12, uid: 1000 }));
        assert_eq!(find(table, "0A", 8081), None);
    }
}
