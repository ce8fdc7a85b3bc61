//! Estimates a text's tokens: splits it much like tiktoken's vocabularies and gives each piece a fixed number of tokens.

/// The classes of characters that the estimate distinguishes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lower,
    Upper,
    /// A letter of an alphabet other than Latin.
    Foreign,
    /// A character of about one token: Chinese, Japanese, Korean.
    Dense,
    Digit,
    Space,
    LineEnd,
    Mark,
    /// Emoji and other rare signs.
    Rare,
}

fn kind_of(c: char) -> Kind {
    match c {
        'a'..='z' | 'ß'..='ö' | 'ø'..='ɏ' => Kind::Lower,
        'A'..='Z' | 'À'..='Ö' | 'Ø'..='Þ' => Kind::Upper,
        '0'..='9' => Kind::Digit,
        '\n' | '\r' => Kind::LineEnd,
        _ if c.is_whitespace() => Kind::Space,
        '\u{2e80}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}' => Kind::Dense,
        _ if c.is_ascii_punctuation() || ('\u{2000}'..='\u{206f}').contains(&c) => Kind::Mark,
        '\u{2190}'..='\u{2bff}' | '\u{1f000}'.. => Kind::Rare,
        _ if c.is_ascii() => Kind::Rare,
        _ => Kind::Foreign,
    }
}

/// Estimates how many tokens a text has.
pub(super) fn estimate(text: &str) -> u64 {
    let mut tokens = 0;
    let mut chars = text.chars().map(kind_of).peekable();
    while let Some(kind) = chars.next() {
        let mut length = 1_u64;
        while chars.next_if_eq(&kind).is_some() {
            length += 1;
        }
        tokens += match kind {
            // A single capital starts a lower-case word.
            Kind::Upper if length == 1 && chars.peek() == Some(&Kind::Lower) => 0,
            Kind::Upper => length.div_ceil(2),
            Kind::Lower => length.div_ceil(8),
            Kind::Foreign | Kind::Digit => length.div_ceil(3),
            Kind::Dense => length,
            Kind::Rare => 2 * length,
            Kind::Mark => length.div_ceil(3),
            Kind::LineEnd => 1,
            // One space belongs to the word or the mark after it.
            Kind::Space => u64::from(length > 1 || !matches!(chars.peek(), Some(k) if !matches!(k, Kind::Digit | Kind::LineEnd))),
        };
    }
    tokens
}
