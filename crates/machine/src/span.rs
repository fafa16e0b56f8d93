//! A span of time as people write it: `30s`, `5m`, `2h`, `200ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// No span is longer: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The units, the largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A span of time, in whole milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// The time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// The text is no span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is a whole number with ms, s, m, h or d behind it, such as 30s or 5m, and at most 365d")]
pub struct NoSpan;

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, NoSpan> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(NoSpan)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NoSpan)?;
        let number: u64 = number.parse().map_err(|_| NoSpan)?;
        let span = Duration::from_millis(number.checked_mul(*factor).ok_or(NoSpan)?);
        if span > LONGEST { Err(NoSpan) } else { Ok(Self(span)) }
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
    fn a_span_reads_back_as_it_is_shown() {
        for text in ["30s", "5m", "2h", "200ms", "1d", "0s", "365d", "90s"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse(), Ok(span), "{text}");
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "90s");
        assert_eq!("3600s".parse::<Span>().unwrap().to_string(), "1h");
        assert_eq!("0m".parse::<Span>().unwrap().to_string(), "0s");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "5", "s", "-1s", "1.5h", " 5s", "5 s", "5S", "366d", "18446744073709551616s", "1é"]
        {
            assert_eq!(text.parse::<Span>(), Err(NoSpan), "{text}");
        }
    }
}
