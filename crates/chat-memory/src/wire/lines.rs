//! JSON lines: one JSON value a line, each error with its line's number.

use std::io::BufRead;

use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::json;

/// One line's value.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonLine {
    /// The line's number in the file, from 1; lines without text count too.
    pub number: usize,
    /// What it holds.
    pub value: Value,
}

/// Reads JSON lines, strictly as [`json::parse`] does. Lines without text are passed by, and so is a byte order mark at
/// the start.
///
/// ```
/// use chat_memory::wire::JsonLines;
/// let mut lines = JsonLines::new("{\"id\": 1}\n\n{\"id\": 2".as_bytes());
/// assert_eq!(lines.next().unwrap()?.value["id"], 1);
/// let error = lines.next().unwrap().unwrap_err().to_string();
/// assert!(error.starts_with("line 3: EOF while parsing"), "{error}");
/// # Ok::<(), chat_memory::Error>(())
/// ```
///
/// # Errors
/// Of each line: invalid, when it is not UTF-8 or not JSON that can be kept exactly; unavailable, when the reader fails, and
/// then the iterator ends.
#[derive(Debug)]
pub struct JsonLines<R> {
    reader: R,
    number: usize,
    failed: bool,
}

impl<R: BufRead> JsonLines<R> {
    /// The lines of this reader.
    pub fn new(reader: R) -> Self {
        Self { reader, number: 0, failed: false }
    }

    fn value_of(&self, line: &[u8]) -> Result<Option<Value>, Error> {
        let number = self.number;
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let text = std::str::from_utf8(line)
            .map_err(|e| Error::invalid(format!("line {number}: the text is not UTF-8")).with_source(e))?;
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let value = json::parse(text.trim_end_matches(['\n', '\r']))
            .map_err(|e| Error::invalid(format!("line {number}: {} (column {})", e.reason(), e.column())))?;
        Ok(Some(value))
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = Result<JsonLine, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        while !self.failed {
            line.clear();
            self.number += 1;
            let number = self.number;
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => match self.value_of(&line) {
                    Ok(Some(value)) => return Some(Ok(JsonLine { number, value })),
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => {
                    self.failed = true;
                    let reason = format!("line {number}: reading failed: {error}");
                    return Some(Err(Error::new(ErrorKind::Unavailable, reason).with_source(error)));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, BufReader, Read};

    fn read(bytes: &[u8]) -> Vec<Result<JsonLine, String>> {
        JsonLines::new(bytes).map(|line| line.map_err(|e| e.to_string())).collect()
    }

    #[test]
    fn ends_of_lines_of_any_kind() {
        let numbers = |bytes: &[u8]| read(bytes).into_iter().map(|line| line.expect("good").number).collect::<Vec<_>>();
        assert_eq!(numbers(b"\xef\xbb\xbf1\r\n \r\n2\r\n"), [1, 3]);
        assert_eq!(numbers(b"\n\n\n[]"), [4]);
        assert!(read(b"").is_empty() && read(b"\n \n").is_empty());
    }

    #[test]
    fn each_error_names_its_line() {
        let lines = read(b"1\n{\"a\":\n\xff\n1e400\n{\"k\":1,\"k\":2}\n5");
        let errors: Vec<_> = lines.iter().filter_map(|line| line.as_ref().err()).map(String::as_str).collect();
        assert_eq!((lines.len(), errors.len()), (6, 4));
        assert!(errors[0].starts_with("line 2: EOF"), "{errors:?}");
        assert_eq!(errors[1], "line 3: the text is not UTF-8");
        assert!(errors[2].starts_with("line 4: ") && errors[3].starts_with("line 5: the key \"k\""), "{errors:?}");
    }

    #[test]
    fn a_reader_that_fails_ends_it() {
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
