//! Append: one conditional put at the number that comes next, repeated until it is known what became of it.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;

use super::cached_tail::CachedTail;
use super::item::{self, Body, Encoded, Head, Links, PURGED_AFTER_S, Stored};
use super::{Retry, Rule, Turns, retry};
use crate::names::{EXPIRES_AT, MAX_SEQ, TTL, part_sk, record_sk};
use crate::queue::turn_in;
use crate::table::{Change, Clock, Created, Item, Key, NewItem, Precondition, Table};
use chat_memory_core::SessionId;
use chat_memory_core::backend::Moment;
use chat_memory_core::backend::check_title;
use chat_memory_core::error::Error;
use chat_memory_core::store::{Append, AppendId, Appended, Identity, Lasts, Receipt, Record, Ticket};

/// How old an expected position may be. A record lives an hour at least and is purged a day later at the earliest.
const POSITION_LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

/// The wait between two tries that met another writer, growing to the second.
const FIRST_CONTENTION_MS: f64 = 5.0;
const LONGEST_CONTENTION_MS: f64 = 250.0;

/// One append under way.
pub(super) struct Attempt<'a> {
    pub(super) session: &'a SessionId,
    pub(super) append: &'a Append,
    pub(super) pk: String,
    pub(super) record: Record,
    /// Whether it ends the session: the clear of a delete.
    pub(super) ends: bool,
    /// For how long it keeps its session alive.
    pub(super) lasts: Lasts,
    /// The attribute by which the table purges, where that is known to be needed.
    pub(super) ttl: String,
    encoded: Encoded,
    /// The parts that were written, or may have been.
    parts: Vec<Key>,
    /// Where the append may already be: from this number on. `None` while it cannot be anywhere.
    pub(super) may_be_from: Option<u64>,
    /// Whether others may be appending the same (a key, a ticket): then it may turn up at any number.
    pub(super) shared: bool,
    /// The numbers at which a request is out that may have landed, or may yet.
    pub(super) in_doubt: BTreeSet<u64>,
    /// The time of the entry with which this append would start the session.
    pub(super) began: Option<i64>,
    /// The record that names an entry that was not there to be updated; after a second look at it, the session starts again.
    pub(super) without_entry: Option<(AppendId, bool)>,
    pub(super) receipt: Receipt,
}

/// What is written at a number: what the record says of its session, and what changes in the directory with it.
pub(super) struct Plan {
    pub(super) links: Links,
    pub(super) changes: Vec<Change>,
    /// What the delete of a session that is not there writes: a record that expires at this time (epoch seconds).
    pub(super) blocks_at: Option<i64>,
    /// Whether there is a session, as long as this is so.
    pub(super) existed: bool,
}

/// What a look at the log found.
pub(super) enum Found {
    /// The append is there already.
    Landed(Head),
    End(CachedTail),
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.append_or_end(session, append, false).await.map(|(appended, _)| appended)
    }

    /// Appends; where it ends the session, that is off the directory with the same request, and the next append starts it anew. Also whether
    /// there was a session.
    pub(super) async fn append_or_end(
        &self,
        session: &SessionId,
        append: &Append,
        ends: bool,
    ) -> Result<(Appended, bool), Error> {
        append.check()?;
        append.title().map_or(Ok(()), check_title)?;
        self.writable()?;
        let mut retry = self.retry();
        let _turn = turn_in(self.queues.as_ref(), session, &retry).await?;
        let mut receipt = Receipt::default();
        let now_ms = self.clock.now().wall_ms;
        let ttl = match self.settings.retention_s {
            None => String::new(),
            Some(_) => self.ttl_name(&mut receipt, &mut retry).await?,
        };
        let expires_at = append.expires_at(now_ms, self.settings.retention_s);
        let record = Record {
            seq: 0,
            append_id: append.id_in(session),
            created_at: now_ms,
            expires_at: expires_at.filter(|_| !append.messages().is_empty() || append.rewinds_to() != Some(0)),
            rewind: append.rewinds_to(),
            metadata: append.metadata().cloned(),
            sent_at: append.times().to_vec(),
            messages: append.messages().to_vec(),
        };
        let pk = self.settings.partitions.session(session);
        let encoded = item::encode(&pk, &record, &ttl, self.settings.limits)?;
        let shared = !matches!(append.identity(), Identity::New) && self.keeps(Rule::Ticket);
        let mut attempt = Attempt {
            session,
            append,
            pk,
            record,
            ends,
            lasts: Lasts::of(expires_at),
            ttl,
            encoded,
            parts: Vec::new(),
            may_be_from: None,
            shared,
            in_doubt: BTreeSet::new(),
            began: None,
            without_entry: None,
            receipt,
        };
        let result = self.settle(&mut attempt, &mut retry).await;
        match result {
            Ok(landed) => Ok(landed),
            Err(error) => Err(self.give_up(attempt, error).await),
        }
    }

    async fn settle(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<(Appended, bool), Error> {
        let mut tail = match self.first_look(attempt, retry).await? {
            Found::Landed(head) => return self.landed_before(attempt, &head, retry).await,
            Found::End(tail) => tail,
        };
        let mut met = 0_u32;
        loop {
            let now = self.clock.now();
            if retry.is_over() {
                return Err(Error::new(
                    chat_memory_core::ErrorKind::Contended,
                    format!("other writers kept the append from getting through in {} ms", retry.deadline_ms),
                ));
            }
            if self.keeps(Rule::CachedTailAge) && !tail.is_fresh(now) {
                match self.look_anew(attempt, retry).await? {
                    Found::Landed(head) => return self.landed_before(attempt, &head, retry).await,
                    Found::End(end) => tail = end,
                }
                continue;
            }
            let must_be_at =
                attempt.append.expected().filter(|_| attempt.append.rewinds_to().is_none() || self.keeps(Rule::RewindPosition));
            if let Some(expected) = must_be_at {
                // What was written since may have expired and been purged by now, and left its number free again.
                let too_old = now.wall_ms.saturating_sub(expected.read_at()) > POSITION_LIFETIME_MS;
                if too_old || !tail.is_at(expected) {
                    let conflict = Error::conflict(tail.position());
                    return Err(if too_old { conflict.context("the position is over a day old") } else { conflict });
                }
            }
            if tail.next > MAX_SEQ {
                return Err(Error::invalid("the session has as many records as its numbers can count; start another"));
            }
            // Of the record below this very number: another's record there may have started the session, or ended it.
            let plan = self.plan(attempt, &tail, retry).await?;
            let is_sure = tail.next == 0 || tail.is_solid(self.clock.now()) || !self.keeps(Rule::CheckBefore);
            if !(plan.changes.is_empty() && is_sure) {
                self.prefer_parts(attempt)?;
            }
            self.write_parts(attempt, retry).await?;
            let asked_at = self.clock.now();
            if self.keeps(Rule::CachedTailAge) && !tail.is_fresh(asked_at) || self.keeps(Rule::RecordAge) && retry.is_over() {
                continue;
            }
            #[cfg(test)]
            if plan.blocks_at.is_some() && !self.keeps(Rule::DeleteBlocks) {
                return Ok((Appended::new(tail.next, tail.position(), asked_at.wall_ms), false));
            }
            #[cfg_attr(not(test), expect(unused_mut, reason = "a test takes the changes out"))]
            let mut new = self.new_item(attempt, &tail, &plan, is_sure);
            #[cfg(test)]
            if !self.keeps(Rule::OneTransaction) {
                self.change_apart(std::mem::take(&mut new.changes), attempt, retry).await?;
            }
            let checked = new.precondition.is_some();
            match self.table.create(&new, &mut attempt.receipt).await {
                Ok(Created::Done) => {
                    let mut appended = self.landed(attempt, &tail, &plan, asked_at);
                    self.touch(attempt.session, &plan.links, &tail, &mut appended.receipt).await;
                    return Ok((appended, plan.existed));
                }
                Ok(Created::Taken(old)) => {
                    let head = self.head_of(&old, attempt.record.append_id)?;
                    if head.append_id == attempt.record.append_id && self.keeps(Rule::IdCheck) {
                        if attempt.shared && attempt.in_doubt.is_empty() {
                            return self.landed_before(attempt, &head, retry).await;
                        }
                        // It may be of another process, with another retention.
                        (attempt.record.expires_at, attempt.record.created_at) = (head.expires_at, head.created_at);
                        let plan = Plan { links: head.links, ..plan };
                        return Ok((self.landed(attempt, &tail, &plan, asked_at), plan.existed));
                    }
                    self.seen.extend(&attempt.pk, tail.last_id(), head.seq, head.append_id, head.created_at);
                    // The place is another's, so no earlier request of ours can land there any more.
                    attempt.in_doubt.remove(&head.seq);
                    attempt.may_be_from = attempt.in_doubt.first().copied().or(attempt.shared.then_some(head.seq + 1));
                    tail = CachedTail::after(&head, asked_at);
                    met += 1;
                    // Behind a record that may have been purged, the log may have grown again from a lower number, and have the append there.
                    let found = if attempt.shared && checked && self.keeps(Rule::TakenBehindPurged) {
                        Some(self.look_anew(attempt, retry).await?)
                    } else if met > 1 || attempt.append.expected().is_some() {
                        retry.wait((FIRST_CONTENTION_MS * f64::from(met)).min(LONGEST_CONTENTION_MS)).await;
                        Some(self.look(attempt, retry).await?)
                    } else {
                        None
                    };
                    match found {
                        Some(Found::Landed(head)) => return self.landed_before(attempt, &head, retry).await,
                        Some(Found::End(end)) => tail = end,
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
                    match self.look_anew(attempt, retry).await? {
                        Found::Landed(head) => return self.landed_before(attempt, &head, retry).await,
                        Found::End(end) => tail = end,
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
            attributes.insert(EXPIRES_AT.to_owned(), AttributeValue::N(at.to_string()));
            attributes.insert(attempt.ttl.clone(), AttributeValue::N((at + PURGED_AFTER_S).to_string()));
        }
        let before = || Precondition {
            key: Key { pk: attempt.pk.clone(), sk: record_sk(tail.next - 1) },
            written_by: tail.last.as_ref().map(|last| (last.append_id, last.created_at)),
        };
        NewItem {
            item: Item { key: Key { pk: attempt.pk.clone(), sk: record_sk(tail.next) }, attributes },
            precondition: (!is_sure).then(before),
            changes: plan.changes.clone(),
        }
    }

    /// Without its rule: the directory changes before the record is written, by requests of their own.
    #[cfg(test)]
    async fn change_apart(&self, changes: Vec<Change>, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<(), Error> {
        for change in changes {
            match change {
                Change::Put(item) => retry!(retry, self.table.put(&item, &mut attempt.receipt))?,
                Change::Delete(key) => retry!(retry, self.table.delete(&key, &mut attempt.receipt))?,
                Change::Update(key, set) => {
                    let set: Vec<_> = set.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
                    retry!(retry, self.table.update(&key, &set, None, &mut attempt.receipt)).map(drop)?;
                }
            }
        }
        Ok(())
    }

    /// Moves the messages of a larger record into parts, before it is written in a transaction.
    fn prefer_parts(&self, attempt: &mut Attempt<'_>) -> Result<(), Error> {
        if attempt.parts.is_empty() && attempt.encoded.parts.is_empty() {
            attempt.encoded = item::encode_in_parts(&attempt.pk, &attempt.record, &attempt.ttl, self.settings.limits)?;
        }
        Ok(())
    }

    /// The attribute by which the table purges.
    pub(super) async fn ttl_name(&self, receipt: &mut Receipt, retry: &mut Retry<'_, C>) -> Result<String, Error> {
        match retry!(retry, self.table.ttl_attribute(receipt)) {
            // Who may not ask still may clear and delete: what keeps an expiry under the usual name costs a hundred bytes at worst.
            Err(error) if error.is_access_denied() && self.settings.retention_s.is_none() => Ok(TTL.to_owned()),
            name => name,
        }
    }

    /// The parts of a large record, the first time. Nothing shows them until the record itself is there.
    async fn write_parts(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<(), Error> {
        for part in std::mem::take(&mut attempt.encoded.parts) {
            attempt.parts.push(part.key.clone());
            retry!(retry, self.table.put(&part, &mut attempt.receipt))?;
        }
        Ok(())
    }

    fn landed(&self, attempt: &mut Attempt<'_>, tail: &CachedTail, plan: &Plan, asked_at: Moment) -> Appended {
        let started = attempt.began.is_some() && attempt.began == plan.links.began;
        let Record { append_id, created_at, rewind, .. } = attempt.record;
        self.seen.extend(&attempt.pk, tail.last_id(), tail.next, append_id, created_at);
        let body = Body::Record { rewind, metadata: None, sent_at: Vec::new(), content: Stored::Here(Vec::new()) };
        let expires_at = attempt.record.expires_at.or(plan.blocks_at);
        let head =
            Head { seq: tail.next, append_id, created_at, expires_at, links: plan.links.clone(), after_expiring: false, body };
        let now = CachedTail::after(&head, asked_at);
        self.tails.learn(&attempt.pk, &now, asked_at);
        let mut appended = Appended::new(tail.next, now.position(), created_at);
        (appended.started, appended.receipt) = (started, attempt.receipt);
        appended
    }

    /// The answer where an earlier try, of this process or another, had landed.
    async fn landed_before(
        &self,
        attempt: &mut Attempt<'_>,
        head: &Head,
        retry: &mut Retry<'_, C>,
    ) -> Result<(Appended, bool), Error> {
        let asked_at = self.clock.now();
        let first_part = attempt.parts.first().map(|part| part.sk.as_str());
        let is_ours = head.parts().is_some_and(|parts| first_part == Some(&part_sk(&parts.id, 0)));
        if !is_ours {
            self.leave_parts(attempt).await;
        }
        // It is there, whoever wrote it: what fails from here on must not say that it is not, nor take its parts away.
        attempt.in_doubt.insert(head.seq);
        attempt.may_be_from = Some(attempt.may_be_from.map_or(head.seq, |from| from.min(head.seq)));
        if let Some(stored) = self.whole_record(&attempt.pk, head, &mut attempt.receipt, retry).await?
            && !attempt.append.is_body_of(&stored)
        {
            // Parts stay, which a late request may still show.
            attempt.parts.clear();
            attempt.in_doubt.clear();
            return Err(attempt.append.reused(head.seq));
        }
        let position = CachedTail::after(head, asked_at).position();
        let mut appended = Appended::new(head.seq, position, head.created_at);
        (appended.repeated, appended.receipt) = (true, attempt.receipt);
        Ok((appended, head.links.last_entry.is_some()))
    }

    /// What an append that gives up says: an error, or a ticket where a request may have landed or may yet.
    async fn give_up(&self, mut attempt: Attempt<'_>, error: Error) -> Error {
        self.tails.forget(&attempt.pk);
        if attempt.in_doubt.is_empty() {
            self.leave_parts(&mut attempt).await;
            return error;
        }
        let tried_at = match attempt.append.identity() {
            Identity::Ticket(ticket) => ticket.first_tried(),
            _ => attempt.record.created_at,
        };
        let ticket = Ticket::new(attempt.record.append_id, attempt.may_be_from.unwrap_or(0)).tried_at(tried_at);
        Error::in_doubt(ticket, &error).with_source(error)
    }

    /// Deletes the parts that were written where no record will ever show them, as far as it can: what remains is garbage that
    /// nobody reads. While a request for the record is out, they stay.
    async fn leave_parts(&self, attempt: &mut Attempt<'_>) {
        if attempt.in_doubt.is_empty() {
            for part in std::mem::take(&mut attempt.parts) {
                let _ = self.table.delete(&part, &mut attempt.receipt).await;
            }
        }
    }
}
