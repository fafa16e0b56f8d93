//! What must be true of the signed programs: signature, systems, libraries, size.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use super::build::{PROGRAMS, Program, SELFSAME};
use super::macho::{Build, MachO};
use super::sign::{ENTITLEMENTS, signed};
use super::workshop::Workshop;
use super::{entitlements, signature};

/// `PLATFORM_MACOS` of `mach-o/loader.h`.
const MACOS: u32 = 1;
/// What every program must say in `LC_BUILD_VERSION`: `toolchain::DEPLOYMENT` and `toolchain::SDK`.
const BUILD: Build = Build { platform: MACOS, oldest: (13, 0), sdk: (15, 0) };

/// Bytes that the signed product may have.
const LIMIT: usize = 12_000_000;

const LIBRARIES: &str = "/usr/lib/";
const FRAMEWORKS: &str = "/System/Library/Frameworks/";
/// What a program may load. Whoever adds one checks that every macOS from the deployment target on has it.
const ALLOWED: [&str; 6] = [
    "libSystem.B.dylib",
    "libobjc.A.dylib",
    "CoreFoundation.framework/Versions/A/CoreFoundation",
    "Foundation.framework/Versions/C/Foundation",
    "Security.framework/Versions/A/Security",
    "Virtualization.framework/Versions/A/Virtualization",
];
/// What it must load: the framework's classes are looked up by name at run time, which finds them only in what is loaded.
const NEEDED: [&str; 4] = ["libSystem.B.dylib", "libobjc.A.dylib", "Foundation", "Virtualization"];

/// The step `verify`.
pub(super) fn signatures(work: &Workshop, programs: &[Program]) -> Result<String> {
    let list = work.root.join(ENTITLEMENTS);
    let text = fs::read(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let wanted =
        entitlements::from_plist(&text).with_context(|| format!("{} is not in order", list.display()))?;
    let mut pages = 0;
    for &program in programs {
        let (file, macho) = read(work, program)?;
        let verified =
            signature::verify(&file, &macho).with_context(|| format!("the signature of {}", program.name))?;
        ensure!(
            verified.identifier == program.identifier,
            "the signature calls {} `{}`, not `{}`",
            program.name,
            verified.identifier,
            program.identifier
        );
        ensure!(
            verified.entitlements == wanted,
            "{} is entitled to {:?}, and {ENTITLEMENTS} says {wanted:?}",
            program.name,
            verified.entitlements
        );
        let build =
            macho.build.with_context(|| format!("{} does not say for which system it is", program.name))?;
        ensure!(build == BUILD, "{} is built for {build:?}, not {BUILD:?}", program.name);
        pages += verified.pages;
    }
    Ok(format!(
        "{pages} pages and all slots fit their hashes, entitlements agree, macOS {}.{} on",
        BUILD.oldest.0, BUILD.oldest.1
    ))
}

/// The step `dylibs`.
pub(super) fn libraries(work: &Workshop) -> Result<String> {
    for program in PROGRAMS {
        let (_, macho) = read(work, program)?;
        check_libraries(&macho).with_context(|| format!("the libraries of {}", program.name))?;
    }
    Ok(format!("nothing but {}", ALLOWED.map(short).join(", ")))
}

fn check_libraries(program: &MachO) -> Result<()> {
    for name in &program.dylibs {
        let known = [LIBRARIES, FRAMEWORKS].into_iter().find_map(|folder| name.strip_prefix(folder));
        if !known.is_some_and(|name| ALLOWED.contains(&name)) {
            bail!("`{name}` is not among those that a program may load");
        }
    }
    if let Some(path) = program.rpaths.first() {
        bail!("libraries would be looked for in `{path}`");
    }
    for needed in NEEDED {
        ensure!(program.dylibs.iter().any(|name| short(name) == needed), "`{needed}` is not loaded");
    }
    Ok(())
}

/// The last part of a path.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The step `size`.
pub(super) fn size(work: &Workshop) -> Result<String> {
    let (file, _) = read(work, SELFSAME)?;
    ensure!(file.len() < LIMIT, "selfsame has {} bytes, and less than {LIMIT} are promised", file.len());
    Ok(format!("selfsame has {} bytes of {LIMIT}", file.len()))
}

/// A signed program and what it says of itself.
pub(super) fn read(work: &Workshop, program: Program) -> Result<(Vec<u8>, MachO)> {
    let path = signed(work, program);
    let file = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let macho = MachO::read(&file).with_context(|| path.display().to_string())?;
    Ok((file, macho))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loading(names: &[&str]) -> MachO {
        MachO { dylibs: names.iter().map(|name| (*name).to_owned()).collect(), ..MachO::default() }
    }

    const GOOD: [&str; 4] = [
        "/usr/lib/libSystem.B.dylib",
        "/usr/lib/libobjc.A.dylib",
        "/System/Library/Frameworks/Foundation.framework/Versions/C/Foundation",
        "/System/Library/Frameworks/Virtualization.framework/Versions/A/Virtualization",
    ];

    #[test]
    fn a_library_more_or_less_is_refused() {
        assert!(check_libraries(&loading(&GOOD)).is_ok());
        let more = [GOOD.as_slice(), &["/usr/lib/libiconv.2.dylib"]].concat();
        assert!(check_libraries(&loading(&more)).unwrap_err().to_string().contains("libiconv"));
        assert!(check_libraries(&loading(&GOOD[..3])).unwrap_err().to_string().contains("Virtualization"));
    }

    #[test]
    fn a_library_of_that_name_elsewhere_is_refused() {
        let elsewhere = [GOOD.as_slice(), &["@rpath/libSystem.B.dylib"]].concat();
        assert!(check_libraries(&loading(&elsewhere)).is_err());
        let rpath = MachO { rpaths: vec!["@loader_path".to_owned()], ..loading(&GOOD) };
        assert!(check_libraries(&rpath).is_err());
    }
}
