//! The clock of the service that the proxy simulates: when a request was signed, and whether it may still be carried out.

use std::time::{Duration, SystemTime};

use aws_smithy_types::date_time::{DateTime, Format};
use hyper::header::{DATE, HeaderMap, HeaderValue};

use super::Answer;

/// How the proxy checks times.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ServiceClock {
    /// How far a signature's time may differ from the service's; `None` does not check it.
    pub(super) tolerance: Option<Duration>,
    /// How many seconds the service's clock is ahead of this machine's (negative: behind).
    pub(super) ahead_s: i64,
}

impl ServiceClock {
    /// Returns the refusal of a request with these headers, if it is addressed to DynamoDB and signed at a wrong time or not at
    /// all.
    pub(super) fn refusal(self, headers: &HeaderMap) -> Option<Answer> {
        let tolerance = self.tolerance.filter(|_| headers.contains_key("x-amz-target"))?;
        let signed = headers.get("x-amz-date").and_then(|date| date.to_str().ok()).and_then(seconds);
        let Some(signed_s) = signed else { return Some(Answer::unsigned()) };
        let now_s = self.now_s();
        let refused = signed_s.abs_diff(now_s) > tolerance.as_secs();
        refused.then(|| Answer::signature_out_of_time(signed_s, now_s, tolerance))
    }

    /// Dates a response by the service's clock, if that differs from this machine's.
    pub(super) fn date(self, headers: &mut HeaderMap) {
        if self.ahead_s == 0 {
            return;
        }
        let date = DateTime::from_secs(self.now_s()).fmt(Format::HttpDate).ok().and_then(|date| HeaderValue::try_from(date).ok());
        headers.insert(DATE, date.expect("a valid time"));
    }

    fn now_s(self) -> i64 {
        DateTime::from(SystemTime::now()).secs() + self.ahead_s
    }
}

/// Formats a time as in signatures: `20260102T030000Z`.
pub(super) fn basic(seconds: i64) -> String {
    let written = DateTime::from_secs(seconds).fmt(Format::DateTime);
    written.expect("a valid time").replace(['-', ':'], "")
}

fn seconds(basic: &str) -> Option<i64> {
    let part = |from: usize, to: usize| basic.get(from..to);
    let (date, time) = (
        format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?),
        format!("{}:{}:{}", part(9, 11)?, part(11, 13)?, part(13, 16)?),
    );
    DateTime::from_str(&format!("{date}T{time}"), Format::DateTime).ok().map(|time| time.secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_times_round_trip() {
        assert_eq!(basic(1_767_323_045), "20260102T030405Z");
        assert_eq!(seconds("20260102T030405Z"), Some(1_767_323_045));
        for none in ["", "2026", "20260102T0304", "20261302T030405Z", "now"] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    #[test]
    fn clock_refusal_states_the_direction() {
        let body = |signed, now| Answer::signature_out_of_time(signed, now, Duration::from_secs(300)).body;
        let behind = "Signature expired: 20260102T030405Z is now earlier than 20260102T031405Z (20260102T031905Z - 5 min.)";
        assert!(body(1_767_323_045, 1_767_323_045 + 900).contains(behind));
        let ahead =
            "Signature not yet current: 20260102T030405Z is still later than 20260102T025405Z (20260102T024905Z + 5 min.)";
        assert!(body(1_767_323_045, 1_767_323_045 - 900).contains(ahead));
    }
}
