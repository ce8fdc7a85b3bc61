//! Durations and sizes in settings: parsing and formatting.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration, as in `30s`, `1m 30s` or `250ms`.
///
/// ```
/// use std::time::Duration;
/// use chat_memory_server::config::Span;
/// assert_eq!("1m 30s".parse::<Span>().map(|span| span.0), Ok(Duration::from_secs(90)));
/// assert!("30".parse::<Span>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let read = text.parse::<SignedDuration>().ok().and_then(|read| Duration::try_from(read).ok());
        read.map(Self).ok_or_else(|| format!("invalid duration {text:?}: expected one such as 30s, 5m or 250ms"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(duration) => write!(f, "{duration:#}"),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

/// A number of bytes, as in `16MB`, `64KB` or `1000`; a KB is 1,000 bytes.
///
/// ```
/// use chat_memory_server::config::Bytes;
/// assert_eq!("16MB".parse::<Bytes>().map(|bytes| bytes.0), Ok(16_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub usize);

const SIZES: [(&str, usize); 3] = [("MB", 1_000_000), ("KB", 1_000), ("", 1)];

impl FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let of = |(unit, bytes): (&str, usize)| text.strip_suffix(unit)?.trim_end().parse::<usize>().ok()?.checked_mul(bytes);
        let read = SIZES.into_iter().find_map(of);
        read.map(Self).ok_or_else(|| format!("invalid size {text:?}: expected one such as 16MB, 64KB or 1000"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES.into_iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes) && self.0 >= *bytes);
        let (unit, bytes) = whole.unwrap_or(("", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(Span, Bytes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_units_round_trip_as_text() {
        for text in ["30s", "1m 30s", "250ms", "0s"] {
            let span: Span = text.parse().expect("a duration");
            assert_eq!(span.to_string().parse(), Ok(span), "{text}");
        }
        for (bytes, text) in [(16_000_000, "16MB"), (64_000, "64KB"), (1, "1"), (0, "0"), (1_500, "1500")] {
            assert_eq!(Bytes(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        for wrong in ["", "-3s", "3 parsecs", "s"] {
            assert!(wrong.parse::<Span>().is_err() && wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }
}
