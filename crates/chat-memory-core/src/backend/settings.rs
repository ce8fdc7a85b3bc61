//! The table of a store's settings: each has a name, a check and a text, in one row. URLs, the options' own check, `Debug` and the
//! program's help all use the rows, so a setting is refused for the same reasons wherever it comes from.
//!
//! ```
//! use chat_memory::backend::settings::{self, Setting};
//!
//! #[derive(Clone, Default)]
//! struct Options {
//!     read_only: bool,
//! }
//!
//! const SETTINGS: [Setting<Options>; 1] = [Setting::new(
//!     "read_only",
//!     "true",
//!     |options, value| settings::boolean(value).map(|read_only| options.read_only = read_only),
//!     |options| Some(options.read_only.to_string()),
//! )];
//!
//! let mut options = Options::default();
//! settings::set(&SETTINGS, &mut options, "read_only", "true")?;
//! assert!(options.read_only);
//! let error = settings::set(&SETTINGS, &mut options, "read_only", "yes").unwrap_err();
//! assert_eq!(error.to_string(), "invalid read_only \"yes\": expected true or false");
//! # Ok::<(), chat_memory::Error>(())
//! ```

use std::fmt;
use std::time::Duration;

use crate::error::Error;

/// The units of a duration, in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The units of a size, in bytes, the largest first.
const SIZES: [(&str, usize); 3] = [("MB", 1_000_000), ("KB", 1_000), ("", 1)];

/// A setting in the options `O` of a store.
pub struct Setting<O> {
    /// Its name, as in a URL: `read_only`.
    pub name: &'static str,
    /// A value for help texts: `30d`, `true`, `list|turns`.
    pub example: &'static str,
    /// Whether an invalid value may hold a secret, so that nothing may repeat it.
    pub may_hold_secret: bool,
    set: fn(&mut O, &str) -> Result<(), String>,
    get: fn(&O) -> Option<String>,
}

impl<O> Setting<O> {
    /// Describes a setting: its name, a value for help texts, the function that checks and sets a value (its error says what was
    /// expected), and the one that writes the value for [`set`]; `None` if there is none.
    pub const fn new(
        name: &'static str,
        example: &'static str,
        set: fn(&mut O, &str) -> Result<(), String>,
        get: fn(&O) -> Option<String>,
    ) -> Self {
        Self { name, example, may_hold_secret: false, set, get }
    }

    /// Never repeats an invalid value.
    #[must_use]
    pub const fn may_hold_secret(self) -> Self {
        Self { may_hold_secret: true, ..self }
    }

    fn put(&self, options: &mut O, value: &str) -> Result<(), Error> {
        (self.set)(options, value).map_err(|why| {
            if self.may_hold_secret {
                return Error::invalid(format!("invalid {}: {why}", self.name));
            }
            invalid(self.name, value, why)
        })
    }
}

impl<O> fmt::Debug for Setting<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.example)
    }
}

/// Sets a setting by its name.
///
/// # Errors
/// Invalid if there is no such setting, or if the value is not one of its values.
pub fn set<O>(settings: &[Setting<O>], options: &mut O, name: &str, value: &str) -> Result<(), Error> {
    let Some(setting) = settings.iter().find(|setting| setting.name == name) else {
        let names: Vec<_> = settings.iter().map(|setting| setting.name).collect();
        return Err(Error::invalid(format!("unknown setting {}: expected one of {}", quoted(name), names.join(", "))));
    };
    setting.put(options, value)
}

/// Checks options that were set in code by the rules for text.
///
/// # Errors
/// Invalid, with the first setting that has no valid value.
pub fn check<O: Clone>(settings: &[Setting<O>], options: &O) -> Result<(), Error> {
    let mut checked = options.clone();
    settings.iter().try_for_each(|setting| (setting.get)(options).map_or(Ok(()), |value| setting.put(&mut checked, &value)))
}

/// Adds each setting that has a value to a `Debug` output, without anything that could be a secret.
pub fn debug<O: Clone>(settings: &[Setting<O>], options: &O, out: &mut fmt::DebugStruct<'_, '_>) {
    for setting in settings {
        let Some(value) = (setting.get)(options) else { continue };
        let hides = setting.may_hold_secret && (setting.set)(&mut options.clone(), &value).is_err();
        out.field(setting.name, &format_args!("{}", if hides { "…" } else { &value }));
    }
}

/// Makes the error for a setting whose value cannot be; `why` says what was expected, or what it contradicts.
pub fn invalid(name: &str, value: &str, why: impl fmt::Display) -> Error {
    Error::invalid(format!("invalid {name} {}: {why}", quoted(value)))
}

/// Quotes a value for an error, and shortens a long one.
pub fn quoted(value: &str) -> String {
    let short: String = value.chars().take(40).collect();
    if short.len() == value.len() { format!("{value:?}") } else { format!("{short:?}…") }
}

/// Checks a text: anything but nothing.
///
/// # Errors
/// What was expected, as for all values.
pub fn text(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("it is empty; give a value, or leave it out".into()) } else { Ok(value.to_owned()) }
}

/// Parses `true` or `false`.
///
/// # Errors
/// What was expected.
pub fn boolean(value: &str) -> Result<bool, String> {
    one_of(value, "true or false", &[("true", true), ("false", false)])
}

/// Parses one of a few words; `expected` lists them.
///
/// # Errors
/// What was expected.
pub fn one_of<T: Copy>(value: &str, expected: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == value).map(|(_, of)| *of).ok_or_else(|| format!("expected {expected}"))
}

/// Parses a duration: a whole number and its unit, `30d` or `500ms`.
///
/// # Errors
/// What was expected.
pub fn duration(value: &str) -> Result<Duration, String> {
    let (count, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let ms = UNITS.iter().find(|(name, _)| *name == unit).and_then(|(_, ms)| count.parse::<u64>().ok()?.checked_mul(*ms));
    let expected = "expected a whole number above 0 and its unit, d, h, m, s or ms, as in 30d or 500ms";
    ms.filter(|ms| *ms > 0).map(Duration::from_millis).ok_or_else(|| expected.to_owned())
}

/// Parses a retention: whole seconds, since records expire at whole seconds.
///
/// # Errors
/// What was expected.
pub fn retention(value: &str) -> Result<Duration, String> {
    let expected = "expected a whole number above 0 of whole seconds and its unit, d, h, m or s, as in 30d or 90s";
    duration(value).ok().filter(|kept| kept.subsec_nanos() == 0).ok_or_else(|| expected.to_owned())
}

/// Writes a duration for [`duration`].
pub fn spell_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) = UNITS.iter().find(|(_, size)| ms.is_multiple_of(*size)).unwrap_or(&UNITS[4]);
    format!("{}{unit}", ms / size)
}

/// Parses a size in bytes: a whole number, alone or with KB (1,000) or MB (1,000,000).
///
/// # Errors
/// What was expected.
pub fn bytes(value: &str) -> Result<usize, String> {
    let (count, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let bytes = SIZES.iter().find(|(name, _)| *name == unit).and_then(|(_, n)| count.parse::<usize>().ok()?.checked_mul(*n));
    let expected = "expected a whole number above 0 of bytes, alone or with KB or MB, as in 16MB";
    bytes.filter(|n| *n > 0).ok_or_else(|| expected.to_owned())
}

/// Writes a size for [`bytes`].
pub fn spell_bytes(bytes: usize) -> String {
    let (unit, size) = SIZES.iter().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(&SIZES[2]);
    format!("{}{unit}", bytes / size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn setting_values_round_trip_as_text(ms in 1..u64::MAX / 2, days in 1..1_000_000_u64, size in 1..usize::MAX) {
            for duration in [Duration::from_millis(ms), Duration::from_secs(days * 86_400)] {
                prop_assert_eq!(super::duration(&spell_duration(duration)), Ok(duration));
            }
            prop_assert_eq!(retention(&spell_duration(Duration::from_secs(days))), Ok(Duration::from_secs(days)));
            prop_assert_eq!(bytes(&spell_bytes(size)), Ok(size));
        }
    }

    #[test]
    fn values_without_unit_or_beyond_bounds_are_refused() {
        for bad in ["", "30", "d", "0d", "-1d", "1.5h", "1 d", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "16MiB", "-1", "99999999999999999999"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert!(retention("1500ms").is_err());
    }
}
