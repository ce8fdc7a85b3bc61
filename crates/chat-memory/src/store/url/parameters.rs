//! The parameters after the `?`: each at most once, each known.

use std::fmt;

use super::values;
use crate::error::Error;

/// The parameters of a URL that have not been taken yet.
pub(super) struct Parameters {
    scheme: &'static str,
    said: Vec<(String, String)>,
}

impl Parameters {
    /// Parses `name=value&name=value` with names from `allowed`.
    pub(super) fn read(scheme: &'static str, allowed: &[&str], query: Option<&str>) -> Result<Self, Error> {
        let mut said: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = values::decoded(name, "a parameter's name")?;
            if is_secret(&name) {
                return Err(credentials(&format!("the parameter {name:?}")));
            }
            if !allowed.contains(&name.as_str()) {
                return Err(Error::invalid(format!(
                    "a {scheme} URL has no parameter {:?}; it may have {}",
                    short(&name),
                    allowed.join(", ")
                )));
            }
            if said.iter().any(|(before, _)| *before == name) {
                return Err(Error::invalid(format!("the parameter {name} stands twice in the {scheme} URL; say it once")));
            }
            let value = values::decoded(value, &format!("the parameter {name}"))?;
            said.push((name, value));
        }
        Ok(Self { scheme, said })
    }

    /// Takes a parameter's value, if present.
    pub(super) fn take<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Error> {
        let Some(at) = self.said.iter().position(|(said, _)| said == name) else { return Ok(None) };
        let (_, value) = self.said.swap_remove(at);
        let scheme = self.scheme;
        parse(&value).map(Some).map_err(|why| Error::invalid(format!("the parameter {name} of the {scheme} URL: {why}")))
    }
}

/// Whether a parameter of this name carries a secret, in any of the usual spellings.
fn is_secret(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    ["accesskey", "secret", "token", "password", "passwd", "credential", "apikey"].iter().any(|word| name.contains(word))
}

/// The error for a URL that contains credentials.
pub(super) fn credentials(what: &str) -> Error {
    Error::invalid(format!(
        "a store URL must not carry credentials, since URLs end up in logs and process lists: take out {what}, and give them \
         by environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), by a profile, or in code through the store's options"
    ))
}

fn short(text: &str) -> String {
    if text.chars().count() <= 24 { text.to_owned() } else { text.chars().take(24).chain(['…']).collect() }
}

/// Writes a URL: its start, then each parameter that is set.
pub(super) struct Writer<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    separator: char,
}

impl<'a, 'f> Writer<'a, 'f> {
    pub(super) fn new(out: &'a mut fmt::Formatter<'f>, start: &str) -> Result<Self, fmt::Error> {
        out.write_str(start)?;
        Ok(Self { out, separator: '?' })
    }

    pub(super) fn put(&mut self, name: &str, value: Option<String>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        write!(self.out, "{}{name}={}", self.separator, values::encoded(&value))?;
        self.separator = '&';
        Ok(())
    }
}
