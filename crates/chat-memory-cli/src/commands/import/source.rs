//! The values of a file: one per line, or the elements of one JSON list, or one value over several lines. Only one is in memory at
//! a time.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_memory::Error;
use chat_memory::wire::{JsonLine, JsonLines};
use serde_json::Value;

/// Where in the file a conversation begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// Its number in the list, from 1, if the file is a list.
    pub nth: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nth {
            None => write!(f, "line {}", self.line),
            Some(nth) => write!(f, "conversation {nth} (line {})", self.line),
        }
    }
}

/// A value of the file.
#[derive(Debug)]
pub struct Found {
    pub place: Place,
    pub value: Value,
}

/// Reads the values of a file: [`JsonLines`], with the place of each. Callers stop at an error: what follows unreadable data may
/// begin anywhere.
pub fn values(reader: impl BufRead) -> impl Iterator<Item = Result<Found, Error>> {
    JsonLines::new(reader).map(|line| {
        let JsonLine { number, item, value } = line?;
        Ok(Found { place: Place { line: number, nth: item }, value })
    })
}

/// A reader that counts the bytes read.
pub struct Counted<R> {
    reader: R,
    done: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, done: Arc::default() }
    }

    /// The bytes read so far.
    pub fn done(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.done.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
        self.done.fetch_add(n as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value's line, its number in a list, and its text.
    type Read = (usize, Option<usize>, String);

    /// Each value with its line, and the error at the end.
    fn read(text: &str) -> (Vec<Read>, Option<String>) {
        let (mut found, mut error) = (Vec::new(), None);
        for value in values(text.as_bytes()) {
            match value {
                Ok(Found { place, value }) => found.push((place.line, place.nth, value.to_string())),
                Err(e) => {
                    error = Some(e.to_string());
                    break;
                }
            }
        }
        (found, error)
    }

    #[test]
    fn json_lines_lists_and_multiline_values_are_read() {
        for (text, want) in [
            ("{\"a\":1}\n\n{\"a\":2}\n", &[(1, None, "{\"a\":1}"), (3, None, "{\"a\":2}")][..]),
            ("\u{feff}\n {\"a\":1}", &[(2, None, "{\"a\":1}")]),
            ("[{\"a\":\"]}\\\"\"},\n{\"b\":[{}]}]\n", &[(1, Some(1), "{\"a\":\"]}\\\"\"}"), (2, Some(2), "{\"b\":[{}]}")]),
            ("\u{feff}[\n  {\n \"a\": 1\n },\n {}\n]", &[(2, Some(1), "{\"a\":1}"), (5, Some(2), "{}")]),
            ("[1, \"x\",null]", &[(1, Some(1), "1"), (1, Some(2), "\"x\""), (1, Some(3), "null")]),
            ("[]", &[]),
            ("", &[]),
            ("\n \n", &[]),
        ] {
            let want: Vec<_> = want.iter().map(|(line, nth, value)| (*line, *nth, (*value).to_owned())).collect();
            assert_eq!(read(text), (want, None), "{text}");
        }
    }
}
