//! Words of a shell's command line: quoted, and perhaps incomplete.

use std::ffi::OsStr;

/// The text of a word without its quotes and backslashes. Variables are not expanded.
pub fn unquoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let (mut text, mut quote) = (String::with_capacity(word.len()), None);
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (Some('\''), c) => text.push(c),
            (_, '\\') => text.extend(chars.next()),
            (_, c) => text.push(c),
        }
    }
    text
}

/// Quotes a text so that bash reads exactly this text: nothing in it is run or expanded.
pub fn quoted(text: &str) -> String {
    let mut word = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        let plain = c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '=' | '@' | '%' | '+' | ',');
        if !plain {
            word.push('\\');
        }
        word.push(c);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_quotes_are_removed() {
        let read = |word: &str| unquoted(OsStr::new(word));
        assert_eq!(read("plain:1"), "plain:1");
        assert_eq!(read("'sqlite:my file.db'"), "sqlite:my file.db");
        assert_eq!(read("\"a \\\"b\\\"\"c"), "a \"b\"c");
        assert_eq!(read("my\\ tr"), "my tr");
        assert_eq!(read("'half a"), "half a");
        assert_eq!(read("end\\"), "end");
    }

    #[test]
    fn quoted_text_unquotes_to_itself() {
        for text in ["trip", "my trip", "$(touch x); `y` 'a' \"b\" \\ *?[a] ~ # ! & | < > ( ) { }", "größe 日本 👍"] {
            assert_eq!(unquoted(OsStr::new(&quoted(text))), text);
        }
    }
}
