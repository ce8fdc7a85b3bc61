//! Load: pages of the log from its newest record backwards, along its rewinds.

use aws_sdk_dynamodb::types::AttributeValue;

use super::cached_tail::CachedTail;
use super::item::{self, Body, Head, PartsOf, Stored};
use super::{Retry, Rule, Turns, retry};
use crate::names::{MAX_SEQ, part_of, part_sk, records, whole};
use crate::table::{Clock, Item, Key, Range, Table};
use chat_memory_core::SessionId;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{History, Load, Receipt, Record, Walk};

/// The largest limit of a page. A page ends at 1 MB whatever its limit.
const MOST_OF_A_PAGE: u64 = 10_000;

/// How long a load may take from its first page to its last. A day later the numbers that it saw may be another log's.
const LONGEST_MS: u64 = 12 * 60 * 60 * 1000;

/// No record is purged before this age: a day after it was written or swept, by clocks that may differ by hours.
const PURGED_AT_AGE_MS: i64 = 12 * 60 * 60 * 1000;

/// One load under way: it starts again when a clear overtakes it.
enum Step {
    Done(Box<History>),
    /// With the stub that named a clear that was not seen, where that is why: its number, and the clear's.
    Again(Option<(u64, u64)>),
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        let pk = self.settings.partitions.session(session);
        let mut retry = self.retry();
        let mut receipt = Receipt::default();
        let mut eventual = load.eventual || self.settings.eventual;
        let mut before = None;
        loop {
            match self.try_load(&pk, load, eventual, before, &mut receipt, &mut retry).await {
                Ok(Step::Done(mut history)) => {
                    history.receipt = receipt;
                    return Ok(*history);
                }
                // Two pages from two replicas may disagree; the consistent read decides whether anything is wrong.
                Err(error) if eventual && error.is_corrupt() => eventual = false,
                Err(error) => return Err(error),
                // The clear was there before its stub, so it would have been seen this time.
                Ok(Step::Again(Some((seq, clear)))) if !eventual && before == Some((seq, clear)) => {
                    return Err(Error::corrupt(format!(
                        "record {seq} of {pk:?} says that it was erased by the clear {clear}, which is not there; \
                         the table may have been edited by hand"
                    )));
                }
                // It was overtaken by a clear, or it stood still for half a day.
                Ok(Step::Again(_)) if retry.is_over() => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("session {:?} could not be read while it was being cleared; try again", session.as_str()),
                    ));
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
        eventual: bool,
        before: Option<(u64, u64)>,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Step, Error> {
        let mut walk = Walk::new(load, Some(MAX_SEQ), self.clock.now().wall_ms);
        let started = self.clock.now();
        // Where no record is wanted, the newest is still read: it tells the position.
        let mut end: Option<CachedTail> = None;
        let mut above: Option<Above> = None;
        // The number at which the walk began.
        let mut top = None;
        // The record before those that are wanted tells the position where none of them is there.
        let since = load.since.unwrap_or(0);
        let mut lowest = since.saturating_sub(1);
        loop {
            let wanted = match (walk.wants(), &end) {
                (Some(seq), _) => seq,
                (None, None) => MAX_SEQ,
                (None, Some(_)) => break,
            };
            // How much came after a page that is gone back from, or whether numbers began anew, shows the newest record alone.
            let only_newest = end.is_none() && (load.before.is_some() || (since > 0 && lowest == 0));
            let limit = if only_newest { Some(1) } else { walk.records_to_go() };
            let limit = limit.map(|n| u32::try_from(n.min(MOST_OF_A_PAGE)).unwrap_or(u32::MAX));
            let range = Range { limit, eventual, ..records(pk.to_owned(), lowest, wanted) };
            let asked_at = self.clock.now();
            let page = retry!(retry, self.table.page(&range, None, receipt))?;
            if started.age_ms(self.clock.now()) > LONGEST_MS {
                return Ok(Step::Again(None));
            }
            for item in &page.items {
                // What a page holds beyond the window was not asked for, and may be damaged.
                if end.is_some() && walk.wants().is_none() {
                    break;
                }
                let head = item::decode(item, self.settings.limits.record)?;
                if end.is_none() {
                    let tail = CachedTail::after(&head, asked_at);
                    if !eventual {
                        self.tails.learn(pk, &tail, asked_at);
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
                    check_hole(pk, above.as_ref(), Some(&head), (head.seq + 1, wanted), started.wall_ms)?;
                    walk.skip(head.seq + 1);
                    if walk.wants() != Some(head.seq) {
                        break;
                    }
                }
                above = Some(Above::of(&head));
                if let Body::Stub { cleared_by, .. } = head.body {
                    let newest = end.as_ref().map_or(0, |end| end.next - 1);
                    // A clear with a number that the walk came by would have ended it: another record was there then, and was purged since.
                    // A walk that finds it so again began when the clear was there, and was led past it by a rewind.
                    let was_passed = cleared_by <= top && before != Some((head.seq, cleared_by));
                    if (cleared_by > newest || was_passed) && self.keeps(Rule::StubNamesClear) {
                        return Ok(Step::Again(Some((head.seq, cleared_by))));
                    }
                    walk.end();
                    break;
                }
                match self.whole_record(pk, &head, receipt, retry).await? {
                    // What a delete of nothing wrote ends the history as a clear does, until it is purged.
                    Some(record) if head.is_blocker() => walk.take(Record { expires_at: None, ..record }),
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
                    check_hole(pk, above.as_ref(), None, (since, wanted), started.wall_ms)?;
                    walk.end();
                }
                if end.is_none() {
                    // An empty history must not hide one that lies there in another layout.
                    let any = Range { limit: Some(1), ..whole(pk.to_owned()) };
                    let any = retry!(retry, self.table.page(&any, None, receipt))?;
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

    /// A record with its messages, those in parts included. `None` where a sweep came between the two; a stub has none.
    pub(super) async fn whole_record(
        &self,
        pk: &str,
        head: &Head,
        receipt: &mut Receipt,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Record>, Error> {
        let Body::Record { rewind, metadata, sent_at, content } = &head.body else { return Ok(None) };
        let messages = match content {
            Stored::Here(messages) => messages.clone(),
            Stored::Parts { parts: PartsOf { id, count }, codec } => {
                let mut payload = Vec::new();
                let (mut found, mut after) = (0, None);
                let range = Range {
                    from: part_sk(id, 0),
                    to: part_sk(id, count.saturating_sub(1)),
                    newest_first: false,
                    ..records(pk.to_owned(), 0, 0)
                };
                loop {
                    let page = retry!(retry, self.table.page(&range, after.as_deref(), receipt))?;
                    for part in &page.items {
                        // What stands between its parts is none of them.
                        if part_of(&part.key.sk, id).is_some_and(|n| n < *count) {
                            item::add_part(&mut payload, part, head, self.settings.limits.record)?;
                            found += 1;
                        }
                    }
                    after = page.after;
                    if after.is_none() {
                        break;
                    }
                }
                if found != *count {
                    // A sweep replaces the head first, so parts that are gone under a live head are a loss.
                    return if self.is_swept(pk, head, receipt, retry).await? {
                        Ok(None)
                    } else {
                        Err(Error::corrupt(format!("record {} of {pk:?} has {found} of its {count} parts", head.seq)))
                    };
                }
                item::decode_parts(pk, head.seq, payload, *codec, self.settings.limits.record)?
            }
        };
        Ok(Some(Record {
            seq: head.seq,
            append_id: head.append_id,
            created_at: head.created_at,
            expires_at: head.expires_at,
            rewind: *rewind,
            metadata: metadata.clone(),
            sent_at: sent_at.clone(),
            messages,
        }))
    }

    async fn is_swept(&self, pk: &str, head: &Head, receipt: &mut Receipt, retry: &mut Retry<'_, C>) -> Result<bool, Error> {
        let range = records(pk.to_owned(), head.seq, head.seq);
        let page = retry!(retry, self.table.page(&range, None, receipt))?;
        let now = page.items.first().map(item::decode_without_messages).transpose()?;
        Ok(now.is_none_or(|now| now.is_stub() || now.append_id != head.append_id))
    }
}

/// Refuses to take a session of the `list` layout, which an original keeps under a fixed sort key, for one without messages.
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

/// What the record above a hole says of it.
struct Above {
    seq: u64,
    created_at: i64,
    /// When its session began, and so the record below at the earliest. `None` where that may be of the session before: below the record that
    /// began this one, or a rewind that takes that back.
    began: Option<i64>,
    may_have_hole_below: bool,
}

impl Above {
    fn of(head: &Head) -> Self {
        let rewinds = matches!(head.body, Body::Record { rewind: Some(_), .. });
        let may_have_hole_below = head.expires_at.is_some() || head.after_expiring || rewinds;
        let began = head.links.began.filter(|began| !rewinds && *began < head.created_at);
        Self { seq: head.seq, created_at: head.created_at, began, may_have_hole_below }
    }
}

/// A hole is the work of TTL where what stands above it has an expiry, or followed what had, and where its records are old enough
/// to have been purged. Else records are lost.
fn check_hole(pk: &str, above: Option<&Above>, below: Option<&Head>, (from, to): (u64, u64), now_ms: i64) -> Result<(), Error> {
    let Some(above) = above else { return Ok(()) };
    // They are no older than what stands below them, nor than their session. (Where what stands below is younger than what stands
    // above, the log was purged and began again while it was read.)
    let below = below.map(|head| head.created_at).filter(|created_at| *created_at <= above.created_at);
    let oldest = above.began.max(below);
    if above.may_have_hole_below && oldest.is_none_or(|oldest| now_ms.saturating_sub(oldest) >= PURGED_AT_AGE_MS) {
        return Ok(());
    }
    let which = if from == to { format!("record {to} is") } else { format!("records {from} to {to} are") };
    Err(Error::corrupt(format!("{which} missing from {pk:?} below record {}; the table may have been edited by hand", above.seq)))
}
