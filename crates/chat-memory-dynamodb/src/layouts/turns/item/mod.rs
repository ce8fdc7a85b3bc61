//! Records as items: [`encode`] writes them, [`decode`] reads them.

mod decode;
mod encode;

use crate::common::payload::Codec;
use crate::common::timing::PURGED_AFTER;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use crate::common::size::MAX_ITEM;
use chat_memory_core::store::{AppendId, Expiry};
use chat_memory_core::{Entry, Owner, Timestamp};

pub(crate) use decode::{add_part, check_version, decode, decode_parts, decode_without_messages};
pub(crate) use encode::{Encoded, encode, encode_in_parts, link, mark_group, old_parts, stub, without_entry};

/// Bytes of an item that a part leaves for its keys and its other attributes: a partition key takes up to 2 KB.
const PART_MARGIN: usize = 20 * 1024;

/// Room for what may make an item larger than estimated: an owner's name, and long key names of the table.
const ITEM_MARGIN: usize = 2 * 1024;

/// Size limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The limit on a record's messages, in bytes of JSON.
    pub(crate) record: usize,
    /// The limit on an item; smaller than DynamoDB's in the simulation.
    pub(crate) item: usize,
}

impl Limits {
    pub(crate) fn new(record: usize) -> Self {
        Self { record, item: MAX_ITEM }
    }

    /// The largest item for a record without parts.
    fn whole(self) -> usize {
        self.item - ITEM_MARGIN.min(self.item / 8)
    }

    fn part(self) -> usize {
        self.item.saturating_sub(PART_MARGIN).max(self.item / 2)
    }
}

/// What the protocol stores in an item in addition to the record.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Links {
    /// When the session's directory entry was created: part of its key. `None` if the session was deleted.
    pub(crate) began: Option<Timestamp>,
    pub(crate) owner: Option<Owner>,
    /// How long the session lasts. `None` without an entry, and in a record of the previous version.
    pub(crate) life: Option<Life>,
    /// In a record that ends a session: when the entry that was deleted with it was created. The next one must be later.
    pub(crate) last_entry: Option<Timestamp>,
    /// In the clear of a delete by the previous version: when the entry was created that this delete still has to remove from the
    /// directory. With the owner, this gives its key.
    pub(crate) ended: Option<Timestamp>,
}

/// How long a session lasts, by its records up to this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Life {
    /// The latest expiry of any record since the session started.
    pub(crate) lasts: Expiry,
    /// When its entry becomes hidden. The entry may outlast the session by a margin, during which a listing reads the session
    /// itself.
    pub(crate) listed: Expiry,
}

impl Life {
    pub(crate) const FOREVER: Self = Self { lasts: Expiry::Forever, listed: Expiry::Forever };
}

impl Links {
    /// The links of a record that starts or continues a session that lasts forever.
    pub(crate) fn to(began: Timestamp, owner: Option<Owner>) -> Self {
        Self { began: Some(began), owner, life: Some(Life::FOREVER), ..Self::default() }
    }

    /// The time that the session's next entry must be later than.
    pub(crate) fn entry_before(&self) -> Option<Timestamp> {
        self.began.or(self.last_entry).or(self.ended)
    }
}

/// An item in a record's place.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) append_id: AppendId,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) links: Links,
    /// The record before it has an expiry and this one has none: a gap below it is no corruption.
    pub(crate) after_expiring: bool,
    /// The numbers of the first and the last of the records that were written with it in one transaction.
    pub(crate) group: Option<(u64, u64)>,
    /// The mark of its last redaction.
    pub(crate) rev: Option<Box<AttributeValue>>,
    /// The parts of the entries that a redaction replaced, until they are deleted.
    pub(crate) old_parts: Option<Box<PartsOf>>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// Left by the sweep after the clear with this number, with the parts that it has not deleted yet.
    Stub { cleared_by: u64, parts: Option<PartsOf> },
    Record {
        rewind: Option<u64>,
        metadata: Option<Map<String, Value>>,
        /// When each entry was sent, if given.
        sent_at: Vec<Option<Timestamp>>,
        content: Stored,
    },
}

/// A record's entries, as they are stored.
#[derive(Debug)]
pub(crate) enum Stored {
    Here(Vec<Entry>),
    /// `others`: not all of them need be messages.
    Parts {
        parts: PartsOf,
        codec: Codec,
        others: bool,
    },
}

/// The items that hold a large record's messages: their id and their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartsOf {
    pub(crate) id: String,
    pub(crate) count: usize,
}

impl Head {
    /// When DynamoDB may purge the item. A clear is never purged, even if its messages expire.
    pub(crate) fn purged_at(&self) -> Option<Timestamp> {
        self.expires_at.filter(|_| !self.is_clear()).map(|at| at + PURGED_AFTER)
    }

    /// Whether it clears everything below. The record that a delete of an empty session writes hides nothing.
    pub(crate) fn is_clear(&self) -> bool {
        matches!(self.body, Body::Record { rewind: Some(0), .. }) && !self.is_blocker()
    }

    /// Whether a delete of a session without an entry wrote this. For a day, it prevents an append that was in progress before the
    /// delete from landing after it.
    pub(crate) fn is_blocker(&self) -> bool {
        let rewinds_all = matches!(self.body, Body::Record { rewind: Some(0), .. });
        rewinds_all && self.links.began.is_none() && self.expires_at.is_some()
    }

    pub(crate) fn is_stub(&self) -> bool {
        matches!(self.body, Body::Stub { .. })
    }

    /// The parts of the record, or those that its stub still has to delete.
    pub(crate) fn parts(&self) -> Option<&PartsOf> {
        match &self.body {
            Body::Stub { parts, .. } => parts.as_ref(),
            Body::Record { content: Stored::Parts { parts, .. }, .. } => Some(parts),
            Body::Record { .. } => None,
        }
    }
}
