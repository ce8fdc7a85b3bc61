//! Explains why a text is not valid JSON: the fault, the place and the remedy.
//!
//! serde_json decides what is valid. If it refuses a text, this module reads the text again, because serde_json's places and
//! messages are written for programmers: it reports "expected value" for `NaN`, for a comment and for single quotes alike.

use std::borrow::Cow;
use std::collections::HashSet;
use std::str::Utf8Error;

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The byte offset of the fault.
    pub(crate) at: usize,
    pub(crate) cause: String,
    pub(crate) remedy: Cow<'static, str>,
    /// Whether the text is valid as far as it goes.
    pub(crate) ends: bool,
}

impl Fault {
    pub(crate) fn new(at: usize, cause: impl Into<String>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { at, cause: cause.into(), remedy: remedy.into(), ends: false }
    }
}

/// How much of the text an error quotes, in characters.
const QUOTED: usize = 40;

/// Quotes a text: truncated if it is long, control characters escaped.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// Finds the first fault in a text that is not JSON or nests deeper than the limit.
pub(super) fn fault(text: &str, limit: usize) -> Option<Fault> {
    Reader { text, at: 0, limit }.document().err()
}

/// Wraps serde_json's error when this module has no explanation of its own.
pub(super) fn unexplained(text: &str, error: &serde_json::Error) -> Fault {
    let line_start = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let mut at = (line_start + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let said = error.to_string();
    let cause = said.rfind(" at line ").map_or(said.as_str(), |end| &said[..end]);
    Fault { ends: error.is_eof(), ..Fault::new(at, cause, "send valid JSON (RFC 8259)") }
}

/// Checks the first bytes for an encoding other than UTF-8.
pub(super) fn encoding(bytes: &[u8]) -> Option<Fault> {
    let begins = |byte: u8| matches!(byte, b'{' | b'[' | b'"' | b' ' | b'\t' | b'\r' | b'\n' | b'0'..=b'9');
    let (cause, remedy) = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("the text is UTF-16", "convert it to UTF-8"),
        [first, 0, ..] | [0, first, ..] if begins(*first) => ("the text is UTF-16", "convert it to UTF-8"),
        [0x1f, 0x8b, ..] => ("the data is compressed (gzip)", "unpack it first"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("the data is compressed (zstd)", "unpack it first"),
        [b'P', b'K', 3, 4, ..] => ("the data is a ZIP archive", "unpack it, and give the JSON file in it"),
        _ => return None,
    };
    Some(Fault::new(0, cause, remedy))
}

/// Explains bytes that are not UTF-8, from the first invalid one on.
pub(super) fn not_utf8(bad: &[u8], error: Utf8Error) -> Fault {
    const REMEDY: &str = "convert the text to UTF-8";
    match (bad, error.error_len()) {
        (_, None) => Fault::new(0, "the text ends inside a character", "send all of it"),
        // How programs that work in UTF-16 write a surrogate.
        ([0xed, 0xa0..=0xbf, ..], _) => lone_surrogate(0, "this byte sequence"),
        ([byte @ 0xa0..=0xff, ..], _) => Fault::new(
            0,
            format!("the byte 0x{byte:02X} is not UTF-8 (in Latin-1 it is {:?})", char::from(*byte).to_string()),
            REMEDY,
        ),
        (bad, _) => Fault::new(0, format!("the byte 0x{:02X} is not UTF-8", bad.first().copied().unwrap_or_default()), REMEDY),
    }
}

fn lone_surrogate(at: usize, what: &str) -> Fault {
    Fault::new(
        at,
        format!("{what} is half a character (a lone surrogate), which UTF-8 cannot encode"),
        "send the whole character, and cut text only between characters",
    )
}

/// Parses JSON only to find its faults.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    limit: usize,
}

type Found = Result<(), Fault>;

impl Reader<'_> {
    fn document(&mut self) -> Found {
        self.skip_blanks();
        if self.peek().is_none() {
            return Err(Fault { ends: true, ..Fault::new(self.at, "the text is empty", "send a JSON value") });
        }
        self.value(0)?;
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(b',') => Err(self.here("a comma follows the value", "remove it, or put the values into a list: [ … ]")),
            Some(_) => {
                let fault = self.stranger();
                Err(fault.unwrap_or_else(|| {
                    let cause = format!("{} follows the value", self.found());
                    self.here(cause, "send one value, or one value per line in a file")
                }))
            }
        }
    }

    fn value(&mut self, depth: usize) -> Found {
        self.skip_blanks();
        match self.peek() {
            None => Err(self.ends("where a value is expected")),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Found {
        self.deeper(depth)?;
        self.at += 1;
        let mut keys = HashSet::new();
        let mut comma = None;
        loop {
            self.skip_blanks();
            let start = self.at;
            match self.peek() {
                None => return Err(self.ends("inside an object")),
                Some(b'}') => return self.closed(comma),
                Some(b'"') => self.string()?,
                Some(b',') => return Err(self.here("a comma where a key is expected", "remove it")),
                Some(_) => {
                    let fault = self.stranger();
                    return Err(fault.unwrap_or_else(|| {
                        let cause = format!("expected a key, found {}", self.found());
                        self.here(cause, "put keys in double quotes")
                    }));
                }
            }
            let literal = &self.text[start..self.at];
            let key: String = serde_json::from_str(literal).unwrap_or_else(|_| literal.to_owned());
            let name = quoted(&key);
            if !keys.insert(key) {
                let cause = format!("the key {name} is given twice in one object");
                return Err(Fault::new(start, cause, "remove one of the two"));
            }
            self.skip_blanks();
            match self.peek() {
                None => return Err(self.ends("inside an object")),
                Some(b':') => self.at += 1,
                Some(_) => {
                    let cause = format!("expected \":\" after the key {name}, found {}", self.found());
                    return Err(self.here(cause, "give the key a value"));
                }
            }
            self.value(depth + 1)?;
            comma = match self.behind_value("inside an object", b'}')? {
                None => return Ok(()),
                comma => comma,
            };
        }
    }

    fn list(&mut self, depth: usize) -> Found {
        self.deeper(depth)?;
        self.at += 1;
        let mut comma = None;
        loop {
            self.skip_blanks();
            match self.peek() {
                None => return Err(self.ends("inside a list")),
                Some(b']') => return self.closed(comma),
                Some(_) => self.value(depth + 1)?,
            }
            comma = match self.behind_value("inside a list", b']')? {
                None => return Ok(()),
                comma => comma,
            };
        }
    }

    fn deeper(&self, depth: usize) -> Found {
        if depth < self.limit {
            return Ok(());
        }
        let cause = format!("nested deeper than {} levels", self.limit);
        Err(self.here(cause, "flatten it, or send the inner part as a string"))
    }

    /// Accepts the end of a list or an object, which must not follow a comma.
    fn closed(&mut self, comma: Option<usize>) -> Found {
        self.at += 1;
        match comma {
            None => Ok(()),
            Some(at) => Err(Fault::new(at, "a trailing comma", "remove it")),
        }
    }

    /// Reads what follows a value in a list or an object: a comma, whose place is returned, or the end.
    fn behind_value(&mut self, within: &str, close: u8) -> Result<Option<usize>, Fault> {
        self.skip_blanks();
        match self.peek() {
            None => Err(self.ends(within)),
            Some(b',') => {
                self.at += 1;
                Ok(Some(self.at - 1))
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(None)
            }
            Some(_) => {
                let fault = self.stranger();
                Err(fault.unwrap_or_else(|| {
                    let cause = format!("expected \",\" or \"{}\", found {}", char::from(close), self.found());
                    self.here(cause, "check for a missing comma, bracket or quote before it")
                }))
            }
        }
    }

    fn string(&mut self) -> Found {
        const MISSING: &str = "write a control character as an escape (a line break as \\n)";
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(self.ends("inside a string")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(b'\n' | b'\r') => return Err(self.here("a line ends inside a string", MISSING)),
                Some(byte @ ..0x20) => return Err(self.here(format!("the control character U+{byte:04X} in a string"), MISSING)),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Found {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            None => return Err(self.ends("inside a string")),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                return Ok(());
            }
            Some(b'u') => {}
            Some(_) => {
                let cause = format!("\"\\{}\" is not a JSON escape", self.char().unwrap_or_default());
                return Err(Fault::new(start, cause, "write a backslash as \\\\"));
            }
        }
        let unit = self.unit(start)?;
        let (at, is_first) = (self.at, (0xd800..=0xdbff).contains(&unit));
        if is_first && self.text[at..].starts_with("\\u") && (0xdc00..=0xdfff).contains(&self.unit(at)?) {
            return Ok(());
        }
        if (0xd800..=0xdfff).contains(&unit) { Err(lone_surrogate(start, &self.text[start..start + 6])) } else { Ok(()) }
    }

    /// Reads the four digits after the `\u` at `start`.
    fn unit(&mut self, start: usize) -> Result<u16, Fault> {
        let digits = self.text.as_bytes().get(start + 2..).unwrap_or_default();
        let wrong = digits.iter().take(4).position(|byte| !byte.is_ascii_hexdigit());
        if wrong.is_none() && digits.len() < 4 {
            self.at = self.text.len();
            return Err(self.ends("inside a string"));
        }
        self.at = start + 6;
        let read = self.text.get(start + 2..start + 6).filter(|_| wrong.is_none());
        read.and_then(|digits| u16::from_str_radix(digits, 16).ok()).ok_or_else(|| {
            Fault::new(start, "\"\\u\" without four hexadecimal digits", "write a backslash as \\\\, or give the digits")
        })
    }

    fn number(&mut self) -> Found {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_'))).unwrap_or(rest.len());
        let literal = &rest[..end];
        if matches!(literal.trim_start_matches(['-', '+']), "Infinity" | "inf" | "Inf" | "NaN" | "nan") {
            return Err(self.not_a_number(literal));
        }
        if !is_number(literal) {
            // It may continue after the end of the text.
            if end == rest.len() && is_number(&format!("{literal}0")) {
                self.at = self.text.len();
                return Err(self.ends("inside a number"));
            }
            return Err(self.here(
                format!("{} is not a JSON number", quoted(literal)),
                "write it as in 10, 0.5 or 1e-7, or send it as a string",
            ));
        }
        if literal.parse::<f64>().is_ok_and(f64::is_infinite) {
            let shown = literal.get(..QUOTED).map_or_else(|| literal.to_owned(), |start| format!("{start}…"));
            let cause = format!("the number {shown} is beyond the largest 64-bit float (about 1.8e308)");
            return Err(self.here(cause, "send it as a string"));
        }
        self.at += end;
        Ok(())
    }

    fn not_a_number(&self, word: &str) -> Fault {
        self.here(format!("{word} is not a JSON number"), "send null or a string")
    }

    /// Reads a word that is a value, or reports what was found in place of a value.
    fn word(&mut self) -> Found {
        let word = self.letters();
        if matches!(word, "true" | "false" | "null") {
            self.at += word.len();
            return Ok(());
        }
        // It may continue after the end of the text.
        let behind = self.at + word.len();
        if behind == self.text.len() && !word.is_empty() && ["true", "false", "null"].iter().any(|whole| whole.starts_with(word))
        {
            self.at = behind;
            return Err(self.ends("inside a word"));
        }
        if let Some(fault) = self.stranger() {
            return Err(fault);
        }
        let cause = match word {
            "" => format!("expected a value, found {}", self.found()),
            word => format!("expected a value, found {}", quoted(word)),
        };
        Err(match word {
            "NaN" | "nan" | "Infinity" | "inf" => self.not_a_number(word),
            "True" | "False" | "None" => {
                self.here(format!("{word} is Python, not JSON"), "write the data with Python's json.dumps")
            }
            "undefined" => self.here("undefined is JavaScript, not JSON", "send null, or leave the field out"),
            "" => self.here(cause, "add the missing value, or remove its key or comma"),
            _ => self.here(cause, "put strings in double quotes"),
        })
    }

    /// Recognizes common mistakes: what people write but JSON does not have.
    fn stranger(&self) -> Option<Fault> {
        let rest = &self.text[self.at..];
        let (cause, remedy) = match self.char()? {
            '\'' => ("a single quote", "put keys and strings in double quotes"),
            '\u{2018}'..='\u{201f}' => ("a typographic quote", "put keys and strings in plain double quotes"),
            '`' => ("a backtick", "put keys and strings in double quotes"),
            '#' => ("a comment, which JSON does not have", "remove it"),
            '/' if rest.starts_with("//") || rest.starts_with("/*") => ("a comment, which JSON does not have", "remove it"),
            '<' => ("an HTML or XML tag, not JSON", "check that this is the right text"),
            '\0' => ("a NUL byte", "remove it; in a string it is written \\u0000"),
            super::BYTE_ORDER_MARK => ("a byte order mark that is not at the start", "remove it"),
            '\u{a0}' | '\u{2000}'..='\u{200b}' | '\u{3000}' => {
                ("a space character that JSON does not allow", "replace it by a plain space")
            }
            _ => return None,
        };
        Some(self.here(cause, remedy))
    }

    fn here(&self, cause: impl Into<String>, remedy: &'static str) -> Fault {
        Fault::new(self.at, cause, remedy)
    }

    fn ends(&self, within: &str) -> Fault {
        Fault { ends: true, ..self.here(format!("the text ends {within}"), "send all of it") }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn char(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn letters(&self) -> &str {
        let rest = &self.text[self.at..];
        &rest[..rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())]
    }

    /// Quotes what was found: a word or a character.
    fn found(&self) -> String {
        match (self.letters(), self.char()) {
            ("", Some(c)) => quoted(&c.to_string()),
            (word, _) => quoted(word),
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }
}

/// Whether it is a number by JSON's grammar.
fn is_number(literal: &str) -> bool {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match literal.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (literal, None),
    };
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    all_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(all_digits)
        && exponent.is_none_or(all_digits)
}
