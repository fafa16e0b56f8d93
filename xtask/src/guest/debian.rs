//! A whole Debian to test with: systemd, an SSH server, the agent and cloud-init, as a disk with its kernel beside it.
//!
//! It is in `target/guest/debian`, and has a `guest.toml` as the other guests have (`disk`, `kernel`, `initrd`), written last.
//! What it is made of comes from this system's own package sources, those with security updates among them, so it can be
//! made on Debian only. Where it cannot be made this chore says so and goes on, and so do the tests: no other guest needs it.
//!
//! All of it happens in a folder `work.part`, which the next run removes where one was killed. What mmdebstrap mounts
//! is in a name space of its own and ends with it. (For an ordinary user mmdebstrap works in a temporary folder.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use super::packages::fresh_folder;
use super::{is_current, replace};
use crate::run;

/// Raised when the same inputs make another guest.
const RECIPE: &str = "1";

/// What is in it beside the essential packages.
const PACKAGES: [&str; 13] = [
    "systemd-sysv",
    "udev",
    "dbus",
    "iproute2",
    "kmod",
    "openssh-server",
    "qemu-guest-agent",
    "cloud-init",
    "sudo",
    "netplan.io",
    "systemd-resolved",
    "initramfs-tools",
    "linux-image-cloud-amd64",
];

/// What nobody reads in a test guest.
const WITHOUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// The programs that make it, and the packages that bring them.
const TOOLS: [(&str, &str); 3] = [("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs"), ("tar", "tar")];

const FILES: [(&str, &str); 3] = [("disk", "disk.raw"), ("kernel", "vmlinuz"), ("initrd", "initrd")];

/// The keys that Debian signs its lists with. apt knows them by itself only up to Debian 12.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Makes it in `guest` by the recipe in `recipe`, unless it is there; says why where it cannot be made.
pub(super) fn make(guest: &Path, recipe: &Path, fresh: bool) -> Result<()> {
    let started = Instant::now();
    let suite = match suite(&fs::read_to_string("/etc/os-release").unwrap_or_default()) {
        Ok(suite) => suite,
        Err(reason) => return skip(&reason),
    };
    let folder = guest.join("debian");
    let result = folder.join("guest.toml");
    let recipe = Recipe::read(recipe, suite)?;
    let first_line = recipe.first_line();
    if !fresh && is_current(&result, &first_line) {
        return Ok(());
    }
    if let Some((program, package)) = TOOLS.into_iter().find(|(program, _)| !runs(program)) {
        return skip(&format!(
            "there is no `{program}` here (package {package}; `scripts/setup` installs it)"
        ));
    }
    let root = rustix::process::geteuid().is_root();
    if !root && let Err(error) = run::text(own_root().arg("true")) {
        return skip(&format!("only root can make it here: {error:#}"));
    }
    eprintln!(
        "making a Debian ({}) in target/guest/debian (150 MB to get, 480 MB on disk, some minutes)",
        recipe.suite
    );
    // From here on the old one is not to be used: its files are replaced one by one.
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    if result.exists() {
        fs::remove_file(&result).with_context(|| format!("cannot remove {}", result.display()))?;
    }
    let work = emptied(&folder.join("work.part"), root)?;
    match recipe.build(&work, root) {
        // Others than root need users of their own, and that those can read this folder.
        Err(error) if !root => return skip(&format!("without root it cannot be made here: {error:#}")),
        built => built?,
    }

    let mut table = toml::Table::new();
    for (key, name) in FILES {
        let path = folder.join(name);
        fs::rename(work.join(name), &path).with_context(|| format!("cannot create {}", path.display()))?;
        let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        table.insert(key.to_owned(), path.into());
    }
    fs::rename(work.join("packages.toml"), folder.join("packages.toml"))
        .context("there is no list of packages")?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    replace(&result, format!("{first_line}\n{table}").as_bytes())?;
    eprintln!("the Debian guest is ready in target/guest/debian ({:.0} s)", started.elapsed().as_secs_f64());
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "it is how the chore ends")]
fn skip(reason: &str) -> Result<()> {
    eprintln!("SKIPPED: no Debian guest is made, and no test has one: {reason}");
    Ok(())
}

/// The suite of this Debian, or why there is none.
fn suite(os_release: &str) -> Result<String, String> {
    let field = |key: &str| {
        let value = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    };
    match (field("ID").as_deref(), field("VERSION_CODENAME")) {
        (Some("debian"), Some(suite)) => Ok(suite),
        (Some("debian"), None) => Err("this Debian does not say which it is".to_owned()),
        (other, _) => Err(format!("it is made on Debian only, and this is {}", other.unwrap_or("unknown"))),
    }
}

fn runs(program: &str) -> bool {
    run::text(Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin:/sbin; command -v \"$0\"", program]))
        .is_ok()
}

/// A command that runs another as root of a name space of its own, in which there are other users, too.
fn own_root() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-auto", "--map-root-user", "--"]);
    command
}

/// An empty folder where there may be what a killed run has left, with files of users of its name space.
fn emptied(folder: &Path, root: bool) -> Result<PathBuf> {
    if !root && folder.exists() {
        run::text(own_root().args(["rm", "-rf", "--"]).arg(folder))?;
    }
    // What a killed mmdebstrap had started goes on until it notices, for some seconds.
    let mut tries = 60;
    loop {
        match fresh_folder(folder) {
            Err(_) if tries > 0 => tries -= 1,
            made => return made,
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// All that decides what the guest is.
struct Recipe {
    folder: PathBuf,
    suite: String,
    scripts: Vec<Vec<u8>>,
}

impl Recipe {
    fn read(folder: &Path, suite: String) -> Result<Self> {
        let read = |name: &&str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let scripts = ["prepare.sh", "customize.sh", "pack.sh"].iter().map(read).collect::<Result<_>>()?;
        Ok(Self { folder: folder.to_path_buf(), suite, scripts })
    }

    /// The first line of `guest.toml`.
    fn first_line(&self) -> String {
        let mut hash = Sha256::new();
        let lists = [PACKAGES.join(" "), WITHOUT.join(" ")];
        let texts = [RECIPE, &self.suite].into_iter().chain(lists.iter().map(String::as_str));
        for input in texts.map(str::as_bytes).chain(self.scripts.iter().map(Vec::as_slice)) {
            hash.update(Sha256::digest(input));
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("# Made by `cargo xtask guest --debian` from {digest}.")
    }

    fn build(&self, work: &Path, root: bool) -> Result<()> {
        let sources = work.join("sources.list");
        let entries = run::text(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
            "Identifier: Packages",
        ]))?;
        let keys = if Path::new(KEYS).is_file() { format!("[signed-by={KEYS}] ") } else { String::new() };
        fs::write(&sources, source_list(&entries, &self.suite, &keys)?)
            .with_context(|| format!("cannot write {}", sources.display()))?;

        let tar = work.join("rootfs.tar");
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", "--aptopt=Apt::Install-Recommends \"false\""]);
        command.arg(if root { "--mode=root" } else { "--mode=unshare" });
        command.arg(format!("--include={}", PACKAGES.join(",")));
        command.args(WITHOUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
        // The shell that runs a hook has the new root as its argument, and this folder.
        command
            .args(["--essential-hook=sh ./prepare.sh \"$1\"", "--customize-hook=sh ./customize.sh \"$1\""]);
        command.arg(&self.suite).arg(&tar).arg(&sources).current_dir(&self.folder);
        if root {
            // What a killed one leaves is then removed with the rest. Without root it would have to be reachable for others.
            command.env("TMPDIR", work);
        }
        run::text(&mut command)?;

        let mut pack = if root { Command::new("sh") } else { own_root() };
        if !root {
            pack.arg("sh");
        }
        pack.arg("./pack.sh").arg(&tar).arg(work).current_dir(&self.folder);
        let path = std::env::var("PATH").unwrap_or_default();
        pack.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        run::text(&mut pack)?;
        fs::remove_file(&sources).with_context(|| format!("cannot remove {}", sources.display()))
    }
}

/// This system's sources of Debian's own packages for `suite`, in one line each, from what `apt-get indextargets` says.
///
/// Somebody else's packages for the same suite do not count, nor what is not `main`.
fn source_list(targets: &str, suite: &str, options: &str) -> Result<String> {
    let suites = ["", "-updates", "-security"].map(|end| format!("{suite}{end}"));
    let mut lines = BTreeSet::new();
    let mut is_there = false;
    for target in targets.lines() {
        let [address, release, "main", origin @ ..] = &*target.split_whitespace().collect::<Vec<_>>() else {
            continue;
        };
        // Without lists nobody has said whose it is.
        if !suites.iter().any(|known| known == release) || !matches!(origin, [] | ["Debian"]) {
            continue;
        }
        is_there |= *release == suite;
        lines.insert(format!("deb {options}{address} {release} main\n"));
    }
    if !is_there {
        bail!("apt has no source of {suite} main here (`apt-get indextargets`)");
    }
    Ok(lines.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_debians_own_with_its_security_updates() {
        let targets = "http://deb.debian.org/debian/ bookworm main Debian\n\
                       http://deb.debian.org/debian/ bookworm contrib Debian\n\
                       http://deb.debian.org/debian-security/ bookworm-security main \n\
                       http://deb.debian.org/debian/ trixie main Debian\n\
                       https://tools.example/ bookworm main Example Tools\n";
        let list = source_list(targets, "bookworm", "[x=y] ").unwrap();
        assert_eq!(
            list,
            "deb [x=y] http://deb.debian.org/debian-security/ bookworm-security main\n\
             deb [x=y] http://deb.debian.org/debian/ bookworm main\n"
        );
        let error = source_list("http://security.example/ bookworm-security main Debian\n", "bookworm", "")
            .unwrap_err();
        assert!(error.to_string().contains("bookworm main"), "{error}");
    }

    #[test]
    fn only_a_debian_that_says_its_suite_makes_one() {
        assert_eq!(suite("ID=debian\nVERSION_CODENAME=bookworm\n"), Ok("bookworm".to_owned()));
        assert!(suite("NAME=x\nID=ubuntu\nVERSION_CODENAME=noble\n").unwrap_err().contains("ubuntu"));
        assert!(suite("ID=debian\nVERSION_ID=\"13\"\n").is_err());
        assert!(suite("").is_err());
    }

    #[test]
    fn another_script_or_suite_makes_another_first_line() {
        let line = |suite: &str, scripts: [&str; 2]| {
            let scripts = scripts.map(|script| script.as_bytes().to_vec()).to_vec();
            Recipe { folder: PathBuf::new(), suite: suite.to_owned(), scripts }.first_line()
        };
        let one = line("bookworm", ["a", "b"]);
        assert_eq!(one, line("bookworm", ["a", "b"]));
        assert_ne!(one, line("trixie", ["a", "b"]));
        assert_ne!(one, line("bookworm", ["ab", ""]));
    }
}
