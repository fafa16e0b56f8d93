//! Any bytes as a VM's `vm.toml`.

use selfsame_machine::spec::{Change, Spec, SpecError};

/// What reads, reads back the same; a mistake has a place inside the text; a change changes nothing else.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Spec::read(&text) {
        Ok(spec) => {
            assert_eq!(Spec::read(&spec.write()).as_ref(), Ok(&spec));
            let change = Change {
                cpus: Some(spec.cpus % 256 + 1),
                mac_address: Some(None),
                machine: Some("pc-q35-7.2".to_owned()),
                protected: Some(!spec.protected),
                folders: Some(spec.folders.iter().rev().cloned().collect()),
                ..Change::default()
            };
            if let Ok((text, changed)) = change.edit(&text) {
                assert_eq!(changed, change.of(&spec));
                assert_eq!(Spec::read(&text), Ok(changed));
            }
        }
        Err(SpecError::Invalid { line, column, .. }) => {
            let lines: Vec<&str> = text.split('\n').collect();
            assert!((1..=lines.len()).contains(&line));
            let length = lines.get(line - 1).map_or(0, |line| line.chars().count());
            assert!((1..=length + 1).contains(&column));
        }
        Err(SpecError::Newer { found }) => assert_ne!(found, selfsame_machine::spec::SCHEMA),
        Err(SpecError::OutOfRange { .. } | SpecError::Ports(_)) => {}
    }
}
