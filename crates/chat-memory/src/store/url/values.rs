//! Parses and writes the values in a store URL. Each parser's error lists what is allowed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode, utf8_percent_encode};

use crate::backend::Roll;
use crate::error::Error;

/// Characters that must be escaped in a value.
const IN_VALUE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'&').add(b'+').add(b'#').add(b'<').add(b'>').add(b'?').add(b'@').add(b'=');

/// The units of a duration, in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The units of a size, in bytes, the largest first.
const SIZES: [(&str, usize); 3] = [("MB", 1_000_000), ("KB", 1_000), ("", 1)];

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_VALUE).to_string()
}

/// Decodes percent-encoding. `what` names the place in an error.
pub(super) fn decoded(text: &str, what: &str) -> Result<String, Error> {
    check_escapes(text, what)?;
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| Error::invalid(format!("{what} in the store URL is not UTF-8 once decoded")))
}

/// Refuses a lone `%`: a mistake that would otherwise pass as text.
fn check_escapes(text: &str, what: &str) -> Result<(), Error> {
    let ok = text.split('%').skip(1).all(|after| after.len() >= 2 && after.bytes().take(2).all(|b| b.is_ascii_hexdigit()));
    let hint = "is not followed by two hexadecimal digits; write a percent sign as %25";
    if ok { Ok(()) } else { Err(Error::invalid(format!("a % in {what} of the store URL {hint}"))) }
}

/// Decodes a path, byte for byte on systems where paths are bytes.
pub(super) fn path_of(text: &str) -> Result<PathBuf, Error> {
    check_escapes(text, "the path")?;
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    if bytes.contains(&0) {
        return Err(Error::invalid("the path in the store URL holds a NUL byte, which no file's name can"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }
    #[cfg(not(unix))]
    {
        let path = String::from_utf8(bytes);
        path.map(PathBuf::from).map_err(|_| Error::invalid("the path in the store URL is not UTF-8 once decoded"))
    }
}

pub(super) fn spell_path(path: &Path) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        percent_encode(path.as_os_str().as_bytes(), IN_VALUE).to_string()
    }
    #[cfg(not(unix))]
    {
        percent_encode(path.to_string_lossy().as_bytes(), IN_VALUE).to_string()
    }
}

pub(super) fn text(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("it is empty; say something or leave it out".into()) } else { Ok(value.to_owned()) }
}

pub(super) fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("it is true or false, not {}", quoted(other))),
    }
}

/// Parses one of a few fixed words.
pub(super) fn named<T: std::str::FromStr<Err = Error>>(value: &str) -> Result<T, String> {
    value.parse::<T>().map_err(|e| e.to_string())
}

/// Parses the size above which to roll, or `off`.
pub(super) fn roll(value: &str) -> Result<Roll, String> {
    if value == "off" { Ok(Roll::Off) } else { bytes(value).map(Roll::At).map_err(|why| format!("it is off or a size: {why}")) }
}

pub(super) fn spell_roll(roll: Roll) -> String {
    match roll {
        Roll::Off => "off".to_owned(),
        Roll::At(bytes) => spell_bytes(bytes),
    }
}

pub(super) fn eventual(value: &str) -> Result<bool, String> {
    match value {
        "strong" => Ok(false),
        "eventual" => Ok(true),
        other => Err(format!("it is strong or eventual, not {}", quoted(other))),
    }
}

/// Parses a duration: a whole number and its unit.
pub(super) fn duration(value: &str) -> Result<Duration, String> {
    let unit_at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (count, unit) = value.split_at(unit_at);
    let ms = UNITS.iter().find(|(name, _)| *name == unit).and_then(|(_, ms)| count.parse::<u64>().ok()?.checked_mul(*ms));
    let allowed = "a duration is a whole number above 0 and its unit, d, h, m, s or ms, as in 30d or 500ms";
    ms.filter(|ms| *ms > 0).map(Duration::from_millis).ok_or_else(|| format!("{allowed}; it is not {}", quoted(value)))
}

/// Parses a duration of whole seconds, because records expire at whole seconds.
pub(super) fn retention(value: &str) -> Result<Duration, String> {
    let kept = duration(value)?;
    let whole = kept.subsec_nanos() == 0;
    if whole { Ok(kept) } else { Err(format!("a retention is of whole seconds; it is not {}", quoted(value))) }
}

pub(super) fn spell_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) = UNITS.iter().find(|(_, size)| ms.is_multiple_of(*size)).unwrap_or(&UNITS[4]);
    format!("{}{unit}", ms / size)
}

/// Parses a size in bytes: a whole number, alone or with KB (1,000) or MB (1,000,000).
pub(super) fn bytes(value: &str) -> Result<usize, String> {
    let unit_at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (count, unit) = value.split_at(unit_at);
    let bytes = SIZES.iter().find(|(name, _)| *name == unit).and_then(|(_, n)| count.parse::<usize>().ok()?.checked_mul(*n));
    let allowed = "a size is a whole number above 0 of bytes, alone or with KB or MB, as in 16MB";
    bytes.filter(|n| *n > 0).ok_or_else(|| format!("{allowed}; it is not {}", quoted(value)))
}

pub(super) fn spell_bytes(bytes: usize) -> String {
    let (unit, size) = SIZES.iter().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(&SIZES[2]);
    format!("{}{unit}", bytes / size)
}

/// Checks a table's name (3 to 255 of `a-z A-Z 0-9 _ . -`, DynamoDB's "Naming rules") or its ARN.
pub(super) fn table(name: &str) -> Result<String, Error> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_name = (3..=255).contains(&name.len()) && name.chars().all(named);
    let is_arn = name.starts_with("arn:")
        && name.len() <= 1024
        && name.split_once(":table/").is_some_and(|(_, table)| !table.is_empty())
        && name.chars().all(|c| named(c) || matches!(c, ':' | '/'));
    if is_name || is_arn {
        return Ok(name.to_owned());
    }
    Err(Error::invalid(format!(
        "a DynamoDB URL names a table, dynamodb://TABLE: 3 to 255 letters, digits, _ . and -, or the table's whole ARN \
         (arn:aws:dynamodb:REGION:ACCOUNT:table/NAME); it is not {}",
        quoted(name)
    )))
}

pub(super) fn region(value: &str) -> Result<String, String> {
    let ok = !value.is_empty() && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if ok { Ok(value.to_owned()) } else { Err(format!("a region is written as in eu-west-1; it is not {}", quoted(value))) }
}

/// Checks an attribute's name (DynamoDB: 1 to 255 bytes for a key's).
pub(super) fn attribute(value: &str) -> Result<String, String> {
    let ok = (1..=255).contains(&value.len());
    if ok { Ok(value.to_owned()) } else { Err(format!("a key's name has 1 to 255 bytes; this one has {}", value.len())) }
}

/// Checks the service's URL. The error does not repeat it, as it may contain a password.
pub(super) fn endpoint(value: &str) -> Result<String, String> {
    let url = url::Url::parse(value).map_err(|e| format!("it is not a URL such as http://127.0.0.1:8000 ({e})"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an endpoint carries no credentials; take out what stands before the @".into());
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("an endpoint is a URL such as http://127.0.0.1:8000".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("an endpoint has neither a query nor a fragment".into());
    }
    Ok(value.to_owned())
}

fn quoted(value: &str) -> String {
    let short: String = value.chars().take(40).collect();
    if short.len() == value.len() { format!("{value:?}") } else { format!("{short:?} and so on") }
}
