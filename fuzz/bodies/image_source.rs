//! Any text as a checksum file, and as an address.

use selfsame_machine::image::checksum::{Checksum, find};
use selfsame_machine::image::place::{Url, file_name};

/// What is found is in the text; an address reads back, and its file's name leads nowhere.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for file in ["disk.img", "debian-13-generic-amd64.qcow2", ""] {
        if let Ok(checksum) = find(&text, file) {
            let digits = checksum.to_string();
            let digits = digits.split_once(':').map_or("", |(_, digits)| digits);
            assert!(text.to_ascii_lowercase().contains(digits));
            assert_eq!(checksum.to_string().parse::<Checksum>(), Ok(checksum));
        }
    }
    let from: Url = "https://example.org/a/b?c".parse().expect("it is an address");
    for line in text.lines().take(20) {
        if let Ok(url) = line.parse::<Url>() {
            assert_eq!(url.text().parse::<Url>(), Ok(url.clone()));
            let name = file_name(&url);
            assert!(!name.contains(['/', '\0']) && !name.starts_with('.') && name.len() < 200);
        }
        if let Ok(url) = from.join(line) {
            assert_eq!(url.text().parse::<Url>(), Ok(url));
        }
    }
}
