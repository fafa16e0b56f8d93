//! Any bytes from the port of a guest's agent.

use selfsame_machine::agent::{
    AgentInfo, ExecStatus, Executed, Interface, LINE_LIMIT, ReadError, Reader, Reply, SyncId,
};

/// Pieces make no difference, nothing is heard before the synchronisation, and what is shown of a guest's words is short
/// and harmless.
pub(crate) fn check(data: &[u8]) {
    // Once as it is, which hardly ever begins an exchange, and once in an exchange that has begun.
    let synced = [&b"\xff{\"return\": 7}\n"[..], data].concat();
    for data in [data, &synced] {
        let (whole, error) = read(data, data.len().max(1));
        assert_eq!((&whole, &error), (&read(data, 3).0, &read(data, 3).1));
        assert!(whole.iter().skip(1).all(|reply| *reply != Reply::Synced), "an exchange begins once");
        assert!(whole.first().is_none_or(|reply| *reply == Reply::Synced), "heard before it began");
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.len() < 2000 && !error.contains(char::is_control));
        for reply in whole {
            match reply {
                Reply::Synced => {}
                Reply::Refused(refusal) => {
                    let text = refusal.to_string();
                    assert!(text.len() < 5000 && !text.contains(char::is_control));
                }
                Reply::Return(value) => {
                    drop(Executed::read(&value));
                    drop(ExecStatus::read(&value));
                    if let Ok(info) = AgentInfo::read(&value) {
                        assert!(info.version.len() <= 4 * 256 && info.allowed.len() <= 512);
                    }
                    if let Ok(interfaces) = Interface::read_all(&value) {
                        assert!(interfaces.len() <= 64);
                        assert!(interfaces.iter().all(|interface| interface.addresses.len() <= 64));
                    }
                }
            }
        }
    }
}

fn read(data: &[u8], piece: usize) -> (Vec<Reply>, Option<ReadError>) {
    let mut reader = Reader::new(SyncId::new(7)).with_stale_limit(4 * LINE_LIMIT);
    let mut replies = Vec::new();
    for piece in data.chunks(piece) {
        match reader.feed(piece) {
            Ok(more) => replies.extend(more),
            Err(error) => return (replies, Some(error)),
        }
    }
    let error = reader.feed(b"").err();
    (replies, error)
}
