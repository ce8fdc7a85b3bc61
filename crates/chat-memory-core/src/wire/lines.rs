//! Reads JSON from a file: one value per line, a list of values, or values that span lines. Each error has its place in the file.

use std::collections::VecDeque;
use std::fmt;
use std::io::BufRead;

use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::json;

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonLine {
    /// The number of the line on which it begins, from 1; blank lines count too.
    pub number: usize,
    /// Its place in its list, from 1, if it is an item of a list.
    pub item: Option<usize>,
    /// The value.
    pub value: Value,
}

impl JsonLine {
    /// Where the value is: "line 3", or "line 1, item 2".
    pub fn place(&self) -> impl fmt::Display + use<> {
        match self.item {
            None => format!("line {}", self.number),
            Some(item) => format!("line {}, item {item}", self.number),
        }
    }
}

/// Reads the values of a file: JSON lines, one value per line; a list, whose items are returned one by one; or objects that span
/// lines, as `jq` and most libraries pretty-print them. Parsing is strict, as in [`json::parse_document`]. Blank lines are
/// skipped, and so is a byte order mark at the start of a line.
///
/// Of a list, one item at a time is held in memory.
///
/// ```
/// use chat_memory::wire::JsonLines;
/// let mut lines = JsonLines::new("{\"id\": 1}\n\n{\"id\": }".as_bytes());
/// assert_eq!(lines.next().unwrap()?.value["id"], 1);
/// let error = lines.next().unwrap().unwrap_err().to_string();
/// assert!(error.starts_with("invalid JSON at line 3, column 8: expected a value, found \"}\""), "{error}");
///
/// let pretty = "[\n  {\n    \"id\": 1\n  },\n  {\n    \"id\": 2\n  }\n]\n";
/// let numbers: Vec<_> = JsonLines::new(pretty.as_bytes()).map(|line| line.map(|line| line.number)).collect::<Result<_, _>>()?;
/// assert_eq!(numbers, [2, 5]);
/// # Ok::<(), chat_memory::Error>(())
/// ```
///
/// # Errors
/// Per value: invalid if it is not UTF-8 or not JSON that can be kept ([`JsonError`](json::JsonError) is the source). Reading
/// then resumes at the next line, or at the next item of a list; if the start of that item cannot be determined, the iterator
/// ends. Unavailable if the reader fails; the iterator then ends.
#[derive(Debug)]
pub struct JsonLines<R> {
    reader: R,
    /// The current line, without its end.
    line: String,
    /// How much of it has been read.
    at: usize,
    number: usize,
    /// Whether the line has a line end; the last line of a file may have none.
    is_whole: bool,
    /// Lines that were read ahead and turned out to be values of their own.
    again: VecDeque<String>,
    list: List,
    ended: bool,
}

/// JSON's whitespace.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// The byte order mark in UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Where the reader is in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Outside,
    /// After the opening bracket.
    Open,
    /// After this item.
    Item(usize),
    /// After the comma that follows this item, with the comma's line and column.
    Comma(usize, (usize, usize)),
}

impl<R: BufRead> JsonLines<R> {
    /// Reads the values of this reader.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            line: String::new(),
            at: 0,
            number: 0,
            is_whole: true,
            again: VecDeque::new(),
            list: List::Outside,
            ended: false,
        }
    }

    fn value(&mut self) -> Result<Option<JsonLine>, Error> {
        loop {
            let rest = &self.line[self.at..];
            self.at += rest.len() - rest.trim_start_matches(BLANKS).len();
            let Some(byte) = self.line.as_bytes().get(self.at).copied() else {
                if self.next_line()? {
                    continue;
                }
                self.ended = true;
                return if self.list == List::Outside { Ok(None) } else { Err(self.list_error()) };
            };
            match (self.list, byte) {
                (List::Outside, b'[') => (self.list, self.at) = (List::Open, self.at + 1),
                (List::Outside, _) => return self.whole_line().map(Some),
                (List::Open | List::Item(_), b']') => (self.list, self.at) = (List::Outside, self.at + 1),
                (List::Item(item), b',') => {
                    self.list = List::Comma(item, (self.number, self.column()));
                    self.at += 1;
                }
                (List::Item(_), _) | (_, b',' | b']') => {
                    self.ended = true;
                    return Err(self.list_error());
                }
                (List::Open, _) => return self.item(1).map(Some),
                (List::Comma(item, _), _) => return self.item(item + 1).map(Some),
            }
        }
    }

    /// Reads the value that is on this line, or that begins here and ends on a later line.
    fn whole_line(&mut self) -> Result<JsonLine, Error> {
        let (number, column) = (self.number, self.column());
        let rest = &self.line[self.at..];
        let error = match json::parse_document_text(rest) {
            Ok(value) => {
                self.at = self.line.len();
                return Ok(JsonLine { number, item: None, value });
            }
            Err(error) => error.within(number, column),
        };
        if !(error.is_cut_off() && rest.starts_with('{')) {
            self.at = self.line.len();
            return Err(error.into());
        }
        let (mut span, mut more) = (Span::default(), Vec::new());
        let is_cut = loop {
            if span.take(&self.line[self.at..], self.is_whole) {
                break false;
            }
            self.at = self.line.len();
            let next = self.next_line();
            self.ended |= !matches!(next, Ok(true));
            if !next? {
                break false;
            }
            more.push(self.line.clone());
            // A value where none can follow: the line before was truncated.
            if self.line.starts_with('{') && !span.may_be_followed_by_a_value() {
                break true;
            }
        };
        // The rest of the line cannot be a value of its own, so it is part of the error.
        if !is_cut && !self.ended {
            span.text.push_str(&self.line[self.at + span.end..]);
        }
        self.at = self.line.len();
        let cut_off = match json::parse_document_text(&span.text) {
            _ if is_cut => error,
            Ok(value) => return Ok(JsonLine { number, item: None, value }),
            // One of these lines is a value by itself: each line is a value, and the first is truncated.
            Err(_) if more.iter().any(|line| line.starts_with('{') && json::parse_document_text(line).is_ok()) => error,
            Err(within) => {
                self.ended |= span.in_string && !more.is_empty();
                return Err(within.within(number, column).into());
            }
        };
        more.append(&mut self.again.drain(..).collect());
        (self.again, self.number, self.ended) = (more.into(), number, false);
        (self.line, self.at) = (String::new(), 0);
        Err(cut_off.into())
    }

    /// Reads an item of a list, which may end on a later line.
    fn item(&mut self, item: usize) -> Result<JsonLine, Error> {
        let (number, column) = (self.number, self.column());
        let mut span = Span::default();
        while !span.take(&self.line[self.at..], self.is_whole) {
            self.at = self.line.len();
            if !self.next_line()? {
                self.ended = true;
                break;
            }
        }
        self.at += span.end;
        self.list = List::Item(item);
        self.ended |= span.in_string;
        let value = json::parse_document_text(&span.text).map_err(|e| e.within(number, column))?;
        Ok(JsonLine { number, item: Some(item), value })
    }

    /// Returns the error between two items of a list. The parser for whole texts explains it, given the list as it would see it.
    fn list_error(&self) -> Error {
        let (before, comma) = match self.list {
            List::Outside | List::Open => ("[", None),
            List::Item(_) => ("[\"\"", None),
            List::Comma(_, place) => ("[\"\",", Some(place)),
        };
        let text = format!("{before}{}", &self.line[self.at..]);
        let Err(error) = json::parse_document_text(&text) else {
            return Error::invalid(format!("invalid list at line {}: check its commas and brackets", self.number));
        };
        match (error.column().checked_sub(before.len() + 1), comma) {
            (None, Some((line, column))) => error.at(line, column),
            (behind, _) => error.at(self.number, self.column() + behind.unwrap_or(0)),
        }
        .into()
    }

    /// Moves to the next line; returns `false` at the end, keeping the last line.
    fn next_line(&mut self) -> Result<bool, Error> {
        self.number += 1;
        let mut bytes = match self.again.pop_front() {
            Some(line) => {
                (self.line, self.at, self.is_whole) = (line, 0, true);
                return Ok(true);
            }
            None => Vec::new(),
        };
        if let Err(error) = self.reader.read_until(b'\n', &mut bytes) {
            self.ended = true;
            let reason = format!("reading failed at line {}: {error}; retry when it is readable", self.number);
            return Err(Error::new(ErrorKind::Unavailable, reason).with_source(error));
        }
        if bytes.is_empty() {
            self.number -= 1;
            self.at = self.line.len();
            return Ok(false);
        }
        self.is_whole = bytes.pop_if(|last| *last == b'\n').is_some();
        (self.at, self.line) = (0, String::new());
        if self.number == 1
            && let Some(error) = json::wrong_encoding(&bytes)
        {
            self.ended = true;
            return Err(error.into());
        }
        // Concatenated files have one in the middle.
        if bytes.starts_with(MARK) {
            bytes.drain(..MARK.len());
        }
        match String::from_utf8(bytes) {
            Ok(line) => self.line = line,
            Err(error) => {
                // The start of the next item cannot be determined.
                self.ended = self.list != List::Outside;
                json::utf8(error.as_bytes()).map_err(|e| e.within(self.number, 1))?;
            }
        }
        Ok(true)
    }

    /// Returns the current column in the line, in characters, from 1.
    fn column(&self) -> usize {
        self.line[..self.at].chars().count() + 1
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = Result<JsonLine, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended { None } else { self.value().transpose() }
    }
}

/// Searches for the end of a value, line by line.
#[derive(Debug, Default)]
struct Span {
    text: String,
    /// Where it ends in the last piece taken.
    end: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The last byte that is not whitespace, outside strings.
    last: u8,
}

impl Span {
    /// Takes the part of this piece of a line that belongs to the value. Returns whether the value ends in it, or is invalid
    /// because a string does not end.
    fn take(&mut self, piece: &str, is_whole: bool) -> bool {
        let mut end = None;
        for (at, byte) in piece.bytes().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                end = (!self.in_string && self.depth == 0).then_some(at + 1);
            } else {
                match byte {
                    b',' | b'}' | b']' | b' ' | b'\t' | b'\r' if self.depth == 0 => end = Some(at),
                    b' ' | b'\t' | b'\r' => continue,
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth -= 1;
                        end = (self.depth == 0).then_some(at + 1);
                    }
                    _ => {}
                }
                self.last = byte;
            }
            if end.is_some() {
                break;
            }
        }
        self.end = end.unwrap_or(piece.len());
        self.text.push_str(&piece[..self.end]);
        let ends = end.is_some() || self.in_string || self.depth == 0;
        if end.is_none() && is_whole && (self.in_string || !ends) {
            self.text.push('\n');
        }
        ends
    }

    /// Whether another value may follow inside this one, as after a comma.
    fn may_be_followed_by_a_value(&self) -> bool {
        matches!(self.last, b',' | b':' | b'[')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, BufReader, Read};

    fn read(text: impl AsRef<[u8]>) -> Vec<Result<JsonLine, String>> {
        JsonLines::new(text.as_ref()).map(|line| line.map_err(|e| e.to_string())).collect()
    }

    /// Returns each value's line, item and text, and each error's text.
    fn shown(text: &str) -> Vec<String> {
        read(text).into_iter().map(|line| line.map_or_else(|e| e, |line| format!("{}: {}", line.place(), line.value))).collect()
    }

    #[test]
    fn any_line_ending_is_accepted() {
        assert_eq!(shown("\u{feff}1\r\n \r\n2\r\n\u{feff}3\n\u{feff}"), ["line 1: 1", "line 3: 2", "line 4: 3"]);
        assert_eq!(shown("\n\n\n{}"), ["line 4: {}"]);
        assert!(read("").is_empty() && read("\n \n").is_empty() && read("\u{feff}").is_empty());
    }

    #[test]
    fn list_in_a_file_yields_its_items() {
        assert_eq!(shown("[]"), [""; 0]);
        assert_eq!(
            shown("[1, \"a]\\\"\" ,{\"b\":[2]}]\n3"),
            ["line 1, item 1: 1", "line 1, item 2: \"a]\\\"\"", "line 1, item 3: {\"b\":[2]}", "line 2: 3"]
        );
        assert_eq!(
            shown("[\n  {\n    \"a\": 1\n  },\n  {\"b\": \"\\u007b\"}\n]\n"),
            ["line 2, item 1: {\"a\":1}", "line 5, item 2: {\"b\":\"{\"}"]
        );
        assert_eq!(
            shown("[{\"a\":1},\n{\"a\":2}\n,{\"a\":3}]"),
            ["line 1, item 1: {\"a\":1}", "line 2, item 2: {\"a\":2}", "line 3, item 3: {\"a\":3}"]
        );
    }

    #[test]
    fn objects_may_span_lines() {
        assert_eq!(
            shown("{\n  \"a\": {\n    \"b\": [\n      1\n    ]\n  }\n}\n{\n}\n{\"c\": 2}"),
            ["line 1: {\"a\":{\"b\":[1]}}", "line 8: {}", "line 10: {\"c\":2}"]
        );
        let error = "invalid JSON at line 3, column 9: a trailing comma; remove it";
        assert_eq!(shown("{\n  \"a\": 1,\n  \"b\": 2,\n}\n{\"c\": 3}"), [error, "line 5: {\"c\":3}"]);
        assert_eq!(
            shown("{\n\"a\": 1\n} x"),
            ["invalid JSON at line 3, column 3: \"x\" follows the value; send one value, or one value per line in a file"]
        );
    }

    #[test]
    fn truncated_line_does_not_affect_other_lines() {
        let cut = "invalid JSON at line 2, column 6: the text ends where a value is expected; send all of it";
        assert_eq!(
            shown("{\"a\":1}\n{\"b\":\n{\"c\":2}\n{\"d\":3}\n{\"e\":4}"),
            ["line 1: {\"a\":1}", cut, "line 3: {\"c\":2}", "line 4: {\"d\":3}", "line 5: {\"e\":4}"]
        );
        let cut = "invalid JSON at line 1, column 6: the text ends where a value is expected; send all of it";
        assert_eq!(shown("{\"b\":\n{\"c\":2}"), [cut, "line 2: {\"c\":2}"]);
        assert_eq!(shown("{\"b\":\n{\"c\":2}\n}"), ["line 1: {\"b\":{\"c\":2}}"]);
        let cut = "invalid JSON at line 1, column 8: a line ends inside a string; write a control character as an escape (a line break as \\n)";
        assert_eq!(shown("{\"b\":\"x\n{\"c\":2}"), [cut, "line 2: {\"c\":2}"]);
        let cut = "invalid JSON at line 1, column 12: the text ends inside a list; send all of it";
        assert_eq!(shown("{\"a\":[1, 2 "), [cut]);
    }

    #[test]
    fn malformed_list_error_gives_its_position() {
        for (text, error) in [
            ("[1,\n2,\n]", "line 2, column 2: a trailing comma; remove it"),
            ("[1 2]", "line 1, column 4: expected \",\" or \"]\", found \"2\""),
            ("[1,,2]", "line 1, column 4: expected a value, found \",\""),
            ("[1,\n2", "line 2, column 2: the text ends inside a list"),
            ("[{\"a\": NaN}]", "line 1, column 8: NaN is not a JSON number"),
            ("[{\"a\": 1} // one\n]", "line 1, column 11: a comment"),
            ("[1] x", "line 1, column 5: expected a value, found \"x\""),
        ] {
            let errors: Vec<_> = read(text).into_iter().filter_map(Result::err).collect();
            assert!(errors.len() == 1 && errors[0].contains(error), "{text}: {errors:?}");
        }
        // An item that is invalid within its brackets does not affect the others.
        assert_eq!(shown("[{\"a\":1}, {\"a\" 2}, {\"a\":3}]")[2], "line 1, item 3: {\"a\":3}");
    }

    #[test]
    fn line_errors_do_not_stop_the_reader() {
        let lines = read(b"1\n\xfc\n1e400\n{\"k\":1,\"k\":2}\n5\n\xef\xbb\xbf6");
        let errors: Vec<_> = lines.iter().filter_map(|line| line.as_ref().err()).map(String::as_str).collect();
        assert_eq!((lines.len(), errors.len()), (6, 3));
        for (error, place) in errors.iter().zip(["line 2, column 1: ", "line 3, column 1: ", "line 4, column 8: "]) {
            assert!(error.starts_with(&format!("invalid JSON at {place}")), "{errors:?}");
        }
    }

    #[test]
    fn other_encodings_are_detected() {
        let utf16: Vec<u8> = "\u{feff}{\"a\": 1}\n{\"b\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [&utf16[..], &utf16[2..]] {
            assert_eq!(
                read(bytes),
                [Err("invalid JSON at line 1, column 1: the text is UTF-16; convert it to UTF-8".to_owned())]
            );
        }
        assert!(read(b"PK\x03\x04\n\n")[0].as_ref().is_err_and(|e| e.contains("ZIP")));
    }

    #[test]
    fn io_error_ends_the_lines() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let mut lines = JsonLines::new(BufReader::new(b"1\n".chain(Broken)));
        assert!(lines.next().is_some_and(|line| line.is_ok()));
        assert!(lines.next().is_some_and(|line| line.is_err_and(|e| e.is_unavailable())));
        assert!(lines.next().is_none());
    }
}
