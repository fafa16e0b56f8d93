//! With programs that only pretend to be QEMU; the real one is asked in the integration tests.

use std::process::Command;
use std::time::Instant;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// Writes a script. A shell does it, so that no other test's child can hold it open for writing when it is started.
fn script(folder: &Path, name: &str, body: &str) -> PathBuf {
    let path = folder.join(name);
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#;
    let status = Command::new("sh").args(["-c", write, "sh", body]).arg(&path).status().unwrap();
    assert!(status.success());
    path
}

/// A script that behaves as the QEMU of a version.
fn pretender(version: [u32; 3], machines: &str, sandbox: &str) -> String {
    let [major, minor, micro] = version;
    let numbers = format!(r#"{{"major": {major}, "minor": {minor}, "micro": {micro}}}"#);
    [
        format!(r#"{{"QMP": {{"version": {{"qemu": {numbers}, "package": "p"}}, "capabilities": []}}}}"#),
        r#"{"return": {}, "id": 1}"#.to_owned(),
        format!(r#"{{"return": {machines}, "id": 2}}"#),
        format!(r#"{{{sandbox}, "id": 3}}"#),
    ]
    .map(|line| format!("echo '{line}'; read -r heard"))
    .join("\n")
}

const MACHINES: &str =
    r#"[{"name": "none"}, {"name": "pc-q35-8.0", "alias": "q35"}, {"name": "pc-q35-7.2"}]"#;

fn probe(binary: &Path, limit: Duration) -> Result<Installation, InstallationError> {
    Installation::probe(Some(binary), Architecture::X86_64, None, limit)
}

#[test]
fn an_answer_is_kept_as_long_as_the_file_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let sandboxed = pretender([8, 0, 4], MACHINES, r#""return": [{"option": "sandbox"}]"#);
    let binary = script(folder.path(), "qemu", &sandboxed);
    let found = probe(&binary, SOON).unwrap();
    assert_eq!((found.machine.as_str(), found.version.to_string().as_str()), ("pc-q35-8.0", "8.0.4"));
    assert!(found.sandbox && found.package == "p" && found.is_current());
    let kept = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Installation>(&kept).unwrap(), found);

    let refusal = r#""error": {"class": "GenericError", "desc": "invalid option name: sandbox"}"#;
    script(folder.path(), "new", &pretender([8, 0, 4], MACHINES, refusal));
    std::fs::rename(folder.path().join("new"), &binary).unwrap();
    assert!(!found.is_current());
    assert!(!probe(&binary, SOON).unwrap().sandbox);
}

#[test]
fn an_old_one_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let old = pretender([7, 1, 90], MACHINES, r#""return": []"#);
    let binary = script(folder.path(), "qemu", &old);
    let error = probe(&binary, SOON).unwrap_err();
    let expected = format!("`{}` is QEMU 7.1.90, and 7.2.0 is the oldest that works", binary.display());
    assert_eq!((error.code(), error.to_string()), (Code::QemuTooOld, expected));
}

#[test]
fn one_without_the_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let binary = script(folder.path(), "qemu", &pretender([9, 0, 0], "[]", r#""return": []"#));
    let error = probe(&binary, SOON).unwrap_err();
    assert!(matches!(error, InstallationError::NoMachine { alias: "q35", .. }), "{error:?}");
}

#[test]
fn what_is_no_qemu_is_quoted() {
    let folder = tempfile::tempdir().unwrap();
    for (body, said) in [
        ("exit 0", ""),
        ("echo; printf 'not \\033[31mme'", " but says `not \\u{1b}[31mme`"),
        ("echo '-qmp: invalid option' >&2; exit 1", " but says `-qmp: invalid option`"),
    ] {
        let binary = script(folder.path(), "other", body);
        let error = probe(&binary, SOON).unwrap_err();
        let expected = format!("`{}` does not answer like QEMU{said}", binary.display());
        assert_eq!((error.code(), error.to_string()), (Code::QemuFailed, expected));
    }
}

#[test]
fn one_that_never_answers_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let binary = script(folder.path(), "qemu", "echo $$ > \"$0.pid\"; exec sleep 1000");
    let started = Instant::now();
    let error = probe(&binary, Duration::from_millis(500)).unwrap_err();
    assert!(
        matches!(error, InstallationError::NotQemu { source: QmpError::TimedOut { .. }, .. }),
        "{error:?}"
    );
    assert!(started.elapsed() < SOON);
    if let Ok(pid) = std::fs::read_to_string(folder.path().join("qemu.pid")) {
        let process = Path::new("/proc").join(pid.trim());
        assert!(!process.exists(), "still there: {}", process.display());
    }
}

#[test]
fn a_missing_one_is_told_with_the_packages() {
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::join_paths([Path::new("relative"), Path::new(""), folder.path()]).unwrap();
    let locate = || Installation::locate(None, Architecture::X86_64, Some(&path));
    let error = locate().unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Code::QemuMissing, "`qemu-system-x86_64` is not installed")
    );
    let commands: Vec<_> = error.hints().into_iter().filter_map(|hint| hint.command).collect();
    assert!(commands.iter().any(|run| run.contains("brew install qemu")), "{commands:?}");

    let binary = folder.path().join("qemu-system-x86_64");
    std::fs::create_dir(&binary).unwrap();
    assert!(locate().is_err(), "a folder is no program");
    std::fs::remove_dir(&binary).unwrap();
    std::fs::write(&binary, "").unwrap();
    assert!(locate().is_err(), "a file that may not be run is no program");
    script(folder.path(), "qemu-system-x86_64", "");
    assert_eq!(locate().unwrap(), binary);

    let absent = folder.path().join("absent");
    let error = Installation::locate(Some(&absent), Architecture::X86_64, Some(&path)).unwrap_err();
    assert!(matches!(error, InstallationError::Configured { .. }), "{error:?}");
    assert_eq!(error.code(), Code::QemuMissing);
}

#[test]
fn one_that_does_not_start_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let binary = script(folder.path(), "qemu", "");
    std::fs::write(folder.path().join("garbage"), b"\x7fELF nonsense").unwrap();
    std::fs::set_permissions(folder.path().join("garbage"), binary.metadata().unwrap().permissions())
        .unwrap();
    let error = probe(&folder.path().join("garbage"), SOON).unwrap_err();
    assert!(matches!(error, InstallationError::Unstartable { .. }), "{error:?}");
}
