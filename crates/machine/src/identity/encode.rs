//! A writer of small binary property lists with every byte under control.
//!
//! The `plist` crate writes the same bytes for most of our blobs, and tests compare the two; but it cannot write the
//! 16-byte integer 1 of old hardware models, and its writer can fail where this one cannot.
//!
//! Format: Apple's published `CFBinaryPList.c`. Certain.

/// One object; references are indices into the list of objects.
pub(super) enum Object<'a> {
    /// A dictionary: the references of its keys, then those of its values.
    Dictionary(&'a [u8], &'a [u8]),
    /// An array of references, at most 14.
    Array(&'a [u8]),
    /// ASCII text.
    Text(&'a str),
    /// Bytes.
    Data(&'a [u8]),
    /// A number in the shortest form that Core Foundation gives it.
    Integer(u64),
    /// A number in 8 bytes, or in 16 where the sign bit is needed.
    Long(u64),
    /// A number in 16 bytes.
    Wide(u64),
}

impl Object<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Dictionary(keys, values) => {
                out.push(0xD0 | low(keys.len()));
                out.extend_from_slice(keys);
                out.extend_from_slice(values);
            }
            Self::Array(items) => {
                out.push(0xA0 | low(items.len()));
                out.extend_from_slice(items);
            }
            Self::Text(text) => blob(0x50, text.as_bytes(), out),
            Self::Data(data) => blob(0x40, data, out),
            Self::Integer(value) => match value.to_be_bytes() {
                [0, 0, 0, 0, 0, 0, 0, a] => out.extend([0x10, a]),
                [0, 0, 0, 0, 0, 0, a, b] => out.extend([0x11, a, b]),
                [0, 0, 0, 0, a, b, c, d] => out.extend([0x12, a, b, c, d]),
                _ => Object::Long(*value).write(out),
            },
            Self::Long(value) if *value < 1 << 63 => {
                out.push(0x13);
                out.extend(value.to_be_bytes());
            }
            Self::Long(value) | Self::Wide(value) => {
                out.push(0x14);
                out.extend([0; 8]);
                out.extend(value.to_be_bytes());
            }
        }
    }
}

/// The last byte of a number that is known to fit one.
fn low(number: usize) -> u8 {
    number.to_be_bytes()[size_of::<usize>() - 1]
}

fn blob(mark: u8, content: &[u8], out: &mut Vec<u8>) {
    if content.len() < 15 {
        out.push(mark | low(content.len()));
    } else {
        out.extend([mark | 0x0F, 0x10, low(content.len())]);
    }
    out.extend_from_slice(content);
}

/// Writes the objects, the first being the top one.
///
/// All blobs of this crate stay under 256 bytes, so offsets and references take one byte each.
pub(super) fn binary(objects: &[Object<'_>]) -> Vec<u8> {
    let mut out = b"bplist00".to_vec();
    let mut offsets = Vec::with_capacity(objects.len());
    for object in objects {
        offsets.push(low(out.len()));
        object.write(&mut out);
    }
    let table = out.len();
    out.extend(offsets);
    out.extend([0, 0, 0, 0, 0, 0, 1, 1]);
    for number in [low(objects.len()), 0, low(table)] {
        out.extend([0, 0, 0, 0, 0, 0, 0, number]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plist_crate_writes_the_same() {
        for value in
            [0, 1, 255, 256, 0xFFFF, 0x1_0000, u64::from(u32::MAX), 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX]
        {
            let mut theirs = Vec::new();
            let mut dictionary = plist::Dictionary::new();
            dictionary.insert("ECID".to_owned(), plist::Value::Integer(value.into()));
            plist::Value::Dictionary(dictionary).to_writer_binary(&mut theirs).unwrap();
            let ours = [Object::Dictionary(&[1], &[2]), Object::Text("ECID"), Object::Integer(value)];
            assert_eq!(binary(&ours), theirs, "{value}");
        }
    }
}
