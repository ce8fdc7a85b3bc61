//! The values of a file: one a line, or the elements of one JSON list, or one value over several lines. Never more than one is in memory.

use std::fmt;
use std::io::{self, BufRead, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_memory::json;
use chat_memory::wire::{JsonLine, JsonLines};
use chat_memory::{Error, ErrorKind};
use serde_json::Value;

/// Where in the file a conversation begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// Its number in the list, from 1, where the file is one.
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

type Boxed<'a> = Box<dyn BufRead + 'a>;

/// Reads the values of a file. Whoever reads it stops at an error: what comes behind what cannot be read may begin anywhere.
pub enum Values<'a> {
    Lines(JsonLines<Boxed<'a>>),
    Document(Document<Boxed<'a>>),
}

impl<'a> Values<'a> {
    /// Looks at the file's beginning: it is a list, or JSON lines, or its first value goes over several lines.
    pub fn of(mut reader: impl BufRead + 'a) -> io::Result<Self> {
        let mut start = Vec::new();
        loop {
            let before = start.len();
            let byte = match reader.fill_buf()?.first() {
                None => break,
                Some(byte) => *byte,
            };
            // A byte order mark, and what JSON passes by.
            if b" \t\r\n\xef\xbb\xbf".contains(&byte) {
                start.push(byte);
                reader.consume(1);
                continue;
            }
            if byte == b'[' {
                return Ok(Self::Document(Document::new(Box::new(Cursor::new(start).chain(reader)))));
            }
            reader.read_until(b'\n', &mut start)?;
            let first = String::from_utf8_lossy(&start[before..]);
            let open = is_unfinished(&first);
            let reader: Boxed<'a> = Box::new(Cursor::new(start).chain(reader));
            return Ok(if open { Self::Document(Document::new(reader)) } else { Self::Lines(JsonLines::new(reader)) });
        }
        Ok(Self::Lines(JsonLines::new(Box::new(Cursor::new(start)))))
    }
}

/// Whether a line begins a JSON value that a later one ends.
fn is_unfinished(line: &str) -> bool {
    line.trim_end().ends_with(['{', '[', ',', ':']) && serde_json::from_str::<Value>(line).is_err_and(|e| e.is_eof())
}

impl Iterator for Values<'_> {
    type Item = Result<Found, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Lines(lines) => lines.next().map(|line| {
                let JsonLine { number, value } = line?;
                Ok(Found { place: Place { line: number, nth: None }, value })
            }),
            Self::Document(document) => document.next(),
        }
    }
}

/// The elements of a JSON list, or values one after the other, each over any number of lines.
pub struct Document<R> {
    reader: R,
    line: usize,
    nth: usize,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Start,
    /// In a list: before an element, or behind one.
    List,
    /// Values without a list around them.
    Bare,
    End,
}

/// The line on which a value begins, and its bytes.
type Piece = (usize, Vec<u8>);

impl<R: BufRead> Document<R> {
    fn new(reader: R) -> Self {
        Self { reader, line: 1, nth: 0, state: State::Start }
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        Ok(self.reader.fill_buf()?.first().copied())
    }

    fn pass(&mut self, byte: u8) {
        self.line += usize::from(byte == b'\n');
        self.reader.consume(1);
    }

    /// The bytes of the next value and the line on which it begins; `None` at the end.
    fn value(&mut self) -> io::Result<Option<Result<Piece, String>>> {
        let mut separated = false;
        loop {
            let Some(byte) = self.byte()? else {
                let is_open = self.state == State::List;
                self.state = State::End;
                return Ok(is_open.then(|| Err("the file ends before the list does".to_owned())));
            };
            match (byte, &self.state) {
                (b' ' | b'\t' | b'\r' | b'\n' | b'\xef' | b'\xbb' | b'\xbf', _) => {}
                (b'[', State::Start) => self.state = State::List,
                (b',', State::List) if self.nth > 0 && !separated => separated = true,
                (b']', State::List) if !separated => self.state = State::Bare,
                _ if self.state == State::Bare && self.nth > 0 && byte != b'{' => {
                    return Ok(Some(Err(format!("unexpected {:?} behind the end of the conversations", char::from(byte)))));
                }
                _ if self.state == State::List && self.nth > 0 && !separated => {
                    return Ok(Some(Err("expected a comma between two conversations".to_owned())));
                }
                _ => break,
            }
            self.pass(byte);
        }
        if self.state == State::Start {
            self.state = State::Bare;
        }
        let line = self.line;
        let (mut bytes, mut depth, mut in_text, mut escaped) = (Vec::new(), 0_usize, false, false);
        while let Some(byte) = self.byte()? {
            let ends_scalar = depth == 0 && !in_text && matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
            if ends_scalar && !bytes.is_empty() {
                break;
            }
            bytes.push(byte);
            self.pass(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 && !in_text && matches!(byte, b'}' | b']' | b'"') {
                break;
            }
        }
        Ok(Some(Ok((line, bytes))))
    }

    fn next(&mut self) -> Option<Result<Found, Error>> {
        if self.state == State::End {
            return None;
        }
        let read = self.value();
        let at = self.line;
        let failed = |kind, why: String| Some(Err(Error::new(kind, why)));
        let found = match read {
            Ok(None) => return None,
            Ok(Some(Ok((line, bytes)))) => self.parsed(line, &bytes),
            Ok(Some(Err(why))) => Err(format!("line {at}: {why}")),
            Err(error) => {
                self.state = State::End;
                return failed(ErrorKind::Unavailable, format!("line {at}: reading failed: {error}"));
            }
        };
        match found {
            Ok(found) => Some(Ok(found)),
            Err(why) => {
                self.state = State::End;
                failed(ErrorKind::Invalid, why)
            }
        }
    }

    fn parsed(&mut self, line: usize, bytes: &[u8]) -> Result<Found, String> {
        self.nth += 1;
        let nth = self.nth;
        let text = std::str::from_utf8(bytes).map_err(|_| format!("conversation {nth} (line {line}): the text is not UTF-8"))?;
        let value = json::parse(text)
            .map_err(|e| format!("conversation {nth}: {} (line {}, column {})", e.reason(), line + e.line() - 1, e.column()))?;
        Ok(Found { place: Place { line, nth: Some(nth) }, value })
    }
}

/// A reader that counts what was read from it.
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
        for value in Values::of(text.as_bytes()).expect("a slice") {
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
    fn lines_lists_and_values_over_several_lines_are_read() {
        for (text, want) in [
            ("{\"a\":1}\n\n{\"a\":2}\n", &[(1, None, "{\"a\":1}"), (3, None, "{\"a\":2}")][..]),
            ("\u{feff}\n {\"a\":1}", &[(2, None, "{\"a\":1}")]),
            ("[{\"a\":\"]}\\\"\"},\n{\"b\":[{}]}]\n", &[(1, Some(1), "{\"a\":\"]}\\\"\"}"), (2, Some(2), "{\"b\":[{}]}")]),
            ("\u{feff}[\n  {\n \"a\": 1\n },\n {}\n]", &[(2, Some(1), "{\"a\":1}"), (5, Some(2), "{}")]),
            ("[1, \"x\",null]", &[(1, Some(1), "1"), (1, Some(2), "\"x\""), (1, Some(3), "null")]),
            ("{\n  \"a\": [\n1]\n}\n{\n\"b\": 2}", &[(1, Some(1), "{\"a\":[1]}"), (5, Some(2), "{\"b\":2}")]),
            ("[]", &[]),
            ("", &[]),
            ("\n \n", &[]),
        ] {
            let want: Vec<_> = want.iter().map(|(line, nth, value)| (*line, *nth, (*value).to_owned())).collect();
            assert_eq!(read(text), (want, None), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line_and_ends_it() {
        for (text, values, says) in [
            ("{\"a\":1}\n{\"a\":\n{}", 1, "line 2: "),
            ("[{},\n{} {}]", 2, "line 2: expected a comma"),
            ("[{},\n{\"a\": tru}, {}]", 1, "conversation 2: expected"),
            ("[{},\n", 1, "line 2: the file ends before the list does"),
            ("[{}\n", 1, "line 2: the file ends before the list does"),
            ("[{},,{}]", 1, "conversation 2"),
            ("[{},]", 1, "conversation 2"),
            ("[{}] x", 1, "line 1: unexpected 'x'"),
            ("[{},{\"a\":\n\n1,\"a\":2}]", 1, "(line 3,"),
            ("[{\"a\": 1e400}]", 0, "conversation 1"),
        ] {
            let (found, error) = read(text);
            let error = error.unwrap_or_else(|| panic!("{text} was read: {found:?}"));
            assert!(found.len() == values && error.contains(says), "{text}: {found:?}, {error}");
        }
    }
}
