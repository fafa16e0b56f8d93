//! A second opinion on the byte form, from CPython's `plistlib`, which published blobs were checked against.

use std::process::Command;

use selfsame_machine::identity::{HardwareModel, Identity};

/// Prints what plistlib writes, in hexadecimal, one line each.
const SCRIPT: &str = r#"
import plistlib, uuid
def show(value):
    print(plistlib.dumps(value, fmt=plistlib.FMT_BINARY, sort_keys=False).hex())
for ecid in (0x5FADE97DCBBBEDA5, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
    show({"ECID": ecid})
show({"UUID": uuid.UUID("db087d0b-d366-40bc-809b-969690dcbe1e").bytes})
show({"DataRepresentationVersion": 2, "PlatformVersion": 2, "MinimumSupportedOS": [13, 0, 0]})
show({"DataRepresentationVersion": 2, "PlatformVersion": 3, "MinimumSupportedOS": [15, 2, 300]})
"#;

#[test]
fn plistlib_writes_the_same_bytes() {
    let Ok(output) = Command::new("python3").args(["-c", SCRIPT]).output() else {
        eprintln!("SKIPPED: plistlib_writes_the_same_bytes needs python3, which is not installed");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let identities = [
        "ecid:0x5FADE97DCBBBEDA5",
        "ecid:4294967296",
        "ecid:0x7FFFFFFFFFFFFFFF",
        "ecid:0x8000000000000000",
        "ecid:0xFFFFFFFFFFFFFFFF",
        "uuid:db087d0b-d366-40bc-809b-969690dcbe1e",
    ];
    let blobs = identities.iter().map(|text| text.parse::<Identity>().unwrap().to_bytes());
    let models = [HardwareModel::v2(2, [13, 0, 0]), HardwareModel::v2(3, [15, 2, 300])];
    let ours: Vec<String> = blobs
        .chain(models.map(|model| model.raw))
        .map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    let theirs = String::from_utf8(output.stdout).unwrap();
    assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
}
