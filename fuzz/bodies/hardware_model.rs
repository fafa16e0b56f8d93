//! Any bytes as a hardware model.

use selfsame_machine::identity::HardwareModel;

/// The bytes are kept, findings lie within them, and the values survive being written in both forms.
pub(crate) fn check(data: &[u8]) {
    let model = HardwareModel::read(data);
    assert_eq!(model.raw, data);
    assert!(model.findings.iter().all(|finding| finding.offset <= data.len() && !finding.message.is_empty()));
    let values =
        model.data_representation_version.zip(model.platform_version).zip(model.minimum_supported_os);
    assert_eq!(model.is_complete(), values.is_some());
    if let Some(((_, platform), minimum)) = values {
        for made in [HardwareModel::v1(platform, minimum), HardwareModel::v2(platform, minimum)] {
            assert_eq!(HardwareModel::read(&made.raw), made);
        }
    }
}
