//! Times as the API shows and reads them.

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

/// Reads a date or a time, in UTC if it names no zone.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let date: Option<jiff::civil::DateTime> = text.parse().ok();
    let at = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok()).map(|at| at.timestamp());
    let at = text.parse::<jiff::Timestamp>().ok().or(at)?;
    Some(Timestamp::from_millis(at.as_millisecond()))
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

    #[test]
    fn dates_are_in_utc_unless_they_name_a_zone() {
        let millis = |text| date(text).map(Timestamp::as_millis);
        assert_eq!(millis("1970-01-02"), Some(86_400_000));
        assert_eq!(millis("1970-01-01 00:01"), Some(60_000));
        assert_eq!(millis("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(millis("yesterday"), None);
    }
}
