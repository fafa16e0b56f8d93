//! Takes the guest's kernel and busybox from the distribution's own packages: downloaded and unpacked, never installed.
//!
//! A kernel's package name changes with each security update, so it is looked up through the package that always names
//! the newest. The result is kept and used without any network until somebody asks for a fresh one. Everything happens in
//! folders ending in `.part` that get their final name when complete; the list `packages.toml` is written last.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::guest::replace;
use crate::run;

/// Packages that depend on the newest kernel, smallest first: Debian's for virtual machines, Ubuntu's, any.
pub(crate) const KERNELS: [&str; 4] =
    ["linux-image-cloud-amd64", "linux-image-virtual", "linux-image-generic", "linux-image-amd64"];

const BUSYBOX: &str = "busybox-static";

/// A package in the version that the sources offer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    bytes: u64,
}

/// What is in `target/guest`, unpacked and whole.
pub(crate) struct Unpacked {
    /// The list of packages with their versions.
    pub(crate) list: String,
    folder: PathBuf,
}

impl Unpacked {
    /// What an earlier run has left, if it is whole.
    pub(crate) fn present(guest: &Path) -> Option<Self> {
        let folder = guest.join("packages");
        let list = fs::read_to_string(guest.join("packages.toml")).ok()?;
        folder.is_dir().then_some(Self { list, folder })
    }

    /// Looks up what the package sources offer and gets it, unless it is what is there already.
    pub(crate) fn obtain(guest: &Path, kernels: &[&str]) -> Result<Self> {
        Self::with_apt(guest, |apt| Self::newest(apt, guest, kernels))
    }

    /// The same for packages by their names.
    pub(crate) fn these(guest: &Path, names: &[&str]) -> Result<Self> {
        Self::with_apt(guest, |apt| {
            let packages = names.iter().map(|name| apt.show(name)).collect::<Result<Vec<_>>>()?;
            Self::of(apt, guest, &packages)
        })
    }

    /// The newest kernel by one of these packages, and busybox.
    pub(crate) fn newest(apt: &Apt, guest: &Path, kernels: &[&str]) -> Result<Self> {
        Self::of(apt, guest, &resolve(apt, kernels)?)
    }

    fn of(apt: &Apt, guest: &Path, packages: &[Package]) -> Result<Self> {
        match Self::present(guest) {
            Some(present) if present.list == list(packages) => Ok(present),
            Some(_) | None => fetch(apt, packages, guest),
        }
    }

    fn with_apt(guest: &Path, get: impl Fn(&Apt) -> Result<Self>) -> Result<Self> {
        get(&Apt { lists: None, foreign: None }).or_else(|first| {
            // The system's lists may be missing or older than the mirror, and only root may renew them. Lists of our own
            // need no root and leave the system's as they are.
            eprintln!(
                "the package lists of this system did not do ({first:#}); fetching lists into target/guest"
            );
            get(&Apt::with_lists(&guest.join("apt"))?)
        })
    }

    /// The kernel image.
    pub(crate) fn kernel(&self) -> Result<PathBuf> {
        let boot = self.folder.join("boot");
        let image = only(&boot, |name| name.starts_with("vmlinuz-"))?;
        image.with_context(|| format!("there is no kernel in {}", boot.display()))
    }

    /// The folder with the kernel's modules.
    pub(crate) fn modules(&self) -> Result<PathBuf> {
        for parent in ["lib/modules", "usr/lib/modules"] {
            if let Some(folder) = only(&self.folder.join(parent), |_| true)? {
                return Ok(folder);
            }
        }
        bail!("there are no kernel modules in {}", self.folder.display())
    }

    /// The static busybox.
    pub(crate) fn busybox(&self) -> Result<PathBuf> {
        ["usr/bin/busybox", "bin/busybox"]
            .map(|path| self.folder.join(path))
            .into_iter()
            .find(|path| path.is_file())
            .with_context(|| format!("there is no busybox in {}", self.folder.display()))
    }
}

/// The one entry of `folder` whose name fits; nothing when the folder does not exist.
fn only(folder: &Path, fits: impl Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        if fits(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    if found.len() > 1 {
        bail!("there is more than one kernel in {}", folder.display());
    }
    Ok(found.pop())
}

/// apt with the system's package lists, or with lists of our own.
pub(crate) struct Apt {
    lists: Option<PathBuf>,
    /// Another architecture, and an empty list of what is installed of it.
    foreign: Option<(&'static str, PathBuf)>,
}

impl Apt {
    /// Fetches lists of the system's sources into `folder`.
    fn with_lists(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("partial"))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Self { lists: Some(folder.to_path_buf()), foreign: None }.updated()
    }

    /// Fetches lists for another architecture into `folder`.
    pub(crate) fn foreign(folder: &Path, architecture: &'static str) -> Result<Self> {
        fs::create_dir_all(folder.join("partial"))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let installed = folder.with_extension("status");
        fs::write(&installed, "").with_context(|| format!("cannot write {}", installed.display()))?;
        Self { lists: Some(folder.to_path_buf()), foreign: Some((architecture, installed)) }.updated()
    }

    fn updated(self) -> Result<Self> {
        let apt = self;
        // One broken source among several is no reason to stop: what counts is whether the packages are found.
        if let Err(error) = run::text(apt.command("apt-get").args(["update", "-qq"])) {
            eprintln!("note: {error:#}");
        }
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // As root, apt would fetch as another user, who may not write here.
        command.args(["-o", "APT::Sandbox::User=root"]);
        if let Some(lists) = &self.lists {
            let mut option = OsStr::new("Dir::State::Lists=").to_os_string();
            option.push(lists);
            command.arg("-o").arg(option);
            command.args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
        }
        if let Some((architecture, installed)) = &self.foreign {
            for key in ["APT::Architecture", "APT::Architectures"] {
                command.arg("-o").arg(format!("{key}={architecture}"));
            }
            let mut option = OsStr::new("Dir::State::status=").to_os_string();
            option.push(installed);
            command.arg("-o").arg(option);
        }
        command
    }

    fn depends(&self, package: &str) -> Result<Vec<String>> {
        Ok(dependencies(&run::text(self.command("apt-cache").args(["depends", package]))?))
    }

    fn show(&self, package: &str) -> Result<Package> {
        let text = run::text(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        description(package, &text)
            .with_context(|| format!("the package sources do not describe `{package}`"))
    }
}

/// The packages to get, in the versions offered.
fn resolve(apt: &Apt, kernels: &[&str]) -> Result<Vec<Package>> {
    let mut names = Vec::new();
    for newest in kernels {
        let Ok(needs) = apt.depends(newest) else { continue };
        let Some(image) = needs.into_iter().find(|name| name.starts_with("linux-image-")) else { continue };
        // Ubuntu keeps most modules in a package of their own.
        names.extend(apt.depends(&image)?.into_iter().filter(|name| name.starts_with("linux-modules-")));
        names.push(image);
        break;
    }
    if names.is_empty() {
        bail!("the package sources have none of {}", kernels.join(", "));
    }
    names.push(BUSYBOX.to_owned());
    names.iter().map(|name| apt.show(name)).collect()
}

/// Downloads and unpacks `packages` in place of what was there.
fn fetch(apt: &Apt, packages: &[Package], guest: &Path) -> Result<Unpacked> {
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let bytes: u64 = packages.iter().map(|package| package.bytes).sum();
    eprintln!("downloading {} ({} MB) into target/guest", names.join(", "), bytes.div_ceil(1_000_000));

    let download = fresh_folder(&guest.join("download.part"))?;
    let versions = packages.iter().map(|package| format!("{}={}", package.name, package.version));
    run::text(apt.command("apt-get").args(["-qq", "download"]).args(versions).current_dir(&download))?;
    let unpacked = fresh_folder(&guest.join("packages.part"))?;
    for entry in fs::read_dir(&download)? {
        run::text(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(&unpacked))?;
    }
    fs::remove_dir_all(&download).with_context(|| format!("cannot remove {}", download.display()))?;

    let folder = guest.join("packages");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::rename(&unpacked, &folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let list = list(packages);
    replace(&guest.join("packages.toml"), list.as_bytes())?;
    Ok(Unpacked { list, folder })
}

pub(super) fn fresh_folder(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.to_path_buf())
}

/// `packages.toml`: a line for each package.
fn list(packages: &[Package]) -> String {
    packages.iter().map(|package| format!("\"{}\" = \"{}\"\n", package.name, package.version)).collect()
}

/// The packages that `apt-cache depends` names as needed; of alternatives all.
fn dependencies(text: &str) -> Vec<String> {
    let needed = |line: &str| {
        let (kind, name) = line.trim_start().trim_start_matches('|').split_once(": ")?;
        // Names in angle brackets are of packages that exist only as what others provide.
        (matches!(kind, "Depends" | "PreDepends") && !name.starts_with('<')).then(|| name.trim().to_owned())
    };
    text.lines().filter_map(needed).collect()
}

/// Version and size of a package, from `apt-cache show`.
fn description(name: &str, text: &str) -> Option<Package> {
    let field =
        |key: &str| text.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(key));
    Some(Package {
        name: name.to_owned(),
        version: field("Version: ")?.trim().to_owned(),
        bytes: field("Size: ")?.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_as_apt_prints_them() {
        let text = "linux-image-6.8.0-31-generic\n  PreDepends: kmod\n |Depends: linux-base\n  Depends: <awk>\n    mawk\n  \
                    Depends: linux-modules-6.8.0-31-generic\n  Conflicts: <linux-image-unsigned>\n  Recommends: grub-pc\n";
        assert_eq!(dependencies(text), ["kmod", "linux-base", "linux-modules-6.8.0-31-generic"]);
    }

    #[test]
    fn a_description_is_the_first_of_what_apt_shows() {
        let text = "Package: busybox-static\nVersion: 1:1.35.0-4+b1\nInstalled-Size: 2034\nSize: 928412\n\
                    \nPackage: busybox-static\nVersion: 0\nSize: 1\n";
        let package = description(BUSYBOX, text).unwrap();
        assert_eq!((package.version.as_str(), package.bytes), ("1:1.35.0-4+b1", 928_412));
        assert_eq!(description(BUSYBOX, "Package: busybox-static\n\nVersion: 1\n"), None);
    }

    #[test]
    fn the_list_is_valid_toml() {
        let package = Package { name: "linux-image-6.1".into(), version: "6.1.0-1".into(), bytes: 1 };
        let table: toml::Table = list(&[package]).parse().unwrap();
        assert_eq!(table["linux-image-6.1"].as_str(), Some("6.1.0-1"));
    }

    #[test]
    fn what_is_not_whole_is_not_present() {
        let guest = tempfile::tempdir().unwrap();
        fs::create_dir(guest.path().join("packages.part")).unwrap();
        assert!(Unpacked::present(guest.path()).is_none());
        fs::create_dir(guest.path().join("packages")).unwrap();
        assert!(Unpacked::present(guest.path()).is_none(), "the list is written last");
        fs::write(guest.path().join("packages.toml"), "").unwrap();
        assert!(Unpacked::present(guest.path()).is_some());
    }
}
