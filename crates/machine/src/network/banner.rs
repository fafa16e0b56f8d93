//! The first words of an SSH server (RFC 4253, 4.2), by which it is known that one answers.
//!
//! A server may say other lines before its version. A line ends with a line feed and has at most 255 bytes with its end;
//! OpenSSH's client reads at most 1,024 lines of 8 KiB. Here less is enough: what says more than [`LIMIT`] bytes without
//! a version is no server that anybody waits for.

/// So many bytes are read in search of the version.
pub const LIMIT: usize = 8 * 1024;

/// The longest line with the version in it, its end included.
const LINE: usize = 255;

/// What was heard so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Too little to tell.
    Nothing,
    /// An SSH server of a version that today's clients speak.
    Server,
    /// Something else, or an SSH server that speaks only version 1.
    Stranger,
}

/// Judges all bytes that came since the connection was made.
#[must_use]
pub fn judge(bytes: &[u8]) -> Heard {
    let mut rest = bytes;
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            let is_endless = bytes.len() >= LIMIT || (rest.starts_with(b"SSH-") && rest.len() >= LINE);
            return if is_endless { Heard::Stranger } else { Heard::Nothing };
        };
        let (line, behind) = rest.split_at(end + 1);
        if line.starts_with(b"SSH-") {
            let known = line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-");
            return if known && line.len() <= LINE { Heard::Server } else { Heard::Stranger };
        }
        if bytes.len() - behind.len() >= LIMIT {
            return Heard::Stranger;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_first_words() {
        for (words, heard) in [
            ("", Heard::Nothing),
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2", Heard::Nothing),
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Heard::Server),
            ("SSH-1.99-x\n", Heard::Server),
            ("welcome\r\nto this\r\nSSH-2.0-x\r\nmore", Heard::Server),
            ("SSH-1.5-old\n", Heard::Stranger),
            ("SSH-\n", Heard::Stranger),
            ("HTTP/1.1 400 Bad Request\r\n\r\n", Heard::Nothing),
            ("\0\u{1}\u{2}", Heard::Nothing),
        ] {
            assert_eq!(judge(words.as_bytes()), heard, "{words:?}");
        }
    }

    #[test]
    fn there_is_an_end_to_listening() {
        assert_eq!(judge(&vec![b'x'; LIMIT]), Heard::Stranger);
        assert_eq!(judge(&b"x\n".repeat(LIMIT / 2)), Heard::Stranger);
        assert_eq!(judge(&[b"SSH-2.0-", vec![b'x'; LINE].as_slice()].concat()), Heard::Stranger);
        let late = [b"x\n".repeat(LIMIT), b"SSH-2.0-x\n".to_vec()].concat();
        assert_eq!(judge(&late), Heard::Stranger);
    }
}
