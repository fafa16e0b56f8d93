//! What a process was started with, as `KERN_PROCARGS2` tells it to its own user and to root.
//!
//! ```text
//! argc (32 bits) │ path of the program, NUL │ NULs up to an aligned address │ argv[0] NUL argv[1] NUL … │ environment …
//! ```
//!
//! Source: XNU, `bsd/kern/kern_sysctl.c`, `sysctl_procargsx`; confidence high. The text is read from the process's own
//! stack, where it may have changed it since: it informs, and proves nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::bytes::{before_nul, u32_at};

/// More arguments than this are none of a program of ours, whatever the process claims.
const MOST: usize = 4096;

/// A process's program and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The path of the program, as it was given to `exec`.
    pub program: PathBuf,
    /// The arguments, the title (`argv[0]`) first. At most 4,096 of them.
    pub list: Vec<OsString>,
}

impl Arguments {
    /// Reads the kernel's answer; `None` when it ends before the last argument does, or claims more arguments than are
    /// bounded here.
    ///
    /// An empty title cannot be told from the NULs before it: then the next argument is taken for it.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let count = usize::try_from(u32_at(bytes, 0)?).ok().filter(|count| *count <= MOST)?;
        let rest = bytes.get(4..)?;
        let program = before_nul(rest);
        let rest = rest.get(program.len()..)?;
        let mut rest = rest.get(rest.iter().take_while(|byte| **byte == 0).count()..)?;
        let mut list = Vec::new();
        for _ in 0..count {
            let argument = before_nul(rest);
            // Without its NUL it is cut off.
            rest = rest.get(argument.len() + 1..)?;
            list.push(text(argument));
        }
        Some(Self { program: text(program).into(), list })
    }
}

#[cfg(unix)]
fn text(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(count: u32, rest: &[u8]) -> Vec<u8> {
        [&count.to_le_bytes(), rest].concat()
    }

    #[test]
    fn arguments_are_told_from_the_padding_and_the_environment() {
        let bytes = answer(3, b"/bin/selfsame\0\0\0\0selfsame: a b\0supervise\0\0HOME=/root\0");
        let arguments = Arguments::read(&bytes).unwrap();
        assert_eq!(arguments.program, PathBuf::from("/bin/selfsame"));
        assert_eq!(arguments.list, ["selfsame: a b", "supervise", ""]);
    }

    #[test]
    fn an_answer_that_was_cut_off_is_none() {
        let bytes = answer(2, b"/bin/x\0\0x\0one");
        assert_eq!(Arguments::read(&bytes), None);
        assert_eq!(Arguments::read(&answer(u32::MAX, b"/bin/x\0x\0")), None);
        assert_eq!(Arguments::read(b"\0\0"), None);
        assert_eq!(Arguments::read(&answer(0, b"")).map(|arguments| arguments.list.len()), Some(0));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        use std::os::unix::ffi::OsStrExt as _;
        let arguments = Arguments::read(&answer(1, b"/x\0\xff\xfe\0")).unwrap();
        assert_eq!(arguments.list.first().map(|title| title.as_bytes()), Some(&b"\xff\xfe"[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Arguments::read(&bytes));
        }

        #[test]
        fn what_was_written_is_read(
            list in proptest::collection::vec("[^\0]{1,20}", 1..8), padding in 1_usize..9, environment in "[A-Z=]{0,9}",
        ) {
            let mut bytes = answer(u32::try_from(list.len()).unwrap(), b"/bin/program");
            bytes.extend(vec![0; padding]);
            for argument in &list {
                bytes.extend(argument.as_bytes());
                bytes.push(0);
            }
            bytes.extend(environment.as_bytes());
            let arguments = Arguments::read(&bytes).unwrap();
            prop_assert_eq!(arguments.list, list.into_iter().map(OsString::from).collect::<Vec<_>>());
        }
    }
}
