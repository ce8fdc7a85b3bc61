//! What appends and deletes change in the directory, which has one entry a session, in partitions of its own, newest first.
//!
//! But for a change of title or metadata, every write to an entry is in one transaction with a record of its session: so the log orders
//! them. The rules are those of docs/design.md, "The directory".

use aws_sdk_dynamodb::types::AttributeValue;

use super::append::{Attempt, Plan};
use super::cached_tail::CachedTail;
use super::item::{self, Life, Links};
use super::{Retry, Rule, Turns, retry};
use crate::names::*;
use crate::table::{Attributes, Change, Clock, Item, Key, Range, Table, Updated};
use chat_memory_core::error::Error;
use chat_memory_core::store::{Lasts, Receipt};
use chat_memory_core::{Owner, SessionId};

/// By how much an entry may be listed longer than its session surely lasts: a tenth of the retention, at most this. With the hour below
/// it, an entry is purged no later than the last record of its session, which DynamoDB keeps for a day.
const MOST_MARGIN_S: i64 = 23 * 60 * 60;

/// How long what a delete of nothing wrote lives, in seconds: an hour as any record at the least, so that it is purged no earlier than the
/// positions of before it are too old.
const BLOCKS_S: i64 = 60 * 60;

/// How long DynamoDB keeps an entry after it is hidden, in seconds.
const ENTRY_PURGED_AFTER_S: i64 = 60 * 60;

/// How often the time of a session's last activity is written, in milliseconds.
const ACTIVITY_MS: i64 = 60 * 60 * 1000;

impl<T: Table, C: Clock> Turns<T, C> {
    pub(super) fn entry_key(&self, session: &SessionId, owner: Option<&Owner>, began: i64) -> Key {
        Key { pk: self.settings.partitions.directory(owner, shard(session)), sk: entry_sk(began, session) }
    }

    /// Until when an entry may be listed whose session surely lasts until then.
    fn listed(&self, sure: Lasts) -> Lasts {
        let Lasts::Until(at) = sure else { return Lasts::Forever };
        let retention_s = self.settings.retention_s.map_or(0, |s| i64::try_from(s).unwrap_or(i64::MAX));
        Lasts::Until(at.saturating_add((retention_s / 10).min(MOST_MARGIN_S)))
    }

    /// What an entry says of how long it is listed.
    async fn listing(
        &self,
        sure: Lasts,
        listed: Lasts,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Vec<(String, Option<AttributeValue>)>, Error> {
        let number = |at: i64| Some(AttributeValue::N(at.to_string()));
        let hidden = listed.seconds();
        let ttl = self.ttl_name(receipt, retry).await?;
        let purged = hidden.map(|at| at.saturating_add(ENTRY_PURGED_AFTER_S));
        Ok(vec![
            (SURE_UNTIL.to_owned(), number(sure.seconds().unwrap_or(0))),
            (EXPIRES_AT.to_owned(), hidden.and_then(number)),
            (ttl, purged.and_then(number)),
        ])
    }

    /// What an append writes behind this end of the log: whether it continues the session, starts one, or ends it.
    pub(super) async fn plan(
        &self,
        attempt: &mut Attempt<'_>,
        tail: &CachedTail,
        retry: &mut Retry<'_, C>,
    ) -> Result<Plan, Error> {
        let below = tail.links();
        let now = self.clock.now();
        let now_s = now.wall_ms.div_euclid(1000);
        let life = self.life(&attempt.pk, tail, &mut attempt.receipt, retry).await?;
        let is_forced = tail.last_id().is_some_and(|id| attempt.without_entry == Some((id, true)));
        let lives = life.filter(|life| !life.lasts.has_passed(now_s) || !self.keeps(Rule::ExpiredStartsAnew));
        let existed = lives.is_some();
        let entry_below = below.began.or(below.ended).map(|at| self.entry_key(attempt.session, below.owner.as_ref(), at));
        if attempt.ends {
            let links = Links { last_entry: below.entry_before(), ..Links::default() };
            let changes = entry_below.into_iter().map(Change::Delete).collect();
            let blocks_at = below.began.is_none().then_some(now_s + BLOCKS_S);
            if blocks_at.is_some() {
                attempt.ttl = self.ttl_name(&mut attempt.receipt, retry).await?;
            }
            return Ok(Plan { links, changes, blocks_at, existed });
        }
        if let (Some(began), Some(life), false) = (below.began, lives, is_forced) {
            let lasts = if self.keeps(Rule::LatestExpiry) { life.lasts.max(attempt.lasts) } else { attempt.lasts };
            let (mut listed, mut changes) = (life.listed, Vec::new());
            if lasts > listed && self.keeps(Rule::Raise) {
                listed = self.listed(lasts);
                let set = self.listing(lasts, listed, &mut attempt.receipt, retry).await?;
                let key = self.entry_key(attempt.session, below.owner.as_ref(), began);
                changes.push(Change::Update(key, set));
            }
            let links = Links { began: Some(began), owner: below.owner, life: Some(Life { lasts, listed }), ..Links::default() };
            return Ok(Plan { links, changes, blocks_at: None, existed });
        }
        // Later than the entry that ended: nothing that is still under way to that one can meet this one.
        let earliest = below.entry_before().filter(|_| self.keeps(Rule::EntryIsNew)).map_or(i64::MIN, |at| at + 1);
        let began = attempt.began.unwrap_or_else(|| attempt.append.starts_at(attempt.record.created_at)).max(earliest);
        attempt.began = Some(began);
        let owner = attempt.append.owner().cloned();
        let (lasts, listed) = (attempt.lasts, self.listed(attempt.lasts));
        let mut attributes = Attributes::from([(VERSION.to_owned(), AttributeValue::N(FORMAT_VERSION.to_string()))]);
        attributes.extend(attempt.append.title().map(|title| (TITLE.to_owned(), AttributeValue::S(title.to_owned()))));
        let set = match lasts {
            // Without a retention nobody need ask by which attribute the table purges.
            Lasts::Forever => vec![(SURE_UNTIL.to_owned(), Some(AttributeValue::N("0".to_owned())))],
            Lasts::Until(_) => self.listing(lasts, listed, &mut attempt.receipt, retry).await?,
        };
        attributes.extend(set.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let entry = Item { key: self.entry_key(attempt.session, owner.as_ref(), began), attributes };
        let mut changes = vec![Change::Put(entry)];
        changes.extend(entry_below.map(Change::Delete));
        let links = Links { began: Some(began), owner, life: Some(Life { lasts, listed }), ..Links::default() };
        Ok(Plan { links, changes, blocks_at: None, existed })
    }

    /// How long the session lasts that this end of the log belongs to; `None` where there is none.
    async fn life(
        &self,
        pk: &str,
        tail: &CachedTail,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Life>, Error> {
        let Some(last) = tail.last.as_ref().filter(|last| last.links.began.is_some()) else { return Ok(None) };
        if last.links.life.is_some() {
            return Ok(last.links.life);
        }
        // A record of the version before: the log tells how long its session lasts, and what its entry says may be wrong.
        let lasts = match last.expires_at {
            None => Lasts::Forever,
            Some(_) => self.longest(pk, &last.links, receipt, retry).await?,
        };
        Ok(Some(Life { lasts, listed: Lasts::Until(i64::MIN) }))
    }

    /// The latest expiry of the records at the log's end that name this entry.
    async fn longest(&self, pk: &str, links: &Links, receipt: &mut Receipt, retry: &mut Retry<'_, C>) -> Result<Lasts, Error> {
        const ASKED: [&str; 10] =
            [VERSION, APPEND_ID, CREATED_AT, EXPIRES_AT, REWIND, CLEARED_BY, BEGAN, OWNER, LASTS_UNTIL, LISTED_UNTIL];
        let range = Range { only: Some(&ASKED), ..records(pk.to_owned(), 0, MAX_SEQ) };
        let (mut after, mut longest) = (None, Lasts::Until(i64::MIN));
        loop {
            let page = retry!(retry, self.table.page(&range, after.as_deref(), receipt))?;
            for item in &page.items {
                let head = item::decode_without_messages(item)?;
                if head.links.began != links.began || longest == Lasts::Forever {
                    return Ok(longest);
                }
                if !head.is_stub() {
                    longest = longest.max(head.links.life.map_or(Lasts::of(head.expires_at), |life| life.lasts));
                }
            }
            after = page.after;
            if after.is_none() {
                return Ok(longest);
            }
        }
    }

    /// Notes in its entry that a session is in use, in the first record of each hour of its life. A hint for the order of a list: it is tried
    /// once, and where that fails, the next hour's first record does it.
    pub(super) async fn touch(&self, session: &SessionId, links: &Links, below: &CachedTail, receipt: &mut Receipt) {
        let (Some(began), Some(last)) = (links.began, &below.last) else { return };
        let now_ms = self.clock.now().wall_ms;
        let hour = |ms: i64| ms.saturating_sub(began).div_euclid(ACTIVITY_MS);
        if last.links.began != links.began || hour(now_ms) <= hour(last.created_at) {
            return;
        }
        let set = [(LAST_AT, Some(AttributeValue::N(now_ms.to_string())))];
        let _ = self.table.update(&self.entry_key(session, links.owner.as_ref(), began), &set, None, receipt).await;
    }

    /// The session that an end of the log belongs to, if it has not expired: when its entry was made.
    pub(super) async fn living(
        &self,
        pk: &str,
        tail: &CachedTail,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<i64>, Error> {
        let life = self.life(pk, tail, receipt, retry).await?;
        let now_s = self.clock.now().wall_ms.div_euclid(1000);
        Ok(life.filter(|life| !life.lasts.has_passed(now_s)).and(tail.links().began))
    }

    /// Brings an entry of the version before into today's form, if the session at whose log's end it is named still has it so. Whether it did.
    pub(super) async fn renew_entry(
        &self,
        pk: &str,
        key: &Key,
        end: &CachedTail,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<bool, Error> {
        let Some(Life { lasts, .. }) = self.life(pk, end, receipt, retry).await? else { return Ok(false) };
        let set = self.listing(lasts, self.listed(lasts), receipt, retry).await?;
        let set: Vec<_> = set.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        // A record that came since has brought it into this form itself, with a later time.
        let updated = retry!(retry, self.table.update(key, &set, Some((SURE_UNTIL, None)), receipt))?;
        Ok(matches!(updated, Updated::Done(_)))
    }
}
