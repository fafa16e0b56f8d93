//! Points in time as the library keeps them.
//!
//! **Invariant: one clock reading per command.** Whoever runs a command reads [`Time::now`] once and passes it down; the
//! store and the configuration take the time as an argument, so that a test decides what the time is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339 in UTC, and so on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// What the wall clock says. A clock set outside of 1677 to 2262 is held at the end of that range.
    #[must_use]
    pub fn now() -> Self {
        Self::of(jiff::Timestamp::now())
    }

    fn of(timestamp: jiff::Timestamp) -> Self {
        let nanoseconds = timestamp.as_nanosecond();
        Self(i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl Time {
    /// The time to the second, as people read it: RFC 3339 without a fraction.
    #[must_use]
    pub fn to_seconds(self) -> String {
        let text = self.to_string();
        text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every i64 lies well within jiff's years -9999 to 9999, so the error arm has no input.
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => formatter.pad(&timestamp.to_string()),
            Err(_) => Err(fmt::Error),
        }
    }
}

/// The text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time as RFC 3339 writes it")]
pub struct TimeInvalid {
    /// What was given.
    pub text: String,
}

impl FromStr for Time {
    type Err = TimeInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let timestamp: jiff::Timestamp = text.parse().map_err(|_| TimeInvalid { text: text.to_owned() })?;
        Ok(Self::of(timestamp))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_and_read_back() {
        let time = Time(1_795_000_000_123_000_000);
        assert_eq!(time.to_string(), "2026-11-18T11:06:40.123Z");
        assert_eq!("2026-11-18T12:06:40.123+01:00".parse(), Ok(time));
        assert!("yesterday".parse::<Time>().is_err());
        for time in [Time(i64::MIN), Time(-1), Time(0), Time(i64::MAX), Time::now()] {
            assert_eq!(serde_json::from_str::<Time>(&serde_json::to_string(&time).unwrap()).unwrap(), time);
        }
    }
}
