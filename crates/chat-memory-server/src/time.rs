//! Times as the API shows them.

use chat_memory::Timestamp;
use serde::{Serialize, Serializer};

/// From the beginning of the year 0 to the end of the year 9999, in milliseconds: what RFC 3339 can say.
const SAYABLE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// A time as the API shows it: RFC 3339 in UTC, always with milliseconds, so that texts sort as their times do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Timestamp);

impl Time {
    /// Returns the time, unless it is before the year 0 or after 9999.
    pub(crate) fn of(at: Timestamp) -> Option<Self> {
        SAYABLE.contains(&at.as_millis()).then_some(Self(at))
    }

    /// Returns the point in time.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_are_of_four_digit_years() {
        let text = |ms| Time::of(Timestamp::from_millis(ms)).map(|time| serde_json::to_value(time).expect("a text"));
        assert_eq!(text(1_777_636_800_000), Some("2026-05-01T12:00:00.000Z".into()));
        assert_eq!(text(1_777_636_800_290), Some("2026-05-01T12:00:00.290Z".into()));
        let (first, last) = (*SAYABLE.start(), *SAYABLE.end());
        assert_eq!([text(first), text(last)], [Some("0000-01-01T00:00:00.000Z".into()), Some("9999-12-31T23:59:59.999Z".into())]);
        assert_eq!([text(first - 1), text(last + 1)], [None, None]);
    }
}
