//! Durations, sizes, counts, origins and host names in settings: parsing and formatting. Each refuses what would leave the service useless.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use axum::http::uri::Authority;
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

/// A duration that is not zero.
///
/// ```
/// use chat_memory_server::config::Period;
/// assert!("30s".parse::<Period>().is_ok() && "0s".parse::<Period>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Span(Duration::ZERO) => Err(format!("invalid duration {text:?}: expected more than zero, such as 30s, 5m or 250ms")),
            Span(duration) => Ok(Self(duration)),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Span(self.0).fmt(f)
    }
}

/// A number of bytes, as in `16MB`, `64KB` or `1000`, 1 or more; a KB is 1,000 bytes.
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
        match read {
            Some(0) => Err(format!("invalid size {text:?}: expected more than zero, such as 16MB, 64KB or 1000")),
            Some(bytes) => Ok(Self(bytes)),
            None => Err(format!("invalid size {text:?}: expected one such as 16MB, 64KB or 1000")),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES.into_iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes) && self.0 >= *bytes);
        let (unit, bytes) = whole.unwrap_or(("", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// The origin of a web page, as browsers send it: scheme, host, and the port if it is not the scheme's.
///
/// ```
/// use chat_memory_server::config::Origin;
/// assert!("https://app.example.com".parse::<Origin>().is_ok());
/// assert!("app.example.com".parse::<Origin>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(pub String);

impl FromStr for Origin {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let origin = text.parse::<Uri>().ok().and_then(|uri| {
            let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
            Some(format!("{scheme}://{authority}").to_ascii_lowercase())
        });
        // Anything else would equal no origin that a browser sends.
        let is_one = origin.is_some_and(|origin| origin == text && !origin.contains('@'));
        let expected = "expected a scheme and a host in lower case without a path, such as https://app.example.com";
        if is_one { Ok(Self(text.to_owned())) } else { Err(format!("invalid origin {text:?}: {expected}")) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host's name or address, without a port.
///
/// ```
/// use chat_memory_server::config::HostName;
/// assert!("memory.example.com".parse::<HostName>().is_ok());
/// assert!("http://memory.example.com:8080".parse::<HostName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(pub String);

impl FromStr for HostName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let is_one = text.parse::<Authority>().is_ok_and(|authority| authority.host() == text);
        let expected = "expected a name without scheme and port, such as memory.example.com";
        if is_one { Ok(Self(text.to_owned())) } else { Err(format!("invalid host name {text:?}: {expected}")) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many of something there may be: 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct Count(pub usize);

impl TryFrom<usize> for Count {
    type Error = String;
    fn try_from(count: usize) -> Result<Self, String> {
        if count == 0 { Err("invalid number 0: expected 1 or more".to_owned()) } else { Ok(Self(count)) }
    }
}

impl From<Count> for usize {
    fn from(Count(count): Count) -> Self {
        count
    }
}

impl FromStr for Count {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let count: usize = text.parse().map_err(|_| format!("invalid number {text:?}: expected 1 or more"))?;
        count.try_into()
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

as_text!(Span, Period, Bytes, Origin, HostName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_units_round_trip_as_text() {
        for text in ["30s", "1m 30s", "250ms", "0s"] {
            let span: Span = text.parse().expect("a duration");
            assert_eq!(span.to_string().parse(), Ok(span), "{text}");
        }
        for (bytes, text) in [(16_000_000, "16MB"), (64_000, "64KB"), (1, "1"), (1_500, "1500")] {
            assert_eq!(Bytes(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        for wrong in ["", "-3s", "3 parsecs", "s"] {
            assert!(wrong.parse::<Span>().is_err() && wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_that_would_leave_the_service_useless_are_refused() {
        for zero in ["0", "0MB", "0KB"] {
            assert!(zero.parse::<Bytes>().expect_err("zero").contains("more than zero"), "{zero}");
        }
        assert!("0s".parse::<Period>().expect_err("zero").contains("more than zero"));
        assert_eq!(("1m".parse().map(|Period(span)| span), "0".parse::<Count>().is_err()), (Ok(Duration::from_mins(1)), true));
        for origin in ["https://app.example.com", "http://localhost:3000", "http://[::1]:3000", "chrome-extension://abc"] {
            assert_eq!(origin.parse(), Ok(Origin(origin.to_owned())));
        }
        for wrong in [
            "foo",
            "*",
            "",
            "null",
            "https://app.example.com/",
            "https://App.example.com",
            "https://a/b",
            "https://me@a",
            "https://",
        ] {
            assert!(wrong.parse::<Origin>().expect_err(wrong).contains("such as https://app.example.com"), "{wrong}");
        }
        for host in ["memory.example.com", "10.0.0.7", "[::1]", "memory"] {
            assert_eq!(host.parse(), Ok(HostName(host.to_owned())));
        }
        for wrong in ["", "memory.example.com:8080", "http://memory", "memory/", "a b", "me@memory"] {
            assert!(wrong.parse::<HostName>().expect_err(wrong).contains("such as memory.example.com"), "{wrong}");
        }
    }
}
