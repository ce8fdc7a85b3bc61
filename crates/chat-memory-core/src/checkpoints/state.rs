//! A checkpoint's state, as it is encoded before it is compressed (docs/formats.md, "Checkpoints").

use std::collections::BTreeMap;
use std::ops::Range;

use super::buffer::Call;
use super::encoding::{Reader, Writer};
use super::{NewCheckpoint, Typed, Write};

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

/// A channel in an encoded [`State`].
pub(super) struct Channel<'a> {
    pub(super) name: &'a [u8],
    version: &'a [u8],
    value: Option<Parts<'a>>,
    /// Where the bytes of its value are.
    pub(super) at: Range<usize>,
}

/// Finds the channels in an encoded [`State`].
pub(super) fn channels(state: &[u8]) -> Result<Vec<Channel<'_>>, String> {
    let mut from = Reader(state);
    Rode::decode(&mut from)?;
    from.list(|from| {
        let (name, version) = (from.bytes()?, from.bytes()?);
        let value = from.optional(|from| Ok((from.bytes()?, from.bytes()?)))?;
        let end = state.len() - from.0.len();
        Ok(Channel { name, version, value, at: end - value.map_or(0, |(_, bytes)| bytes.len())..end })
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed() -> impl Strategy<Value = Typed> {
        ("[a-z]{0,6}", proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, bytes)| Typed { kind, bytes })
    }

    pub(in super::super) fn write() -> impl Strategy<Value = Write> {
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
    }
}
