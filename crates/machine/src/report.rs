//! What a guest says about itself, and whether it is what was predicted.
//!
//! The guest's script (`guest/selfsame-report.sh`) writes lines to a virtio-serial port:
//!
//! ```text
//! selfsame-report 1
//! product_uuid=0b7d08db-d366-40bc-…
//! mac=06:e8:a3:b0:23:b4
//! end
//! ```
//!
//! **The guest is not trusted.** Lines, reports and values are bounded, unknown keys are passed over, control characters
//! are replaced, and a report counts only when it is whole.

use serde::{Deserialize, Serialize};

use crate::identity::{Identity, MacAddress};

/// The name of the virtio-serial port.
pub const PORT: &str = "org.selfsame.report.0";

/// No line is longer; the rest of a longer one is dropped.
const LINE_LIMIT: usize = 512;
/// No report lists more network cards.
const MAC_LIMIT: usize = 64;

const HEADER: &str = "selfsame-report 1";
const END: &str = "end";

/// A whole report. What the guest could not read is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuestReport {
    /// `/sys/class/dmi/id/product_uuid`, lower case.
    pub product_uuid: Option<String>,
    /// `/sys/class/dmi/id/product_serial`.
    pub product_serial: Option<String>,
    /// The addresses of its network cards, without loopback.
    pub macs: Vec<String>,
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// `uname -r`.
    pub kernel: Option<String>,
    /// The name in `os-release`.
    pub os: Option<String>,
    /// The kernel's boot id: changes with every boot of the guest.
    pub boot_id: Option<String>,
}

/// Puts reports together from what arrives in pieces.
#[derive(Debug, Default)]
pub struct ReportReader {
    line: Vec<u8>,
    draft: Option<GuestReport>,
}

impl ReportReader {
    /// Takes bytes from the port and gives the reports that became whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<GuestReport> {
        let mut whole = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LINE_LIMIT {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = clean(&std::mem::take(&mut self.line));
            match line.as_str() {
                HEADER => self.draft = Some(GuestReport::default()),
                END => whole.extend(self.draft.take()),
                line => {
                    if let (Some(draft), Some((key, value))) = (self.draft.as_mut(), line.split_once('=')) {
                        draft.set(key, value);
                    }
                }
            }
        }
        whole
    }
}

fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl GuestReport {
    fn set(&mut self, key: &str, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        let value = value.to_owned();
        match key {
            "product_uuid" => self.product_uuid = Some(value.to_ascii_lowercase()),
            "product_serial" => self.product_serial = Some(value),
            "mac" if self.macs.len() < MAC_LIMIT => self.macs.push(value.to_ascii_lowercase()),
            "machine_id" => self.machine_id = Some(value),
            "kernel" => self.kernel = Some(value),
            "os" => self.os = Some(value),
            "boot_id" => self.boot_id = Some(value),
            _ => {}
        }
    }

    /// Where the guest shows something else than was predicted. What it did not show contradicts nothing.
    #[must_use]
    pub fn contradictions(&self, identity: &Identity, mac: &MacAddress) -> Vec<Contradiction> {
        let predicted = identity.predictions();
        let rows = [
            ("product_uuid", predicted.product_uuid.value, &self.product_uuid),
            ("smbios_serial", predicted.smbios_serial.value, &self.product_serial),
        ];
        let mut found: Vec<Contradiction> = rows
            .into_iter()
            .filter_map(|(what, predicted, observed)| {
                let (predicted, observed) = (predicted?, observed.clone()?);
                (predicted != observed).then(|| Contradiction { what: what.to_owned(), predicted, observed })
            })
            .collect();
        let mac = mac.to_string();
        if !self.macs.is_empty() && !self.macs.contains(&mac) {
            found.push(Contradiction {
                what: "mac_address".to_owned(),
                predicted: mac,
                observed: self.macs.join(" "),
            });
        }
        found
    }
}

/// A prediction that a guest did not confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// Which value.
    pub what: String,
    /// What was predicted.
    pub predicted: String,
    /// What the guest shows.
    pub observed: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"noise\nselfsame-report 1\nproduct_uuid=0B7D08DB-66d3-bc40-809b-969690dcbe1e\r\nmac=06:e8:a3:b0:23:b4\n\
        machine_id=\x1b[31mred\nfuture=1\nos=Debian = good\nend\nend\n";

    fn identity() -> Identity {
        "uuid:db087d0b-d366-40bc-809b-969690dcbe1e".parse().unwrap()
    }

    #[test]
    fn a_report_in_single_bytes_is_the_same_report() {
        let at_once = ReportReader::default().feed(TEXT);
        let mut reader = ReportReader::default();
        let in_bytes: Vec<_> = TEXT.iter().flat_map(|byte| reader.feed(&[*byte])).collect();
        assert_eq!(at_once, in_bytes);
        assert_eq!(at_once.len(), 1);
        assert_eq!(at_once[0].machine_id.as_deref(), Some("\u{fffd}[31mred"));
        assert_eq!(at_once[0].os.as_deref(), Some("Debian = good"));
    }

    #[test]
    fn a_half_report_counts_for_nothing() {
        let mut reader = ReportReader::default();
        assert_eq!(
            reader.feed(b"selfsame-report 1\nproduct_uuid=x\nselfsame-report 1\nkernel=6\nend\n").len(),
            1
        );
        assert_eq!(reader.feed(&[b'x'; 1 << 20]), []);
        assert!(reader.line.len() <= LINE_LIMIT);
    }

    #[test]
    fn a_guest_that_floods_or_lies_is_bounded() {
        let mut reader = ReportReader::default();
        assert_eq!(reader.feed(b"selfsame-report 1\n"), []);
        for _ in 0..10_000 {
            assert_eq!(
                reader.feed(b"mac=aa:bb:cc:dd:ee:ff\nkernel=1\nunknown=\xff\xfe\n\x00=\n=\nend \n"),
                []
            );
        }
        let mut long = b"os=".to_vec();
        long.extend([b'y'; 4 * LINE_LIMIT]);
        long.extend(b"\nend\nend\n");
        let reports = reader.feed(&long);
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].macs.len(), MAC_LIMIT);
        assert!(reports[0].os.as_ref().is_some_and(|os| os.len() < LINE_LIMIT));
        assert_eq!(reports[0].kernel.as_deref(), Some("1"));
    }

    #[test]
    fn a_contradiction_names_both_values() {
        let mac: MacAddress = "06:e8:a3:b0:23:b4".parse().unwrap();
        let report = ReportReader::default().feed(TEXT).remove(0);
        assert_eq!(report.contradictions(&identity(), &mac), []);
        let other = GuestReport { product_uuid: Some("x".into()), macs: vec!["y".into()], ..report };
        let found = other.contradictions(&identity(), &mac);
        assert_eq!(
            found.iter().map(|c| c.what.as_str()).collect::<Vec<_>>(),
            ["product_uuid", "mac_address"]
        );
        assert_eq!(found[0].predicted, "0b7d08db-66d3-bc40-809b-969690dcbe1e");
    }
}
