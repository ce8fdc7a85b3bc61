//! Looks up the log before an append: where it ends, and whether the append has already landed.

use std::collections::BTreeSet;

use super::append::{Attempt, Located};
use super::cached_tail::CachedTail;
use super::item::{self, Head};
use super::load::{MOST_TORN, TORN_MS, kept_group, refuse_list};
use super::{Retry, Rule, Turns, retry};
use crate::common::names::{MAX_SEQ, records, seq_of, whole};
use crate::common::timing::CLOCK_SKEW;
use crate::table::{Clock, Item, Range, Table};
use chat_memory_core::Timestamp;
use chat_memory_core::backend::Moment;
use chat_memory_core::error::Error;
use chat_memory_core::store::{AppendId, Cost, Identity, KEY_LIFETIME};

/// What a lookup reads, to notice a transaction of which it sees only some records: the one that it looks for may be another.
struct Seen {
    /// The lowest number that the lookup reads.
    low: u64,
    numbers: Vec<u64>,
    groups: BTreeSet<(u64, u64)>,
}

impl Seen {
    fn from(low: u64) -> Self {
        Self { low, numbers: Vec::new(), groups: BTreeSet::new() }
    }

    fn add(&mut self, head: &Head, now: Timestamp) {
        self.numbers.push(head.seq);
        self.groups.extend(kept_group(head, now));
    }

    fn is_torn(&self) -> bool {
        self.groups.iter().any(|(first, last)| {
            let wanted = *first.max(&self.low)..=*last;
            let seen = self.numbers.iter().filter(|seq| wanted.contains(seq)).count() as u64;
            seen < wanted.end() + 1 - wanted.start()
        })
    }
}

impl<T: Table, C: Clock> Turns<T, C> {
    /// Where to start: from what is cached if that is enough, else from a lookup in the log.
    pub(super) async fn locate_first(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<Located, Error> {
        let now = self.clock.now();
        if attempt.shared {
            if let Identity::Key(_) = attempt.append.identity()
                && let Some(found) = self.locate_by_recent_ids(attempt, now, retry).await?
            {
                return Ok(found);
            }
            let found = self.search_back(attempt, now.wall, retry).await?;
            if let (Located::End(_), Identity::Ticket(ticket)) = (&found, attempt.append.identity()) {
                ticket.check_age(now.wall)?;
            }
            return Ok(found);
        }
        match self.known.tails.get(&attempt.pk, now) {
            // If the tail contradicts an expected position, only the log itself can decide.
            Some(tail) if attempt.append.expected().is_none_or(|expected| tail.is_at(expected)) => Ok(Located::End(tail)),
            _ => self.locate(attempt, retry).await,
        }
    }

    /// Looks up a log that may have been purged and grown again from a lower number. So an append that others may be making is
    /// searched for by time, not from the next number up.
    pub(super) async fn locate_again(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<Located, Error> {
        if !attempt.shared {
            return self.locate(attempt, retry).await;
        }
        let found = self.search_back(attempt, self.clock.now().wall, retry).await?;
        attempt.may_be_from = attempt.may_be_from.min(attempt.in_doubt.first().copied().or(attempt.may_be_from));
        Ok(found)
    }

    /// Reads the tail of the log, consistently; if the append may have landed already, everything from that number on.
    pub(super) async fn locate(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<Located, Error> {
        let Some(from) = attempt.may_be_from else {
            return self.tail(&attempt.pk, &mut attempt.cost, retry).await.map(Located::End);
        };
        // The record before shows whether the log ends here; an empty response would not.
        let range = Range { newest_first: false, ..records(attempt.pk.clone(), from.saturating_sub(1), MAX_SEQ) };
        let (mut after, mut end, mut torn) = (None, None::<CachedTail>, 0);
        let mut seen = Seen::from(from.saturating_sub(1));
        loop {
            let asked_at = self.clock.now();
            let page = retry!(retry, self.table.page(&range, after.as_deref(), &mut attempt.cost))?;
            for item in &page.items {
                let head = self.head_of(item, attempt.record.append_id)?;
                let before = end.as_ref().and_then(CachedTail::last_id);
                self.known.recent_ids.extend(&attempt.pk, before, head.seq, head.append_id, head.created_at);
                if head.append_id == attempt.record.append_id && head.seq >= from {
                    return Ok(Located::Landed(head));
                }
                seen.add(&head, asked_at.wall);
                end = Some(CachedTail::after(&head, asked_at));
            }
            after = page.after;
            if after.is_some() {
                continue;
            }
            if !seen.is_torn() || torn == MOST_TORN {
                break;
            }
            self.known.recent_ids.forget(&attempt.pk);
            (end, torn, seen) = (None, torn + 1, Seen::from(from.saturating_sub(1)));
            retry.wait(TORN_MS).await;
        }
        let tail = match end {
            Some(tail) => tail,
            // Even the record before is gone: the tail was purged, and the append may be at a lower number.
            None if attempt.shared => return self.search_back(attempt, self.clock.now().wall, retry).await,
            None => self.tail(&attempt.pk, &mut attempt.cost, retry).await?,
        };
        if attempt.in_doubt.is_empty() {
            attempt.may_be_from = Some(tail.next.max(from));
        }
        Ok(Located::End(tail))
    }

    /// Searches for a key's append among the recent ids, and reads only what was written since. `None` if that cannot decide.
    async fn locate_by_recent_ids(
        &self,
        attempt: &mut Attempt<'_>,
        now: Moment,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Located>, Error> {
        let id = attempt.record.append_id;
        // The tail first: an append that lands between the two is beyond it, and is found there.
        if let Some(tail) = self.known.tails.get(&attempt.pk, now)
            && (self.known.recent_ids.lack(&attempt.pk, &tail, id)
                || !self.keeps(Rule::SeenToTheEnd) && self.known.recent_ids.end_without(&attempt.pk, id).is_some())
            && attempt.append.expected().is_none_or(|expected| tail.is_at(expected))
        {
            attempt.may_be_from = Some(tail.next);
            return Ok(Some(Located::End(tail)));
        }
        let Some((next, last)) = self.known.recent_ids.end_without(&attempt.pk, id) else { return Ok(None) };
        // The record before as well: it shows whether this is still the same log.
        let range = Range { newest_first: false, ..records(attempt.pk.clone(), next.saturating_sub(1), MAX_SEQ) };
        let (mut after, mut end) = (None, None::<CachedTail>);
        let mut seen = Seen::from(next.saturating_sub(1));
        let mut asked_at;
        loop {
            asked_at = self.clock.now();
            let page = retry!(retry, self.table.page(&range, after.as_deref(), &mut attempt.cost))?;
            for item in &page.items {
                let head = self.head_of(item, attempt.record.append_id)?;
                if end.is_none() && next > 0 {
                    if head.seq + 1 != next || Some(head.append_id) != last {
                        self.known.recent_ids.forget(&attempt.pk);
                        return Ok(None);
                    }
                } else {
                    let before = end.as_ref().and_then(CachedTail::last_id);
                    self.known.recent_ids.extend(&attempt.pk, before, head.seq, head.append_id, head.created_at);
                    if head.append_id == id && head.created_at > now.wall - KEY_LIFETIME {
                        return Ok(Some(Located::Landed(head)));
                    }
                }
                seen.add(&head, asked_at.wall);
                end = Some(CachedTail::after(&head, asked_at));
            }
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        if seen.is_torn() {
            self.known.recent_ids.forget(&attempt.pk);
            return Ok(None);
        }
        let end = match end {
            Some(end) => end,
            None if next == 0 => CachedTail::empty(asked_at),
            None => return Ok(None),
        };
        if !self.known.recent_ids.lack(&attempt.pk, &end, id) {
            return Ok(None);
        }
        self.known.tails.learn(&attempt.pk, &end, asked_at);
        attempt.may_be_from = Some(end.next);
        Ok(Some(Located::End(end)))
    }

    /// Searches backwards for the append's id, as far as the key's lifetime or the ticket's first attempt. Not by number: after a
    /// purge, numbers start lower again.
    async fn search_back(&self, attempt: &mut Attempt<'_>, now: Timestamp, retry: &mut Retry<'_, C>) -> Result<Located, Error> {
        let mut torn = 0;
        loop {
            match self.try_search_back(attempt, now, torn < MOST_TORN, retry).await? {
                Some(found) => return Ok(found),
                None => torn += 1,
            }
            retry.wait(TORN_MS).await;
        }
    }

    /// Searches backwards once; `None` if it saw only some of the records that one transaction is writing.
    async fn try_search_back(
        &self,
        attempt: &mut Attempt<'_>,
        now: Timestamp,
        may_be_torn: bool,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Located>, Error> {
        let (oldest, is_key) = match attempt.append.identity() {
            Identity::Ticket(ticket) => (ticket.first_tried().min(now), false),
            _ => (now - KEY_LIFETIME, true),
        };
        let asked_at = self.clock.now();
        let mut seen = Seen::from(0);
        let mut range = records(attempt.pk.clone(), 0, MAX_SEQ);
        // The repeat usually comes soon after the first attempt, so the first page is small.
        range.limit = Some(8);
        let (mut after, mut end) = (None, None);
        let mut ids = Vec::new();
        'pages: loop {
            let page = retry!(retry, self.table.page(&range, after.as_deref(), &mut attempt.cost))?;
            for item in &page.items {
                let head = self.head_of(item, attempt.record.append_id)?;
                end.get_or_insert_with(|| CachedTail::after(&head, asked_at));
                if head.append_id == attempt.record.append_id && (head.created_at > oldest || !is_key) {
                    return Ok(Some(Located::Landed(head)));
                }
                seen.add(&head, asked_at.wall);
                // Its own id here belongs to a key's use over a day ago, which no longer counts.
                if head.append_id != attempt.record.append_id {
                    ids.push((head.append_id, head.created_at));
                }
                if head.created_at <= oldest - CLOCK_SKEW {
                    seen.low = head.seq;
                    break 'pages;
                }
            }
            end.get_or_insert_with(|| CachedTail::empty(asked_at));
            (after, range.limit) = (page.after, Some(100));
            if after.is_none() {
                break;
            }
        }
        if may_be_torn && seen.is_torn() {
            return Ok(None);
        }
        let tail = end.unwrap_or_else(|| CachedTail::empty(asked_at));
        if is_key {
            self.known.recent_ids.start(&attempt.pk, &tail, &ids);
        }
        attempt.may_be_from = Some(tail.next);
        Ok(Some(Located::End(tail)))
    }

    /// Decodes a record found by a lookup: all of it if it is the wanted append, else only what the next append needs. So damaged
    /// messages do not block writers, and can be cleared.
    pub(super) fn head_of(&self, item: &Item, wanted: AppendId) -> Result<Head, Error> {
        let head = item::decode_without_messages(item)?;
        if head.append_id == wanted { item::decode(item, self.settings.record) } else { Ok(head) }
    }

    /// The tail of a session's log, read consistently.
    pub(super) async fn tail(&self, pk: &str, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<CachedTail, Error> {
        // The newest item of the whole partition is usually a record; if it is not, something else is stored there.
        let whole = Range { limit: Some(1), ..whole(pk.to_owned()) };
        let mut asked_at = self.clock.now();
        let mut page = retry!(retry, self.table.page(&whole, None, cost))?;
        if let Some(other) = page.items.first().filter(|item| seq_of(&item.key).is_err()) {
            refuse_list(other)?;
            let range = Range { limit: Some(1), ..records(pk.to_owned(), 0, MAX_SEQ) };
            asked_at = self.clock.now();
            page = retry!(retry, self.table.page(&range, None, cost))?;
        }
        let tail = match page.items.first() {
            None => CachedTail::empty(asked_at),
            Some(item) => CachedTail::after(&item::decode_without_messages(item)?, asked_at),
        };
        self.known.tails.learn(pk, &tail, asked_at);
        Ok(tail)
    }
}
