//! Finds kernel modules in an unpacked kernel package and puts them in the order in which they can be loaded.
//!
//! A package has no `modules.dep` (depmod writes it on installation), so what a module needs is read from itself: its
//! ELF section `.modinfo` holds NUL-separated `key=value` texts, one of them `depends=a,b`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::run;

/// A module, ready to be loaded after those before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its name, with underscores.
    pub(crate) name: String,
    /// The ELF file.
    pub(crate) image: Vec<u8>,
}

/// The modules of one kernel.
pub(crate) struct Modules {
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

impl Modules {
    /// Looks through `folder`, a `lib/modules/VERSION`.
    pub(crate) fn find(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if let Some(name) = module_name(&entry.file_name().to_string_lossy()) {
                    files.insert(name, entry.path());
                }
            }
        }
        let list = folder.join("modules.builtin");
        let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        Ok(Self { files, built_in: built_in(&text) })
    }

    /// Whether there is a module of that name, be it built in.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.built_in.contains(name)
    }

    /// The modules `wanted` and all that they need, each after what it needs. What is built into the kernel is left out.
    pub(crate) fn in_order(&self, wanted: &[&str]) -> Result<Vec<Module>> {
        in_order(wanted, &|name| match self.files.get(name) {
            Some(path) => read(path).map(Some),
            None if self.built_in.contains(name) => Ok(None),
            None => bail!("the kernel has no module `{name}`"),
        })
    }
}

/// The name of the module in the file `name`, if it is one.
fn module_name(name: &str) -> Option<String> {
    let (stem, extension) = name.split_once(".ko")?;
    matches!(extension, "" | ".xz" | ".zst" | ".gz").then(|| canonical(stem))
}

/// The kernel takes `-` and `_` in a module's name for the same.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn built_in(list: &str) -> BTreeSet<String> {
    list.lines().filter_map(|line| module_name(line.rsplit('/').next()?)).collect()
}

/// Reads a module, unpacking it if need be.
fn read(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        Some(_) | None => {
            return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    run::output(Command::new(program).arg("-dc").arg(path))
        .with_context(|| format!("cannot unpack {}", path.display()))
}

/// Depth first over what `load` gives; `None` is a module built into the kernel.
fn in_order(wanted: &[&str], load: &dyn Fn(&str) -> Result<Option<Vec<u8>>>) -> Result<Vec<Module>> {
    /// A module on the way to its place: to be looked at, or waiting for those it needs.
    enum Step {
        Enter(String),
        Leave(Module),
    }

    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut steps: Vec<Step> = wanted.iter().rev().map(|name| Step::Enter(canonical(name))).collect();
    while let Some(step) = steps.pop() {
        match step {
            Step::Leave(module) => order.push(module),
            Step::Enter(name) => {
                if !seen.insert(name.clone()) {
                    continue;
                }
                let Some(image) = load(&name)? else { continue };
                let needs = depends(&image).with_context(|| format!("`{name}` is no kernel module"))?;
                steps.push(Step::Leave(Module { name, image }));
                steps.extend(needs.into_iter().rev().map(Step::Enter));
            }
        }
    }
    Ok(order)
}

/// The names in `depends=` of a module's `.modinfo`; `None` when the file is not a 64-bit little-endian ELF with one.
fn depends(image: &[u8]) -> Option<Vec<String>> {
    let information = section(image, b".modinfo")?;
    let list = information.split(|byte| *byte == 0).find_map(|text| text.strip_prefix(b"depends="));
    let list = std::str::from_utf8(list.unwrap_or_default()).ok()?;
    Some(list.split(',').filter(|name| !name.is_empty()).map(canonical).collect())
}

/// The content of the ELF section `name`.
fn section<'image>(image: &'image [u8], name: &[u8]) -> Option<&'image [u8]> {
    if !image.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = number(image, 0x28, 8)?;
    let size = number(image, 0x3a, 2)?;
    let count = number(image, 0x3c, 2)?;
    let header = |index: usize| image.get(table.checked_add(size.checked_mul(index)?)?..);
    let content = |header: &[u8]| {
        let start = number(header, 0x18, 8)?;
        image.get(start..start.checked_add(number(header, 0x20, 8)?)?)
    };
    let names = content(header(number(image, 0x3e, 2)?)?)?;
    (0..count).find_map(|index| {
        let header = header(index)?;
        let this = names.get(number(header, 0, 4)?..)?.split(|byte| *byte == 0).next()?;
        if this == name { content(header) } else { None }
    })
}

/// The little-endian number of `width` bytes at `offset`.
fn number(bytes: &[u8], offset: usize, width: usize) -> Option<usize> {
    let mut value = [0; 8];
    value.get_mut(..width)?.copy_from_slice(bytes.get(offset..offset.checked_add(width)?)?);
    usize::try_from(u64::from_le_bytes(value)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file of two sections, the names and `.modinfo`.
    fn module(needs: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0";
        let information = format!("license=GPL\0depends={needs}\0name=x\0");
        let mut image = b"\x7fELF\x02\x01".to_vec();
        image.resize(0x40, 0);
        let place = |image: &mut Vec<u8>, bytes: &[u8]| {
            let offset = image.len() as u64;
            image.extend_from_slice(bytes);
            (offset, bytes.len() as u64)
        };
        let sections = [(0_u32, place(&mut image, names)), (1, place(&mut image, information.as_bytes()))];
        let table = image.len() as u64;
        image[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        image[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        image[0x3c..0x3e].copy_from_slice(&2_u16.to_le_bytes());
        for (name, (offset, size)) in sections {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&offset.to_le_bytes());
            header[0x20..0x28].copy_from_slice(&size.to_le_bytes());
            image.extend_from_slice(&header);
        }
        image
    }

    fn ordered(wanted: &[&str], kernel: &[(&str, &str)]) -> Result<Vec<String>> {
        let load = |name: &str| match kernel.iter().find(|(module, _)| *module == name) {
            Some((_, "built in")) => Ok(None),
            Some((_, needs)) => Ok(Some(module(needs))),
            None => bail!("no {name}"),
        };
        Ok(in_order(wanted, &load)?.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn each_module_comes_once_and_after_what_it_needs() {
        let kernel = [
            ("virtio_net", "virtio,net-failover"),
            ("net_failover", "failover"),
            ("failover", ""),
            ("virtio", "virtio_ring"),
            ("virtio_ring", ""),
            ("virtio_blk", "virtio"),
            ("ext4", "built in"),
        ];
        let order = ordered(&["virtio-net", "ext4", "virtio_blk"], &kernel).unwrap();
        assert_eq!(order, ["virtio_ring", "virtio", "failover", "net_failover", "virtio_net", "virtio_blk"]);
    }

    #[test]
    fn a_circle_ends_and_a_missing_module_is_named() {
        assert_eq!(ordered(&["a"], &[("a", "b"), ("b", "a")]).unwrap(), ["b", "a"]);
        assert_eq!(ordered(&["a"], &[("a", "gone")]).unwrap_err().to_string(), "no gone");
    }

    #[test]
    fn file_names_and_the_list_of_what_is_built_in() {
        assert_eq!(module_name("virtio-rng.ko.zst").as_deref(), Some("virtio_rng"));
        assert_eq!(module_name("evdev.ko").as_deref(), Some("evdev"));
        assert_eq!(module_name("modules.builtin"), None);
        assert_eq!(module_name("evdev.ko.sig"), None);
        let list = built_in("kernel/fs/ext4/ext4.ko\nkernel/drivers/char/virtio-x.ko\n");
        assert!(list.contains("ext4") && list.contains("virtio_x"));
    }

    #[test]
    fn a_damaged_module_is_refused_wherever_it_is_cut() {
        let whole = module("a,b");
        assert_eq!(depends(&whole).unwrap(), ["a", "b"]);
        // The last section header ends with fields that are not read.
        for length in 0..whole.len() - 24 {
            assert_eq!(depends(&whole[..length]), None, "cut at {length}");
        }
    }
}
