//! tiktoken's vocabularies, as `build.rs` packs them: unpacked at the first count.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use tiktoken_rs::{CoreBPE, O200K_BASE_PAT_STR};

use super::tokens::Encoding;

/// How `cl100k_base` splits a text before it looks tokens up; tiktoken-rs has no name for it.
const CL100K_BASE_PAT_STR: &str = concat!(
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+",
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
);

static O200K_BASE: LazyLock<Option<CoreBPE>> =
    LazyLock::new(|| unpack(include_bytes!(concat!(env!("OUT_DIR"), "/o200k_base.zst")), O200K_BASE_PAT_STR));

static CL100K_BASE: LazyLock<Option<CoreBPE>> =
    LazyLock::new(|| unpack(include_bytes!(concat!(env!("OUT_DIR"), "/cl100k_base.zst")), CL100K_BASE_PAT_STR));

/// The tokens of a text; control tokens are plain text.
pub(super) fn count(encoding: Encoding, text: &str) -> u64 {
    let vocabulary = match encoding {
        Encoding::O200kBase => &O200K_BASE,
        Encoding::Cl100kBase => &CL100K_BASE,
    };
    // The program carries what it was built with, so there always is one (the test below reads both); a byte a token errs on the safe side.
    vocabulary.as_ref().map_or(text.len(), |vocabulary| vocabulary.count_ordinary(text)) as u64
}

fn unpack(compressed: &[u8], pattern: &str) -> Option<CoreBPE> {
    let packed = zstd::stream::decode_all(compressed).ok()?;
    let (mut rest, mut encoder) = (&packed[..], FxHashMap::default());
    while let Some((length, tail)) = rest.split_first() {
        let (token, tail) = tail.split_at_checked(usize::from(*length))?;
        encoder.insert(token.to_vec(), u32::try_from(encoder.len()).ok()?);
        rest = tail;
    }
    CoreBPE::new(encoder, FxHashMap::default(), pattern).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_vocabularies_split_texts_as_tiktoken_does() {
        let texts = include_str!("../../../../testdata/conversations.jsonl").lines().take(40);
        let odd =
            ["", " \r\n\t  x", "I'LL we've 12345 ½", "नमस्ते 안녕하세요 👩‍👩‍👧", "<|endoftext|>", "a\u{0}b", "    fn main() {}\n\n"];
        for text in texts.chain(odd) {
            for (own, original) in
                [(&O200K_BASE, tiktoken_rs::o200k_base_singleton()), (&CL100K_BASE, tiktoken_rs::cl100k_base_singleton())]
            {
                let own = own.as_ref().expect("a vocabulary");
                assert_eq!(own.encode_ordinary(text), original.encode_ordinary(text), "{text}");
            }
        }
    }
}
