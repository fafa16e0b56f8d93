//! The bounds of a binary property list, walked before anything decodes it.
//!
//! A binary property list is a graph: an array may name one child a thousand times, which may do the same, so 200 bytes
//! can stand for more objects than memory holds, and a chain of arrays can be deeper than any stack. This walk follows
//! the references, counts, and stops at limits that no identifier comes near. It also learns where each value lies, which
//! the decoder does not tell.
//!
//! Format: Apple's published `CFBinaryPList.c`. Certain.

use super::finding::{Finding, FindingCode};

/// The deepest nesting that is followed.
const MAX_DEPTH: usize = 16;
/// The most objects that are visited, each as often as it is named.
const MAX_VISITS: usize = 1024;
/// The most content bytes that are visited, each as often as it is named.
const MAX_CONTENT: usize = 256 * 1024;
/// The trailer's length.
const TRAILER: usize = 32;
/// The shortest property list: mark, one object, one offset, trailer.
const SHORTEST: usize = 8 + 1 + 1 + TRAILER;

/// Where things lie in a binary property list that keeps within bounds.
#[derive(Debug)]
pub(super) struct Layout {
    /// Where the top object starts.
    pub(super) top: usize,
    /// The keys of the top dictionary, each with where its value starts, in file order.
    pub(super) entries: Vec<(String, usize)>,
}

impl Layout {
    /// Walks a binary property list.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Finding> {
        if bytes.len() < SHORTEST {
            return Err(truncated(bytes.len(), "the property list ends before its trailer"));
        }
        let file = File::open(bytes)?;
        file.walk()
    }
}

fn malformed(offset: usize, message: impl Into<String>) -> Finding {
    Finding::error(offset, FindingCode::Malformed, message)
}

fn truncated(offset: usize, message: impl Into<String>) -> Finding {
    Finding::error(offset, FindingCode::Truncated, message)
}

fn too_deep(offset: usize) -> Finding {
    Finding::error(
        offset,
        FindingCode::TooDeep,
        "the property list has more structure than an identifier can have",
    )
}

/// A big-endian number of at most 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// An object as far as the walk cares.
enum Node<'a> {
    /// Content without references.
    Leaf(&'a [u8]),
    /// Text, decoded only if it is a key.
    Text { content: &'a [u8], wide: bool },
    /// An array's references.
    Array(&'a [u8]),
    /// A dictionary's references: keys, values.
    Dictionary(&'a [u8], &'a [u8]),
}

struct File<'a> {
    /// Everything before the trailer.
    body: &'a [u8],
    table: &'a [u8],
    offset_size: usize,
    reference_size: usize,
    top: u64,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Finding> {
        let end = bytes.len() - TRAILER;
        let (body, trailer) = bytes.split_at(end);
        let size = |at: usize, what: &str| match trailer[at] {
            size @ (1 | 2 | 3 | 4 | 8) => Ok(usize::from(size)),
            size => Err(malformed(end + at, format!("{size} is no size of {what}"))),
        };
        let offset_size = size(6, "an offset")?;
        let reference_size = size(7, "a reference")?;
        let count = number(&trailer[8..16]);
        let start = number(&trailer[24..32]);
        let table = usize::try_from(start)
            .ok()
            .zip(usize::try_from(count).ok())
            .and_then(|(start, count)| body.get(start..start.checked_add(count.checked_mul(offset_size)?)?))
            .ok_or_else(|| {
                malformed(end + 24, format!("no table of {count} offsets fits at byte {start}"))
            })?;
        Ok(Self { body, table, offset_size, reference_size, top: number(&trailer[16..24]) })
    }

    /// Where an object starts; `from` is the place of the reference.
    fn offset(&self, reference: u64, from: usize) -> Result<usize, Finding> {
        let entry = usize::try_from(reference).ok().and_then(|index| {
            let start = index.checked_mul(self.offset_size)?;
            self.table.get(start..start.checked_add(self.offset_size)?)
        });
        let Some(entry) = entry else {
            return Err(malformed(from, format!("object {reference} does not exist")));
        };
        let offset = usize::try_from(number(entry)).unwrap_or(usize::MAX);
        if offset < self.body.len() {
            Ok(offset)
        } else {
            Err(malformed(
                from,
                format!("object {reference} would start at byte {offset}, behind the objects"),
            ))
        }
    }

    fn take(&self, start: usize, length: u64, unit: usize) -> Result<&'a [u8], Finding> {
        usize::try_from(length)
            .ok()
            .and_then(|length| self.body.get(start..start.checked_add(length.checked_mul(unit)?)?))
            .ok_or_else(|| truncated(start.min(self.body.len()), "an object is longer than the data"))
    }

    fn node(&self, offset: usize) -> Result<Node<'a>, Finding> {
        let mark = self.body[offset];
        let (kind, low) = (mark >> 4, mark & 0x0F);
        let after = offset + 1;
        let counted = |unit: usize| {
            let (length, start) = if low == 0x0F {
                let width = match self.body.get(after) {
                    Some(0x10) => 1,
                    Some(0x11) => 2,
                    Some(0x12) => 4,
                    Some(0x13) => 8,
                    _ => return Err(malformed(after.min(self.body.len()), "an object has no length")),
                };
                let digits = self.take(after + 1, 1, width)?;
                (number(digits), after + 1 + width)
            } else {
                (u64::from(low), after)
            };
            self.take(start, length, unit)
        };
        match (kind, low) {
            (0x0, 0x8 | 0x9) => Ok(Node::Leaf(&[])),
            (0x1, 0..=4) => self.take(after, 1 << low, 1).map(Node::Leaf),
            (0x2, 2 | 3) | (0x3, 3) => self.take(after, 1 << low, 1).map(Node::Leaf),
            (0x4, _) => counted(1).map(Node::Leaf),
            (0x5, _) => counted(1).map(|content| Node::Text { content, wide: false }),
            (0x6, _) => counted(2).map(|content| Node::Text { content, wide: true }),
            (0x8, 0..=7) => self.take(after, u64::from(low) + 1, 1).map(Node::Leaf),
            (0xA, _) => counted(self.reference_size).map(Node::Array),
            (0xD, _) => {
                let both = counted(2 * self.reference_size)?;
                let (keys, values) = both.split_at(both.len() / 2);
                Ok(Node::Dictionary(keys, values))
            }
            _ => Err(malformed(offset, format!("0x{mark:02X} starts no object"))),
        }
    }

    /// The references in a list; the place of a reference is good enough as that of its holder.
    fn references(&self, list: &'a [u8]) -> impl DoubleEndedIterator<Item = u64> {
        list.chunks_exact(self.reference_size).map(number)
    }

    fn key(&self, reference: u64, from: usize) -> Result<String, Finding> {
        let offset = self.offset(reference, from)?;
        let text = match self.node(offset)? {
            Node::Text { content, wide: false } => String::from_utf8(content.to_vec()).ok(),
            Node::Text { content, wide: true } => {
                let units: Vec<u16> =
                    content.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
                String::from_utf16(&units).ok()
            }
            Node::Leaf(_) | Node::Array(_) | Node::Dictionary(..) => None,
        };
        text.ok_or_else(|| malformed(offset, "a dictionary's key is not text"))
    }

    fn walk(&self) -> Result<Layout, Finding> {
        let trailer = self.body.len();
        let top = self.offset(self.top, trailer + 16)?;
        let mut entries = Vec::new();
        let (mut visits, mut content) = (0, 0);
        // References still to follow, with the place that named them and their depth.
        let mut open = vec![(self.top, trailer + 16, 0)];
        while let Some((reference, from, depth)) = open.pop() {
            let offset = self.offset(reference, from)?;
            visits += 1;
            if visits > MAX_VISITS || depth > MAX_DEPTH {
                return Err(too_deep(offset));
            }
            match self.node(offset)? {
                Node::Leaf(bytes) | Node::Text { content: bytes, .. } => content += bytes.len(),
                Node::Array(list) => {
                    content += list.len();
                    open.extend(
                        self.references(list).take(MAX_VISITS).map(|child| (child, offset, depth + 1)),
                    );
                }
                Node::Dictionary(keys, values) => {
                    content += keys.len() + values.len();
                    if visits == 1 {
                        if keys.len() / self.reference_size > MAX_VISITS {
                            return Err(too_deep(offset));
                        }
                        for (key, value) in self.references(keys).zip(self.references(values)) {
                            let key = self.key(key, offset)?;
                            content += key.len();
                            if content > MAX_CONTENT {
                                return Err(too_deep(offset));
                            }
                            entries.push((key, self.offset(value, offset)?));
                        }
                    }
                    let children = self.references(keys).chain(self.references(values));
                    open.extend(children.take(MAX_VISITS).map(|child| (child, offset, depth + 1)));
                }
            }
            if content > MAX_CONTENT || open.len() > 4 * MAX_VISITS {
                return Err(too_deep(offset));
            }
        }
        Ok(Layout { top, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A property list of `levels` arrays, each naming the next one `fan` times, the last one naming itself or nothing.
    fn tower(levels: u8, fan: u8, circular: bool) -> Vec<u8> {
        let mut bytes = b"bplist00".to_vec();
        let mut offsets = Vec::new();
        for level in 0..levels {
            offsets.push(u16::try_from(bytes.len()).unwrap());
            let last = level + 1 == levels;
            let fan = if last && !circular { 0 } else { fan };
            bytes.push(0xA0 | fan);
            bytes.extend(std::iter::repeat_n(if last { level } else { level + 1 }, usize::from(fan)));
        }
        let table = u64::try_from(bytes.len()).unwrap();
        bytes.extend(offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        bytes.extend([0, 0, 0, 0, 0, 0, 2, 1]);
        bytes.extend(u64::from(levels).to_be_bytes());
        bytes.extend(0_u64.to_be_bytes());
        bytes.extend(table.to_be_bytes());
        bytes
    }

    #[test]
    fn hostile_graphs_are_stopped() {
        assert!(Layout::of(&tower(3, 3, false)).is_ok());
        for (levels, fan, circular) in [(200, 1, false), (16, 14, false), (2, 1, true), (1, 14, true)] {
            let finding = Layout::of(&tower(levels, fan, circular)).unwrap_err();
            assert_eq!(finding.code, FindingCode::TooDeep, "{levels} {fan} {circular}");
        }
    }

    #[test]
    fn long_lengths_are_read() {
        for (length, mark) in [(20_u64, 0x10), (300, 0x11), (300, 0x12), (300, 0x13)] {
            let width = 1_usize << (mark & 3);
            let mut bytes = b"bplist00\x4F".to_vec();
            bytes.push(mark);
            bytes.extend(&length.to_be_bytes()[8 - width..]);
            bytes.extend(vec![7; usize::try_from(length).unwrap()]);
            let table = u64::try_from(bytes.len()).unwrap();
            bytes.extend([8, 0, 0, 0, 0, 0, 0, 1, 1]);
            bytes.extend([1, 0, table].iter().flat_map(|number| number.to_be_bytes()));
            assert_eq!(Layout::of(&bytes).unwrap().top, 8);
            bytes[9 + width] += 60;
            assert!(Layout::of(&bytes).is_err());
        }
    }
}
