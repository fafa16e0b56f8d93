//! Any bytes as a VM's `vm.toml`.

use selfsame_machine::spec::{Spec, SpecError, with_machine};

/// What reads, reads back the same; a mistake has a place inside the text; an added machine type changes nothing else.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Spec::read(&text) {
        Ok(spec) => {
            assert_eq!(Spec::read(&spec.write()).as_ref(), Ok(&spec));
            let machine = Some("pc-q35-7.2".to_owned());
            let expected = Spec { machine, ..spec };
            if let Some(text) = with_machine(&text, &expected) {
                assert_eq!(Spec::read(&text), Ok(expected));
            }
        }
        Err(SpecError::Invalid { line, column, .. }) => {
            let lines: Vec<&str> = text.split('\n').collect();
            assert!((1..=lines.len()).contains(&line));
            let length = lines.get(line - 1).map_or(0, |line| line.chars().count());
            assert!((1..=length + 1).contains(&column));
        }
        Err(SpecError::Newer { found }) => assert_ne!(found, selfsame_machine::spec::SCHEMA),
        Err(SpecError::OutOfRange { .. }) => {}
    }
}
