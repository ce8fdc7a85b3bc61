//! The estimate of a text's tokens: its pieces, cut much as tiktoken's vocabularies cut them, at a fixed price each.

/// What a character is to the estimate.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lower,
    Upper,
    /// A letter of another alphabet than the Latin.
    Foreign,
    /// A character that is about a token itself: Chinese, Japanese, Korean.
    Dense,
    Digit,
    Space,
    LineEnd,
    Mark,
    /// Emoji and other signs that few texts have.
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

/// About how many tokens a text has.
pub(super) fn estimate(text: &str) -> u64 {
    let mut tokens = 0;
    let mut chars = text.chars().map(kind_of).peekable();
    while let Some(kind) = chars.next() {
        let mut length = 1_u64;
        while chars.next_if_eq(&kind).is_some() {
            length += 1;
        }
        tokens += match kind {
            // One capital starts a word of small letters.
            Kind::Upper if length == 1 && chars.peek() == Some(&Kind::Lower) => 0,
            Kind::Upper => length.div_ceil(2),
            Kind::Lower => length.div_ceil(8),
            Kind::Foreign | Kind::Digit => length.div_ceil(3),
            Kind::Dense => length,
            Kind::Rare => 2 * length,
            Kind::Mark => length.div_ceil(3),
            Kind::LineEnd => 1,
            // One space belongs to the word or the mark behind it.
            Kind::Space => u64::from(length > 1 || !matches!(chars.peek(), Some(k) if !matches!(k, Kind::Digit | Kind::LineEnd))),
        };
    }
    tokens
}
