//! The content of rows (docs/formats.md, "Checkpoints"): a version, fields, and a zstd frame that is compressed against the content
//! of an earlier row.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::ops::Range;
use std::time::Duration;

use super::buffer::Call;
use super::{NewCheckpoint, Typed, Write};
use crate::timestamp::Timestamp;

/// The version of every row's content.
const VERSION: u8 = 1;

/// zstd's default: on states, higher levels save little.
const LEVEL: i32 = 3;

/// The largest state that is read. A claim beyond it is damage, not a size to allocate.
pub(super) const MAX_STATE: usize = 256 << 20;

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

/// A checkpoint's state: everything that its row's frame holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct State {
    /// The channels with their versions and values.
    pub(super) channels: BTreeMap<String, (String, Option<Typed>)>,
    pub(super) body: Typed,
    pub(super) metadata: Typed,
    pub(super) delta_channels: Vec<String>,
    /// What tasks wrote at the parent.
    pub(super) rode: Rode,
}

/// What tasks wrote at a checkpoint, in the row after it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rode {
    pub(super) writes: Vec<Write>,
    /// The attempt whose writes count, besides those of the calls that it had seen. `None`: all count.
    pub(super) attempt: Option<String>,
    pub(super) seen: Vec<String>,
}

impl Rode {
    /// Whether the writes of a call that have rows of their own count.
    pub(super) fn counts(&self, call: &str) -> bool {
        self.attempt.is_none() || Call::attempt(call) == self.attempt.as_deref() || self.seen.iter().any(|seen| seen == call)
    }

    fn encode(&self, out: &mut Writer) {
        out.list(&self.writes, Writer::write);
        out.optional(self.attempt.as_ref(), |out, attempt| out.text(attempt));
        out.list(&self.seen, |out, call| out.text(call));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, String> {
        Ok(Self { writes: from.list(Reader::write)?, attempt: from.optional(Reader::text)?, seen: from.list(Reader::text)? })
    }
}

impl State {
    /// Encodes the state of a new checkpoint, given its parent's. Values are copied once: they may be large.
    pub(super) fn encode_new(new: &NewCheckpoint, parent: Option<&[u8]>, writes: Vec<Write>) -> Result<Vec<u8>, String> {
        let before = parent.map(channels).transpose()?.unwrap_or_default();
        let before: BTreeMap<_, _> = before.into_iter().map(|channel| (channel.name, channel)).collect();
        let value = |name: &String, version: &String| match new.values.get(name) {
            Some(value) => value.as_ref().map(parts),
            None => before.get(name.as_bytes()).filter(|channel| channel.version == version.as_bytes())?.value,
        };
        let channels = new.versions.iter().map(|(name, version)| (name, version, value(name, version))).collect();
        let rode = Rode { writes, attempt: new.attempt.clone(), seen: new.seen.clone() };
        Ok(encode_state(&rode, channels, &new.body, &new.metadata, &new.delta_channels))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let channels = self.channels.iter().map(|(name, (version, value))| (name, version, value.as_ref().map(parts)));
        encode_state(&self.rode, channels.collect(), &self.body, &self.metadata, &self.delta_channels)
    }

    /// Decodes only what tasks wrote at the parent.
    pub(super) fn rode_in(bytes: &[u8]) -> Result<Rode, String> {
        Rode::decode(&mut Reader(bytes))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut from = Reader(bytes);
        let rode = Rode::decode(&mut from)?;
        let channels = from.list(|from| Ok((from.text()?, (from.text()?, from.optional(Reader::typed)?))))?;
        let state = Self {
            channels: channels.into_iter().collect(),
            body: from.typed()?,
            metadata: from.typed()?,
            delta_channels: from.list(Reader::text)?,
            rode,
        };
        from.end().map(|()| state)
    }
}

/// The encoding and the bytes of a value.
type Parts<'a> = (&'a [u8], &'a [u8]);

fn parts(value: &Typed) -> Parts<'_> {
    (value.kind.as_bytes(), &value.bytes)
}

fn encode_state(
    rode: &Rode,
    channels: Vec<(&String, &String, Option<Parts<'_>>)>,
    body: &Typed,
    metadata: &Typed,
    delta_channels: &[String],
) -> Vec<u8> {
    let size: usize = channels.iter().filter_map(|(.., value)| Some(value.as_ref()?.1.len())).sum();
    let mut out = Writer(Vec::with_capacity(size + body.bytes.len() + metadata.bytes.len() + 4096));
    // First, so that they can be read without the rest.
    rode.encode(&mut out);
    out.list(&channels, |out, (name, version, value)| {
        out.text(name);
        out.text(version);
        out.optional(value.as_ref(), |out, (kind, bytes)| {
            out.bytes(kind);
            out.bytes(bytes);
        });
    });
    out.typed(body);
    out.typed(metadata);
    out.list(delta_channels, |out, name| out.text(name));
    out.0
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

pub(super) fn encode_writes(writes: &[Write]) -> Vec<u8> {
    let mut out = Writer::default();
    out.list(writes, Writer::write);
    out.0
}

pub(super) fn decode_writes(bytes: &[u8]) -> Result<Vec<Write>, String> {
    let mut from = Reader(bytes);
    let writes = from.list(Reader::write)?;
    from.end().map(|()| writes)
}

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
    if size > MAX_STATE {
        return Err(format!("it claims {size} bytes, and the limit is {MAX_STATE}"));
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

/// A channel in an encoded [`State`].
struct Channel<'a> {
    name: &'a [u8],
    version: &'a [u8],
    value: Option<Parts<'a>>,
    /// Where the bytes of its value are.
    at: Range<usize>,
}

/// Finds the channels in an encoded [`State`].
fn channels(state: &[u8]) -> Result<Vec<Channel<'_>>, String> {
    let mut from = Reader(state);
    Rode::decode(&mut from)?;
    from.list(|from| {
        let (name, version) = (from.bytes()?, from.bytes()?);
        let value = from.optional(|from| Ok((from.bytes()?, from.bytes()?)))?;
        let end = state.len() - from.0.len();
        Ok(Channel { name, version, value, at: end - value.map_or(0, |(_, bytes)| bytes.len())..end })
    })
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

/// Writes fields one after another: numbers as LEB128, texts and bytes after their length.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn time(&mut self, at: Timestamp) {
        self.signed(at.as_millis());
    }

    fn typed(&mut self, value: &Typed) {
        self.text(&value.kind);
        self.bytes(&value.bytes);
    }

    fn write(&mut self, write: &Write) {
        self.text(&write.task_id);
        self.text(&write.task_path);
        self.signed(write.index);
        self.text(&write.channel);
        self.typed(&write.value);
    }

    fn optional<T: ?Sized>(&mut self, value: Option<&T>, put: impl FnOnce(&mut Self, &T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn list<T>(&mut self, values: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.number(values.len() as u64);
        for value in values {
            put(self, value);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn versioned(body: &'a [u8]) -> Result<Self, String> {
        match body.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some((version, _)) => Err(format!("it has the version {version}, and this program reads {VERSION}; update it")),
            None => Err("it is empty".to_owned()),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("it has a number that is too long".to_owned())
    }

    fn signed(&mut self) -> Result<i64, String> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn size(&mut self) -> Result<usize, String> {
        usize::try_from(self.number()?).map_err(|e| e.to_string())
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let count = self.size()?;
        self.take(count)
    }

    fn text(&mut self) -> Result<String, String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "it has text that is not UTF-8".to_owned())
    }

    fn time(&mut self) -> Result<Timestamp, String> {
        self.signed().map(Timestamp::from_millis)
    }

    fn typed(&mut self) -> Result<Typed, String> {
        Ok(Typed { kind: self.text()?, bytes: self.bytes()?.to_vec() })
    }

    fn write(&mut self) -> Result<Write, String> {
        Ok(Write {
            task_id: self.text()?,
            task_path: self.text()?,
            index: self.signed()?,
            channel: self.text()?,
            value: self.typed()?,
        })
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<Option<T>, String> {
        if self.take(1)?[0] == 0 { Ok(None) } else { read(self).map(Some) }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        // Grows as it is read: the count is not trusted.
        (0..self.number()?).map(|_| read(self)).collect()
    }

    fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes are left over", self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed() -> impl Strategy<Value = Typed> {
        ("[a-z]{0,6}", proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, bytes)| Typed { kind, bytes })
    }

    fn write() -> impl Strategy<Value = Write> {
        ("\\PC{0,4}", "\\PC{0,4}", any::<i64>(), "\\PC{0,4}", typed())
            .prop_map(|(task, path, index, channel, value)| Write::new(task, path, index, channel, value))
    }

    fn state() -> impl Strategy<Value = State> {
        let channels = proptest::collection::btree_map("\\PC{0,4}", ("\\PC{0,4}", proptest::option::of(typed())), 0..4);
        let names = proptest::collection::vec("\\PC{0,4}", 0..3);
        let seen = proptest::collection::vec("[a-z0-9]{0,4}", 0..3);
        let rode = (proptest::collection::vec(write(), 0..3), proptest::option::of("[a-z0-9]{1,3}"), seen);
        let rode = rode.prop_map(|(writes, attempt, seen)| Rode { writes, attempt, seen });
        (channels, typed(), typed(), names, rode).prop_map(|(channels, body, metadata, delta_channels, rode)| State {
            channels,
            body,
            metadata,
            delta_channels,
            rode,
        })
    }

    proptest! {
        #[test]
        fn states_round_trip_and_damage_is_an_error(state in state(), cut: prop::sample::Index) {
            let bytes = state.encode();
            prop_assert_eq!(State::rode_in(&bytes), Ok(state.rode.clone()));
            prop_assert_eq!(State::decode(&bytes), Ok(state));
            prop_assert!(State::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }

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
