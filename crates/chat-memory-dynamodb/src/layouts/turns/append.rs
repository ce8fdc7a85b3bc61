//! Append: one conditional put at the next number, repeated until its outcome is known.

use crate::common::timing::{POSITION_LIFETIME, PURGED_AFTER};
use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::cached_tail::CachedTail;
use super::item::{self, Body, Encoded, Head, Links, Stored};
use super::{Retry, Rule, Turns, retry};
use crate::common::names::{APPEND_ID, ATTRIBUTES, CREATED_AT, EXPIRES_AT, MAX_SEQ, TTL, millis, part_sk, record_sk, secs};
use crate::common::sessions::in_doubt;
use crate::common::size::item_bytes;
use crate::table::{Change, Clock, Condition, Created, Item, Key, NewItem, Table};
use chat_memory_core::backend::Moment;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{Append, AppendId, Appended, Cost, Expiry, Identity, Position, Record};
use chat_memory_core::{SessionId, Timestamp};

/// One append in progress.
pub(super) struct Attempt<'a> {
    pub(super) session: &'a SessionId,
    pub(super) append: &'a Append,
    pub(super) pk: String,
    pub(super) record: Record,
    /// Whether it ends the session: the clear of a delete.
    pub(super) ends: bool,
    /// How long it keeps its session alive.
    pub(super) lasts: Expiry,
    /// The attribute by which the table purges, once it is known to be needed.
    pub(super) ttl: String,
    encoded: Encoded,
    /// The records that follow it in the same transaction.
    more: Vec<Encoded>,
    /// The parts that were written, or may have been.
    parts: Vec<Key>,
    /// The lowest number at which the append may already be. `None` while it cannot be anywhere.
    pub(super) may_be_from: Option<u64>,
    /// Whether others may be making the same append (a key, a ticket): then it may turn up at any number.
    pub(super) shared: bool,
    /// The numbers at which a request is in flight that may have landed, or still may.
    pub(super) in_doubt: BTreeSet<u64>,
    /// The start time of the entry that this append would create for the session.
    pub(super) began: Option<Timestamp>,
    /// The record whose entry was missing when it was to be updated, and whether that happened twice; then the session starts
    /// again.
    pub(super) without_entry: Option<(AppendId, bool)>,
    pub(super) cost: Cost,
}

impl Attempt<'_> {
    /// The number that comes next, if this is written after the tail.
    pub(super) fn next(&self, tail: &CachedTail) -> u64 {
        tail.next + 1 + self.more.len() as u64
    }
}

/// How many records one transaction can write: DynamoDB allows 100 items, and up to three others may be in it (the check of the
/// record below, the session's entry in the directory, and the entry that it replaces).
pub(super) const MAX_GROUP: usize = 97;

/// The largest sum of the items that one transaction may write, in bytes: DynamoDB's limit is 4 MB, of which this leaves some for
/// the others.
const MAX_GROUP_BYTES: usize = 3_500_000;

/// What is written at a number: what the record says about its session, and the directory changes that go with it.
pub(super) struct Plan {
    pub(super) links: Links,
    pub(super) changes: Vec<Change>,
    /// Set by the delete of a session that does not exist: the expiry of its record.
    pub(super) blocks_at: Option<Timestamp>,
    /// Whether the session exists, as long as the log's tail is unchanged.
    pub(super) existed: bool,
}

/// The result of a lookup in the log.
pub(super) enum Located {
    /// The append has already landed.
    Landed(Head),
    End(CachedTail),
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.append_or_end(session, append, &[], false).await.map(|(appended, _)| appended)
    }

    /// Appends several records in one transaction.
    pub(crate) async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        let (first, more) = Append::check_all(appends)?;
        if appends.len() > MAX_GROUP {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "cannot write {} records in one step: DynamoDB's transactions take up to {MAX_GROUP}; \
                     fork at an earlier record, or copy the session with export and import",
                    appends.len()
                ),
            ));
        }
        self.append_or_end(session, first, more, false).await.map(|(appended, _)| appended)
    }

    /// Appends. If `ends`, also removes the session from the directory in the same request, and the next append starts the session
    /// again. Writes the records of `more` after it in the same request. Also returns whether the session existed.
    pub(super) async fn append_or_end(
        &self,
        session: &SessionId,
        append: &Append,
        more: &[Append],
        ends: bool,
    ) -> Result<(Appended, bool), Error> {
        self.check(append)?;
        let mut retry = self.retry();
        let _turn = self.turn(session, &retry).await?;
        let mut cost = Cost::default();
        let now = self.clock.now().wall;
        let ttl = match self.common.retention {
            None => String::new(),
            Some(_) => self.ttl_name(&mut cost, &mut retry).await?,
        };
        let mut record = append.record(0, append.id_in(session), now, self.common.retention);
        let expires_at = record.expires_at;
        // A clear without entries never expires.
        record.expires_at = expires_at.filter(|_| !record.entries.is_empty() || record.rewind != Some(0));
        let pk = self.common.partitions.session(session);
        let encoded = item::encode(&pk, &record, &ttl, self.settings)?;
        let more = self.followers(&pk, &record, more, &ttl)?;
        let shared = !matches!(append.identity(), Identity::New) && self.keeps(Rule::Ticket);
        let mut attempt = Attempt {
            session,
            append,
            pk,
            record,
            ends,
            lasts: Expiry::of(expires_at),
            ttl,
            encoded,
            more,
            parts: Vec::new(),
            may_be_from: None,
            shared,
            in_doubt: BTreeSet::new(),
            began: None,
            without_entry: None,
            cost,
        };
        let result = self.settle(&mut attempt, &mut retry).await;
        match result {
            Ok(landed) => Ok(landed),
            Err(error) => Err(self.give_up(attempt, error).await),
        }
    }

    async fn settle(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<(Appended, bool), Error> {
        let mut tail = match self.locate_first(attempt, retry).await? {
            Located::Landed(head) => return self.landed_before(attempt, head, retry).await,
            Located::End(tail) => tail,
        };
        let mut met = 0_u32;
        loop {
            let now = self.clock.now();
            retry.check_contention()?;
            if self.keeps(Rule::CachedTailAge) && !tail.is_fresh(now) {
                match self.locate_again(attempt, retry).await? {
                    Located::Landed(head) => return self.landed_before(attempt, head, retry).await,
                    Located::End(end) => tail = end,
                }
                continue;
            }
            let must_be_at =
                attempt.append.expected().filter(|_| attempt.append.rewinds_to().is_none() || self.keeps(Rule::RewindPosition));
            if let Some(expected) = must_be_at {
                // Records written since may have expired and been purged by now, leaving their numbers free again.
                let too_old = now.wall.since(expected.read_at()) > POSITION_LIFETIME;
                if too_old || !tail.is_at(expected) {
                    let conflict = Error::conflict(tail.position());
                    return Err(if too_old { conflict.context("expired position: it is over a day old") } else { conflict });
                }
            }
            if tail.next + attempt.more.len() as u64 > MAX_SEQ {
                return Err(Error::invalid("session full: its record numbers are used up; start another session"));
            }
            // Based on the record below this very number: another writer's record there may have started the session, or ended it.
            let plan = self.plan(attempt, &tail, retry).await?;
            let is_sure = tail.next == 0 || tail.is_solid(self.clock.now()) || !self.keeps(Rule::CheckBefore);
            if !(plan.changes.is_empty() && is_sure && attempt.more.is_empty()) {
                self.prefer_parts(attempt)?;
            }
            self.write_parts(attempt, retry).await?;
            let asked_at = self.clock.now();
            if self.keeps(Rule::CachedTailAge) && !tail.is_fresh(asked_at) || self.keeps(Rule::RecordAge) && retry.is_over() {
                continue;
            }
            #[cfg(test)]
            if plan.blocks_at.is_some() && !self.keeps(Rule::DeleteBlocks) {
                return Ok((Appended::new(tail.next, tail.position(), asked_at.wall), false));
            }
            #[cfg_attr(not(test), expect(unused_mut, reason = "a test takes the changes out"))]
            let mut new = self.new_item(attempt, &tail, &plan, is_sure);
            #[cfg(test)]
            if !self.keeps(Rule::OneTransaction) {
                self.change_apart(std::mem::take(&mut new.changes), attempt, retry).await?;
            }
            let checked = new.precondition.is_some();
            match self.table.create(new, &mut attempt.cost).await {
                Ok(Created::Done) => {
                    attempt.cost.bytes += bytes_of(&attempt.pk, &attempt.more) as u64;
                    let mut appended = self.landed(attempt, &tail, &plan, asked_at);
                    self.touch(attempt.session, &plan.links, &tail, attempt.next(&tail), &mut appended.cost).await;
                    return Ok((appended, plan.existed));
                }
                Ok(Created::Taken(old)) => {
                    let head = self.head_of(&old, attempt.record.append_id)?;
                    if head.append_id == attempt.record.append_id && self.keeps(Rule::IdCheck) {
                        if attempt.shared && attempt.in_doubt.is_empty() {
                            return self.landed_before(attempt, head, retry).await;
                        }
                        // Another process, with another retention, may have written it.
                        (attempt.record.expires_at, attempt.record.created_at) = (head.expires_at, head.created_at);
                        let plan = Plan { links: head.links, ..plan };
                        return Ok((self.landed(attempt, &tail, &plan, asked_at), plan.existed));
                    }
                    self.known.recent_ids.extend(&attempt.pk, tail.last_id(), head.seq, head.append_id, head.created_at);
                    // The place is taken by another append, so no earlier request of ours can land there any more.
                    attempt.in_doubt.remove(&head.seq);
                    attempt.may_be_from = attempt.in_doubt.first().copied().or(attempt.shared.then_some(head.seq + 1));
                    tail = CachedTail::after(&head, asked_at);
                    met += 1;
                    // If the record below may have been purged, the log may have grown again from a lower number and contain the
                    // append there.
                    let found = if attempt.shared && checked && self.keeps(Rule::TakenBehindPurged) {
                        Some(self.locate_again(attempt, retry).await?)
                    } else if met > 1 || attempt.append.expected().is_some() {
                        // With an expected position the loss is the answer. The first loss to another writer is usually the only one: the
                        // next number is free, and trying it takes no read.
                        if met > 1 {
                            retry.wait_for_others(met, asked_at).await;
                        }
                        Some(self.locate(attempt, retry).await?)
                    } else {
                        None
                    };
                    match found {
                        Some(Located::Landed(head)) => return self.landed_before(attempt, head, retry).await,
                        Some(Located::End(end)) => tail = end,
                        None => {}
                    }
                }
                Ok(refused @ (Created::NoPrecondition | Created::NothingToUpdate)) => {
                    if refused == Created::NothingToUpdate {
                        attempt.without_entry = tail.last_id().map(|id| match attempt.without_entry {
                            Some((seen, _)) if seen == id => (id, true),
                            _ => (id, false),
                        });
                    }
                    match self.locate_again(attempt, retry).await? {
                        Located::Landed(head) => return self.landed_before(attempt, head, retry).await,
                        Located::End(end) => tail = end,
                    }
                }
                Err(fault) => {
                    if fault.may_have_landed {
                        attempt.in_doubt.insert(tail.next);
                        attempt.may_be_from = attempt.may_be_from.min(Some(tail.next)).or(Some(tail.next));
                    }
                    retry.after(fault).await?;
                }
            }
        }
    }

    fn new_item(&self, attempt: &Attempt<'_>, tail: &CachedTail, plan: &Plan, is_sure: bool) -> NewItem {
        let mut attributes = attempt.encoded.attributes.clone();
        item::link(&mut attributes, &plan.links, tail.last.as_ref().is_some_and(|last| last.expires_at.is_some()));
        if let Some(at) = plan.blocks_at {
            attributes.insert(EXPIRES_AT.to_owned(), secs(at));
            attributes.insert(attempt.ttl.clone(), secs(at + PURGED_AFTER));
        }
        let before = || {
            // A key that is reused after a day produces the same id again, so the time counts, too.
            let created_at = |at: Timestamp| Condition::equals(CREATED_AT, Some(millis(at)));
            let as_seen = tail.last.iter().flat_map(|last| [written_by(last.append_id), created_at(last.created_at)]);
            let key = Key { pk: attempt.pk.clone(), sk: record_sk(tail.next - 1) };
            (key, std::iter::once(Condition::Exists).chain(as_seen).collect())
        };
        let last = tail.next + attempt.more.len() as u64;
        let followers = (tail.next + 1..).zip(&attempt.more).map(|(seq, encoded)| {
            let mut attributes = encoded.attributes.clone();
            item::link(&mut attributes, &plan.links, false);
            item::mark_group(&mut attributes, tail.next, last);
            Change::Put(Item { key: Key { pk: attempt.pk.clone(), sk: record_sk(seq) }, attributes })
        });
        if !attempt.more.is_empty() {
            item::mark_group(&mut attributes, tail.next, last);
        }
        NewItem {
            item: Item { key: Key { pk: attempt.pk.clone(), sk: record_sk(tail.next) }, attributes },
            precondition: (!is_sure).then(before),
            // Their places are free where the first one is: the log has no records above its end.
            changes: plan.changes.iter().cloned().chain(followers).collect(),
        }
    }

    /// Encodes the records that follow the first one of an append.
    fn followers(&self, pk: &str, first: &Record, more: &[Append], ttl: &str) -> Result<Vec<Encoded>, Error> {
        let encode = |(n, append): (u64, &Append)| {
            let record = append.record(0, first.append_id.following(n), first.created_at, self.common.retention);
            item::encode_in_parts(pk, &record, ttl, self.settings)
        };
        let followers: Vec<Encoded> = (1..).zip(more).map(encode).collect::<Result<_, _>>()?;
        let bytes = bytes_of(pk, &followers);
        if bytes > MAX_GROUP_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "cannot write {bytes} bytes of metadata and times in one step: DynamoDB's transactions take up to 4 MB; \
                     fork at an earlier record, or copy the session with export and import"
                ),
            ));
        }
        Ok(followers)
    }

    /// With the rule taken out: changes the directory before the record is written, in separate requests.
    #[cfg(test)]
    async fn change_apart(&self, changes: Vec<Change>, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<(), Error> {
        for change in changes {
            match change {
                Change::Put(item) => drop(retry!(retry, self.table.put(&item, &[], &mut attempt.cost))?),
                Change::Delete(key) => drop(retry!(retry, self.table.delete(&key, &[], &mut attempt.cost))?),
                Change::Update(update) => drop(retry!(retry, self.table.update(&update, &mut attempt.cost))?),
            }
        }
        Ok(())
    }

    /// Moves the messages of a larger record into parts before it is written in a transaction.
    fn prefer_parts(&self, attempt: &mut Attempt<'_>) -> Result<(), Error> {
        if attempt.parts.is_empty() && attempt.encoded.parts.is_empty() {
            attempt.encoded = item::encode_in_parts(&attempt.pk, &attempt.record, &attempt.ttl, self.settings)?;
        }
        Ok(())
    }

    /// The attribute by which the table purges.
    pub(super) async fn ttl_name(&self, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<String, Error> {
        match retry!(retry, self.table.ttl_attribute(&ATTRIBUTES, cost)) {
            // Credentials that may not ask for it may still clear and delete. At worst, an item with its expiry under the usual
            // name is never purged: a hundred bytes.
            Err(error) if error.is_access_denied() && self.common.retention.is_none() => Ok(TTL.to_owned()),
            // If TTL is off nothing is purged; the usual name is ready for when it is turned on.
            name => Ok(name?.unwrap_or_else(|| TTL.to_owned())),
        }
    }

    /// Writes the parts of a large record, the first time. They are invisible until the record itself is written.
    async fn write_parts(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<(), Error> {
        let followers = attempt.more.iter_mut().flat_map(|encoded| std::mem::take(&mut encoded.parts));
        let parts: Vec<Item> = std::mem::take(&mut attempt.encoded.parts).into_iter().chain(followers).collect();
        for part in parts {
            attempt.parts.push(part.key.clone());
            retry!(retry, self.table.put(&part, &[], &mut attempt.cost))?;
        }
        Ok(())
    }

    fn landed(&self, attempt: &mut Attempt<'_>, tail: &CachedTail, plan: &Plan, asked_at: Moment) -> Appended {
        let started = attempt.began.is_some() && attempt.began == plan.links.began;
        let Record { append_id, created_at, rewind, .. } = attempt.record;
        let after = attempt.more.len() as u64;
        let mut before = tail.last_id();
        for n in 0..=after {
            let id = append_id.following(n);
            self.known.recent_ids.extend(&attempt.pk, before, tail.next + n, id, created_at);
            before = Some(id);
        }
        let body = Body::Record { rewind, metadata: None, sent_at: Vec::new(), content: Stored::Here(Vec::new()) };
        let expires_at = attempt.record.expires_at.or(plan.blocks_at);
        let (seq, append_id, links) = (tail.next + after, append_id.following(after), plan.links.clone());
        let head = Head {
            seq,
            append_id,
            created_at,
            expires_at,
            links,
            after_expiring: false,
            group: None,
            rev: None,
            old_parts: None,
            body,
        };
        let now = CachedTail::after(&head, asked_at);
        self.known.tails.learn(&attempt.pk, &now, asked_at);
        let mut appended = Appended::new(tail.next, now.position(), created_at);
        (appended.started, appended.cost) = (started, attempt.cost);
        appended
    }

    /// The result if an earlier attempt, by this process or another, has landed.
    async fn landed_before(
        &self,
        attempt: &mut Attempt<'_>,
        mut head: Head,
        retry: &mut Retry<'_, C>,
    ) -> Result<(Appended, bool), Error> {
        let asked_at = self.clock.now();
        let first_part = attempt.parts.first().map(|part| part.sk.as_str());
        // Of several records, the first one does not name the parts of the others.
        let is_ours = !attempt.more.is_empty() || head.parts().is_some_and(|parts| first_part == Some(&part_sk(&parts.id, 0)));
        if !is_ours {
            self.leave_parts(attempt).await;
        }
        // It has landed, whoever wrote it. An error from here on must not say otherwise, nor delete its parts.
        attempt.in_doubt.insert(head.seq);
        attempt.may_be_from = Some(attempt.may_be_from.map_or(head.seq, |from| from.min(head.seq)));
        if let Some(stored) = self.whole_record(&attempt.pk, &mut head, &mut attempt.cost, retry).await?
            && !attempt.append.is_body_of(&stored)
        {
            // Parts stay, since a late request may still make them visible.
            attempt.parts.clear();
            attempt.in_doubt.clear();
            return Err(attempt.append.reused(head.seq));
        }
        let after = attempt.more.len() as u64;
        let position = Position::new(head.seq + after + 1, Some(head.append_id.following(after)), asked_at.wall);
        let mut appended = Appended::new(head.seq, position, head.created_at);
        (appended.repeated, appended.cost) = (true, attempt.cost);
        Ok((appended, head.links.last_entry.is_some()))
    }

    /// The error of an append that gives up, with a ticket if a request may have landed or still may.
    async fn give_up(&self, mut attempt: Attempt<'_>, error: Error) -> Error {
        self.known.tails.forget(&attempt.pk);
        if attempt.in_doubt.is_empty() {
            self.leave_parts(&mut attempt).await;
            return error;
        }
        let Record { append_id, created_at, .. } = attempt.record;
        in_doubt(attempt.append, append_id, attempt.may_be_from.unwrap_or(0), created_at, error)
    }

    /// Deletes, as far as possible, written parts that no record will ever name; what remains is garbage that is never read. They
    /// stay while a request for the record is in flight.
    async fn leave_parts(&self, attempt: &mut Attempt<'_>) {
        if attempt.in_doubt.is_empty() {
            for part in std::mem::take(&mut attempt.parts) {
                let _ = self.table.delete(&part, &[], &mut attempt.cost).await;
            }
        }
    }
}

/// The bytes of the items of these records, without what depends on their numbers.
fn bytes_of(pk: &str, records: &[Encoded]) -> usize {
    let item = |encoded: &Encoded| {
        let key = Key { pk: pk.to_owned(), sk: record_sk(0) };
        item_bytes(&Item { key, attributes: encoded.attributes.clone() })
    };
    records.iter().map(item).sum()
}

/// The condition that this append wrote the item.
pub(super) fn written_by(append_id: AppendId) -> Condition {
    Condition::equals(APPEND_ID, Some(AttributeValue::B(Blob::new(append_id.as_bytes()))))
}
