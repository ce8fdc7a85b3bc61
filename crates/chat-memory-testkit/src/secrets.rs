//! Secrets that a test hands out and then looks for in all output.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// Secrets by purpose. Each is long and random, so that it appears only where somebody wrote it.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// No secrets yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Generates a secret of letters, digits and the other characters of AWS's secrets.
    pub fn make(&mut self, what: &str) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut letters = (0..40).map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())])).collect::<String>();
        letters.replace_range(11..12, "/");
        letters.replace_range(23..24, "+");
        self.add(what, letters.clone());
        letters
    }

    /// Adds an existing secret.
    ///
    /// # Panics
    /// If it is so short that it could be found by chance.
    pub fn add(&mut self, what: &str, secret: impl Into<String>) {
        let secret = secret.into();
        assert!(secret.len() >= 16, "{what} is too short to search for");
        self.0.insert(what.to_owned(), secret);
    }

    /// Returns which secrets a text contains: verbatim, or in the forms in which programs write such values.
    pub fn found(&self, text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (what, secret) in &self.0 {
            let forms = forms(secret).into_iter().filter(|(_, form)| contains(text, form.as_bytes()));
            found.extend(forms.map(|(name, form)| format!("{what}, {name}: …{}", around(text, form.as_bytes()))));
        }
        found
    }

    /// Checks that a text contains none.
    ///
    /// # Panics
    /// If it does: the message names the secret, its form, and the text before it.
    #[track_caller]
    pub fn assert_hidden(&self, place: &str, text: impl AsRef<[u8]>) {
        let found = self.found(text.as_ref());
        assert!(found.is_empty(), "{place} shows secrets:\n{}", found.join("\n"));
    }
}

/// Returns the forms in which programs may write a secret, with their names.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![
        ("as it is", secret.to_owned()),
        ("backwards", secret.chars().rev().collect()),
        ("in a URL", percent_encode(bytes, NON_ALPHANUMERIC).to_string()),
        ("in JSON", secret.replace('/', "\\/")),
        ("in capital hex", hex.to_uppercase()),
        ("in hex", hex),
        ("as a list of bytes", list),
        // A truncated secret is found by its half.
        ("its first half", secret[..secret.len() / 2].to_owned()),
        ("its second half", secret[secret.len() / 2..].to_owned()),
    ];
    // In base64 of a longer text it may start at any of three offsets; the characters that depend on its neighbours are left out.
    for before in 0..3 {
        let padded = [&vec![b'-'; before][..], bytes].concat();
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            let (start, end) = ([0, 2, 3][before], encoded.len() - usize::from(padded.len() % 3 != 0));
            forms.push(("in base64", encoded[start..end].to_owned()));
        }
    }
    forms
}

fn contains(text: &[u8], form: &[u8]) -> bool {
    position(text, form).is_some()
}

fn position(text: &[u8], form: &[u8]) -> Option<usize> {
    let first = *form.first()?;
    let mut starts = text.iter().enumerate().filter(|(_, byte)| **byte == first).map(|(at, _)| at);
    starts.find(|at| text[*at..].starts_with(form))
}

/// Returns the end of the text before it, to tell who wrote it.
fn around(text: &[u8], form: &[u8]) -> String {
    let at = position(text, form).unwrap_or(0);
    let line = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |line| line + 1);
    let start = String::from_utf8_lossy(&text[line..at.min(line + 160)]).into_owned();
    format!("{start} … {}", String::from_utf8_lossy(&text[at.saturating_sub(80).max(line)..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_every_encoding() {
        let mut secrets = Secrets::new();
        let secret = secrets.make("the secret");
        for (name, form) in forms(&secret) {
            let found = secrets.found(format!("before {form} after").as_bytes());
            assert!(found.iter().any(|found| found.contains(name)), "{name}: {found:?}");
        }
        for before in ["", "a", "ab", "abc"] {
            for after in ["", "a", "ab", "abc"] {
                let text = format!("{before}{secret}{after}");
                let found = secrets.found(STANDARD_NO_PAD.encode(&text).as_bytes());
                assert!(!found.is_empty(), "{before:?} {after:?}");
            }
        }
        let mut other = Secrets::new();
        let text = forms(&other.make("another")).into_iter().map(|(_, form)| form).collect::<String>();
        assert_eq!(secrets.found(text.as_bytes()), Vec::<String>::new());
    }
}
