//! The tools that build for macOS on Linux: which they are, whether they are here, and the environment they run in.
//!
//! Debian's compiler is used because its package of the standard library's source has exactly its version; rustup offers
//! none that builds the library for another system without a download of its own. It comes first in `PATH`, and nothing
//! that the caller has set for cargo or a compiler reaches it: `RUSTFLAGS` alone would silently replace the linker's flags.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::workshop::{Workshop, digest};
use crate::run;

/// The target of everything here.
pub(super) const TARGET: &str = "aarch64-apple-darwin";
/// The oldest macOS the program is for: Linux guests with UEFI came with it.
pub(super) const DEPLOYMENT: &str = "13.0";
/// The SDK the program claims to be linked against. macOS asks for it where it keeps old behaviour for old programs.
pub(super) const SDK: &str = "15.0";

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
/// Called directly: `cargo clippy` would start rustup's, which finds no source of the standard library.
const CLIPPY: &str = "/usr/bin/cargo-clippy";
const LINKER: &str = "/usr/bin/ld64.lld-19";

/// What the environment must not say to these tools, by the beginning of the name.
const OVERRIDES: [&str; 13] = [
    "RUSTFLAGS",
    "RUSTC",
    "RUSTDOC",
    "RUSTUP_",
    "CARGO_BUILD_",
    "CARGO_ENCODED_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CLIPPY_",
    "SDKROOT",
    "MACOSX_",
];
/// The same, by the whole name.
const OVERRIDE: [&str; 6] = ["CARGO", "CC", "AR", "CFLAGS", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// The step `tools`: whether all is here, and the Python environment made where it is not.
pub(super) fn check(work: &Workshop) -> Result<String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("this is for Linux on x86_64; on a Mac, build as docs/mac.md says");
    }
    let missing: Vec<&str> =
        [RUSTC, CARGO, CLIPPY, LINKER].into_iter().filter(|tool| !Path::new(tool).exists()).collect();
    if !missing.is_empty() {
        bail!("missing here: {}; `scripts/setup mac` installs them", missing.join(", "));
    }
    let version = run::text(clean(Command::new(RUSTC).arg("--version")))?;
    let version = version.split(' ').nth(1).unwrap_or("?").to_owned();
    let sysroot = run::text(clean(Command::new(RUSTC).args(["--print", "sysroot"])))?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !library.exists() {
        bail!(
            "the source of the standard library is missing ({}); `scripts/setup mac` installs it",
            library.display()
        );
    }
    let fresh = venv(work)?;
    wrappers(work)?;
    Ok(format!(
        "rustc {version}, ld64.lld 19, Python packages {}",
        if fresh { "installed" } else { "as pinned" }
    ))
}

/// Makes the Python environment, unless the one that is there was made from the same list. Says whether it did.
fn venv(work: &Workshop) -> Result<bool> {
    let list = work.root.join("tools/mac-emulator/requirements.txt");
    let content = fs::read(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let python = run::text(Command::new("/usr/bin/python3").arg("--version"))?;
    let want = digest(&[&content, python.as_bytes()]);
    let venv = work.out.join("venv");
    let stamp = venv.join("made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == want) {
        return Ok(false);
    }
    if venv.exists() {
        fs::remove_dir_all(&venv).with_context(|| format!("cannot remove {}", venv.display()))?;
    }
    run::output(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--only-binary=:all:",
    ]);
    run::output(pip.arg("-r").arg(&list))?;
    fs::write(&stamp, want).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(true)
}

/// The C compiler and archiver for code inside dependencies, as programs that `cc` takes.
///
/// `cc` adds flags in clang's words for the target and its version; zig has its own for both.
fn wrappers(work: &Workshop) -> Result<()> {
    let python = python(work);
    let python = python.display();
    write_program(
        &work.out.join("bin/zigcc"),
        &format!(
            "#!/bin/sh\nfor a; do shift; case $a in --target=* | -mmacosx-version-min=*) ;; *) set -- \"$@\" \"$a\" ;; \
             esac; done\nexec '{python}' -m ziglang cc -target aarch64-macos.{DEPLOYMENT} \"$@\"\n"
        ),
    )?;
    write_program(&work.out.join("bin/zigar"), &format!("#!/bin/sh\nexec '{python}' -m ziglang ar \"$@\"\n"))
}

/// Writes an executable file, unless it is there as it should be: cargo looks at its time.
fn write_program(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let cannot = || format!("cannot write {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(path)).with_context(cannot)?;
    fs::write(path, text).with_context(cannot)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(cannot)
}

/// The Python that has the pinned packages.
pub(super) fn python(work: &Workshop) -> PathBuf {
    work.out.join("venv/bin/python")
}

/// A file of a pinned Python package, as its path below `site-packages`.
pub(super) fn packaged(work: &Workshop, path: &str) -> Result<PathBuf> {
    let library = work.out.join("venv/lib");
    for entry in fs::read_dir(&library).with_context(|| format!("cannot read {}", library.display()))? {
        let candidate = entry?.path().join("site-packages").join(path);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("{path} is in no package of {}", library.display())
}

/// `cargo SUBCOMMAND` for macOS, in the sources of `work`.
pub(super) fn cargo(work: &Workshop, subcommand: &str) -> Command {
    let mut command = Command::new(if subcommand == "clippy" { CLIPPY } else { CARGO });
    clean(&mut command);
    if subcommand != "clippy" {
        // clippy finds its compiler itself, and takes one named here for its wrapper.
        command.env("RUSTC", RUSTC);
    }
    let flags = [
        "-Clinker-flavor=ld64.lld".to_owned(),
        // Every missing symbol is named, not only the first twenty.
        link_argument("--error-limit=0"),
        // Left to itself the linker takes the deployment target for the SDK's version.
        link_argument("-platform_version"),
        link_argument("macos"),
        link_argument(DEPLOYMENT),
        link_argument(SDK),
        // `libc` asks for libiconv, of which nothing is used.
        link_argument("-dead_strip_dylibs"),
        // Classes are looked up at run time, so nothing shows the linker that Foundation is needed.
        link_argument("-needed_framework"),
        link_argument("Foundation"),
        // Stripped by the linker: rustc would run `rust-objcopy`, which Debian's package has not.
        link_argument("-S"),
        link_argument("-x"),
    ];
    command
        // What is not stable is `-Zbuild-std` alone; the workspace's own features are judged by the Linux build.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_PROFILE_RELEASE_STRIP", "false")
        .env("MACOSX_DEPLOYMENT_TARGET", DEPLOYMENT)
        .env("CARGO_TARGET_AARCH64_APPLE_DARWIN_LINKER", LINKER)
        .env("CARGO_TARGET_AARCH64_APPLE_DARWIN_RUSTFLAGS", flags.join(" "))
        .env("CC_aarch64_apple_darwin", work.out.join("bin/zigcc"))
        .env("AR_aarch64_apple_darwin", work.out.join("bin/zigar"))
        .env("CARGO_TERM_COLOR", "never")
        .args([subcommand, "-Zbuild-std=std,panic_abort", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&work.build)
        .current_dir(&work.root);
    command
}

/// `cargo metadata` of the sources of `work`, as far as macOS is concerned.
pub(super) fn metadata(work: &Workshop) -> Command {
    let mut command = Command::new(CARGO);
    clean(&mut command);
    command.env("RUSTC", RUSTC).current_dir(&work.root);
    command.args(["metadata", "--quiet", "--format-version=1", "--locked", "--filter-platform", TARGET]);
    command
}

fn link_argument(argument: &str) -> String {
    format!("-Clink-arg={argument}")
}

/// Takes from the environment of `command` what would change what the tools do.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if is_override(&name) {
            command.env_remove(name);
        }
    }
    command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
}

fn is_override(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    OVERRIDE.contains(&name)
        || OVERRIDES.iter().any(|prefix| name.starts_with(prefix))
        || ["CC_", "AR_", "CFLAGS_"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_the_build_is_taken_away_and_the_rest_is_left() {
        for name in [
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "CARGO_TARGET_DIR",
            "RUSTUP_TOOLCHAIN",
            "CC",
            "CC_aarch64_apple_darwin",
        ] {
            assert!(is_override(&name.into()), "{name}");
        }
        for name in
            ["HOME", "CARGO_HOME", "CARGO_HTTP_PROXY", "https_proxy", "CARGO_NET_OFFLINE", "SSL_CERT_FILE"]
        {
            assert!(!is_override(&name.into()), "{name}");
        }
    }
}
