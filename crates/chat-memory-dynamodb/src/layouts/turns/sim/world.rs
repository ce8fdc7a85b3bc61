//! What the simulation records of the table: each record when it is written, and what it does to its session.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::lives::Lives;
use crate::common::names::{APPEND_ID, EXPIRES_AT, SURE_UNTIL, TTL, seq_of};
use crate::layouts::turns::item::{self, Body};
use crate::table::sim::{Faults, Watch, Write, number_in};
use crate::table::{Attributes, Change, Item, Key, NewItem};
use chat_memory_core::Timestamp;
use chat_memory_core::store::{AppendId, Expiry};

/// The largest error of a client's wall clock.
pub(super) const MAX_SKEW_MS: i64 = 60_000;

/// For how many steps readers may see a transaction in part, as a query of DynamoDB's may.
const TORN_STEPS: u64 = 3;

pub(super) type World = crate::table::sim::World<Log>;
pub(super) type Client = crate::table::sim::Client<Log>;

/// A record as it was when it was written, whatever became of it since.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) pk: String,
    pub(super) step: u64,
    pub(super) at_ms: i64,
    pub(super) seq: u64,
    pub(super) append_id: AppendId,
    pub(super) rewind: Option<u64>,
    pub(super) expires_at: Option<Timestamp>,
    /// The number of the operation in its metadata.
    pub(super) op: Option<u64>,
    pub(super) began: Option<Timestamp>,
    pub(super) owner: Option<String>,
    /// Whether a directory entry is created with it.
    pub(super) starts: bool,
    /// How long it keeps its session alive.
    pub(super) lasts: Expiry,
    /// Whether another record is written after it in the same transaction.
    pub(super) is_followed: bool,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Log {
    pub(super) journal: Vec<Made>,
    /// The sessions from start to end.
    pub(super) lives: Lives,
    /// How long each client keeps what it writes, in seconds.
    pub(super) retentions: Vec<Option<u64>>,
}

impl Watch for Log {
    fn wrote(world: &mut World, client: usize, write: &Write, _: Option<&Attributes>) {
        if let Write::Create(NewItem { item, changes, .. }) = write
            && item.key.sk.starts_with("t#")
        {
            let keeps = world.retentions[client];
            let puts = || changes.iter().filter_map(|change| if let Change::Put(item) = change { Some(item) } else { None });
            let followers: Vec<&Item> = puts().filter(|put| put.key.sk.starts_with("t#")).collect();
            let starts = puts().any(|put| put.key.sk.starts_with("d#"));
            // Each as if the next ones were not there yet.
            let group: Vec<&Item> = std::iter::once(item).chain(followers).collect();
            for (n, item) in group.iter().enumerate() {
                let is_last = n + 1 == group.len();
                world.note(item, (starts && n == 0, !is_last), keeps);
            }
            if let [_, _, ..] = group[..] {
                let keys = group.iter().map(|item| item.key.clone()).collect();
                (world.torn, world.torn_is_seen) = (Some((keys, world.step + TORN_STEPS)), false);
            }
        }
    }
}

impl World {
    /// A table of clients with wrong clocks, each of which keeps what it writes for so long.
    pub(super) fn of(mut rng: fastrand::Rng, faults: Faults, retentions: Vec<Option<u64>>) -> Self {
        let skew_ms = (0..retentions.len()).map(|_| rng.i64(-MAX_SKEW_MS..MAX_SKEW_MS)).collect();
        let log = Log { journal: Vec::new(), lives: Lives::default(), retentions };
        let mut world = Self::new(rng, faults, skew_ms, log);
        world.ttl = Some(TTL);
        world
    }

    /// Records a new record, and checks that it is at the log's tail, as every record must be.
    fn note(&mut self, item: &Item, (starts, is_followed): (bool, bool), keeps: Option<u64>) {
        let head = item::decode(item, usize::MAX / 4).expect("our own item");
        let before = self.log(&item.key.pk).rfind(|(key, _)| **key < item.key);
        let above = self.log(&item.key.pk).rfind(|(key, _)| **key > item.key).is_some();
        let end = before.map_or(0, |(key, _)| seq_of(key).expect("a record") + 1);
        if head.seq != end || above && !is_followed {
            self.broken.get_or_insert(format!("record {} was made where the log's end was {end}", head.seq));
        }
        let Body::Record { rewind, metadata, content, .. } = &head.body else { unreachable!("stubs are not created") };
        let (rewind, op) = (*rewind, metadata.as_ref().and_then(|fields| fields["op"].as_u64()));
        let is_empty = matches!(content, item::Stored::Here(messages) if messages.is_empty());
        let lasts = match keeps {
            // An empty clear never expires, but keeps its session alive only as long as a message would.
            Some(keeps) if rewind == Some(0) && is_empty => Expiry::of(head.created_at.expires_after(Duration::from_secs(keeps))),
            _ => Expiry::of(head.expires_at),
        };
        let made = Made {
            pk: item.key.pk.clone(),
            step: self.step,
            at_ms: self.now_ms,
            seq: head.seq,
            append_id: head.append_id,
            rewind,
            expires_at: head.expires_at,
            op,
            began: head.links.began,
            owner: head.links.owner.as_ref().map(ToString::to_string),
            starts,
            lasts,
            is_followed,
        };
        let now_ms = self.now_ms;
        if let Err(why) = self.lives.landed(&made, now_ms) {
            self.broken.get_or_insert(why);
        }
        if self.journal.iter().any(|old| old.append_id == made.append_id) {
            self.broken.get_or_insert(format!("append {} landed twice, the second time as record {}", made.append_id, made.seq));
        }
        self.journal.push(made);
    }

    /// The future moments written anywhere in the table, in epoch seconds.
    pub(super) fn moments(&self) -> Vec<i64> {
        let of = |attributes: &Attributes| [EXPIRES_AT, TTL, SURE_UNTIL].map(|name| number_in(attributes, name));
        let mut moments: Vec<i64> = self.items.values().flat_map(of).flatten().filter(|at| at * 1000 > self.now_ms).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// The items of a session's records and stubs.
    pub(super) fn log(&self, pk: &str) -> impl DoubleEndedIterator<Item = (&Key, &Attributes)> {
        let key = |sk: &str| Key { pk: pk.to_owned(), sk: sk.to_owned() };
        self.items.range(key("t#")..key("t#~"))
    }

    /// The ids of the records whose items exist.
    pub(super) fn ids(&self, pk: &str) -> HashSet<AppendId> {
        self.log(pk).filter_map(|(_, attributes)| append_id(attributes)).collect()
    }
}

fn append_id(attributes: &Attributes) -> Option<AppendId> {
    match attributes.get(APPEND_ID) {
        Some(AttributeValue::B(bytes)) => Some(AppendId::from_bytes(bytes.as_ref().try_into().ok()?)),
        _ => None,
    }
}
