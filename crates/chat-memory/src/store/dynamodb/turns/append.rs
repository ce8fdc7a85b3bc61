//! Append: one conditional put at the number that comes next, repeated until it is known what became of it.

use std::collections::BTreeSet;

use super::belief::{Belief, Last};
use super::item::{self, Body, Encoded, Head, Links, Stored};
use super::{Patience, Rule, Turns, persist};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::directory::check_title;
use crate::store::dynamodb::names::{MAX_SEQ, part_sk, record_sk};
use crate::store::dynamodb::table::{Beside, Clock, Created, Item, Key, NewItem, Table};
use crate::store::position::Moment;
use crate::store::{Append, Appended, Identity, Receipt, Record, Ticket};

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
    pub(super) encoded: Encoded,
    /// The parts that were written, or may have been.
    pub(super) parts: Vec<Key>,
    /// Where the append may already be: from this number on. `None` while it cannot be anywhere.
    pub(super) may_be_from: Option<u64>,
    /// Whether others may be appending the same (a key, a ticket): then it may turn up at any number.
    pub(super) shared: bool,
    /// The numbers at which a request is out that may have landed, or may yet.
    pub(super) in_doubt: BTreeSet<u64>,
    /// The directory entry that this append made for a new session.
    pub(super) began: Option<i64>,
    /// When the next entry of this append may begin at the earliest: after one that it took back, so that a deletion under way
    /// never meets the new one.
    pub(super) may_begin: i64,
    pub(super) receipt: Receipt,
}

/// What a look at the log found.
pub(super) enum Found {
    /// The append is there already.
    Landed(Head),
    End(Belief),
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.append_linked(session, append, true).await
    }

    /// Appends; with `linked` false the record ends the session: the next one starts it anew. The record says then which entry of the
    /// directory is to go.
    pub(super) async fn append_linked(&self, session: &SessionId, append: &Append, linked: bool) -> Result<Appended, Error> {
        append.check()?;
        append.title().map_or(Ok(()), check_title)?;
        self.writable()?;
        let mut patience = self.patience();
        let _turn = self.turn(session, &patience).await?;
        let mut receipt = Receipt::default();
        let now_ms = self.clock.now().wall_ms;
        let ttl = match self.settings.retention_s {
            None => String::new(),
            Some(_) => persist!(patience, self.table.ttl_attribute(&mut receipt))?,
        };
        let record = Record {
            seq: 0,
            append_id: append.id_in(session),
            created_at: now_ms,
            expires_at: append
                .expires_at(now_ms, self.settings.retention_s)
                .filter(|_| !append.messages().is_empty() || append.rewinds_to() != Some(0)),
            rewind: append.rewinds_to(),
            metadata: append.metadata().cloned(),
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
            encoded,
            parts: Vec::new(),
            may_be_from: None,
            shared,
            in_doubt: BTreeSet::new(),
            began: None,
            may_begin: now_ms,
            receipt,
        };
        let result = self.settle(&mut attempt, &mut patience, linked).await;
        match result {
            Ok(appended) => Ok(appended),
            Err(error) => Err(self.give_up(attempt, error).await),
        }
    }

    async fn settle(&self, attempt: &mut Attempt<'_>, patience: &mut Patience<'_, C>, linked: bool) -> Result<Appended, Error> {
        let mut belief = match self.first_look(attempt, patience).await? {
            Found::Landed(head) => return self.landed_before(attempt, &head, patience).await,
            Found::End(belief) => belief,
        };
        let mut met = 0_u32;
        loop {
            let now = self.clock.now();
            if patience.is_over() {
                return Err(Error::new(
                    crate::ErrorKind::Contended,
                    format!("other writers kept the append from getting through in {} ms", patience.deadline_ms),
                ));
            }
            if self.keeps(Rule::BeliefAge) && !belief.is_fresh(now) {
                match self.look_anew(attempt, patience).await? {
                    Found::Landed(head) => return self.landed_before(attempt, &head, patience).await,
                    Found::End(end) => belief = end,
                }
                continue;
            }
            let must_be_at =
                attempt.append.expected().filter(|_| attempt.append.rewinds_to().is_none() || self.keeps(Rule::RewindPosition));
            if let Some(expected) = must_be_at {
                // What was written since may have expired and been purged by now, and left its number free again.
                let too_old = now.wall_ms.saturating_sub(expected.read_at()) > POSITION_LIFETIME_MS;
                if too_old || !belief.is_at(expected) {
                    let conflict = Error::conflict(belief.position());
                    return Err(if too_old { conflict.context("the position is over a day old") } else { conflict });
                }
            }
            if belief.next > MAX_SEQ {
                return Err(Error::invalid("the session has as many records as its numbers can count; start another"));
            }
            self.write_parts(attempt, patience).await?;
            let links = if linked { self.enter(attempt, &belief, patience).await? } else { belief.links().end() };
            let asked_at = self.clock.now();
            if self.keeps(Rule::BeliefAge) && !belief.is_fresh(asked_at) {
                continue;
            }
            let new = self.new_item(attempt, &belief, &links, asked_at);
            match self.table.create(&new, &mut attempt.receipt).await {
                Ok(Created::Done) => return Ok(self.landed(attempt, &belief, links, asked_at)),
                Ok(Created::Taken(old)) => {
                    let head = self.head_of(&old, attempt.record.append_id)?;
                    if head.append_id == attempt.record.append_id && self.keeps(Rule::IdCheck) {
                        if attempt.shared && attempt.in_doubt.is_empty() {
                            return self.landed_before(attempt, &head, patience).await;
                        }
                        return Ok(self.landed(attempt, &belief, head.links, asked_at));
                    }
                    self.seen.extend(&attempt.pk, belief.last_id(), head.seq, head.append_id, head.created_at);
                    // The place is another's, so no earlier request of ours can land there any more.
                    attempt.in_doubt.remove(&head.seq);
                    attempt.may_be_from = attempt.in_doubt.first().copied().or(attempt.shared.then_some(head.seq + 1));
                    if head.links.began.is_some() && head.links != links {
                        self.leave_entry(attempt).await;
                    }
                    belief = Belief::after(&head, asked_at);
                    met += 1;
                    if met > 1 || attempt.append.expected().is_some() {
                        patience.wait((FIRST_CONTENTION_MS * f64::from(met)).min(LONGEST_CONTENTION_MS)).await;
                        match self.look(attempt, patience).await? {
                            Found::Landed(head) => return self.landed_before(attempt, &head, patience).await,
                            Found::End(end) => belief = end,
                        }
                    }
                }
                Ok(Created::NotBeside) => match self.look_anew(attempt, patience).await? {
                    Found::Landed(head) => return self.landed_before(attempt, &head, patience).await,
                    Found::End(end) => belief = end,
                },
                Err(fault) => {
                    if fault.may_have_landed {
                        attempt.in_doubt.insert(belief.next);
                        attempt.may_be_from = attempt.may_be_from.min(Some(belief.next)).or(Some(belief.next));
                    }
                    patience.after(fault).await?;
                }
            }
        }
    }

    fn new_item(&self, attempt: &Attempt<'_>, belief: &Belief, links: &Links, now: Moment) -> NewItem {
        let mut attributes = attempt.encoded.attributes.clone();
        item::link(&mut attributes, links, belief.last.as_ref().is_some_and(|last| last.expires_at.is_some()));
        let before =
            || Beside { key: Key { pk: attempt.pk.clone(), sk: record_sk(belief.next - 1) }, append_id: belief.last_id() };
        let unsure = belief.next > 0 && !belief.is_solid(now) && self.keeps(Rule::CheckBefore);
        NewItem {
            item: Item { key: Key { pk: attempt.pk.clone(), sk: record_sk(belief.next) }, attributes },
            beside: unsure.then(before),
        }
    }

    /// The parts of a large record, the first time. Nothing shows them until the record itself is there.
    async fn write_parts(&self, attempt: &mut Attempt<'_>, patience: &mut Patience<'_, C>) -> Result<(), Error> {
        for part in std::mem::take(&mut attempt.encoded.parts) {
            attempt.parts.push(part.key.clone());
            persist!(patience, self.table.put(&part, &mut attempt.receipt))?;
        }
        Ok(())
    }

    fn landed(&self, attempt: &mut Attempt<'_>, belief: &Belief, links: Links, asked_at: Moment) -> Appended {
        let started = attempt.began.is_some() && attempt.began == links.began;
        let Record { append_id, created_at, .. } = attempt.record;
        self.seen.extend(&attempt.pk, belief.last_id(), belief.next, append_id, created_at);
        let body = Body::Record { rewind: attempt.record.rewind, metadata: None, content: Stored::Here(Vec::new()) };
        let Record { append_id, created_at, expires_at, .. } = attempt.record;
        let head = Head { seq: belief.next, append_id, created_at, expires_at, links, after_expiring: false, body };
        let now = Belief::after(&head, asked_at);
        self.beliefs.learn(&attempt.pk, &now, asked_at);
        let mut appended = Appended::new(belief.next, now.position(), created_at);
        (appended.started, appended.receipt) = (started, attempt.receipt);
        appended
    }

    /// The answer where an earlier try, of this process or another, had landed.
    async fn landed_before(
        &self,
        attempt: &mut Attempt<'_>,
        head: &Head,
        patience: &mut Patience<'_, C>,
    ) -> Result<Appended, Error> {
        let asked_at = self.clock.now();
        let first_part = attempt.parts.first().map(|part| part.sk.as_str());
        let is_ours = head.parts().is_some_and(|parts| first_part == Some(&part_sk(&parts.id, 0)));
        if !is_ours {
            self.leave_parts(attempt).await;
        }
        if let Some(stored) = self.whole_record(&attempt.pk, head, &mut attempt.receipt, patience).await?
            && !attempt.append.is_body_of(&stored)
        {
            if !attempt.in_doubt.is_empty() {
                // A late request may still show them.
                attempt.parts.clear();
                attempt.in_doubt.clear();
            }
            return Err(attempt.append.reused(head.seq));
        }
        let position = Belief::after(head, asked_at).position();
        let mut appended = Appended::new(head.seq, position, head.created_at);
        (appended.repeated, appended.receipt) = (true, attempt.receipt);
        Ok(appended)
    }

    /// What an append that gives up says: an error, or a ticket where a request may have landed or may yet.
    async fn give_up(&self, mut attempt: Attempt<'_>, error: Error) -> Error {
        self.beliefs.forget(&attempt.pk);
        if attempt.in_doubt.is_empty() {
            self.leave_parts(&mut attempt).await;
            self.leave_entry(&mut attempt).await;
            return error;
        }
        let tried_at = match attempt.append.identity() {
            Identity::Ticket(ticket) => ticket.first_tried(),
            _ => attempt.record.created_at,
        };
        let ticket = Ticket::new(attempt.record.append_id, attempt.may_be_from.unwrap_or(0)).tried_at(tried_at);
        Error::in_doubt(ticket, &error).with_source(error)
    }

    /// The links of a record that comes at this end of the log. A new session gets its directory entry first, and one
    /// with a retention has it refreshed in time.
    async fn enter(&self, attempt: &mut Attempt<'_>, belief: &Belief, patience: &mut Patience<'_, C>) -> Result<Links, Error> {
        let links = belief.links();
        if let Some(began) = links.began {
            if let Some(Last { created_at, .. }) = belief.last
                && self.entry_is_due(began, created_at)
            {
                persist!(patience, self.refresh_entry(attempt.session, &links, &mut attempt.receipt))?;
            }
            return Ok(links);
        }
        let mut began = attempt.began.unwrap_or(attempt.may_begin);
        let links = |began: i64| Links::to(began, attempt.append.owner().cloned());
        if attempt.began.is_none() {
            let (title, starter) = (attempt.append.title(), attempt.record.append_id);
            while !persist!(patience, self.start_entry(attempt.session, &links(began), title, starter, &mut attempt.receipt))? {
                began += 1;
            }
            attempt.began = Some(began);
        }
        Ok(links(began))
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

    /// Takes back the entry that this append made, where it turns out that another started the session or that it ends in
    /// nothing. As far as it can: what remains then is an entry of a session without messages.
    async fn leave_entry(&self, attempt: &mut Attempt<'_>) {
        if let Some(began) = attempt.began.take() {
            attempt.may_begin = began + 1;
            let ours = Links::to(began, attempt.append.owner().cloned());
            let _ = self.remove_entry(attempt.session, &ours, &mut attempt.receipt).await;
        }
    }
}
