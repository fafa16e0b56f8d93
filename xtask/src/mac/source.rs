//! Rust source as words and signs: enough to see which names it uses, and no compiler.
//!
//! Comments and texts are left out, so that a name in them is no use of it. Lifetimes lose their apostrophe.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Words, and signs one by one; `::` is one of them.
pub(super) type Tokens = Vec<String>;

/// The tokens of all Rust files below `folder`, file by file in the order of their names.
pub(super) fn folder(folder: &Path) -> Result<Vec<Tokens>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(tokens(&text))
        })
        .collect()
}

/// The tokens of one text.
pub(super) fn tokens(text: &str) -> Tokens {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else if let Some(length) = string(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(rest.get(..end).unwrap_or_default().to_owned());
            end
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() && first != '\'' {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    found
}

/// The length of a comment between signs; they nest.
fn comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a text or character, if one begins here, with the letters before its quotes.
fn string(text: &str) -> Option<usize> {
    let after = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = text.len() - after.len();
    if prefix <= 2 {
        let hashes = after.len() - after.trim_start_matches('#').len();
        let raw = text.get(..prefix).is_some_and(|letters| letters.contains('r'));
        if after.get(hashes..).is_some_and(|rest| rest.starts_with('"')) && (hashes == 0 || raw) {
            let begin = prefix + hashes + 1;
            return Some(if raw { raw_end(text, begin, hashes) } else { quoted_end(text, begin, '"') });
        }
    }
    if prefix <= 1 && after.starts_with('\'') {
        // A lifetime has no second quote right after its first letter.
        let mut letters = after.chars().skip(1);
        let (first, second) = (letters.next()?, letters.next());
        if first == '\\' || second == Some('\'') {
            return Some(quoted_end(text, prefix + 1, '\''));
        }
    }
    None
}

fn raw_end(text: &str, begin: usize, hashes: usize) -> usize {
    let end = format!("\"{}", "#".repeat(hashes));
    text.get(begin..).and_then(|rest| rest.find(&end)).map_or(text.len(), |at| begin + at + end.len())
}

fn quoted_end(text: &str, begin: usize, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.get(begin..).unwrap_or_default().char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == quote {
            return begin + at + 1;
        }
    }
    text.len()
}

/// Whether `part` stands in `tokens`, as a run.
pub(super) fn contains(tokens: &[String], part: &[String]) -> bool {
    !part.is_empty() && tokens.windows(part.len()).any(|window| window == part)
}

/// The text of `tokens` from `at` up to the sign that closes the bracket before `at`, and the place of that sign.
pub(super) fn until_closed(tokens: &[String], at: usize) -> (String, usize) {
    let mut depth = 1_usize;
    let mut text = String::new();
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (text, index);
        }
        text.push_str(token);
    }
    (text, tokens.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_comments_and_texts_are_no_uses() {
        let text = "a::b(/* c /* d */ e */ \"f \\\" g\", r#\"h\"i\"#, c\"j\", 'k', '\\'', b'l') // m\n<'n>.o";
        assert_eq!(tokens(text).join(" "), "a :: b ( , , , , , ) < n > . o");
    }

    #[test]
    fn words_that_begin_like_texts_are_words() {
        assert_eq!(tokens("brc cr rb b r c").len(), 6);
        assert_eq!(tokens("r#type").join(" "), "r # type");
    }

    #[test]
    fn a_selector_is_read_to_its_bracket() {
        let tokens = tokens("method(a:b:)) x");
        assert_eq!(until_closed(&tokens, 2), ("a:b:".to_owned(), 6));
        assert!(contains(&tokens, &super::tokens("b:)")));
        assert!(!contains(&tokens, &super::tokens("b a")));
    }
}
