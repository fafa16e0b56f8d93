//! How long something may take, as people write it: `90`, `90s`, `500ms`, `5m`, `2h`.

use std::str::FromStr;
use std::time::Duration;

/// No span is longer: a year, which is as good as without end and overflows no clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// The same for clocks.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// Why a text is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// It is no number with a known unit.
    #[error("a whole number of seconds is wanted, or one with a unit: `500ms`, `90s`, `5m`, `2h`")]
    Invalid,
    /// It is longer than a year.
    #[error("it is longer than a year")]
    TooLong,
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(SpanError::Invalid);
        }
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(SpanError::Invalid),
        };
        // Digits alone: what fails is too large.
        let number: u64 = number.parse().map_err(|_| SpanError::TooLong)?;
        let total = number.checked_mul(milliseconds).map(Duration::from_millis);
        total.filter(|total| *total <= LONGEST).map(Self).ok_or(SpanError::TooLong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_all_else_refused() {
        let read = |text: &str| text.parse::<Span>().map(Span::duration);
        for (text, milliseconds) in
            [("0", 0), ("90", 90_000), ("7s", 7000), ("500ms", 500), ("2h", 7_200_000)]
        {
            assert_eq!(read(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "+1", "1.5", "1 s", "1d", "1S", "1e3", "\u{664}"] {
            assert_eq!(read(text), Err(SpanError::Invalid), "{text}");
        }
        for text in ["99999999999999999999999", "8785h", "18446744073709551615h"] {
            assert_eq!(read(text), Err(SpanError::TooLong), "{text}");
        }
    }
}
