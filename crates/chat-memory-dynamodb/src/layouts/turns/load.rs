//! Load: reads pages of the log from its newest record backwards, following its rewinds.

use crate::common::timing::{LONGEST_LOAD, PURGED_AFTER, PURGED_AT_AGE};
use aws_sdk_dynamodb::types::AttributeValue;

use super::cached_tail::CachedTail;
use super::item::{self, Body, Head, PartsOf, Stored};
use super::{Retry, Rule, Turns, retry};
use crate::common::names::{MAX_SEQ, part_of, part_sk, records, whole};
use crate::table::{Clock, Item, Key, Range, Table};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{Cost, History, Load, Record, Walk};
use chat_memory_core::{SessionId, Timestamp};

/// The largest limit of a page. A page ends at 1 MB in any case.
const MOST_OF_A_PAGE: u64 = 10_000;

/// How often a load starts again because it saw only some of the records of a transaction. DynamoDB writes them within moments of
/// each other, though a query may see one before another; what is missing after that is lost.
pub(super) const MOST_TORN: u32 = 20;

/// The longest wait before it starts again, in milliseconds.
pub(super) const TORN_MS: f64 = 20.0;

/// The result of one pass of a load, which starts again if a clear overtakes it.
enum Step {
    Done(Box<History>),
    /// If a stub named a clear that was not seen, this is its number and the clear's.
    Again(Option<(u64, u64)>),
    /// It saw some of the records that one transaction is writing, and not all.
    Torn,
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        let pk = self.common.partitions.session(session);
        let mut retry = self.retry();
        let mut cost = Cost::default();
        let mut eventual = load.eventual || self.common.eventual;
        let (mut before, mut torn) = (None, 0);
        loop {
            let may_be_torn = torn < MOST_TORN;
            match self.try_load(&pk, load, (eventual, may_be_torn), before, &mut cost, &mut retry).await {
                Ok(Step::Done(mut history)) => {
                    history.cost = cost;
                    return Ok(*history);
                }
                // Two pages from two replicas may disagree; a consistent read decides whether anything is wrong.
                Err(error) if eventual && error.is_corrupt() => eventual = false,
                Err(error) => return Err(error),
                // The clear was there before its stub, so this time it would have been seen.
                Ok(Step::Again(Some((seq, clear)))) if !eventual && before == Some((seq, clear)) => {
                    return Err(Error::corrupt(format!(
                        "record {seq} of {pk:?} is marked as erased by the clear {clear}, which is missing; the table may have \
                         been edited by hand"
                    )));
                }
                // A clear or a redaction overtook it, or it stood still for half a day.
                Ok(Step::Again(_)) if retry.is_over() => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "session {:?} could not be read while it was being cleared or redacted; try again",
                            session.as_str()
                        ),
                    ));
                }
                Ok(Step::Torn) => {
                    (torn, eventual) = (torn + 1, false);
                    retry.wait(TORN_MS).await;
                }
                Ok(Step::Again(stub)) => {
                    (before, eventual) = (stub, false);
                    retry.wait(20.0).await;
                }
            }
        }
    }

    async fn try_load(
        &self,
        pk: &str,
        load: &Load,
        (eventual, may_be_torn): (bool, bool),
        before: Option<(u64, u64)>,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Step, Error> {
        let mut walk = Walk::new(load, Some(MAX_SEQ), self.clock.now().wall);
        let started = self.clock.now();
        // Even if no record is wanted, the newest is read: it gives the position.
        let mut end: Option<CachedTail> = None;
        let mut above: Option<Above> = None;
        // The number at which the walk started.
        let mut top = None;
        // The record before the wanted ones gives the position if none of them exists.
        let since = load.since.unwrap_or(0);
        let mut lowest = since.saturating_sub(1);
        loop {
            let wanted = match (walk.wants(), &end) {
                (Some(seq), _) => seq,
                (None, None) => MAX_SEQ,
                (None, Some(_)) => break,
            };
            // Read only the newest record first: it shows how much was written after the page's reader looked, or whether numbers
            // started again.
            let only_newest = end.is_none() && (load.before.is_some() || (since > 0 && lowest == 0));
            let limit = if only_newest { Some(1) } else { walk.records_to_go() };
            let limit = limit.map(|n| u32::try_from(n.min(MOST_OF_A_PAGE)).unwrap_or(u32::MAX));
            let range = Range { limit, eventual, ..records(pk.to_owned(), lowest, wanted) };
            let asked_at = self.clock.now();
            let page = retry!(retry, self.table.page(&range, None, cost))?;
            if started.age(self.clock.now()) > LONGEST_LOAD {
                return Ok(Step::Again(None));
            }
            for item in &page.items {
                // What a page holds beyond the window was not requested, and may be damaged.
                if end.is_some() && walk.wants().is_none() {
                    break;
                }
                let mut head = item::decode(item, self.settings.record)?;
                if end.is_none() {
                    if may_be_torn && misses_next(&head, started.wall) {
                        return Ok(Step::Torn);
                    }
                    let tail = CachedTail::after(&head, asked_at);
                    if !eventual {
                        self.known.tails.learn(pk, &tail, asked_at);
                    }
                    walk.start_at(head.seq);
                    end = Some(tail);
                }
                let Some(wanted) = walk.wants() else { break };
                let top = *top.get_or_insert(wanted);
                if head.seq > wanted {
                    continue;
                }
                if head.seq < wanted {
                    let is_torn = above.as_ref().is_some_and(|above| above.misses(wanted, started.wall));
                    if may_be_torn && (is_torn || misses_next(&head, started.wall)) {
                        return Ok(Step::Torn);
                    }
                    check_hole(pk, above.as_ref(), Some(&head), (head.seq + 1, wanted), started.wall)?;
                    walk.skip(head.seq + 1);
                    if walk.wants() != Some(head.seq) {
                        break;
                    }
                }
                above = Some(Above::of(&head));
                if let Body::Stub { cleared_by, .. } = head.body {
                    let newest = end.as_ref().map_or(0, |end| end.next - 1);
                    // A clear at a number that the walk passed would have ended it: at that time another record had the number, and
                    // was purged since. If a second walk finds the same stub, the clear was already there when it started, and a
                    // rewind led past it.
                    let was_passed = cleared_by <= top && before != Some((head.seq, cleared_by));
                    if (cleared_by > newest || was_passed) && self.keeps(Rule::StubNamesClear) {
                        return Ok(Step::Again(Some((head.seq, cleared_by))));
                    }
                    walk.end();
                    break;
                }
                match self.whole_record(pk, &mut head, cost, retry).await? {
                    // The record of a delete of nothing ends the history as a clear does, until it is purged.
                    Some(mut record) if head.is_blocker() => {
                        record.expires_at = None;
                        walk.take(record);
                    }
                    Some(record) => walk.take(record),
                    None => return Ok(Step::Again(None)),
                }
            }
            if page.after.is_none() {
                if end.is_none() && lowest > 0 {
                    lowest = 0;
                    continue;
                }
                if let Some(wanted) = walk.wants() {
                    if may_be_torn && above.as_ref().is_some_and(|above| above.misses(wanted, started.wall)) {
                        return Ok(Step::Torn);
                    }
                    check_hole(pk, above.as_ref(), None, (since, wanted), started.wall)?;
                    walk.end();
                }
                if end.is_none() {
                    // An empty history must not hide one that is stored in another layout.
                    let any = Range { limit: Some(1), ..whole(pk.to_owned()) };
                    let any = retry!(retry, self.table.page(&any, None, cost))?;
                    any.items.first().map_or(Ok(()), refuse_list)?;
                    walk.end();
                    end = Some(CachedTail::empty(asked_at));
                }
            }
        }
        let (records, complete) = walk.finish();
        let position = end.map_or_else(|| CachedTail::empty(self.clock.now()).position(), |end| end.position());
        Ok(Step::Done(Box::new(History::new(records, complete, position))))
    }

    /// Reads a record with its messages, including those in parts; what the head has of it is taken out. `None` if a sweep or a
    /// redaction came in between; a stub has none.
    pub(super) async fn whole_record(
        &self,
        pk: &str,
        head: &mut Head,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Record>, Error> {
        let Body::Record { rewind, metadata, sent_at, content } = &mut head.body else { return Ok(None) };
        let (rewind, metadata, sent_at) = (*rewind, metadata.take(), std::mem::take(sent_at));
        let content = match content {
            Stored::Here(entries) => Stored::Here(std::mem::take(entries)),
            Stored::Parts { parts, codec, others } => Stored::Parts { parts: parts.clone(), codec: *codec, others: *others },
        };
        let entries = match content {
            Stored::Here(entries) => entries,
            Stored::Parts { parts: PartsOf { id, count }, codec, others } => {
                let mut payload = Vec::new();
                let (mut found, mut after) = (0, None);
                let range = Range {
                    from: part_sk(&id, 0),
                    to: part_sk(&id, count.saturating_sub(1)),
                    newest_first: false,
                    ..records(pk.to_owned(), 0, 0)
                };
                loop {
                    let page = retry!(retry, self.table.page(&range, after.as_deref(), cost))?;
                    for part in &page.items {
                        // An item between the parts is not one of them.
                        if part_of(&part.key.sk, &id).is_some_and(|n| n < count) {
                            item::add_part(&mut payload, part, head, self.settings.record)?;
                            found += 1;
                        }
                    }
                    after = page.after;
                    if after.is_none() {
                        break;
                    }
                }
                if found != count {
                    // A sweep or a redaction replaces the head first, so parts missing under a live head are lost.
                    return if self.is_replaced(pk, head, cost, retry).await? {
                        Ok(None)
                    } else {
                        Err(Error::corrupt(format!("record {} of {pk:?} has {found} of its {count} parts", head.seq)))
                    };
                }
                item::decode_parts(pk, head.seq, payload, codec, others, self.settings.record)?
            }
        };
        let mut record = Record::new(head.seq, head.append_id, head.created_at).with_entries(entries);
        (record.expires_at, record.rewind) = (head.expires_at, rewind);
        (record.metadata, record.sent_at) = (metadata, sent_at);
        Ok(Some(record))
    }

    async fn is_replaced(&self, pk: &str, head: &Head, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<bool, Error> {
        let range = records(pk.to_owned(), head.seq, head.seq);
        let page = retry!(retry, self.table.page(&range, None, cost))?;
        let now = page.items.first().map(item::decode_without_messages).transpose()?;
        Ok(now.is_none_or(|now| now.is_stub() || now.append_id != head.append_id || now.parts() != head.parts()))
    }
}

/// Refuses to treat a session of the `list` layout, which an original stored under a fixed sort key, as an empty one.
pub(super) fn refuse_list(item: &Item) -> Result<(), Error> {
    let is_list = |value: &AttributeValue| matches!(value, AttributeValue::L(list) if list.iter().all(|element| matches!(element, AttributeValue::M(_))));
    let ours = ["t#", "p#"].iter().any(|prefix| item.key.sk.starts_with(prefix));
    let Some((name, _)) = item.attributes.iter().find(|(_, value)| !ours && is_list(value)) else { return Ok(()) };
    let Key { pk, sk } = &item.key;
    Err(Error::invalid(format!(
        "session {pk:?} has an item under the sort key {sk:?} whose attribute {name:?} is a list of messages, as LangChain makes it: \
         give sort_value={sk} in the store URL (and list_attribute={name} where that is not messages or History) to read it"
    )))
}

/// What the record above a gap says about it.
struct Above {
    seq: u64,
    created_at: Timestamp,
    /// When its session began: the record below cannot be older. `None` if that may belong to the previous session: below the
    /// record that began this one, or below a rewind that takes that back.
    began: Option<Timestamp>,
    may_have_hole_below: bool,
    /// The number of the first record that was written with it, and when both expire.
    group: Option<(u64, Option<Timestamp>)>,
}

impl Above {
    fn of(head: &Head) -> Self {
        let rewinds = matches!(head.body, Body::Record { rewind: Some(_), .. });
        let may_have_hole_below = head.expires_at.is_some() || head.after_expiring || rewinds;
        let began = head.links.began.filter(|began| !rewinds && *began < head.created_at);
        let group = head.group.map(|(first, _)| (first, head.expires_at));
        Self { seq: head.seq, created_at: head.created_at, began, may_have_hole_below, group }
    }

    /// Whether the missing record below it was written with it.
    fn misses(&self, wanted: u64, now: Timestamp) -> bool {
        self.group.is_some_and(|(first, expires_at)| first <= wanted && wanted < self.seq && is_kept(expires_at, now))
    }
}

/// Whether the missing record above this one was written with it.
fn misses_next(head: &Head, now: Timestamp) -> bool {
    kept_group(head, now).is_some_and(|(_, last)| head.seq < last)
}

/// The numbers of the records that were written with this one, until they may be purged, in any order.
pub(super) fn kept_group(head: &Head, now: Timestamp) -> Option<(u64, u64)> {
    head.group.filter(|_| is_kept(head.expires_at, now))
}

/// Whether TTL cannot have purged a record with this expiry.
fn is_kept(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_none_or(|at| at + PURGED_AFTER > now)
}

/// A gap is the work of TTL if the record above it has an expiry or followed one that had, and if the missing records are old
/// enough to have been purged. Otherwise records are lost.
fn check_hole(
    pk: &str,
    above: Option<&Above>,
    below: Option<&Head>,
    (from, to): (u64, u64),
    now: Timestamp,
) -> Result<(), Error> {
    let Some(above) = above else { return Ok(()) };
    // The missing records are no older than the record below them, nor than their session. (If the record below is younger than the
    // one above, the log was purged and began again while it was read.)
    let below = below.map(|head| head.created_at).filter(|created_at| *created_at <= above.created_at);
    let oldest = above.began.max(below);
    if above.may_have_hole_below && oldest.is_none_or(|oldest| now.since(oldest) >= PURGED_AT_AGE) {
        return Ok(());
    }
    let which = if from == to { format!("record {to} is") } else { format!("records {from} to {to} are") };
    Err(Error::corrupt(format!("{which} missing from {pk:?} below record {}; the table may have been edited by hand", above.seq)))
}
