//! Sweeps a whole table: finds whatever was interrupted by reading every item once.

use crate::common::timing::ABANDONED;
use std::collections::{BTreeSet, HashMap, HashSet};

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{self, Body, Links};
use super::sweep::taken_back_clear;
use super::{Turns, entry, retry};
use crate::common::names::*;
use crate::common::swept::{Damaged, TableSweepStats};
use crate::table::{Clock, Item, Key, Scan, Table};
use chat_memory_core::error::Error;
use chat_memory_core::store::Cost;
use chat_memory_core::{SessionId, Timestamp};

/// The attributes read of each item: all except its messages.
const LOOKED_AT: [&str; 18] = [
    VERSION,
    APPEND_ID,
    CREATED_AT,
    EXPIRES_AT,
    REWIND,
    CLEARED_BY,
    PARTS,
    PARTS_ID,
    CODEC,
    BEGAN,
    OWNER,
    ENDED,
    LAST_ENTRY,
    LASTS_UNTIL,
    LISTED_UNTIL,
    SURE_UNTIL,
    TITLE,
    METADATA,
];

/// What happened to a directory entry.
enum Entries {
    Left,
    Deleted,
    Renewed,
}

/// What the scan has seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// The newest clear of each session, and its oldest record that is not completely swept.
    clears: HashMap<String, u64>,
    oldest_live: HashMap<String, u64>,
    /// Old parts by id, and the ids that a record names.
    parts: HashMap<String, Vec<Key>>,
    named: HashSet<String>,
    /// Each session's rewinds that are not clears: their own number, and the first number that they rewind.
    rewinds: HashMap<String, Vec<(u64, u64)>>,
    /// Sessions with a record that cannot be read. Nothing of theirs is erased.
    damaged: HashSet<String>,
    /// Sessions with an interrupted delete.
    ended: BTreeSet<SessionId>,
    /// The newest record of each session, and its links to the entry.
    newest: HashMap<String, (u64, Links)>,
    /// Directory entries that are old or the previous version's, each with its session and whether it is old.
    entries: Vec<(Key, SessionId, bool)>,
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn sweep_table(&self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<TableSweepStats, Error> {
        self.writable()?;
        let mut swept = TableSweepStats::default();
        let mut seen = Seen::default();
        let mut damaged = Damaged::default();
        let scan = Scan { only: Some(&LOOKED_AT), ..Scan::default() };
        let mut after: Option<Key> = None;
        loop {
            let mut retry = self.retry();
            let page = retry!(retry, self.table.scan(&scan, after.as_ref(), &mut swept.cost))?;
            for item in &page.items {
                let pk = &item.key.pk;
                if let Some(read) = entry::entry_in(&self.common.partitions, item) {
                    let read = damaged.pass(read)?;
                    let old = entry_of(&item.key.sk).filter(|(began, _)| *began < self.abandoned_before());
                    match (read, old) {
                        // It may be a newer version's: it is named, and stays.
                        (None, _) => {}
                        (Some(entry), old) if old.is_some() || entry.is_before() => {
                            seen.entries.push((item.key.clone(), entry.info.id, old.is_some()));
                        }
                        _ => {}
                    }
                }
                if !self.common.partitions.is_session(pk) || seen.damaged.contains(pk) {
                    continue;
                }
                if damaged.pass(self.look_at(item, &mut seen))?.is_none() {
                    seen.damaged.insert(pk.clone());
                }
            }
            swept.items += page.items.len() as u64;
            progress(swept.items);
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        for session in &seen.ended {
            let pk = self.common.partitions.session(session);
            if seen.damaged.contains(&pk) {
                continue;
            }
            if let Some(done) = damaged.pass(self.sweep(session).await)? {
                // Nothing is left to do below its clear.
                seen.oldest_live.remove(&pk);
                swept.cost += done.cost;
                swept.records += done.records;
                swept.sessions += 1;
            }
        }
        for (pk, clear) in &seen.clears {
            if seen.damaged.contains(pk) || seen.oldest_live.get(pk).is_none_or(|oldest| oldest >= clear) {
                continue;
            }
            let taken_back = |(seq, to): &(u64, u64)| seq > clear && to <= clear;
            let done = if seen.rewinds.get(pk).is_some_and(|rewinds| rewinds.iter().any(taken_back)) {
                Err(taken_back_clear(pk, *clear))
            } else {
                self.sweep_below(pk, *clear, Cost::default()).await
            };
            match damaged.pass(done)? {
                Some(done) => {
                    swept.cost += done.cost;
                    swept.records += done.records;
                    swept.sessions += 1;
                }
                None => drop(seen.damaged.insert(pk.clone())),
            }
        }
        let unnamed = seen.parts.iter().filter(|(id, _)| !seen.named.contains(*id)).flat_map(|(_, keys)| keys);
        for key in unnamed.filter(|key| !seen.damaged.contains(&key.pk)) {
            let mut retry = self.retry();
            retry!(retry, self.table.delete(key, &[], &mut swept.cost))?;
            swept.parts += 1;
        }
        for (key, session, is_old) in &seen.entries {
            if seen.damaged.contains(&self.common.partitions.session(session)) {
                continue;
            }
            match damaged.pass(self.sweep_entry(key, session, *is_old, &seen, &mut swept.cost).await)? {
                Some(Entries::Deleted) => swept.entries += 1,
                Some(Entries::Renewed) => swept.renewed += 1,
                Some(Entries::Left) | None => {}
            }
        }
        swept.unless(damaged)
    }

    /// Deletes an old directory entry that its session does not have; upgrades one of the previous version.
    async fn sweep_entry(
        &self,
        key: &Key,
        session: &SessionId,
        is_old: bool,
        seen: &Seen,
        cost: &mut Cost,
    ) -> Result<Entries, Error> {
        let pk = self.common.partitions.session(session);
        let is_its =
            |links: &Links| links.began.is_some_and(|began| self.entry_key(session, links.owner.as_ref(), began) == *key);
        let scanned = seen.newest.get(&pk).filter(|(_, links)| is_its(links));
        if scanned.is_some_and(|(_, links)| links.life.is_some()) {
            return Ok(Entries::Left);
        }
        let mut retry = self.retry();
        // The scan is not a single moment.
        let end = self.tail(&pk, cost, &mut retry).await?;
        if is_its(&end.links()) {
            return match self.renew_entry(&pk, key, &end, cost, &mut retry).await? {
                true => Ok(Entries::Renewed),
                false => Ok(Entries::Left),
            };
        }
        if !is_old {
            return Ok(Entries::Left);
        }
        retry!(retry, self.table.delete(key, &[], cost))?;
        Ok(Entries::Deleted)
    }

    fn abandoned_before(&self) -> Timestamp {
        self.clock.now().wall - ABANDONED
    }

    fn look_at(&self, item: &Item, seen: &mut Seen) -> Result<(), Error> {
        let Key { pk, sk } = &item.key;
        if let Some(id) = parts_id_of(sk) {
            let created_at = match item.attributes.get(CREATED_AT) {
                Some(AttributeValue::N(at)) => at.parse().map_or(Timestamp::MAX, Timestamp::from_millis),
                _ => Timestamp::MAX,
            };
            if created_at < self.abandoned_before() {
                seen.parts.entry(id.to_owned()).or_default().push(item.key.clone());
            }
        } else if sk.starts_with("t#") {
            let head = item::decode_without_messages(item)?;
            // A stub that still names its parts is as unfinished as a record without a stub.
            if !head.is_stub() || head.parts().is_some() {
                let oldest = seen.oldest_live.entry(pk.clone()).or_insert(head.seq);
                *oldest = head.seq.min(*oldest);
            }
            seen.ended.extend(head.links.ended.and_then(|_| self.common.partitions.session_of(pk)));
            if seen.newest.get(pk).is_none_or(|(seq, _)| *seq < head.seq) {
                seen.newest.insert(pk.clone(), (head.seq, head.links.clone()));
            }
            seen.named.extend(head.parts().map(|parts| parts.id.clone()));
            // Counts only clears that exist: what a stub says about one may be damaged, and what is swept is lost.
            if head.is_clear() {
                let newest = seen.clears.entry(pk.clone()).or_insert(head.seq);
                *newest = head.seq.max(*newest);
            } else if let Body::Record { rewind: Some(to), .. } = head.body
                && !head.is_blocker()
            {
                seen.rewinds.entry(pk.clone()).or_default().push((head.seq, to));
            }
        }
        Ok(())
    }
}
