//! `docs/errors/` has a section for every code and a row for every exit status, and says of each what the table says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use selfsame_machine::code::{Code, Exit};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors")
}

/// Every section: its code, the page it stands on, and the first line under the heading.
fn sections() -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let page = path.file_name().unwrap().to_str().unwrap().to_owned();
        if page == "README.md" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(heading) = line.strip_prefix("## ") else { continue };
            let code = heading.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
            let code = code.unwrap_or_else(|| panic!("{page}: `{heading}` is no code"));
            let first = lines.find(|line| !line.is_empty()).unwrap_or_default().to_owned();
            assert!(found.insert(code.to_owned(), (page.clone(), first)).is_none(), "`{code}` stands twice");
        }
    }
    found
}

#[test]
fn every_code_has_its_section_and_every_section_its_code() {
    let mut sections = sections();
    let index = fs::read_to_string(folder().join("README.md")).unwrap();
    for code in Code::ALL {
        let (page, first) = sections.remove(code.text()).unwrap_or_else(|| panic!("`{code}` has no section"));
        let status = code.exit().status();
        assert_eq!(first, format!("**{}.** Exit status {status}.", code.title()), "{page}, under `{code}`");
        let row = format!("| [`{code}`]({page}#{}) | {status} |", code.text().replace('.', ""));
        assert!(index.contains(&row), "README.md lacks the row\n{row}");
    }
    assert!(sections.is_empty(), "sections of codes that are none: {:?}", sections.keys());
    let rows = index.lines().filter(|line| line.starts_with("| [`")).count();
    assert_eq!(rows, Code::ALL.len(), "README.md lists codes that are none");
}

#[test]
fn every_exit_status_has_its_row() {
    let index = fs::read_to_string(folder().join("README.md")).unwrap();
    for exit in Exit::ALL {
        let row = format!("| {} | {} |", exit.status(), exit.meaning());
        assert!(index.contains(&row), "README.md lacks the row\n{row}");
    }
    let numbered =
        |line: &&str| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit());
    assert_eq!(
        index.lines().filter(numbered).count(),
        Exit::ALL.len(),
        "README.md lists statuses that are none"
    );
}
