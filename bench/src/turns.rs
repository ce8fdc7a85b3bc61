//! The data to write: turns of a question and an answer.

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

fn text(seed: usize) -> String {
    const WORDS: [&str; 16] = [
        "harbour", "bicycle", "with", "the", "of", "seven", "morning", "a", "tram", "and", "winter", "never", "lamp", "to",
        "river", "quiet",
    ];
    let mut chance = fastrand::Rng::with_seed(seed as u64);
    let mut text = String::new();
    while text.len() < TEXT_BYTES {
        text.push_str(WORDS[chance.usize(..WORDS.len())]);
        text.push(' ');
    }
    text.truncate(TEXT_BYTES);
    text
}

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
