//! Entitlements, in the two forms that a signature has them in: a property list, and DER since macOS 12.
//!
//! The kernel believes the DER form, tools show the property list; a signature in which they differ is worth nothing. The
//! DER layout is that of Apple's published libDER and of signatures made by `codesign`: an application-specific sequence 16
//! of the number 1 and a context-specific set 16 of (UTF-8 name, value) pairs (confidence: high).

use std::collections::BTreeMap;
use std::io::Cursor;

use anyhow::{Context as _, Result, bail};

/// Names and whether they are granted. Ours are all of that kind; any other value is an error.
pub(super) type Entitlements = BTreeMap<String, bool>;

/// Reads a property list.
pub(super) fn from_plist(text: &[u8]) -> Result<Entitlements> {
    let value = plist::Value::from_reader_xml(Cursor::new(text)).context("no property list")?;
    let dictionary = value.into_dictionary().context("the property list is no dictionary")?;
    dictionary
        .into_iter()
        .map(|(name, value)| {
            let granted = value.as_boolean().with_context(|| format!("`{name}` is no truth value"))?;
            Ok((name, granted))
        })
        .collect()
}

/// Reads the DER form.
pub(super) fn from_der(der: &[u8]) -> Result<Entitlements> {
    let (mut body, rest) = element(der, 0x70).context("the outer sequence")?;
    end(rest)?;
    let version = take(&mut body, 0x02).context("the version")?;
    if version != [1] {
        bail!("version {version:?}, where 1 is known");
    }
    let mut pairs = take(&mut body, 0xb0).context("the set")?;
    end(body)?;
    let mut found = Entitlements::new();
    while !pairs.is_empty() {
        let mut pair = take(&mut pairs, 0x30).context("a pair")?;
        let name = String::from_utf8(take(&mut pair, 0x0c).context("a name")?.to_vec()).context("a name")?;
        let granted = match take(&mut pair, 0x01).with_context(|| format!("the value of `{name}`"))? {
            [0x00] => false,
            [0xff] => true,
            other => bail!("the value of `{name}` is {other:?}, no truth value of DER"),
        };
        end(pair)?;
        if found.insert(name.clone(), granted).is_some() {
            bail!("`{name}` stands there twice");
        }
    }
    Ok(found)
}

fn end(rest: &[u8]) -> Result<()> {
    if rest.is_empty() { Ok(()) } else { bail!("{} bytes too many", rest.len()) }
}

/// Takes one element with the given tag off the front.
fn take<'a>(bytes: &mut &'a [u8], tag: u8) -> Result<&'a [u8]> {
    let (content, rest) = element(bytes, tag)?;
    *bytes = rest;
    Ok(content)
}

/// The content of the first element, which must have the given tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first().context("nothing is there")?;
    if found != tag {
        bail!("tag {found:#04x}, where {tag:#04x} is due");
    }
    let (&first, mut rest) = rest.split_first().context("no length")?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        // The long form: so many bytes of length follow. Two are enough for 64 KiB.
        let count = usize::from(first & 0x7f);
        if !(1..=2).contains(&count) {
            bail!("a length of {count} bytes");
        }
        let (digits, after) = rest.split_at_checked(count).context("the length is cut off")?;
        length = digits.iter().fold(0, |number, &digit| number << 8 | usize::from(digit));
        rest = after;
    }
    rest.split_at_checked(length)
        .with_context(|| format!("{length} bytes are announced, {} are there", rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(pairs: &[(&str, u8)]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let pairs: Vec<u8> = pairs
            .iter()
            .flat_map(|(name, value)| {
                wrap(0x30, &[wrap(0x0c, name.as_bytes()), wrap(0x01, &[*value])].concat())
            })
            .collect();
        wrap(0x70, &[wrap(0x02, &[1]), wrap(0xb0, &pairs)].concat())
    }

    #[test]
    fn both_forms_say_the_same() {
        let text = include_bytes!("../../../mac/selfsame.entitlements");
        let entitlements = from_plist(text).unwrap();
        assert_eq!(
            entitlements,
            Entitlements::from([("com.apple.security.virtualization".to_owned(), true)])
        );
        assert_eq!(from_der(&der(&[("com.apple.security.virtualization", 0xff)])).unwrap(), entitlements);
    }

    #[test]
    fn what_is_not_der_is_refused_wherever_it_is_cut() {
        let good = der(&[("a", 0xff), ("b", 0x00)]);
        assert_eq!(from_der(&good).unwrap().len(), 2);
        for end in 0..good.len() {
            assert!(from_der(&good[..end]).is_err(), "cut at {end}");
        }
        assert!(from_der(&[good.as_slice(), &[0]].concat()).is_err());
        assert!(from_der(&der(&[("a", 0xff), ("a", 0x00)])).is_err());
        assert!(from_der(&der(&[("a", 0x01)])).is_err());
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        assert!(from_plist(b"<plist><dict><key>a</key><string>b</string></dict></plist>").is_err());
        assert!(from_plist(b"<plist><array/></plist>").is_err());
    }
}
