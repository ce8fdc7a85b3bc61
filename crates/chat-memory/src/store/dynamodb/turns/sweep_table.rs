//! Sweep of a whole table: what was cut off anywhere, found by looking at every item once.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{self, Body};
use super::{Turns, persist};
use crate::error::Error;
use crate::store::Receipt;
use crate::store::dynamodb::names::*;
use crate::store::dynamodb::table::{Clock, Item, Key, Table};

/// What is asked of each item: all but its messages.
const LOOKED_AT: [&str; 9] = [VERSION, APPEND_ID, CREATED_AT, EXPIRES_AT, REWIND, CLEARED_BY, PARTS, PARTS_ID, CODEC];

/// How old parts without a record must be to be taken for abandoned. No append goes on for as long.
const ABANDONED_MS: i64 = 24 * 60 * 60 * 1000;

/// What a sweep of a whole table did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct TableSwept {
    /// Items looked at.
    pub items: u64,
    /// Sessions in which something was left to erase.
    pub sessions: u64,
    /// Records whose messages were erased.
    pub records: u64,
    /// Parts without a record that were deleted.
    pub parts: u64,
    /// What it cost.
    pub receipt: Receipt,
}

/// What the scan has seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// The newest clear of each session, and its oldest record that is not swept to the end.
    clears: HashMap<String, u64>,
    oldest_live: HashMap<String, u64>,
    /// Old parts by their id, and the ids that a record names.
    parts: HashMap<String, Vec<Key>>,
    named: HashSet<String>,
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn sweep_table(&self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<TableSwept, Error> {
        self.writable()?;
        let mut swept = TableSwept::default();
        let mut seen = Seen::default();
        let mut after: Option<Key> = None;
        loop {
            let mut patience = self.patience();
            let page = persist!(patience, self.table.scan(&LOOKED_AT, after.as_ref(), &mut swept.receipt))?;
            for item in &page.items {
                if self.settings.partitions.is_session(&item.key.pk) {
                    self.look_at(item, &mut seen)?;
                }
            }
            swept.items += page.items.len() as u64;
            progress(swept.items);
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        for (pk, clear) in &seen.clears {
            if seen.oldest_live.get(pk).is_some_and(|oldest| oldest < clear) {
                let done = self.sweep_below(pk, *clear, Receipt::default()).await?;
                swept.receipt += done.receipt;
                swept.records += done.records;
                swept.sessions += 1;
            }
        }
        for key in seen.parts.iter().filter(|(id, _)| !seen.named.contains(*id)).flat_map(|(_, keys)| keys) {
            let mut patience = self.patience();
            persist!(patience, self.table.delete(key, &mut swept.receipt))?;
            swept.parts += 1;
        }
        Ok(swept)
    }

    fn look_at(&self, item: &Item, seen: &mut Seen) -> Result<(), Error> {
        let Key { pk, sk } = &item.key;
        if let Some(id) = parts_id_of(sk) {
            let created_at = match item.attributes.get(CREATED_AT) {
                Some(AttributeValue::N(at)) => at.parse().unwrap_or(i64::MAX),
                _ => i64::MAX,
            };
            if created_at < self.clock.now().wall_ms - ABANDONED_MS {
                seen.parts.entry(id.to_owned()).or_default().push(item.key.clone());
            }
        } else if sk.starts_with("t#") {
            let head = item::decode(item, self.settings.limits.record)?;
            // A stub that still names its parts is as unfinished as a record that no stub replaced yet.
            if !head.is_stub() || head.parts().is_some() {
                let oldest = seen.oldest_live.entry(pk.clone()).or_insert(head.seq);
                *oldest = head.seq.min(*oldest);
            }
            seen.named.extend(head.parts().map(|parts| parts.id.clone()));
            let clear = match head.body {
                Body::Stub { cleared_by, .. } => Some(cleared_by),
                Body::Record { rewind, .. } => (rewind == Some(0)).then_some(head.seq),
            };
            if let Some(clear) = clear {
                let newest = seen.clears.entry(pk.clone()).or_insert(clear);
                *newest = clear.max(*newest);
            }
        }
        Ok(())
    }
}
