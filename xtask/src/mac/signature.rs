//! Reads and verifies an ad-hoc code signature, independently of what made it.
//!
//! Layouts: `cs_blobs.h` and `kern/cs_blobs.h` of Apple's published xnu and Security (confidence: high). A signature is a
//! *superblob*, an index of blobs by slot. The code directory (slot 0) has a hash of each page of the file, and one of each
//! other blob: its *special slots*, counted downwards from the first page's hash.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::bytes::Bytes;
use super::entitlements::{self, Entitlements};
use super::macho::MachO;

const SUPERBLOB: u32 = 0xfade_0cc0;
const CODE_DIRECTORY: u32 = 0xfade_0c02;
const DIRECTORY_SLOT: u32 = 0;
/// Requirements, entitlements, entitlements as DER: each must be there and hashed.
const SPECIAL: [(u32, u32); 3] =
    [(REQUIREMENTS, 0xfade_0c01), (ENTITLEMENTS, 0xfade_7171), (DER, 0xfade_7172)];
const REQUIREMENTS: u32 = 2;
const ENTITLEMENTS: u32 = 5;
const DER: u32 = 7;
/// Slots from here on are no special slots: other code directories, the signature of an authority.
const NOT_SPECIAL: u32 = 0x1000;
/// Where a signature by an authority would be; in an ad-hoc one the blob is missing or empty.
const AUTHORITY: u32 = 0x1_0000;

/// Signed by nobody, and by no linker: a linker's signature carries no entitlements.
const ADHOC: u32 = 0x2;
const SHA256: u8 = 2;
const HASH: usize = 32;
/// The version that brought the fields about the executable segment, and that ad-hoc signatures have.
const WITH_EXECUTABLE_SEGMENT: u32 = 0x2_0400;
const MAIN_BINARY: u64 = 1;

/// What was verified.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) identifier: String,
    pub(super) pages: usize,
    pub(super) entitlements: Entitlements,
}

/// Verifies the signature of `file`: all hashes, both forms of the entitlements, the flags, and that it covers everything.
pub(super) fn verify(file: &[u8], program: &MachO) -> Result<Verified> {
    let (start, length) = program.signature.context("there is no signature")?;
    let whole = Bytes::new("the program", file);
    ensure!(start + length == file.len(), "the signature is not the end of the file");
    let blobs = blobs(whole.part(start, length)?)?;
    let directory =
        Bytes::new("the code directory", blobs.get(&DIRECTORY_SLOT).context("no code directory")?);
    let Layout { identifier, hashes, pages, page, special } = layout(directory, start, program)?;

    for index in 0..pages {
        let begin = index * page;
        let content = whole.part(begin, page.min(start - begin))?;
        if digest(content) != directory.part(hashes + index * HASH, HASH)? {
            bail!("page {index} (bytes {begin:#x} to {:#x}) does not fit its hash", begin + content.len());
        }
    }
    for slot in 1..=special {
        let back = usize::try_from(slot)? * HASH;
        let expected =
            directory.part(hashes.checked_sub(back).context("special slots before the file")?, HASH)?;
        match blobs.get(&slot) {
            Some(blob) if digest(blob) == expected => {}
            Some(_) => bail!("slot {slot} does not fit its hash"),
            None if expected.iter().all(|&byte| byte == 0) => {}
            None => bail!("slot {slot} has a hash and no blob"),
        }
    }
    if let Some(slot) = blobs.keys().find(|&&slot| slot > special && slot < NOT_SPECIAL) {
        bail!("slot {slot} has a blob and no hash");
    }
    if blobs.get(&AUTHORITY).is_some_and(|blob| blob.len() > 8) {
        bail!("it is signed by an authority, where ad-hoc was asked for");
    }
    for (slot, magic) in SPECIAL {
        let blob = blobs.get(&slot).with_context(|| format!("slot {slot} is missing"))?;
        ensure!(Bytes::new("a blob", blob).be32(0)? == magic, "the blob of slot {slot} is of another kind");
    }
    let content = |slot: u32| blobs.get(&slot).and_then(|blob| blob.get(8..)).unwrap_or_default();
    let entitlements = entitlements::from_plist(content(ENTITLEMENTS)).context("the entitlements")?;
    let der = entitlements::from_der(content(DER)).context("the DER entitlements")?;
    ensure!(
        entitlements == der,
        "the entitlements differ: {entitlements:?} as property list, {der:?} as DER"
    );
    Ok(Verified { identifier, pages, entitlements })
}

/// The blobs by their slots, each with its header.
fn blobs(signature: &[u8]) -> Result<BTreeMap<u32, &[u8]>> {
    let bytes = Bytes::new("the signature", signature);
    ensure!(bytes.be32(0)? == SUPERBLOB, "the signature is no superblob");
    let inside = Bytes::new("the superblob", bytes.part(0, bytes.place(4)?)?);
    let mut blobs = BTreeMap::new();
    for index in 0..inside.place(8)? {
        let slot = inside.be32(12 + index * 8)?;
        let at = inside.place(16 + index * 8)?;
        let length = inside.place(at + 4)?;
        ensure!(length >= 8, "the blob of slot {slot} has {length} bytes");
        ensure!(blobs.insert(slot, inside.part(at, length)?).is_none(), "slot {slot} is there twice");
    }
    Ok(blobs)
}

/// Where things are in a code directory.
struct Layout {
    identifier: String,
    /// Where the hash of the first page is.
    hashes: usize,
    pages: usize,
    /// Bytes of a page.
    page: usize,
    /// The number of special slots.
    special: u32,
}

/// Reads the head of the code directory and checks that it is about this whole file.
fn layout(directory: Bytes<'_>, end: usize, program: &MachO) -> Result<Layout> {
    ensure!(directory.be32(0)? == CODE_DIRECTORY, "slot 0 holds no code directory");
    ensure!(directory.place(4)? == directory.data().len(), "the code directory has another length");
    let version = directory.be32(8)?;
    ensure!(version == WITH_EXECUTABLE_SEGMENT, "the code directory has version {version:#x}");
    let flags = directory.be32(12)?;
    ensure!(flags == ADHOC, "the flags are {flags:#x}, where ad-hoc alone is {ADHOC:#x}");
    ensure!(
        directory.place(32)? == end,
        "the hashes end at {:#x}, the code at {end:#x}",
        directory.place(32)?
    );
    ensure!(
        usize::from(directory.byte(36)?) == HASH && directory.byte(37)? == SHA256,
        "the hashes are not SHA-256"
    );
    let shift = u32::from(directory.byte(39)?);
    ensure!(shift == 12, "pages of 2^{shift} bytes, where codesign takes 2^12");
    let page = 1_usize << shift;
    // A platform, scattered pages, a team, a limit of 64 bits: all of them things that ours has not.
    let unused = directory.byte(38)? == 0 && directory.part(40, 24)?.iter().all(|&byte| byte == 0);
    ensure!(unused, "the code directory says more than an ad-hoc one does");
    let pages = directory.place(28)?;
    ensure!(pages == end.div_ceil(page), "{pages} hashes for {} pages", end.div_ceil(page));
    let text = program.segment("__TEXT")?;
    let executable = (directory.be64(64)?, directory.be64(72)?, directory.be64(80)?);
    ensure!(
        (executable.0, executable.1) == (text.offset, text.length) && executable.2 == MAIN_BINARY,
        "the executable segment is {executable:x?}, and __TEXT is {text:x?}"
    );
    Ok(Layout {
        identifier: directory.text(directory.place(20)?)?,
        hashes: directory.place(16)?,
        pages,
        page,
        special: directory.be32(24)?,
    })
}

fn digest(bytes: &[u8]) -> [u8; HASH] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::super::macho::Segment;
    use super::*;

    fn blob(magic: u32, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 8).unwrap();
        [&magic.to_be_bytes(), length.to_be_bytes().as_slice(), content].concat()
    }

    fn code_directory(code: &[u8], special: &BTreeMap<u32, Vec<u8>>, flags: u32) -> Vec<u8> {
        let identifier = b"dev.test\0";
        let slots = special.keys().max().copied().unwrap_or(0);
        let hashes = 88 + identifier.len() + usize::try_from(slots).unwrap() * HASH;
        let pages = code.len().div_ceil(4096);
        let mut head = Vec::new();
        for word in
            [0x2_0400, flags, u32::try_from(hashes).unwrap(), 88, slots, u32::try_from(pages).unwrap()]
        {
            head.extend(word.to_be_bytes());
        }
        head.extend(u32::try_from(code.len()).unwrap().to_be_bytes());
        head.extend([32, 2, 0, 12]);
        head.extend([0; 24]);
        for number in [0_u64, u64::try_from(code.len()).unwrap(), 1] {
            head.extend(number.to_be_bytes());
        }
        assert_eq!(head.len(), 80);
        head.extend(identifier);
        for slot in (1..=slots).rev() {
            head.extend(special.get(&slot).map_or([0; HASH], |blob| digest(blob)));
        }
        for page in code.chunks(4096) {
            head.extend(digest(page));
        }
        blob(CODE_DIRECTORY, &head)
    }

    fn superblob(blobs: &BTreeMap<u32, Vec<u8>>) -> Vec<u8> {
        let mut index = u32::try_from(blobs.len()).unwrap().to_be_bytes().to_vec();
        let mut bodies = Vec::new();
        for (slot, blob) in blobs {
            index.extend(slot.to_be_bytes());
            index.extend(u32::try_from(12 + blobs.len() * 8 + bodies.len()).unwrap().to_be_bytes());
            bodies.extend(blob);
        }
        blob(SUPERBLOB, &[index, bodies].concat())
    }

    /// A file of code and signature, after `change` had its way with the special slots and the flags.
    fn signed(change: impl FnOnce(&mut BTreeMap<u32, Vec<u8>>, &mut u32)) -> (Vec<u8>, MachO) {
        let code: Vec<u8> = (0..10_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let plist = b"<plist><dict><key>a</key><true/></dict></plist>";
        let der = [0x70, 0x0d, 2, 1, 1, 0xb0, 0x08, 0x30, 0x06, 0x0c, 1, b'a', 1, 1, 0xff];
        let mut special = BTreeMap::from([
            (2, blob(0xfade_0c01, &[0; 4])),
            (5, blob(0xfade_7171, plist)),
            (7, blob(0xfade_7172, &der)),
        ]);
        let mut flags = ADHOC;
        change(&mut special, &mut flags);
        let directory = code_directory(&code, &special, flags);
        let mut all = special;
        all.insert(0, directory);
        let signature = superblob(&all);
        let program = MachO {
            signature: Some((code.len(), signature.len())),
            segments: vec![Segment { name: "__TEXT".to_owned(), offset: 0, length: 10_000 }],
            ..MachO::default()
        };
        ([code, signature].concat(), program)
    }

    #[test]
    fn a_good_signature_is_good() {
        let (file, program) = signed(|_, _| {});
        let verified = verify(&file, &program).unwrap();
        assert_eq!((verified.identifier.as_str(), verified.pages), ("dev.test", 3));
        assert_eq!(verified.entitlements, Entitlements::from([("a".to_owned(), true)]));
    }

    #[test]
    fn any_byte_of_the_code_counts() {
        let (file, program) = signed(|_, _| {});
        for at in [0, 4095, 4096, 9_999] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let complaint = verify(&changed, &program).unwrap_err().to_string();
            assert!(complaint.starts_with(&format!("page {} ", at / 4096)), "{complaint}");
        }
    }

    #[test]
    fn any_byte_of_the_signature_counts() {
        let (file, program) = signed(|_, _| {});
        for at in 10_000..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            // The identifier is nobody's to judge here: whoever asked for the signature knows what it should be.
            let verified = verify(&changed, &program).is_ok_and(|found| found.identifier == "dev.test");
            assert!(!verified, "byte {at}");
        }
    }

    #[test]
    fn each_of_the_three_slots_must_be_there() {
        for slot in [2, 5, 7] {
            let (file, program) = signed(|special, _| drop(special.remove(&slot)));
            let complaint = verify(&file, &program).unwrap_err().to_string();
            assert_eq!(complaint, format!("slot {slot} is missing"));
        }
    }

    #[test]
    fn entitlements_that_differ_are_refused() {
        let (file, program) = signed(|special, _| {
            special.insert(5, blob(0xfade_7171, b"<plist><dict><key>b</key><true/></dict></plist>"));
        });
        assert!(verify(&file, &program).unwrap_err().to_string().starts_with("the entitlements differ"));
    }

    #[test]
    fn a_linkers_signature_is_refused() {
        let (file, program) = signed(|_, flags| *flags = 0x2_0002);
        assert!(verify(&file, &program).unwrap_err().to_string().contains("0x20002"));
    }
}
