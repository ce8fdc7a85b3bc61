//! Records as items, and items as records: what stands in them. [`encode`] writes, [`decode`] reads.

mod decode;
mod encode;

use serde_json::{Map, Value};

use crate::size::MAX_ITEM;
use chat_memory_core::Owner;
use chat_memory_core::message::Message;
use chat_memory_core::store::{AppendId, Lasts};

pub(crate) use decode::{add_part, check_version, decode, decode_parts, decode_without_messages, most_bytes, unpack_messages};
pub(crate) use encode::{Encoded, compress, encode, encode_in_parts, link, stub, without_entry};

/// How long DynamoDB keeps an item after it is hidden, in seconds: TTL purges in no order, and a reader must never see a
/// hole where a neighbour still lives by a few hours.
pub(crate) const PURGED_AFTER_S: i64 = 24 * 60 * 60;

/// Bytes of an item that a part leaves for its keys and its other attributes: a partition key has 2 KB at most.
const PART_MARGIN: usize = 20 * 1024;

/// Room for what may make an item larger than was estimated: an owner's name, and a table's own long key names.
const ITEM_MARGIN: usize = 2 * 1024;

/// How large things may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The messages of a record, in bytes of JSON.
    pub(crate) record: usize,
    /// An item; a smaller one than DynamoDB's in the simulation.
    pub(crate) item: usize,
}

impl Limits {
    pub(crate) fn new(record: usize) -> Self {
        Self { record, item: MAX_ITEM }
    }

    /// The largest item that a whole record may become.
    fn whole(self) -> usize {
        self.item - ITEM_MARGIN.min(self.item / 8)
    }

    fn part(self) -> usize {
        self.item.saturating_sub(PART_MARGIN).max(self.item / 2)
    }
}

/// How many parts a record may have: as many as four digits number, since beyond those their sort keys would be out of order.
pub(crate) const MAX_PARTS: usize = 10_000;

/// What a record's item says beside the record: what the protocol needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Links {
    /// When the session's directory entry was made: its key. A session without is one that was deleted.
    pub(crate) began: Option<i64>,
    pub(crate) owner: Option<Owner>,
    /// How long the session lasts. `None` without an entry, and in a record of the version before.
    pub(crate) life: Option<Life>,
    /// In a record that ends a session: when the entry was made that went with it. The next one must be later.
    pub(crate) last_entry: Option<i64>,
    /// In the clear of a delete by the version before: when the entry was made that this delete has still to take off the directory. With the
    /// owner, its key.
    pub(crate) ended: Option<i64>,
}

/// How long a session lasts, as far as its records up to this one say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Life {
    /// The latest expiry of any record since the session started.
    pub(crate) lasts: Lasts,
    /// From when on its entry is hidden. It may last longer by a margin, within which a listing looks at the session itself.
    pub(crate) listed: Lasts,
}

impl Life {
    pub(crate) const FOREVER: Self = Self { lasts: Lasts::Forever, listed: Lasts::Forever };
}

impl Links {
    /// What starts a session that lasts for good, or continues it.
    pub(crate) fn to(began: i64, owner: Option<Owner>) -> Self {
        Self { began: Some(began), owner, life: Some(Life::FOREVER), ..Self::default() }
    }

    /// The time that the next entry of the session must be later than.
    pub(crate) fn entry_before(&self) -> Option<i64> {
        self.began.or(self.last_entry).or(self.ended)
    }
}

/// An item in a record's place.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) append_id: AppendId,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) links: Links,
    /// The record before it has an expiry and this one has none: a hole below it is no corruption.
    pub(crate) after_expiring: bool,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// What the sweep after the clear with this number left; with the parts that it has not deleted yet.
    Stub { cleared_by: u64, parts: Option<PartsOf> },
    Record {
        rewind: Option<u64>,
        metadata: Option<Map<String, Value>>,
        /// When each message was sent, where that was given.
        sent_at: Vec<Option<i64>>,
        content: Stored,
    },
}

/// A record's messages, as they are stored.
#[derive(Debug)]
pub(crate) enum Stored {
    Here(Vec<Message>),
    Parts { parts: PartsOf, codec: Codec },
}

/// The items that hold a large record's messages: so many under this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartsOf {
    pub(crate) id: String,
    pub(crate) count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Zstd,
}

impl Head {
    /// When DynamoDB may purge the item (epoch seconds). A clear is never purged, even if its messages expire.
    pub(crate) fn purged_at(&self) -> Option<i64> {
        self.expires_at.filter(|_| !self.is_clear()).map(|at| at.saturating_add(PURGED_AFTER_S))
    }

    /// Whether what is below this record is cleared. The record that a delete of an empty session writes hides nothing.
    pub(crate) fn is_clear(&self) -> bool {
        matches!(self.body, Body::Record { rewind: Some(0), .. }) && !self.is_blocker()
    }

    /// Whether this is what a delete of a session without an entry wrote. For a day, it keeps an append that was under way before the delete
    /// from landing after it.
    pub(crate) fn is_blocker(&self) -> bool {
        let rewinds_all = matches!(self.body, Body::Record { rewind: Some(0), .. });
        rewinds_all && self.links.began.is_none() && self.expires_at.is_some()
    }

    pub(crate) fn is_stub(&self) -> bool {
        matches!(self.body, Body::Stub { .. })
    }

    /// The parts that the record has, or that its stub has still to lose.
    pub(crate) fn parts(&self) -> Option<&PartsOf> {
        match &self.body {
            Body::Stub { parts, .. } => parts.as_ref(),
            Body::Record { content: Stored::Parts { parts, .. }, .. } => Some(parts),
            Body::Record { .. } => None,
        }
    }
}
