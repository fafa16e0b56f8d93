//! A FAT12 file system with long names: files in its root, written whole, and read back.
//!
//! ```text
//! sector 0    boot sector     tells a PC's BIOS to try the next disk
//! 1…          the table, twice
//! …           the root: 64 entries, the label first, long names before each file
//! …           clusters of 2 KiB, each file's one after the other
//! ```
//!
//! After Microsoft's "FAT: General Overview of On-Disk Format" 1.03. FAT rather than ISO 9660: every kernel that boots
//! through UEFI has it, and long names need no extension of which two exist. There are no times in it: the same files
//! give the same bytes.

/// All is written in sectors of this size.
const SECTOR: usize = 512;
const CLUSTER: usize = 4 * SECTOR;
/// Entries of the root.
const ENTRIES: usize = 64;
const ENTRY: usize = 32;
/// FAT12 has at most so many clusters; one more and readers take it for FAT16.
const MAX_CLUSTERS: usize = 4084;
/// Sizes are rounded up to so many clusters: 64 KiB.
const STEP: usize = 32;
/// Characters in one entry of a long name.
const LONG: usize = 13;
/// The first day that FAT knows: 1980-01-01.
const DAY: u16 = 0x21;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_LONG: u8 = 0x0f;
const ATTRIBUTE_FILE: u8 = 0x20;

/// What is in a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its label: at most 11 of plain ASCII.
    pub label: String,
    /// Its serial number.
    pub serial: u32,
    /// Its files, in order: names of plain ASCII, and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Why there can be no such volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// The files are too large together.
    #[error("{clusters} clusters do not fit into the guest's seed, which has at most {MAX_CLUSTERS}")]
    Full {
        /// How many they need.
        clusters: usize,
    },
    /// Too many files, or names too long.
    #[error("the names do not fit into the root of the guest's seed")]
    Names,
}

/// Where what lies, by the number of clusters.
struct Geometry {
    clusters: usize,
    table: usize,
}

impl Geometry {
    fn of(clusters: usize) -> Self {
        // Twelve bits for each cluster, and two entries that stand for none.
        Self { clusters, table: ((clusters + 2) * 3).div_ceil(2).div_ceil(SECTOR) * SECTOR }
    }

    fn root(&self) -> usize {
        SECTOR + 2 * self.table
    }

    fn data(&self) -> usize {
        self.root() + ENTRIES * ENTRY
    }

    fn length(&self) -> usize {
        self.data() + self.clusters * CLUSTER
    }
}

impl Volume {
    /// The bytes of the volume.
    ///
    /// # Errors
    /// When its files do not fit.
    pub fn write(&self) -> Result<Vec<u8>, VolumeError> {
        let needed: usize = self.files.iter().map(|(_, content)| content.len().div_ceil(CLUSTER)).sum();
        let geometry = Geometry::of(needed.next_multiple_of(STEP).max(STEP));
        if geometry.clusters > MAX_CLUSTERS {
            return Err(VolumeError::Full { clusters: needed });
        }
        let mut chains: Vec<u16> = vec![0xff8, 0xfff];
        let mut root = label_entry(&self.label);
        let mut data = Vec::with_capacity(needed * CLUSTER);
        for (index, (name, content)) in self.files.iter().enumerate() {
            let count = content.len().div_ceil(CLUSTER);
            let first = if count == 0 { 0 } else { number(chains.len()) };
            for _ in 1..count {
                chains.push(number(chains.len() + 1));
            }
            chains.extend((count > 0).then_some(0xfff));
            root.extend(file_entries(name, index, first, content.len()));
            data.extend_from_slice(content);
            data.resize(data.len().next_multiple_of(CLUSTER), 0);
        }
        if root.len() > ENTRIES * ENTRY {
            return Err(VolumeError::Names);
        }
        let mut bytes = boot_sector(&geometry, &self.label, self.serial);
        for _ in 0..2 {
            let mut table = packed(&chains);
            table.resize(geometry.table, 0);
            bytes.extend(table);
        }
        bytes.extend(root);
        bytes.resize(geometry.data(), 0);
        bytes.extend(data);
        bytes.resize(geometry.length(), 0);
        Ok(bytes)
    }

    /// Reads a volume that [`Volume::write`] wrote: the files of the very bytes, or nothing.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let clusters = (1..=MAX_CLUSTERS / STEP)
            .map(|steps| Geometry::of(steps * STEP))
            .find(|geometry| geometry.length() == bytes.len())?;
        let root = bytes.get(clusters.root()..clusters.data())?;
        let serial = u32::from_le_bytes(bytes.get(39..43)?.try_into().ok()?);
        let mut volume = Self { label: String::new(), serial, files: Vec::new() };
        let mut long = String::new();
        for entry in root.chunks(ENTRY).take_while(|entry| entry.first() != Some(&0)) {
            match *entry.get(11)? {
                ATTRIBUTE_LABEL => {
                    volume.label = std::str::from_utf8(entry.get(..11)?).ok()?.trim_end().to_owned();
                }
                ATTRIBUTE_LONG => {
                    let part: String = long_places()
                        .filter_map(|at| entry.get(at).copied())
                        .take_while(|byte| (b' '..=b'~').contains(byte))
                        .map(char::from)
                        .collect();
                    long = part + &long;
                }
                _ => {
                    let first = u16::from_le_bytes(entry.get(26..28)?.try_into().ok()?);
                    let length = u32::from_le_bytes(entry.get(28..32)?.try_into().ok()?);
                    let start = clusters.data() + usize::from(first).saturating_sub(2) * CLUSTER;
                    let end = start.checked_add(usize::try_from(length).ok()?)?;
                    let content = if length == 0 { &[][..] } else { bytes.get(start..end)? };
                    volume.files.push((std::mem::take(&mut long), content.to_vec()));
                }
            }
        }
        // What others changed, or what is laid out in another way, is not ours to tell of.
        (volume.write().ok()? == bytes).then_some(volume)
    }
}

/// A number that is small by construction.
fn number(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

/// Entries of 12 bits, two in three bytes.
fn packed(entries: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * 3 / 2 + 2);
    for pair in entries.chunks(2) {
        let (low, high) = (pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0));
        let [a, b, c, _] = (u32::from(low) | u32::from(high) << 12).to_le_bytes();
        bytes.extend([a, b, c]);
    }
    bytes
}

fn boot_sector(geometry: &Geometry, label: &str, serial: u32) -> Vec<u8> {
    let mut bytes = vec![0xeb, 0x3c, 0x90];
    bytes.extend(b"selfsame");
    bytes.extend(number(SECTOR).to_le_bytes());
    bytes.push(4); // sectors in a cluster
    bytes.extend(1_u16.to_le_bytes()); // the boot sector
    bytes.push(2); // tables
    bytes.extend(number(ENTRIES).to_le_bytes());
    bytes.extend(number(geometry.length() / SECTOR).to_le_bytes());
    bytes.push(0xf8); // a fixed disk
    bytes.extend(number(geometry.table / SECTOR).to_le_bytes());
    bytes.extend(32_u16.to_le_bytes()); // a geometry that nobody asks for: sectors in a track, heads
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend([0; 8]); // sectors before it; the count of sectors is above
    bytes.extend([0x80, 0, 0x29]); // a fixed disk, and what follows is there
    bytes.extend(serial.to_le_bytes());
    bytes.extend(short_label(label));
    bytes.extend(b"FAT12   ");
    // `int 18h`: the BIOS is to try the next disk. Then `jmp $`.
    bytes.extend([0xcd, 0x18, 0xeb, 0xfe]);
    bytes.resize(SECTOR - 2, 0);
    bytes.extend([0x55, 0xaa]);
    bytes
}

fn short_label(label: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = label.bytes().take(11).collect();
    bytes.resize(11, b' ');
    bytes
}

/// A directory's entry for a short name.
fn short_entry(name: &[u8], attribute: u8, first: u16, length: usize) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.push(attribute);
    bytes.extend([0; 4]);
    bytes.extend(DAY.to_le_bytes()); // made
    bytes.extend(DAY.to_le_bytes()); // read
    bytes.extend([0; 4]);
    bytes.extend(DAY.to_le_bytes()); // written
    bytes.extend(first.to_le_bytes());
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    bytes
}

fn label_entry(label: &str) -> Vec<u8> {
    short_entry(&short_label(label), ATTRIBUTE_LABEL, 0, 0)
}

/// The entries of a long name, its end first, and that of the short name which goes with it.
fn file_entries(name: &str, index: usize, first: u16, length: usize) -> Vec<u8> {
    // Nobody sees the short name: it only must be another for each file.
    let short = format!("FILE~{:<6}", index + 1);
    let short: Vec<u8> = short.bytes().take(11).collect();
    let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let characters: Vec<u16> = name.encode_utf16().collect();
    let parts: Vec<&[u16]> = characters.chunks(LONG).collect();
    let mut bytes = Vec::new();
    for (at, part) in parts.iter().enumerate().rev() {
        let last = if at + 1 == parts.len() { 0x40 } else { 0 };
        let mut entry = [0xff_u8; ENTRY];
        entry[0] = last | u8::try_from(at + 1).unwrap_or(0x3f);
        entry[11] = ATTRIBUTE_LONG;
        (entry[12], entry[13]) = (0, sum);
        (entry[26], entry[27]) = (0, 0);
        // Ended by a zero where it does not fill the entry.
        for (place, character) in long_places().zip(part.iter().copied().chain([0])) {
            entry.iter_mut().skip(place).zip(character.to_le_bytes()).for_each(|(to, from)| *to = from);
        }
        bytes.extend(entry);
    }
    bytes.extend(short_entry(&short, ATTRIBUTE_FILE, first, length));
    bytes
}

/// Where the characters of a long name lie in an entry, around the fields of old.
fn long_places() -> impl Iterator<Item = usize> {
    (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn volume(files: &[(&str, usize)]) -> Volume {
        let content = |length: usize| (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        Volume {
            label: "CIDATA".to_owned(),
            serial: 0x1234_5678,
            files: files.iter().map(|(name, length)| ((*name).to_owned(), content(*length))).collect(),
        }
    }

    #[test]
    fn mtools_reads_what_we_write() {
        let volume = volume(&[
            ("meta-data", 80),
            ("network-config", 0),
            ("user-data", 70_000),
            ("exactly-26-characters-long", CLUSTER),
        ]);
        let folder = std::env::temp_dir().join(format!("selfsame-fat-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let image = folder.join("seed.img");
        std::fs::write(&image, volume.write().unwrap()).unwrap();
        let mtools = |tool: &str, arguments: &[&str]| {
            Command::new(tool).arg("-i").arg(&image).args(arguments).output()
        };
        let Ok(listed) = mtools("mdir", &["-b", "::"]) else {
            eprintln!("SKIPPED: mtools_reads_what_we_write needs mtools");
            return;
        };
        let expected: String = volume.files.iter().map(|(name, _)| format!("::/{name}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), expected, "{listed:?}");
        let label = mtools("mlabel", &["-s", "::"]).unwrap();
        assert!(String::from_utf8_lossy(&label.stdout).contains("is CIDATA"), "{label:?}");
        for (name, content) in &volume.files {
            let read = mtools("mtype", &[&format!("::{name}")]).unwrap();
            assert!(read.status.success() && read.stdout == *content, "{name}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(matches!(volume(&[("a", 9 << 20)]).write(), Err(VolumeError::Full { .. })));
        let names: Vec<String> = (0..40).map(|at| format!("a-name-of-some-length-{at}")).collect();
        let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(volume(&files).write(), Err(VolumeError::Names));
    }

    #[test]
    fn what_somebody_changed_is_not_read() {
        let mut bytes = volume(&[("a", 100)]).write().unwrap();
        assert!(Volume::read(&bytes).is_some());
        bytes[600] ^= 1;
        assert_eq!(Volume::read(&bytes), None);
        assert_eq!(Volume::read(&bytes[1..]), None);
        assert_eq!(Volume::read(&[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn files_read_back(names in proptest::collection::btree_set("[a-z][a-z0-9.-]{0,30}", 0..6), length in 0_usize..20_000) {
            let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), length)).collect();
            let volume = volume(&files);
            prop_assert_eq!(Volume::read(&volume.write().unwrap()), Some(volume));
        }
    }
}
