//! The directory changes that appends and deletes make. It has one entry per session, in partitions of its own, newest first.
//!
//! Every write to an entry, except a change of title or metadata, is in one transaction with a record of its session, so the log
//! orders them. docs/design.md lists the rules under "The directory".

use std::time::Duration;

use crate::common::timing::{ACTIVITY_MS, BLOCKS, ENTRY_MARGIN, ENTRY_PURGED_AFTER};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use super::append::{Attempt, Plan};
use super::cached_tail::CachedTail;
use super::item::{self, Life, Links};
use super::{Retry, Rule, Turns, retry};
use crate::common::names::*;
use crate::common::size::{item_bytes, value_bytes, write_units};
use crate::table::{Attributes, Change, Clock, Condition, Item, Key, Range, Table, Update, Updated};
use chat_memory_core::error::Error;
use chat_memory_core::store::{Cost, Expiry};
use chat_memory_core::{Owner, SessionId, Timestamp};

impl<T: Table, C: Clock> Turns<T, C> {
    pub(super) fn entry_key(&self, session: &SessionId, owner: Option<&Owner>, began: Timestamp) -> Key {
        Key { pk: self.common.partitions.directory(owner, shard(session)), sk: entry_sk(began, session) }
    }

    /// Until when an entry may be listed if its session is known to last until `sure`.
    fn listed(&self, sure: Expiry) -> Expiry {
        let Expiry::Until(at) = sure else { return Expiry::Forever };
        let tenth = Duration::from_secs(self.common.retention.unwrap_or_default().as_secs() / 10);
        Expiry::Until(at + tenth.min(ENTRY_MARGIN))
    }

    /// The attributes of an entry that say how long it is listed.
    async fn listing(
        &self,
        sure: Expiry,
        listed: Expiry,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Vec<(String, Option<AttributeValue>)>, Error> {
        let hidden = listed.at();
        let ttl = self.ttl_name(cost, retry).await?;
        let purged = hidden.map(|at| secs(at + ENTRY_PURGED_AFTER));
        Ok(vec![
            (SURE_UNTIL.to_owned(), Some(secs(sure.at().unwrap_or(Timestamp::UNIX_EPOCH)))),
            (EXPIRES_AT.to_owned(), hidden.map(secs)),
            (ttl, purged),
        ])
    }

    /// Decides what an append writes after this tail: whether it continues the session, starts one, or ends it.
    pub(super) async fn plan(
        &self,
        attempt: &mut Attempt<'_>,
        tail: &CachedTail,
        retry: &mut Retry<'_, C>,
    ) -> Result<Plan, Error> {
        let below = tail.links();
        let now = self.clock.now().wall;
        let life = self.life(&attempt.pk, tail, &mut attempt.cost, retry).await?;
        let is_forced = tail.last_id().is_some_and(|id| attempt.without_entry == Some((id, true)));
        let lives = life.filter(|life| !life.lasts.is_over(now) || !self.keeps(Rule::ExpiredStartsAnew));
        let existed = lives.is_some();
        let entry_below = below.began.or(below.ended).map(|at| self.entry_key(attempt.session, below.owner.as_ref(), at));
        if attempt.ends {
            let links = Links { last_entry: below.entry_before(), ..Links::default() };
            let changes = entry_below.into_iter().map(Change::Delete).collect();
            let blocks_at = if below.began.is_none() { now.expires_after(BLOCKS) } else { None };
            if blocks_at.is_some() {
                attempt.ttl = self.ttl_name(&mut attempt.cost, retry).await?;
            }
            return Ok(Plan { links, changes, blocks_at, existed });
        }
        if let (Some(began), Some(life), false) = (below.began, lives, is_forced) {
            let lasts = if self.keeps(Rule::LatestExpiry) { life.lasts.max(attempt.lasts) } else { attempt.lasts };
            let (mut listed, mut changes) = (life.listed, Vec::new());
            if lasts > listed && self.keeps(Rule::Raise) {
                listed = self.listed(lasts);
                let mut set = self.listing(lasts, listed, &mut attempt.cost, retry).await?;
                set.push((NEXT_SEQ.to_owned(), Some(number(attempt.next(tail)))));
                let key = self.entry_key(attempt.session, below.owner.as_ref(), began);
                changes.push(Change::Update(of_existing(key, set)));
            }
            let links = Links { began: Some(began), owner: below.owner, life: Some(Life { lasts, listed }), ..Links::default() };
            return Ok(Plan { links, changes, blocks_at: None, existed });
        }
        // Later than the entry that ended, so that nothing still in flight to that entry can reach this one.
        let earliest = below
            .entry_before()
            .filter(|_| self.keeps(Rule::EntryIsNew))
            .map_or(Timestamp::MIN, |at| at + Duration::from_millis(1));
        let began = attempt.began.unwrap_or_else(|| attempt.append.starts_at(attempt.record.created_at)).max(earliest);
        attempt.began = Some(began);
        let owner = attempt.append.owner().cloned();
        let (lasts, listed) = (attempt.lasts, self.listed(attempt.lasts));
        let mut attributes = Attributes::from([(VERSION.to_owned(), AttributeValue::N(MESSAGES_VERSION.to_string()))]);
        attributes.extend(attempt.append.title().map(|title| (TITLE.to_owned(), AttributeValue::S(title.to_owned()))));
        let metadata = attempt.append.session_metadata().map(|fields| Value::Object(fields.clone()).to_string());
        attributes.extend(metadata.map(|json| (METADATA.to_owned(), AttributeValue::S(json))));
        let set = match lasts {
            // Without a retention, the table's TTL attribute need not be requested.
            Expiry::Forever => vec![(SURE_UNTIL.to_owned(), Some(AttributeValue::N("0".to_owned())))],
            Expiry::Until(_) => self.listing(lasts, listed, &mut attempt.cost, retry).await?,
        };
        attributes.extend(set.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let mut entry = Item { key: self.entry_key(attempt.session, owner.as_ref(), began), attributes };
        let numbers = [(FIRST_SEQ, tail.next), (NEXT_SEQ, attempt.next(tail))].map(|(name, seq)| (name.to_owned(), number(seq)));
        // They must not cost a unit.
        let more: usize = numbers.iter().map(|(name, value)| name.len() + value_bytes(value)).sum();
        let bytes = item_bytes(&entry);
        if write_units(bytes + more) == write_units(bytes) {
            entry.attributes.extend(numbers);
        }
        let mut changes = vec![Change::Put(entry)];
        changes.extend(entry_below.map(Change::Delete));
        let links = Links { began: Some(began), owner, life: Some(Life { lasts, listed }), ..Links::default() };
        Ok(Plan { links, changes, blocks_at: None, existed })
    }

    /// How long the session at this tail lasts; `None` if there is none.
    async fn life(&self, pk: &str, tail: &CachedTail, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<Option<Life>, Error> {
        let Some(last) = tail.last.as_ref().filter(|last| last.links.began.is_some()) else { return Ok(None) };
        if last.links.life.is_some() {
            return Ok(last.links.life);
        }
        // A record of the previous version: the log shows how long its session lasts, and its entry's times may be wrong.
        let lasts = match last.expires_at {
            None => Expiry::Forever,
            Some(_) => self.longest(pk, &last.links, cost, retry).await?,
        };
        Ok(Some(Life { lasts, listed: Expiry::Until(Timestamp::MIN) }))
    }

    /// The latest expiry of the records at the log's tail that name this entry.
    async fn longest(&self, pk: &str, links: &Links, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<Expiry, Error> {
        const ASKED: [&str; 10] =
            [VERSION, APPEND_ID, CREATED_AT, EXPIRES_AT, REWIND, CLEARED_BY, BEGAN, OWNER, LASTS_UNTIL, LISTED_UNTIL];
        let range = Range { only: Some(&ASKED), ..records(pk.to_owned(), 0, MAX_SEQ) };
        let (mut after, mut longest) = (None, Expiry::Until(Timestamp::MIN));
        loop {
            let page = retry!(retry, self.table.page(&range, after.as_deref(), cost))?;
            for item in &page.items {
                let head = item::decode_without_messages(item)?;
                if head.links.began != links.began || longest == Expiry::Forever {
                    return Ok(longest);
                }
                if !head.is_stub() {
                    longest = longest.max(head.links.life.map_or(Expiry::of(head.expires_at), |life| life.lasts));
                }
            }
            after = page.after;
            if after.is_none() {
                return Ok(longest);
            }
        }
    }

    /// Updates the entry's last activity and number of records, with the first record of each hour of the session's life. It is only a hint for sorting,
    /// so it is tried once; if that fails, the next hour's first record does it.
    pub(super) async fn touch(&self, session: &SessionId, links: &Links, below: &CachedTail, next: u64, cost: &mut Cost) {
        let (Some(began), Some(last)) = (links.began, &below.last) else { return };
        let now = self.clock.now().wall;
        // Below zero for what a clock that is behind wrote.
        let hour = |at: Timestamp| at.as_millis().saturating_sub(began.as_millis()).div_euclid(ACTIVITY_MS);
        if last.links.began != links.began || hour(now) <= hour(last.created_at) {
            return;
        }
        let set = vec![(LAST_AT.to_owned(), Some(millis(now))), (NEXT_SEQ.to_owned(), Some(number(next)))];
        let _ = self.table.update(&of_existing(self.entry_key(session, links.owner.as_ref(), began), set), cost).await;
    }

    /// When the entry of the session at this tail was created, if that session has not expired.
    pub(super) async fn living(
        &self,
        pk: &str,
        tail: &CachedTail,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Timestamp>, Error> {
        let life = self.life(pk, tail, cost, retry).await?;
        let now = self.clock.now().wall;
        Ok(life.filter(|life| !life.lasts.is_over(now)).and(tail.links().began))
    }

    /// Upgrades an entry of the previous version to the current form, if the session whose tail names it still has it in that form.
    /// Returns whether it did.
    pub(super) async fn renew_entry(
        &self,
        pk: &str,
        key: &Key,
        end: &CachedTail,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<bool, Error> {
        let Some(Life { lasts, .. }) = self.life(pk, end, cost, retry).await? else { return Ok(false) };
        let set = self.listing(lasts, self.listed(lasts), cost, retry).await?;
        let mut update = of_existing(key.clone(), set);
        // A record written since has upgraded it already, with a later time.
        update.conditions.push(Condition::equals(SURE_UNTIL, None));
        let updated = retry!(retry, self.table.update(&update, cost))?;
        Ok(matches!(updated, Updated::Done(_)))
    }
}

/// A record's number, as an attribute.
fn number(seq: u64) -> AttributeValue {
    AttributeValue::N(seq.to_string())
}

/// A change of an item, if there is one.
pub(super) fn of_existing(key: Key, set: Vec<(String, Option<AttributeValue>)>) -> Update {
    Update { key, conditions: vec![Condition::Exists], set, ..Update::default() }
}
