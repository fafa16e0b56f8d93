//! Reads of a Mach-O program what the checks ask: libraries, systems, imports, where its signature lies.
//!
//! Layouts: `mach-o/loader.h` and `mach-o/nlist.h` of Apple's published xnu and cctools (confidence: high). Only thin files
//! for 64-bit little-endian processors, which is what is built here.

use anyhow::{Context as _, Result, bail};

use super::bytes::Bytes;

const MAGIC: u32 = 0xfeed_facf;
const CPU_ARM64: u32 = 0x0100_000c;
const EXECUTE: u32 = 2;

const SEGMENT: u32 = 0x19;
const SYMBOLS: u32 = 0x2;
const BUILD_VERSION: u32 = 0x32;
const SIGNATURE: u32 = 0x1d;
/// LC_LOAD_DYLIB, weak, re-exported, lazy, upward.
const DYLIBS: [u32; 5] = [0xc, 0x8000_0018, 0x8000_001f, 0x20, 0x8000_0023];
/// LC_RPATH: a place where libraries are looked for.
const RPATH: u32 = 0x8000_001c;

/// What a program says of itself.
#[derive(Debug, Default)]
pub(super) struct MachO {
    /// Install names, in the file's order: imports refer to it, counted from 1.
    pub(super) dylibs: Vec<String>,
    /// Where libraries are looked for beside the system's places.
    pub(super) rpaths: Vec<String>,
    pub(super) build: Option<Build>,
    /// File offset and length of the signature.
    pub(super) signature: Option<(usize, usize)>,
    pub(super) segments: Vec<Segment>,
    pub(super) imports: Vec<Import>,
}

/// For which system it was built: each version as (major, minor).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) platform: u32,
    pub(super) oldest: (u32, u32),
    pub(super) sdk: (u32, u32),
}

/// A part of the file that is mapped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A symbol that a library has to give.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    /// The install name of that library.
    pub(super) library: String,
    pub(super) symbol: String,
}

impl MachO {
    pub(super) fn read(file: &[u8]) -> Result<Self> {
        let bytes = Bytes::new("the program", file);
        if bytes.le32(0)? != MAGIC || bytes.le32(4)? != CPU_ARM64 || bytes.le32(12)? != EXECUTE {
            bail!("not a program for 64-bit ARM as a thin Mach-O file");
        }
        let mut found = Self::default();
        let mut symbols = None;
        let mut at = 32;
        for _ in 0..bytes.le32(16)? {
            let kind = bytes.le32(at)?;
            let length = usize::try_from(bytes.le32(at + 4)?)?;
            let command = Bytes::new("a load command", bytes.part(at, length)?);
            if length < 8 {
                bail!("a load command of {length} bytes");
            }
            match kind {
                SEGMENT => found.segments.push(segment(command)?),
                SYMBOLS => symbols = Some(command),
                BUILD_VERSION => found.build = Some(build(command)?),
                SIGNATURE => {
                    found.signature =
                        Some((usize::try_from(command.le32(8)?)?, usize::try_from(command.le32(12)?)?));
                }
                RPATH => found.rpaths.push(command.text(usize::try_from(command.le32(8)?)?)?),
                kind if DYLIBS.contains(&kind) => {
                    found.dylibs.push(command.text(usize::try_from(command.le32(8)?)?)?);
                }
                _ => {}
            }
            at += length;
        }
        if let Some(command) = symbols {
            found.imports = imports(bytes, command, &found.dylibs)?;
        }
        Ok(found)
    }

    pub(super) fn segment(&self, name: &str) -> Result<&Segment> {
        self.segments
            .iter()
            .find(|segment| segment.name == name)
            .with_context(|| format!("no segment {name}"))
    }
}

fn segment(command: Bytes<'_>) -> Result<Segment> {
    let name = Bytes::new("a segment's name", command.part(8, 16)?).text(0)?;
    Ok(Segment { name, offset: command.le64(40)?, length: command.le64(48)? })
}

fn build(command: Bytes<'_>) -> Result<Build> {
    let version = |number: u32| (number >> 16, number >> 8 & 0xff);
    Ok(Build {
        platform: command.le32(8)?,
        oldest: version(command.le32(12)?),
        sdk: version(command.le32(16)?),
    })
}

/// The undefined symbols of the symbol table, each with the library it is bound to (two-level names).
fn imports(file: Bytes<'_>, command: Bytes<'_>, dylibs: &[String]) -> Result<Vec<Import>> {
    let number = |at| -> Result<usize> { Ok(usize::try_from(command.le32(at)?)?) };
    let strings = Bytes::new("the string table", file.part(number(16)?, number(20)?)?);
    let mut imports = Vec::new();
    for index in 0..number(12)? {
        let entry = Bytes::new("a symbol", file.part(number(8)? + index * 16, 16)?);
        // Kind, without the bits for debuggers and visibility: 0 is undefined. Symbols for debuggers (0xe0) are none.
        let kind = entry.byte(4)?;
        if kind & 0xe0 != 0 || kind & 0x0e != 0 {
            continue;
        }
        let symbol = strings.text(usize::try_from(entry.le32(0)?)?)?;
        // The upper half of the description is the library's number.
        let ordinal = usize::from(entry.byte(7)?);
        let library = ordinal.checked_sub(1).and_then(|index| dylibs.get(index)).cloned();
        imports.push(Import { library: library.unwrap_or_else(|| format!("library {ordinal}")), symbol });
    }
    imports.sort();
    Ok(imports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_of_ours_is_refused() {
        assert!(MachO::read(b"").is_err());
        assert!(MachO::read(&[0x7f; 64]).is_err());
        let mut header = Vec::new();
        for word in [MAGIC, CPU_ARM64, 0, EXECUTE, 1, 8, 0, 0] {
            header.extend(word.to_le_bytes());
        }
        // One command is announced and none is there.
        assert!(MachO::read(&header).is_err());
        header.extend([0x1b, 0, 0, 0, 0, 0, 0, 0]);
        assert!(MachO::read(&header).is_err(), "a command of no length");
    }
}
