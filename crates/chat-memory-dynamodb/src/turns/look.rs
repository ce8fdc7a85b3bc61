//! Looking at the log before an append: where it ends, and whether the append is there already.

use super::append::{Attempt, Found};
use super::cached_tail::CachedTail;
use super::item::{self, Head};
use super::load::refuse_list;
use super::{Retry, Rule, Turns, retry};
use crate::names::{MAX_SEQ, records, seq_of, whole};
use crate::table::{Clock, Item, Range, Table};
use chat_memory_core::backend::Moment;
use chat_memory_core::error::Error;
use chat_memory_core::store::{AppendId, Identity, KEY_LIFETIME_MS, Receipt};

/// By how much the clocks of two writers may differ: records' times come from several.
const CLOCKS_MS: i64 = 60 * 60 * 1000;

impl<T: Table, C: Clock> Turns<T, C> {
    /// Where to start: what is remembered if that will do, else what a look at the log says.
    pub(super) async fn first_look(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<Found, Error> {
        let now = self.clock.now();
        if attempt.shared {
            if let Identity::Key(_) = attempt.append.identity()
                && let Some(found) = self.look_by_seen(attempt, now, retry).await?
            {
                return Ok(found);
            }
            let found = self.look_back(attempt, now.wall_ms, retry).await?;
            if let (Found::End(_), Identity::Ticket(ticket)) = (&found, attempt.append.identity()) {
                ticket.check_age(now.wall_ms)?;
            }
            return Ok(found);
        }
        match self.tails.get(&attempt.pk, now) {
            // Where the tail contradicts an expected position, only the log itself can say who is right.
            Some(tail) if attempt.append.expected().is_none_or(|expected| tail.is_at(expected)) => Ok(Found::End(tail)),
            _ => self.look(attempt, retry).await,
        }
    }

    /// Looks at the log where it may not be the one that was believed: purged since, it may have grown anew from a lower number. So what
    /// others may have appended is looked for by time, not from the number that came next.
    pub(super) async fn look_anew(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<Found, Error> {
        if !attempt.shared {
            return self.look(attempt, retry).await;
        }
        let found = self.look_back(attempt, self.clock.now().wall_ms, retry).await?;
        attempt.may_be_from = attempt.may_be_from.min(attempt.in_doubt.first().copied().or(attempt.may_be_from));
        Ok(found)
    }

    /// Looks at the end of the log, consistently; where the append may be there already, at all from there on.
    pub(super) async fn look(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<Found, Error> {
        let Some(from) = attempt.may_be_from else {
            return self.tail(&attempt.pk, &mut attempt.receipt, retry).await.map(Found::End);
        };
        // The record before tells whether the log ends here, which an empty answer would not.
        let range = Range { newest_first: false, ..records(attempt.pk.clone(), from.saturating_sub(1), MAX_SEQ) };
        let (mut after, mut end) = (None, None::<CachedTail>);
        loop {
            let asked_at = self.clock.now();
            let page = retry!(retry, self.table.page(&range, after.as_deref(), &mut attempt.receipt))?;
            for item in &page.items {
                let head = self.head_of(item, attempt.record.append_id)?;
                let before = end.as_ref().and_then(CachedTail::last_id);
                self.seen.extend(&attempt.pk, before, head.seq, head.append_id, head.created_at);
                if head.append_id == attempt.record.append_id && head.seq >= from {
                    return Ok(Found::Landed(head));
                }
                end = Some(CachedTail::after(&head, asked_at));
            }
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        let tail = match end {
            Some(tail) => tail,
            // Even the record before is gone: its end was purged, and the append may be at a lower number.
            None if attempt.shared => return self.look_back(attempt, self.clock.now().wall_ms, retry).await,
            None => self.tail(&attempt.pk, &mut attempt.receipt, retry).await?,
        };
        if attempt.in_doubt.is_empty() {
            attempt.may_be_from = Some(tail.next.max(from));
        }
        Ok(Found::End(tail))
    }

    /// Looks for a key's append among the ids that this process has seen, and reads only what came since. `None` where that cannot tell.
    async fn look_by_seen(
        &self,
        attempt: &mut Attempt<'_>,
        now: Moment,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Found>, Error> {
        let id = attempt.record.append_id;
        // The tail first: an append that lands between the two is beyond it, and met there.
        if let Some(tail) = self.tails.get(&attempt.pk, now)
            && (self.seen.lack(&attempt.pk, &tail, id)
                || !self.keeps(Rule::SeenToTheEnd) && self.seen.end_without(&attempt.pk, id).is_some())
            && attempt.append.expected().is_none_or(|expected| tail.is_at(expected))
        {
            attempt.may_be_from = Some(tail.next);
            return Ok(Some(Found::End(tail)));
        }
        let Some((next, last)) = self.seen.end_without(&attempt.pk, id) else { return Ok(None) };
        // The record before, too: it tells whether this is still the log that was seen.
        let range = Range { newest_first: false, ..records(attempt.pk.clone(), next.saturating_sub(1), MAX_SEQ) };
        let (mut after, mut end) = (None, None::<CachedTail>);
        let mut asked_at;
        loop {
            asked_at = self.clock.now();
            let page = retry!(retry, self.table.page(&range, after.as_deref(), &mut attempt.receipt))?;
            for item in &page.items {
                let head = self.head_of(item, attempt.record.append_id)?;
                if end.is_none() && next > 0 {
                    if head.seq + 1 != next || Some(head.append_id) != last {
                        self.seen.forget(&attempt.pk);
                        return Ok(None);
                    }
                } else {
                    let before = end.as_ref().and_then(CachedTail::last_id);
                    self.seen.extend(&attempt.pk, before, head.seq, head.append_id, head.created_at);
                    if head.append_id == id && head.created_at > now.wall_ms - KEY_LIFETIME_MS {
                        return Ok(Some(Found::Landed(head)));
                    }
                }
                end = Some(CachedTail::after(&head, asked_at));
            }
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        let end = match end {
            Some(end) => end,
            None if next == 0 => CachedTail::empty(asked_at),
            None => return Ok(None),
        };
        if !self.seen.lack(&attempt.pk, &end, id) {
            return Ok(None);
        }
        self.tails.learn(&attempt.pk, &end, asked_at);
        attempt.may_be_from = Some(end.next);
        Ok(Some(Found::End(end)))
    }

    /// Looks backwards for the append's id, among the records of the key's lifetime or since the ticket's first try. Not by
    /// number: after a purge, numbers start lower again.
    async fn look_back(&self, attempt: &mut Attempt<'_>, now_ms: i64, retry: &mut Retry<'_, C>) -> Result<Found, Error> {
        let (oldest, is_key) = match attempt.append.identity() {
            Identity::Ticket(ticket) => (ticket.first_tried().min(now_ms), false),
            _ => (now_ms - KEY_LIFETIME_MS, true),
        };
        let asked_at = self.clock.now();
        let mut range = records(attempt.pk.clone(), 0, MAX_SEQ);
        // The repeat comes soon after the first try as a rule, so the first page is small.
        range.limit = Some(8);
        let (mut after, mut end) = (None, None);
        let mut ids = Vec::new();
        'pages: loop {
            let page = retry!(retry, self.table.page(&range, after.as_deref(), &mut attempt.receipt))?;
            for item in &page.items {
                let head = self.head_of(item, attempt.record.append_id)?;
                end.get_or_insert_with(|| CachedTail::after(&head, asked_at));
                if head.append_id == attempt.record.append_id && (head.created_at > oldest || !is_key) {
                    return Ok(Found::Landed(head));
                }
                // Its own id here is a key's of over a day ago, which stands for nothing any more.
                if head.append_id != attempt.record.append_id {
                    ids.push((head.append_id, head.created_at));
                }
                if head.created_at <= oldest.saturating_sub(CLOCKS_MS) {
                    break 'pages;
                }
            }
            end.get_or_insert_with(|| CachedTail::empty(asked_at));
            (after, range.limit) = (page.after, Some(100));
            if after.is_none() {
                break;
            }
        }
        let tail = end.unwrap_or_else(|| CachedTail::empty(asked_at));
        if is_key {
            self.seen.start(&attempt.pk, &tail, &ids);
        }
        attempt.may_be_from = Some(tail.next);
        Ok(Found::End(tail))
    }

    /// Reads a record that a look meets: all of it where it is the append that is looked for, else what the next append needs of it. So one
    /// whose messages are damaged is in no writer's way, and can be cleared.
    pub(super) fn head_of(&self, item: &Item, wanted: AppendId) -> Result<Head, Error> {
        let head = item::decode_without_messages(item)?;
        if head.append_id == wanted { item::decode(item, self.settings.limits.record) } else { Ok(head) }
    }

    /// The end of a session's log, read consistently.
    pub(super) async fn tail(&self, pk: &str, receipt: &mut Receipt, retry: &mut Retry<'_, C>) -> Result<CachedTail, Error> {
        // The newest item of the whole partition is a record as a rule; where it is not, something else stands there.
        let whole = Range { limit: Some(1), ..whole(pk.to_owned()) };
        let mut asked_at = self.clock.now();
        let mut page = retry!(retry, self.table.page(&whole, None, receipt))?;
        if let Some(other) = page.items.first().filter(|item| seq_of(&item.key).is_err()) {
            refuse_list(other)?;
            let range = Range { limit: Some(1), ..records(pk.to_owned(), 0, MAX_SEQ) };
            asked_at = self.clock.now();
            page = retry!(retry, self.table.page(&range, None, receipt))?;
        }
        let tail = match page.items.first() {
            None => CachedTail::empty(asked_at),
            Some(item) => CachedTail::after(&item::decode_without_messages(item)?, asked_at),
        };
        self.tails.learn(pk, &tail, asked_at);
        Ok(tail)
    }
}
