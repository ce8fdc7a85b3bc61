//! Words: what counts as one, when two are equal, and the part of a text that a hit shows.

use std::ops::Range;

use unicode_normalization::char::decompose_canonical;

use super::Snippet;
use crate::error::Error;

/// The longest text to search for, in bytes.
pub const MAX_SEARCH_BYTES: usize = 1024;

/// The most words to search for.
pub const MAX_SEARCH_WORDS: usize = 32;

/// How many characters a snippet shows, and how many of them before the first match.
const SNIPPET: usize = 200;
const BEFORE: usize = 60;

/// The most places in one text that are marked.
const MARKS: usize = 64;

/// The words of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<Word>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    given: String,
    folded: String,
    /// Whether it is of a script without spaces between words, where it may be anywhere in a run of letters.
    anywhere: bool,
}

impl Words {
    /// Reads the words of a text: each run of letters and digits is one, and each counts once.
    ///
    /// # Errors
    /// Invalid if the text is longer than [`MAX_SEARCH_BYTES`], has more than [`MAX_SEARCH_WORDS`] words, or has characters but no
    /// word.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_SEARCH_BYTES {
            return Err(Error::invalid(format!(
                "search too long: the limit is {MAX_SEARCH_BYTES} bytes, and this one has {}; search for fewer words",
                text.len()
            )));
        }
        let mut words: Vec<Word> = Vec::new();
        for place in tokens(text) {
            let given = &text[place];
            let folded = fold(given);
            if !folded.is_empty() && !words.iter().any(|word| word.folded == folded) {
                words.push(Word { given: given.to_owned(), folded, anywhere: given.chars().any(is_unspaced) });
            }
        }
        if words.is_empty() && !text.trim().is_empty() {
            return Err(Error::invalid(format!("nothing to search for in {text:?}: expected a word of letters or digits")));
        }
        if words.len() > MAX_SEARCH_WORDS {
            return Err(Error::invalid(format!(
                "too many words: the limit is {MAX_SEARCH_WORDS}, and there are {}; search for fewer",
                words.len()
            )));
        }
        Ok(Self(words))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the words as they were given, for an index of the beginnings of words. `None` if such an index cannot find one of
    /// them: it is of a script without spaces between words, such as Chinese, Japanese or Thai.
    pub fn for_index(&self) -> Option<impl Iterator<Item = &str>> {
        let fits = !self.0.iter().any(|word| word.anywhere);
        fits.then(|| self.0.iter().map(|word| word.given.as_str()))
    }

    /// Finds the words in a text. Returns the places of matches, in order, if every word is there.
    pub fn find(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let mut seen = 0;
        let places = self.look(text, &mut seen);
        self.is_all(seen).then_some(places)
    }

    /// Whether these are all the words.
    pub(super) fn is_all(&self, seen: u64) -> bool {
        seen.count_ones() as usize == self.0.len()
    }

    /// Returns the places where any of the words is, in order, and sets the bits of the words that were `seen`.
    pub(super) fn look(&self, text: &str, seen: &mut u64) -> Vec<Range<usize>> {
        let (mut places, mut folded) = (Vec::new(), String::new());
        for token in tokens(text) {
            folded.clear();
            text[token.clone()].chars().for_each(|c| fold_into(c, &mut folded));
            for (n, word) in self.0.iter().enumerate() {
                let at = if word.anywhere { folded.find(&word.folded) } else { folded.starts_with(&word.folded).then_some(0) };
                let Some(at) = at else { continue };
                *seen |= 1 << n;
                if places.len() < MARKS {
                    places.push(unfolded(&text[token.clone()], token.start, at..at + word.folded.len()));
                }
            }
        }
        merged(places)
    }
}

/// The runs of letters and digits of a text, with the marks above and below them. A run ends where a script with spaces between words
/// meets one without: `我用Python` has two.
fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let is_part = |c: char| c.is_alphanumeric() || is_mark(c);
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(is_part)?;
        let mut script = None;
        let mut ends = |c: char| !is_part(c) || !is_mark(c) && *script.get_or_insert(is_unspaced(c)) != is_unspaced(c);
        let end = text[start..].find(&mut ends).map_or(text.len(), |n| start + n);
        rest = end;
        Some(start..end)
    })
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Whether a script has no spaces between words: Thai, Lao, Myanmar, Khmer, Japanese, Chinese.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    word.chars().for_each(|c| fold_into(c, &mut folded));
    folded
}

/// Folds case, and takes the marks off Latin letters, as SQLite's tokenizer does: `É` becomes `e`, but `Й` stays `й`.
fn fold_into(c: char, folded: &mut String) {
    match c {
        _ if c.is_ascii() => folded.push(c.to_ascii_lowercase()),
        _ if is_mark(c) => {}
        'ς' => folded.push('σ'),
        'ſ' => folded.push('s'),
        _ => {
            for lower in c.to_lowercase().filter(|c| !is_mark(*c)) {
                let mut base = None;
                decompose_canonical(lower, |part| base = base.or(Some(part)));
                folded.push(base.filter(char::is_ascii_alphabetic).unwrap_or(lower));
            }
        }
    }
}

/// The place in the text of a place in the folded word that begins at `start`.
fn unfolded(word: &str, start: usize, place: Range<usize>) -> Range<usize> {
    let (mut folded, mut range) = (String::new(), start..start + word.len());
    for (at, c) in word.char_indices() {
        if folded.len() <= place.start {
            range.start = start + at;
        }
        fold_into(c, &mut folded);
        // Marks after the last letter belong to it.
        if folded.len() >= place.end && !word[at + c.len_utf8()..].starts_with(is_mark) {
            range.end = start + at + c.len_utf8();
            break;
        }
    }
    range
}

/// The places in order, without overlaps.
fn merged(mut places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    places.sort_by_key(|place| (place.start, place.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(places.len());
    for place in places {
        match merged.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => merged.push(place),
        }
    }
    merged
}

impl Snippet {
    /// Creates the snippet of a text with these places marked, which are in order: the part around the first of them, with white
    /// space as single spaces.
    pub fn of(text: &str, places: &[Range<usize>]) -> Self {
        let first = places.first().map_or(0, |place| place.start);
        let before = text[..first].char_indices().rev().take(BEFORE).last().map_or(first, |(at, _)| at);
        // From the beginning of a word, if one begins there.
        let start = match text[before..first].find(char::is_whitespace) {
            _ if before == 0 => 0,
            Some(space) => before + space,
            None => before,
        };
        let end = text[start..].char_indices().nth(SNIPPET).map_or(text.len(), |(at, _)| start + at);
        let mut snippet = Self::default();
        if start > 0 && !text[..start].trim().is_empty() {
            snippet.text.push('…');
        }
        let mut at = start;
        for place in places.iter().filter(|place| place.start >= start && place.end <= end) {
            snippet.push(&text[at..place.start]);
            let from = snippet.text.len();
            snippet.push(&text[place.clone()]);
            snippet.matches.push(from..snippet.text.len());
            at = place.end;
        }
        snippet.push(&text[at..end]);
        snippet.text.truncate(snippet.text.trim_end().len());
        if end < text.len() && !text[end..].trim().is_empty() {
            snippet.text.push('…');
        }
        snippet
    }

    /// Adds text, with white space as single spaces.
    fn push(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                c if !c.is_whitespace() => self.text.push(c),
                _ if self.text.is_empty() || self.text.ends_with([' ', '…']) => {}
                _ => self.text.push(' '),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(words: &str, text: &str) -> Option<String> {
        let places = Words::parse(words).expect("words").find(text)?;
        let snippet = Snippet::of(text, &places);
        Some(snippet.parts().map(|(part, is_match)| if is_match { format!("[{part}]") } else { part.to_owned() }).collect())
    }

    #[test]
    fn words_match_beginnings_of_words_in_any_case_and_order() {
        for (words, text, want) in [
            ("lisbon", "To LISBON!", Some("To [LISBON]!")),
            ("lisb MAY", "In May, to Lisbon", Some("In [May], to [Lisb]on")),
            ("isbon", "To Lisbon", None),
            ("lisbon june", "In May, to Lisbon", None),
            ("zurich", "Nach Zürich", Some("Nach [Zürich]")),
            ("Zürich", "nach zurich", Some("nach [zurich]")),
            ("zurich", "Zu\u{308}rich", Some("[Zu\u{308}rich]")),
            ("строй", "СТРОЙКА", Some("[СТРОЙ]КА")),
            ("user:42", "user:42/support", Some("[user]:[42]/support")),
            ("straße", "STRASSE", None),
            ("οδος", "ΟΔΟΣ", Some("[ΟΔΟΣ]")),
            ("東京", "明日は東京に行く", Some("明日は[東京]に行く")),
            ("python", "我用Python写代码", Some("我用[Python]写代码")),
            ("用Python", "我用Python写代码", Some("我[用][Python]写代码")),
            ("한국", "東京한국어", Some("東京[한국]어")),
            ("ython", "我用Python写代码", None),
            ("c", "C++ code", Some("[C]++ [c]ode")),
        ] {
            assert_eq!(marked(words, text).as_deref(), want, "{words} in {text}");
        }
    }

    #[test]
    fn searches_without_a_word_or_with_too_many_are_refused() {
        assert!(Words::parse(" ").expect("none").is_empty());
        for text in ["?!", "👍", &"a".repeat(MAX_SEARCH_BYTES + 1), &(0..40).map(|n| format!("{n} ")).collect::<String>()] {
            assert!(Words::parse(text).expect_err("refused").is_invalid(), "{text}");
        }
        assert_eq!(Words::parse("a A á b").expect("words").0.len(), 2);
        assert!(Words::parse("東京 a").expect("words").for_index().is_none());
    }

    #[test]
    fn snippet_shows_the_first_match_on_one_line() {
        let text = format!("{}\n\n the  needle\tis here {}", "hay ".repeat(100), "straw ".repeat(100));
        let shown = marked("needle", &text).expect("found");
        assert!(shown.starts_with("…hay hay") && shown.contains(" the [needle] is here straw"), "{shown}");
        assert!(shown.ends_with('…'), "{shown}");
        assert!(shown.chars().count() < SNIPPET + 10 && !shown.contains('\n'), "{shown}");
        assert_eq!(Snippet::of("", &[]).text, "");
    }

    proptest! {
        /// Ranges are of characters of the text, whatever it is.
        #[test]
        fn matches_of_any_text_are_in_it(text in "\\PC{0,80}", words in "\\w{1,3} \\w{1,2}") {
            let Ok(words) = Words::parse(&words) else { return Ok(()) };
            let places = words.look(&text, &mut 0);
            let snippet = Snippet::of(&text, &places);
            for place in places {
                prop_assert!(!text[place].is_empty());
            }
            let whole: String = snippet.parts().map(|(part, _)| part).collect();
            prop_assert_eq!(whole, snippet.text);
        }

        /// A text is found by each of its words.
        #[test]
        fn each_word_of_a_text_finds_it(text in "\\PC{0,40}") {
            for token in tokens(&text) {
                if let Ok(words) = Words::parse(&text[token]) {
                    prop_assert!(words.find(&text).is_some());
                }
            }
        }
    }
}
