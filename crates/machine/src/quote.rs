//! Text that came from outside, made safe and short enough for one line of a message.

/// The most characters that are repeated.
const MAX: usize = 60;

/// The beginning of a text in quotes, with everything escaped that a terminal would act upon.
pub(crate) fn quoted(text: &str) -> String {
    let start: String = text.chars().take(MAX).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_short_line() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(quoted("\u{1b}[31m\n\u{202E}"), r#""\u{1b}[31m\n\u{202e}""#);
        assert_eq!(quoted(&"é".repeat(61)), format!("\"{}\"…", "é".repeat(60)));
    }
}
