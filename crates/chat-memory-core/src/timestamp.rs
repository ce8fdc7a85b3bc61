//! Points in time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A point in time, in whole milliseconds since 1970 (UTC). In JSON it is that number; as text it is RFC 3339.
///
/// Adding or subtracting a [`Duration`] drops fractions of a millisecond and stops at the ends of the range, some 292 million years
/// away.
///
/// ```
/// use std::time::Duration;
/// use chat_memory::Timestamp;
/// let sent = Timestamp::from_millis(1_700_000_000_250);
/// assert_eq!(sent.to_string(), "2023-11-14T22:13:20.250Z");
/// assert_eq!(serde_json::to_string(&sent)?, "1700000000250");
/// assert_eq!((sent + Duration::from_secs(60)).since(sent), Duration::from_secs(60));
/// assert_eq!(sent.expires_after(Duration::from_secs(60)), Some(Timestamp::from_secs(1_700_000_060)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z. As the time of a record or session, this or an earlier time means that it is unknown.
    pub const UNIX_EPOCH: Self = Self(0);

    /// The earliest point in time.
    pub const MIN: Self = Self(i64::MIN);

    /// The latest point in time.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns the time of this machine's clock.
    pub fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(Self::UNIX_EPOCH, |since| Self::UNIX_EPOCH + since);
        #[cfg(all(feature = "torture", unix))]
        let now = Self(now.0 + crate::torture::clocks_ahead_ms().1);
        now
    }

    /// Creates the time that is this many milliseconds after 1970 began.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Creates the time that is this many seconds after 1970 began; the earliest or latest one if that is out of range.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Returns the milliseconds since 1970 began.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since 1970 began, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the time if it is [known](Self::UNIX_EPOCH).
    pub fn known(self) -> Option<Self> {
        (self > Self::UNIX_EPOCH).then_some(self)
    }

    /// Returns how long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns how long before or after `other` this is.
    pub fn abs_diff(self, other: Self) -> Duration {
        self.since(other).max(other.since(self))
    }

    /// Returns when something written now expires if it is kept for this long. Things expire at whole seconds, as in DynamoDB's TTL:
    /// this is where they are rounded, down. Returns `None`, which means never, if the time is out of range.
    pub fn expires_after(self, kept: Duration) -> Option<Self> {
        let secs = self.as_secs().checked_add(i64::try_from(kept.as_secs()).ok()?)?;
        secs.checked_mul(1000).map(Self)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Writes the time as RFC 3339 in UTC, always with three digits of milliseconds, so that times sort as texts; outside the years 0 to
/// 9999, as the number of milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Howard Hinnant's algorithm for dates: years begin in March, so that a leap day is the last of its year.
        let days = self.0.div_euclid(DAY_MS) + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        if !(0..=9999).contains(&year) {
            return self.0.fmt(f);
        }
        let ms = self.0.rem_euclid(DAY_MS);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamps_are_written_as_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_709_164_800_010, "2024-02-29T00:00:00.010Z"),
            (1_777_636_800_100, "2026-05-01T12:00:00.100Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (253_402_300_800_000, "253402300800000"),
            (i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(Timestamp::from_millis(ms).to_string(), text);
        }
    }

    #[test]
    fn expiry_is_in_whole_seconds_and_never_if_out_of_range() {
        for (now_ms, kept, expires) in [
            (999, Duration::from_secs(7), Some(7)),
            (1_000, Duration::from_millis(7_999), Some(8)),
            (-1, Duration::ZERO, Some(-1)),
            (0, Duration::MAX, None),
            (0, Duration::from_secs(i64::MAX as u64), None),
        ] {
            assert_eq!(
                Timestamp::from_millis(now_ms).expires_after(kept),
                expires.map(Timestamp::from_secs),
                "{now_ms} {kept:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn arithmetic_round_trips_and_stops_at_the_ends(ms: i64, secs in -9_000_000_000_000_000..9_000_000_000_000_000_i64, by: u32) {
            let (at, by) = (Timestamp::from_millis(ms), Duration::from_millis(by.into()));
            prop_assert_eq!(at.as_millis(), ms);
            prop_assert_eq!(Timestamp::from_secs(secs).as_secs(), secs);
            prop_assert!(Timestamp::from_secs(at.as_secs()) <= at || at.as_secs() < i64::MIN / 1000);
            prop_assert_eq!((at + by).since(at), by.min(Timestamp::MAX.since(at)));
            prop_assert_eq!(at.since(at + by), Duration::ZERO);
            prop_assert_eq!(at.abs_diff(at - by), at.since(at - by));
        }
    }
}
