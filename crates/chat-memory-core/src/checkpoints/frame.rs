//! Frames: a state, or what a task wrote, as it differs from an earlier state (docs/formats.md, "Checkpoints").

use std::fmt;
use std::io::{Read, Write as _};

use super::encoding::{Reader, Writer};
use super::state::{Channel, channels};
use crate::error::{Error, ErrorKind};

/// The most bytes of a state, or of what a task writes with one call. A claim beyond it is damage, not a size to allocate.
pub(super) const MAX_CONTENT: usize = 256 << 20;

/// Checks that a frame of this many bytes will be read. `what` starts the error, up to the number.
pub(super) fn check_size(what: fmt::Arguments<'_>, bytes: usize) -> Result<(), Error> {
    if bytes <= MAX_CONTENT {
        return Ok(());
    }
    let sentence = format!("{what} {bytes} bytes, and the limit is {MAX_CONTENT}; keep large values elsewhere");
    Err(Error::new(ErrorKind::TooLarge, sentence))
}

/// zstd's default: on states, higher levels save little.
const LEVEL: i32 = 3;

/// Compresses against an earlier state, which the reader must have too.
///
/// What follows the numbers of a [`Cut`] is a zstd frame of all but the cut.
pub(super) fn compress(bytes: &[u8], against: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("it could not be compressed ({e})");
    let cut = Cut::between(bytes, against);
    let mut out = Writer::default();
    out.number(cut.len as u64);
    let (reference, rest);
    let (bytes, against) = if cut.len == 0 {
        (bytes, against)
    } else {
        out.number(cut.at as u64);
        out.number(cut.from as u64);
        rest = [&bytes[..cut.at], &bytes[cut.at + cut.len..]].concat();
        reference = cut.reference(against);
        (&rest[..], &reference[..])
    };
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(out.0, LEVEL, against).map_err(failed)?;
    encoder.window_log(reach(bytes.len() + against.len())).map_err(failed)?;
    // Finds what is far back in a large state, of which the tables of this level forget most.
    encoder.long_distance_matching(bytes.len() + against.len() > 1 << 20).map_err(failed)?;
    encoder.include_contentsize(false).map_err(failed)?;
    encoder.include_dictid(false).map_err(failed)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64)).map_err(failed)?;
    encoder.write_all(bytes).map_err(failed)?;
    encoder.finish().map_err(failed)
}

/// The window that reaches back over this many bytes, as a power of two.
fn reach(bytes: usize) -> u32 {
    bytes.next_power_of_two().ilog2().clamp(10, 30)
}

/// Undoes [`compress`] of this many bytes.
pub(super) fn decompress(frame: &[u8], against: &[u8], size: usize) -> Result<Vec<u8>, String> {
    if size > MAX_CONTENT {
        return Err(format!("it claims {size} bytes, and the limit is {MAX_CONTENT}"));
    }
    let mut from = Reader(frame);
    let cut = match from.size()? {
        0 => Cut::default(),
        len => Cut { len, at: from.size()?, from: from.size()? },
    };
    if cut.len == 0 {
        return decompress_frame(from.0, against, size);
    }
    let copied = cut.from.checked_add(cut.len).and_then(|end| against.get(cut.from..end));
    let copied = copied.ok_or("it repeats more than there is")?;
    let left = size.checked_sub(cut.len).filter(|left| cut.at <= *left).ok_or("it repeats more than it has")?;
    let rest = decompress_frame(from.0, &cut.reference(against), left)?;
    Ok([&rest[..cut.at], copied, &rest[cut.at..]].concat())
}

fn decompress_frame(frame: &[u8], against: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("there is no whole zstd frame ({e})");
    let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(frame, against).map_err(failed)?;
    // A damaged frame may claim a larger one.
    decoder.window_log_max(reach(size + against.len())).map_err(failed)?;
    let mut bytes = Vec::new();
    decoder.take(size as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() == size { Ok(bytes) } else { Err(format!("it has {} bytes instead of {size}", bytes.len())) }
}

/// A cut is worth its numbers from this length on.
const MIN_CUT: usize = 32 << 10;

/// How much of the end of a cut new text is still compressed against.
const KEPT_OF_CUT: usize = 32 << 10;

/// The heads that the value of a list can have before its elements, in a state and in the one before it: of MessagePack's arrays
/// as they grow, and of JSON's.
const HEADS: [(usize, usize); 6] = [(1, 1), (3, 1), (3, 3), (5, 3), (5, 5), (0, 0)];

/// What a state repeats of the largest value of an earlier one. Without it, zstd would need some bytes and much more time for each
/// 128 KB of a state that hardly changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cut {
    /// How many bytes are the same. 0: there is no cut.
    len: usize,
    /// Where they are.
    at: usize,
    /// Where they are in the earlier state.
    from: usize,
}

impl Cut {
    fn between(bytes: &[u8], earlier: &[u8]) -> Self {
        if bytes.len().min(earlier.len()) < MIN_CUT {
            return Self::default();
        }
        let largest = channels(bytes).unwrap_or_default().into_iter().max_by_key(|channel| channel.at.len());
        let Some(Channel { name, at: value, .. }) = largest else { return Self::default() };
        let same = channels(earlier).unwrap_or_default().into_iter().find(|earlier| earlier.name == name);
        let Some(Channel { at: before, .. }) = same else { return Self::default() };
        let cuts = HEADS.map(|(head, head_before)| {
            let (at, from) = (value.start + head, before.start + head_before);
            let new = bytes.get(at..value.end).unwrap_or_default();
            let old = earlier.get(from..before.end).unwrap_or_default();
            Self { len: common(new, old), at, from }
        });
        cuts.into_iter().max_by_key(|cut| cut.len).filter(|cut| cut.len >= MIN_CUT).unwrap_or_default()
    }

    /// The earlier state as the rest of this one is compressed against it.
    fn reference(&self, earlier: &[u8]) -> Vec<u8> {
        let kept = self.from + self.len.saturating_sub(KEPT_OF_CUT);
        [&earlier[..self.from], &earlier[kept..]].concat()
    }
}

/// How many bytes two texts have in common at their start.
fn common(a: &[u8], b: &[u8]) -> usize {
    // In long steps first: a comparison of this many bytes is about as fast as memory.
    let mut same = 0;
    for step in [4096, 64, 1] {
        let (a, b) = (a[same..].chunks_exact(step), b[same..].chunks_exact(step));
        same += a.zip(b).take_while(|(a, b)| a == b).count() * step;
    }
    same
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Typed;
    use super::super::state::State;
    use super::*;

    proptest! {
        #[test]
        fn frames_round_trip_against_any_state(bytes: Vec<u8>, against: Vec<u8>) {
            let frame = compress(&bytes, &against).expect("it can be compressed");
            prop_assert_eq!(decompress(&frame, &against, bytes.len()), Ok(bytes.clone()));
            prop_assert!(decompress(&frame, &against, bytes.len() + 1).is_err());
        }
    }

    /// Lists as MessagePack and JSON write them, growing past the lengths at which their heads change.
    #[test]
    fn growing_list_costs_what_is_new() {
        let mut random = fastrand::Rng::with_seed(3);
        let element = (0..40_000).map(|_| random.u8(..)).collect::<Vec<_>>();
        let list = |head: &[u8], count: usize| {
            let bytes = [head, &element.repeat(count), b"]"].concat();
            let other = ("1".to_owned(), Some(Typed::new("json", "small")));
            let channels = [("a".to_owned(), other), ("l".to_owned(), (count.to_string(), Some(Typed::new("list", bytes))))];
            State { channels: channels.into(), ..State::default() }.encode()
        };
        let large = 0x1_0000_u32.to_be_bytes();
        let heads: [(&[u8], &[u8]); 5] = [
            (b"[", b"["),
            (&[0x9e], &[0x9f]),
            (&[0x9f], &[0xdc, 0, 16]),
            (&[0xdc, 1, 0], &[0xdc, 1, 1]),
            (&[0xdc, 255, 255], &[0xdd, large[0], large[1], large[2], large[3]]),
        ];
        for (before, after) in heads {
            let (state, longer) = (list(before, 5), list(after, 6));
            let cut = Cut::between(&longer, &state);
            assert!((200_000..=200_001).contains(&cut.len), "{before:?}: {}", cut.len);
            let frame = compress(&longer, &state).expect("it can be compressed");
            assert!(frame.len() < 41_000, "{}", frame.len());
            assert_eq!(decompress(&frame, &state, longer.len()), Ok(longer));
            // Shrinking, it is a prefix.
            let (state, shorter) = (list(after, 6), list(after, 5));
            let frame = compress(&shorter, &state).expect("it can be compressed");
            assert!(frame.len() < 100, "{}", frame.len());
            assert_eq!(decompress(&frame, &state, shorter.len()), Ok(shorter.clone()));
            for damaged in [&state[..1_000], &[]] {
                assert!(decompress(&frame, damaged, shorter.len()).is_err());
            }
            assert!(decompress(&frame, &state, 1_000).is_err());
        }
    }

    #[test]
    fn what_is_appended_to_a_large_state_costs_what_it_is() {
        let noise = |seed: u64, count: usize| {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..count).map(|_| random.u8(..)).collect::<Vec<_>>()
        };
        for size in [10_000, 300_000, 3_000_000] {
            let state = noise(1, size);
            let mut longer = state.clone();
            longer[size / 2] ^= 1;
            longer.extend(noise(2, 300));
            let frame = compress(&longer, &state).expect("it can be compressed");
            assert!(frame.len() < 400 + size / 5_000, "{size}: {}", frame.len());
            assert_eq!(decompress(&frame, &state, longer.len()), Ok(longer));
        }
    }
}
