//! Percent-encoding: what stands between the marks of a store URL.

use std::ffi::{OsStr, OsString};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode, utf8_percent_encode};

use crate::error::Error;

/// Characters that must be escaped.
const ESCAPED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'&').add(b'+').add(b'#').add(b'<').add(b'>').add(b'?').add(b'@').add(b'=');

pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Decodes text. `what` names the place in an error.
pub(super) fn text(escaped: &str, what: &str) -> Result<String, Error> {
    check(escaped, what)?;
    let decoded = percent_decode_str(escaped).decode_utf8();
    decoded.map(String::from).map_err(|_| Error::invalid(format!("{what} in the store URL is not UTF-8 once decoded")))
}

/// Refuses a lone `%`: a mistake that would otherwise pass as text.
fn check(escaped: &str, what: &str) -> Result<(), Error> {
    let ok = escaped.split('%').skip(1).all(|after| after.len() >= 2 && after.bytes().take(2).all(|b| b.is_ascii_hexdigit()));
    let hint = "is not followed by two hexadecimal digits; write a percent sign as %25";
    if ok { Ok(()) } else { Err(Error::invalid(format!("a % in {what} of the store URL {hint}"))) }
}

/// Decodes a path, byte for byte on systems where paths are bytes.
pub(super) fn path(escaped: &str) -> Result<OsString, Error> {
    check(escaped, "the path")?;
    let bytes: Vec<u8> = percent_decode_str(escaped).collect();
    if bytes.contains(&0) {
        return Err(Error::invalid("the path in the store URL holds a NUL byte, which no file's name can"));
    }
    #[cfg(unix)]
    {
        Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes))
    }
    #[cfg(not(unix))]
    {
        let path = String::from_utf8(bytes);
        path.map(OsString::from).map_err(|_| Error::invalid("the path in the store URL is not UTF-8 once decoded"))
    }
}

pub(super) fn escaped_path(path: &OsStr) -> String {
    #[cfg(unix)]
    {
        percent_encode(std::os::unix::ffi::OsStrExt::as_bytes(path), ESCAPED).to_string()
    }
    #[cfg(not(unix))]
    {
        percent_encode(path.to_string_lossy().as_bytes(), ESCAPED).to_string()
    }
}
