//! The test guest: a distribution's kernel and an initial file system of busybox and the scripts in `guest/`.
//!
//! Everything is in the repository's own `target/guest`, whatever cargo's target folder is. `guest.toml` there names the
//! QEMU, the kernel and the initial file system to use; it is written last, and its first line holds the digest of what
//! it was made from, so the next run can see at a glance that nothing is left to do.

mod cpio;
mod debian;
mod modules;
mod others;
mod packages;
mod qemu;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use crate::repository;
use modules::{Module, Modules};
use others::Other;
use packages::Unpacked;

/// Raised when the same inputs make another guest.
const RECIPE: &str = "1";

/// Modules without which the guest is of no use, as far as the kernel does not have them built in.
const NEEDED: [&str; 6] = ["button", "evdev", "virtio_pci", "virtio_net", "virtio_blk", "virtio_console"];

/// Modules that are welcome where the kernel has them.
const WELCOME: [&str; 6] =
    ["virtio_rng", "virtio_balloon", "qemu_fw_cfg", "efivarfs", "pvpanic_mmio", "pvpanic_pci"];

/// `cargo xtask guest [--fresh]`, `cargo xtask guest --generic | --aarch64 | --debian [--fresh]` for one of the others alone,
/// and `cargo xtask guest --all [--fresh]` for all there are.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (which, fresh) = asked(arguments)?;
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("test guests can be made on Linux on x86_64 only so far");
    }
    let root = repository::root()?;
    let guest = root.join("target/guest");
    fs::create_dir_all(&guest).with_context(|| format!("cannot create {}", guest.display()))?;
    // One at a time; the lock ends with the process.
    let lock = File::create(guest.join("lock")).context("cannot create target/guest/lock")?;
    lock.lock().context("cannot lock target/guest")?;

    let scripts = Scripts::read(&root.join("guest"))?;
    let all = which.len() > 1;
    for one in which {
        let made = match one {
            Which::Ordinary => ordinary(&guest, &scripts, fresh),
            Which::Other(other) => other.make(&guest, &scripts, fresh),
            Which::Debian => debian::make(&guest, &root.join("guest/debian"), fresh),
        };
        match made {
            // Not every distribution has the packages, and few tests need them; those say that they were skipped.
            Err(error) if all && one != Which::Ordinary => {
                eprintln!("SKIPPED: one of the test guests cannot be made here: {error:#}");
            }
            made => made?,
        }
    }
    Ok(())
}

/// A guest to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Ordinary,
    Other(Other),
    Debian,
}

/// The guests that the options ask for, and whether with the newest packages.
fn asked(options: &[String]) -> Result<(Vec<Which>, bool)> {
    let (first, rest) = match options {
        [first, rest @ ..] if first != "--fresh" => (Some(first.as_str()), rest),
        all => (None, all),
    };
    let usage = "usage: cargo xtask guest [--generic | --aarch64 | --debian | --all] [--fresh]";
    let fresh = match rest {
        [] => false,
        [only] if only == "--fresh" => true,
        _ => bail!("{usage}"),
    };
    let others = [Other::Generic, Other::Aarch64].map(Which::Other);
    let which = match first {
        None => vec![Which::Ordinary],
        Some("--debian") => vec![Which::Debian],
        Some("--all") => [[Which::Ordinary].as_slice(), &others, &[Which::Debian]].concat(),
        Some(option) => vec![Which::Other(Other::of_option(option).context(usage)?)],
    };
    Ok((which, fresh))
}

/// Makes the guest that most tests run.
fn ordinary(guest: &Path, scripts: &Scripts, fresh: bool) -> Result<()> {
    let started = Instant::now();
    let candidates = qemu::candidates(guest);
    let present = Unpacked::present(guest);
    let result = guest.join("guest.toml");
    if let Some(present) = present.as_ref().filter(|_| !fresh)
        && is_current(&result, &first_line(scripts, present, &candidates))
    {
        return Ok(());
    }

    let qemu = qemu::choose(&candidates)?;
    let unpacked = match present {
        Some(present) if !fresh => present,
        _ => Unpacked::obtain(guest, &packages::KERNELS)?,
    };
    let kernel = unpacked.kernel()?;
    let initrd = guest.join("initrd.gz");
    let modules = Modules::find(&unpacked.modules()?)?;
    let wanted: Vec<&str> =
        NEEDED.into_iter().chain(WELCOME.into_iter().filter(|name| modules.has(name))).collect();
    let image = file_system(&unpacked, &modules.in_order(&wanted)?, scripts)?;
    replace(&initrd, &image)?;

    let mut table = toml::Table::new();
    for (key, path) in [("qemu", qemu), ("kernel", &kernel), ("initrd", &initrd)] {
        let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        table.insert(key.to_owned(), path.into());
    }
    let text = format!("{}\n{table}", first_line(scripts, &unpacked, &candidates));
    replace(&result, text.as_bytes())?;
    eprintln!("the test guest is ready in target/guest ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

/// What the guest runs, from `guest/`.
struct Scripts {
    init: Vec<u8>,
    report: Vec<u8>,
}

impl Scripts {
    fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(Self { init: read("init.sh")?, report: read("selfsame-report.sh")? })
    }
}

/// The first line of `guest.toml`: the digest of all that the guest is made from.
fn first_line(scripts: &Scripts, packages: &Unpacked, qemus: &[PathBuf]) -> String {
    let mut hash = Sha256::new();
    let stamp = qemu::stamp(qemus);
    for input in
        [RECIPE.as_bytes(), &scripts.init, &scripts.report, packages.list.as_bytes(), stamp.as_bytes()]
    {
        // The digest of each part, so that nothing can move from one part to the next unseen.
        hash.update(Sha256::digest(input));
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("# Made by `cargo xtask guest` from {digest}.")
}

/// Whether `guest.toml` was made from the same, and all that it names is there.
fn is_current(result: &Path, first_line: &str) -> bool {
    let Ok(text) = fs::read_to_string(result) else { return false };
    let Ok(table) = text.parse::<toml::Table>() else { return false };
    let exists =
        |key| table.get(key).and_then(toml::Value::as_str).is_some_and(|path| Path::new(path).is_file());
    text.lines().next() == Some(first_line)
        && ["kernel", "initrd"].into_iter().all(exists)
        && table.iter().all(|(key, _)| exists(key))
}

/// The guest's initial file system, packed.
fn file_system(packages: &Unpacked, modules: &[Module], scripts: &Scripts) -> Result<Vec<u8>> {
    let busybox = packages.busybox()?;
    let busybox = fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mut archive = cpio::Archive::new(GzBuilder::new().write(Vec::new(), Compression::default()));
    for folder in ["bin", "dev", "etc", "mnt", "modules", "proc", "run", "sys", "tmp"] {
        archive.directory(folder)?;
    }
    // The kernel opens the console before init can mount anything.
    archive.device("dev/console", 0o600, (5, 1))?;
    archive.device("dev/null", 0o666, (1, 3))?;
    archive.file("bin/busybox", 0o755, &busybox)?;
    archive.file("bin/selfsame-report", 0o755, &scripts.report)?;
    archive.file("init", 0o755, &scripts.init)?;
    archive.file("etc/os-release", 0o644, b"ID=selfsame-guest\nPRETTY_NAME=\"selfsame test guest\"\n")?;
    let order: String = modules.iter().map(|module| format!("{}\n", module.name)).collect();
    archive.file("etc/modules", 0o644, order.as_bytes())?;
    for module in modules {
        archive.file(&format!("modules/{}.ko", module.name), 0o644, &module.image)?;
    }
    Ok(archive.finish()?.finish()?)
}

/// Puts `content` into `path` so that nobody ever sees a part of it.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_current_only_with_its_inputs_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("there");
        fs::write(&file, "").unwrap();
        let result = folder.path().join("guest.toml");
        assert!(!is_current(&result, "# a"));
        let text = |initrd: &Path| format!("# a\nqemu = {file:?}\nkernel = {file:?}\ninitrd = {initrd:?}\n");
        fs::write(&result, text(&file)).unwrap();
        assert!(is_current(&result, "# a"));
        assert!(!is_current(&result, "# b"), "other inputs");
        fs::write(&result, text(&folder.path().join("gone"))).unwrap();
        assert!(!is_current(&result, "# a"), "a file is gone");
        fs::write(&result, "# a\nqemu = ").unwrap();
        assert!(!is_current(&result, "# a"), "cut off");
    }

    #[test]
    fn options_name_the_guests_to_make() {
        let asked = |line: &str| {
            let options: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            super::asked(&options).ok()
        };
        assert_eq!(asked(""), Some((vec![Which::Ordinary], false)));
        assert_eq!(asked("--fresh"), Some((vec![Which::Ordinary], true)));
        assert_eq!(asked("--aarch64 --fresh"), Some((vec![Which::Other(Other::Aarch64)], true)));
        assert_eq!(asked("--debian"), Some((vec![Which::Debian], false)));
        assert_eq!(asked("--all").map(|(which, _)| which.len()), Some(4));
        for wrong in ["--other", "debian", "--fresh --all", "--all --fresh --fresh"] {
            assert_eq!(asked(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn another_script_makes_another_first_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("packages")).unwrap();
        fs::write(folder.path().join("packages.toml"), "a = \"1\"\n").unwrap();
        let packages = Unpacked::present(folder.path()).unwrap();
        let line = |init: &str, report: &str| {
            first_line(&Scripts { init: init.into(), report: report.into() }, &packages, &[])
        };
        assert_eq!(line("a", "b"), line("a", "b"));
        assert_ne!(line("a", "b"), line("ab", ""));
    }

    /// Any Linux computer can print the report of itself.
    #[test]
    #[cfg(target_os = "linux")]
    fn the_report_keeps_to_its_protocol_in_every_shell() {
        const KEYS: [&str; 7] =
            ["product_uuid", "product_serial", "mac", "machine_id", "kernel", "os", "boot_id"];
        let script = repository::root().unwrap().join("guest/selfsame-report.sh");
        let report = |shell: &[&str]| {
            let output = std::process::Command::new(shell[0])
                .args(&shell[1..])
                .arg(&script)
                .arg("--print")
                .env("PRETTY_NAME", "not from the file")
                .output();
            output.ok().map(|output| {
                assert!(output.status.success() && output.stderr.is_empty(), "{shell:?}: {output:?}");
                String::from_utf8(output.stdout).unwrap()
            })
        };
        let text = report(&["sh"]).unwrap();
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap().split('\n').collect();
        let [first, middle @ .., last] = lines.as_slice() else { panic!("{text}") };
        assert_eq!((*first, *last), ("selfsame-report 1", "end"));
        let mut order = Vec::new();
        for line in middle {
            assert!(line.len() < 512, "{line}");
            let (key, value) = line.split_once('=').unwrap();
            assert!(!value.is_empty() && !value.contains(char::is_control), "{line}");
            order.push(KEYS.iter().position(|known| *known == key).unwrap());
        }
        assert!(order.is_sorted(), "{text}");
        assert!(text.contains("\nkernel=") && text.contains("\nboot_id="), "{text}");
        for shell in [["dash"].as_slice(), &["bash"], &["bash", "--posix"], &["busybox", "ash"]] {
            assert!(report(shell).is_none_or(|other| other == text), "{shell:?} says otherwise");
        }
    }

    #[test]
    fn replacing_leaves_no_part_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.toml");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
