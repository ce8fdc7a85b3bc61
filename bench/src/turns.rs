//! The data to write: turns of a question and an answer.

use std::sync::LazyLock;

use chat_memory::{Message, store::Append};

/// Bytes of a message's text.
pub const TEXT_BYTES: usize = 300;

/// Messages of a window.
pub const WINDOW: usize = 20;

/// Turns in the session from which windows are loaded.
pub const LOADED_TURNS: usize = 200;

/// The turn with this number: a question and an answer of [`TEXT_BYTES`] each, different from turn to turn.
pub fn turn(number: usize) -> Append {
    Append::new([Message::user(text(2 * number)), Message::assistant(text(2 * number + 1))])
}

/// A part of one long text: what is measured should not be how a text is made up.
fn text(seed: usize) -> String {
    /// How far apart the beginnings of two texts are; it shares no factor with the number of beginnings.
    const STEP: usize = 7919;
    let beginnings = LONG_TEXT.len() - TEXT_BYTES;
    let start = seed % beginnings * STEP % beginnings;
    LONG_TEXT[start..start + TEXT_BYTES].to_owned()
}

static LONG_TEXT: LazyLock<String> = LazyLock::new(|| {
    const WORDS: [&str; 16] = [
        "harbour", "bicycle", "with", "the", "of", "seven", "morning", "a", "tram", "and", "winter", "never", "lamp", "to",
        "river", "quiet",
    ];
    const BYTES: usize = 1 << 18;
    let mut chance = fastrand::Rng::with_seed(1);
    let mut text = String::new();
    while text.len() < BYTES {
        text.push_str(WORDS[chance.usize(..WORDS.len())]);
        text.push(' ');
    }
    text.truncate(BYTES);
    text
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_have_equal_size_and_distinct_text() {
        for number in 0..100 {
            let turn = turn(number);
            assert!(turn.messages().all(|message| message.text().len() == TEXT_BYTES));
            assert_ne!(turn, super::turn(number + 1));
        }
    }
}
