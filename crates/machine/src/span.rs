//! How long something may take, as people write it: `90`, `90s`, `500ms`, `5m`, `2h`, `1d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// No span is longer: a year, which is as good as without end and overflows no clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The units in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time, in whole milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
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
        let unit = if unit.is_empty() { "s" } else { unit };
        let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(SpanError::Invalid)?;
        // Digits alone: what fails is too large.
        let number: u64 = number.parse().map_err(|_| SpanError::TooLong)?;
        let total = number.checked_mul(*milliseconds).map(Duration::from_millis);
        total.filter(|total| *total <= LONGEST).map(Self).ok_or(SpanError::TooLong)
    }
}

/// In the largest unit that leaves no rest.
impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let whole = UNITS.iter().find(|(_, factor)| all > 0 && all.is_multiple_of(*factor));
        let (unit, factor) = whole.unwrap_or(&("s", 1_000));
        write!(formatter, "{}{unit}", all / factor)
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
        for text in ["", "s", "-1", "+1", "1.5", "1 s", "1w", "1S", "1e3", "\u{664}"] {
            assert_eq!(read(text), Err(SpanError::Invalid), "{text}");
        }
        for text in ["99999999999999999999999", "8785h", "18446744073709551615h"] {
            assert_eq!(read(text), Err(SpanError::TooLong), "{text}");
        }
    }

    #[test]
    fn a_span_reads_back_as_it_is_shown() {
        for text in ["30s", "5m", "2h", "200ms", "1d", "0s", "365d", "90s"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), text);
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        assert_eq!("3600".parse::<Span>().unwrap().to_string(), "1h");
        assert_eq!("0m".parse::<Span>().unwrap().to_string(), "0s");
    }
}
