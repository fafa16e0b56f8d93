//! Any bytes from a guest's report port.

use selfsame_machine::report::ReportReader;

/// Pieces make no difference, and no value is longer than a line or reaches a terminal as more than text.
pub(crate) fn check(data: &[u8]) {
    let whole = ReportReader::default().feed(data);
    let mut reader = ReportReader::default();
    let pieces: Vec<_> = data.chunks(3).flat_map(|piece| reader.feed(piece)).collect();
    assert_eq!(whole, pieces);
    for report in whole {
        assert!(report.macs.len() <= 64);
        let single = [
            report.product_uuid,
            report.product_serial,
            report.machine_id,
            report.kernel,
            report.os,
            report.boot_id,
        ];
        for value in single.into_iter().flatten().chain(report.macs) {
            // A byte that is no UTF-8 becomes three.
            assert!(!value.is_empty() && value.len() <= 3 * 512);
            assert!(!value.contains(char::is_control));
        }
    }
}
