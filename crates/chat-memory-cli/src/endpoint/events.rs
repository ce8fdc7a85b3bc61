//! Server-sent events, as far as chat endpoints use them: the data of each event.

use std::io::{self, BufRead};

/// The longest event, in bytes. A model's pieces are tiny; this keeps a broken endpoint from filling the memory.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// The data of each event, in order. Lines end in LF or CRLF; comments and fields other than `data` are skipped.
pub struct Events<R> {
    lines: R,
}

impl<R: BufRead> Events<R> {
    /// The events from this reader.
    pub fn new(lines: R) -> Self {
        Self { lines }
    }

    /// The next event's data; `None` at the end. An event without its closing empty line still counts when the stream ends.
    fn next_data(&mut self) -> io::Result<Option<String>> {
        let mut data: Option<String> = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            let end = self.lines.read_until(b'\n', &mut line)? == 0;
            let text = std::str::from_utf8(line.trim_ascii_end()).map_err(io::Error::other)?;
            if text.is_empty() && (data.is_some() || end) {
                return Ok(data);
            }
            let Some(value) = text.strip_prefix("data:") else { continue };
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut data {
                None => data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            }
            if data.as_ref().is_some_and(|data| data.len() > MAX_EVENT) {
                return Err(io::Error::other("an event is too long"));
            }
        }
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_data().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<String> {
        Events::new(text.as_bytes()).collect::<Result<_, _>>().expect("readable")
    }

    #[test]
    fn events_are_separated_by_empty_lines() {
        assert_eq!(events("data: a\n\ndata:b\r\n\r\n\n\n: a comment\n\nevent: x\ndata: c\ndata: d\n\n"), ["a", "b", "c\nd"]);
        assert_eq!(events("data: [DONE]"), ["[DONE]"]);
        assert!(events("").is_empty() && events("\n: only a comment\n\n").is_empty());
    }

    #[test]
    fn non_utf8_event_is_an_error() {
        assert!(Events::new(&b"data: \xff\n\n"[..]).next().is_some_and(|event| event.is_err()));
    }
}
