//! The content of rows (docs/formats.md, "Checkpoints"): a version, fields, and perhaps a frame; and until when a row
//! is needed.

use std::time::Duration;

use super::Write;
use super::encoding::{Reader, VERSION, Writer, number_len, write_len};
use crate::timestamp::Timestamp;

/// What the frame of a checkpoint is compressed against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lean {
    /// Nothing.
    Nothing,
    /// The state of the checkpoint in the row before.
    Previous,
    /// The state in a base.
    Base { chain: String, id: String },
}

/// A checkpoint's row without its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) lean: Lean,
    /// How many bytes of rows one reads, this one included, until one that leans on no other row.
    pub(super) tail_bytes: usize,
    pub(super) put_at: Timestamp,
    /// Until when the rows that this one leans on are there at least; for good if `None`.
    pub(super) leans_until: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) run_id: Option<String>,
    /// The size of the state.
    pub(super) size: usize,
}

/// What a place in a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Checkpoint(Head),
    Mark(Mark),
}

impl Entry {
    /// The id that the key of the next row is made of.
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Checkpoint(head) => &head.id,
            Self::Mark(mark) => &mark.id,
        }
    }
}

/// Keeps a place, so that nobody who read the log before can put a checkpoint there: that of a checkpoint that was removed, or the
/// one after the newest, which is a fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: String,
    /// Whether everything before it is deleted.
    pub(super) all: bool,
    pub(super) put_at: Timestamp,
}

/// Encodes the row of a checkpoint that is put after `previous`, around the frame of its state.
pub(super) fn encode_checkpoint(head: &Head, previous: Option<&str>, frame: &[u8]) -> Vec<u8> {
    let mut out = Writer(vec![VERSION, 1]);
    out.text(&head.id);
    match &head.parent {
        None => out.number(0),
        Some(parent) if Some(parent.as_str()) == previous => out.number(1),
        Some(parent) => {
            out.number(2);
            out.text(parent);
        }
    }
    match &head.lean {
        Lean::Nothing => out.number(0),
        Lean::Previous => out.number(1),
        Lean::Base { chain, id } => {
            out.number(2);
            out.text(chain);
            out.text(id);
        }
    }
    out.number(head.tail_bytes as u64);
    out.time(head.put_at);
    out.optional(head.leans_until.as_ref(), |out, at| out.time(*at));
    out.optional(head.expires_at.as_ref(), |out, at| out.time(*at));
    out.optional(head.run_id.as_ref(), |out, id| out.text(id));
    out.number(head.size as u64);
    out.0.extend_from_slice(frame);
    out.0
}

/// Encodes the row of a mark.
pub(super) fn encode_mark(mark: &Mark) -> Vec<u8> {
    let mut out = Writer(vec![VERSION, 2]);
    out.text(&mark.id);
    out.number(mark.all.into());
    out.time(mark.put_at);
    out.0
}

/// Decodes the row after `previous`; returns the frame with it.
pub(super) fn decode_entry<'a>(body: &'a [u8], previous: &str) -> Result<(Entry, &'a [u8]), String> {
    let mut from = Reader::versioned(body)?;
    match from.number()? {
        1 => {
            let id = from.text()?;
            let parent = match from.number()? {
                0 => None,
                1 => Some(previous.to_owned()),
                2 => Some(from.text()?),
                other => return Err(format!("it has a parent of the unknown kind {other}")),
            };
            let lean = match from.number()? {
                0 => Lean::Nothing,
                1 => Lean::Previous,
                2 => Lean::Base { chain: from.text()?, id: from.text()? },
                other => return Err(format!("it leans on the unknown kind {other}")),
            };
            let head = Head {
                id,
                parent,
                lean,
                tail_bytes: from.size()?,
                put_at: from.time()?,
                leans_until: from.optional(Reader::time)?,
                expires_at: from.optional(Reader::time)?,
                run_id: from.optional(Reader::text)?,
                size: from.size()?,
            };
            Ok((Entry::Checkpoint(head), from.0))
        }
        2 => {
            let mark = Mark { id: from.text()?, all: from.number()? == 1, put_at: from.time()? };
            from.end().map(|()| (Entry::Mark(mark), &[][..]))
        }
        other => Err(format!("it is of the unknown kind {other}")),
    }
}

/// A part of a base: how many parts there are, the base before it in the chain, the size of its state, how many bytes the chain has
/// up to it, and a piece of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BasePart {
    pub(super) parts: usize,
    pub(super) before: Option<String>,
    pub(super) size: usize,
    pub(super) chain_bytes: usize,
    pub(super) piece: Vec<u8>,
}

impl BasePart {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![VERSION]);
        out.number(self.parts as u64);
        out.optional(self.before.as_ref(), |out, id| out.text(id));
        out.number(self.size as u64);
        out.number(self.chain_bytes as u64);
        out.0.extend_from_slice(&self.piece);
        out.0
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, String> {
        let mut from = Reader::versioned(body)?;
        let (parts, before) = (from.size()?, from.optional(Reader::text)?);
        let (size, chain_bytes) = (from.size()?, from.size()?);
        Ok(Self { parts, before, size, chain_bytes, piece: from.0.to_vec() })
    }
}

/// A part of the writes of one call: how many parts there are, the size of the writes, and a piece of their frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WritesPart {
    pub(super) parts: usize,
    pub(super) size: usize,
    pub(super) piece: Vec<u8>,
}

impl WritesPart {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![VERSION]);
        out.number(self.parts as u64);
        out.number(self.size as u64);
        out.0.extend_from_slice(&self.piece);
        out.0
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, String> {
        let mut from = Reader::versioned(body)?;
        Ok(Self { parts: from.size()?, size: from.size()?, piece: from.0.to_vec() })
    }
}

/// How many bytes [`encode_writes`] makes of them.
pub(super) fn writes_len(writes: &[Write]) -> usize {
    number_len(writes.len() as u64) + writes.iter().map(write_len).sum::<usize>()
}

pub(super) fn encode_writes(writes: &[Write]) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(writes_len(writes)));
    out.list(writes, Writer::write);
    out.0
}

pub(super) fn decode_writes(bytes: &[u8]) -> Result<Vec<Write>, String> {
    let mut from = Reader(bytes);
    let writes = from.list(Reader::write)?;
    from.end().map(|()| writes)
}

/// From when on the table may delete a row that is kept for so long: late enough that what leans on it is whole until it expires
/// itself.
pub(super) fn purge_at(now: Timestamp, kept: Option<Duration>) -> Option<Timestamp> {
    now.expires_after(kept?.saturating_mul(2).saturating_add(DAY))
}

impl Head {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// From when on the table may delete this row, however often it was written.
    pub(super) fn purge_at(&self) -> Option<Timestamp> {
        purge_at(self.put_at, Some(self.expires_at?.since(self.put_at)))
    }

    /// Until when a row that leans on this one can be read at least.
    pub(super) fn whole_until(&self) -> Option<Timestamp> {
        earlier(self.leans_until, self.purge_at())
    }
}

/// The earlier of two times, of which `None` never comes.
pub(super) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

/// A day.
pub(super) const DAY: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Typed;
    use super::super::state::tests::write;
    use super::*;

    proptest! {
        #[test]
        fn rows_round_trip(
            parent in proptest::option::of("[pq]{1,3}"), kind in 0..3, tail_bytes: u32, put_at: i64, expires: Option<i32>, until: Option<i32>,
            run_id: Option<String>, frame in proptest::collection::vec(any::<u8>(), 0..9), size: u32,
        ) {
            let lean = [Lean::Nothing, Lean::Previous, Lean::Base { chain: "c".to_owned(), id: "b".to_owned() }][kind as usize].clone();
            let head = Head {
                id: "x".to_owned(),
                parent,
                lean,
                tail_bytes: tail_bytes as usize,
                put_at: Timestamp::from_millis(put_at),
                leans_until: until.map(|at| Timestamp::from_secs(at.into())),
                expires_at: expires.map(|at| Timestamp::from_secs(at.into())),
                run_id,
                size: size as usize,
            };
            let body = encode_checkpoint(&head, Some("p"), &frame);
            let mark = Mark { id: "x".to_owned(), all: kind == 0, put_at: head.put_at };
            let row = encode_mark(&mark);
            prop_assert_eq!(decode_entry(&row, "p"), Ok((Entry::Mark(mark), &[][..])));
            prop_assert_eq!(decode_entry(&body, "p"), Ok((Entry::Checkpoint(head), frame.as_slice())));
        }

        #[test]
        fn writes_round_trip_and_have_the_length_that_is_checked(writes in proptest::collection::vec(write(), 0..4), large in 0..70_000_usize) {
            let mut writes = writes;
            writes.push(Write::new("t", "", -1, "c", Typed::new("k", vec![0; large])));
            let bytes = encode_writes(&writes);
            prop_assert_eq!(writes_len(&writes), bytes.len());
            prop_assert_eq!(decode_writes(&bytes), Ok(writes));
        }
    }
}
