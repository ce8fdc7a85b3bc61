//! Stored text on a terminal: control characters are shown instead of sent.

use std::borrow::Cow;

/// Whether a terminal would obey this character, or it would deceive a reader, instead of being visible.
fn steers(c: char) -> bool {
    // Controls of both ranges except line feed and tab; the marks that change the text direction.
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with every such character escaped, as in `\u{1b}`. A carriage return before a line feed is omitted.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' if rest.peek() == Some(&'\n') => {}
            c if steers(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same for text that must stay on one line.
pub fn visible_line(text: &str) -> String {
    visible(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// The word as a shell reads it back.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A command of this program that the user can run, on the store that is named. A URL with a user name and password is left out.
pub fn command(words: &str, store: Option<&str>) -> String {
    let store = store.filter(|url| !url.contains('@')).map(|url| format!(" --store {}", shell_word(url)));
    format!("chat-memory {words}{}", store.unwrap_or_default())
}

/// JSON as one line for a terminal or a file. The value is unchanged, but characters are escaped that JSON allows unescaped while
/// terminals obey them (the second range of controls) or line readers take them for a line end.
pub fn json_line(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let special = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}') || steers(c);
    if !text.contains(special) {
        return text;
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if special(c) {
            line.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(visible("plain\n\ttext, 日本 👍"), "plain\n\ttext, 日本 👍");
        assert_eq!(visible("\u{1b}[31mred\u{7}\u{9b}2J\r"), "\\u{1b}[31mred\\u{7}\\u{9b}2J\\u{d}");
        assert_eq!(visible("one\r\ntwo"), "one\ntwo");
        assert_eq!(visible("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(visible_line("a\nb"), "a\\nb");
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}\u{7f}\u{85}\u{2028}\u{202e} é 日本 \n" });
        let line = json_line(&value);
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"), value);
    }
}
