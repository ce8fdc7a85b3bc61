//! Sweep: replaces what a clear has hidden with stubs, newest first.

use super::append::written_by;
use super::item::{self, Body, Head, PartsOf};
use super::{Retry, Rule, Turns, retry};
use crate::common::names::{MAX_SEQ, REV, part_sk, records};
use crate::common::swept::Damaged;
use crate::table::{Clock, Condition, Item, Key, Range, Table};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::store::{Append, Appended, ClearOutcome, Cost, Deleted, SweepStats};

/// How many stubs are written at once. A sweep need not be fast: it leaves the table's throughput to the writers.
const AT_ONCE: usize = 16;

/// The error for a clear below a rewind that would bring back what the clear hid: no writer creates one.
pub(super) fn taken_back_clear(pk: &str, seq: u64) -> Error {
    Error::corrupt(format!("record {seq} of {pk:?} is a clear, but a later record removed it; nothing was swept"))
}

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn clear(&self, session: &SessionId) -> Result<ClearOutcome, Error> {
        let appended = self.append(session, &Append::clear()).await.map_err(|e| e.of_repeatable("cleared"))?;
        let swept = self.finish_clear(session, &appended).await?;
        Ok(ClearOutcome::new(appended, swept))
    }

    /// Ends a session, which removes it from the directory in the same request, and sweeps it.
    pub(crate) async fn delete(&self, session: &SessionId) -> Result<Deleted, Error> {
        let ended = self.append_or_end(session, &Append::clear(), &[], true).await;
        let (appended, existed) = ended.map_err(|e| e.of_repeatable("deleted"))?;
        let mut swept = match existed {
            true => self.finish_clear(session, &appended).await?,
            // This may repeat a delete that was interrupted.
            false if appended.seq > 0 => self.sweep_unfinished(session).await?,
            false => SweepStats::default(),
        };
        swept.cost += appended.cost;
        Ok(Deleted::new(existed, swept))
    }

    /// Sweeps a session whose last sweep was interrupted. Sweeps go from the newest record down, so its oldest records show that.
    async fn sweep_unfinished(&self, session: &SessionId) -> Result<SweepStats, Error> {
        let pk = self.common.partitions.session(session);
        let (mut retry, mut cost) = (self.retry(), Cost::default());
        let range = Range { newest_first: false, limit: Some(AT_ONCE as u32 + 1), ..records(pk, 0, MAX_SEQ) };
        let page = retry!(retry, self.table.page(&range, None, &mut cost))?;
        let is_done = |item: &Item| {
            item::decode_without_messages(item).is_ok_and(|head| match head.body {
                Body::Stub { parts, .. } => parts.is_none(),
                Body::Record { rewind, .. } => rewind == Some(0) && head.links.began.is_none() && head.links.ended.is_none(),
            })
        };
        let mut swept = if page.items.iter().all(is_done) { SweepStats::default() } else { self.sweep(session).await? };
        swept.cost += cost;
        Ok(swept)
    }

    /// Removes from the directory the entry that a delete's clear names, and then the entry's name from the clear. Interrupted
    /// deletes of the previous version left such clears.
    async fn finish_delete(&self, clear: &Item, cost: &mut Cost) -> Result<(), Error> {
        let head = item::decode_without_messages(clear)?;
        if self.remove_ended(&clear.key, &head, cost).await? {
            let mut retry = self.retry();
            retry!(retry, self.table.put(&item::without_entry(clear), &[written_by(head.append_id)], cost))?;
        }
        Ok(())
    }

    /// If this is a delete's clear that names a directory entry, deletes that entry and returns `true`.
    async fn remove_ended(&self, key: &Key, head: &Head, cost: &mut Cost) -> Result<bool, Error> {
        let Some((ended, session)) = head.links.ended.zip(self.common.partitions.session_of(&key.pk)) else { return Ok(false) };
        let (entry, mut retry) = (self.entry_key(&session, head.links.owner.as_ref(), ended), self.retry());
        retry!(retry, self.table.delete(&entry, &[], cost))?;
        Ok(true)
    }

    async fn finish_clear(&self, session: &SessionId, cleared: &Appended) -> Result<SweepStats, Error> {
        let pk = self.common.partitions.session(session);
        self.sweep_below(&pk, cleared.seq, Cost::default()).await.map_err(|e| {
            e.context("the session is cleared, but its records are not erased yet; clear it again, or sweep, to finish")
        })
    }

    /// Sweeps below the session's newest clear, if it has one.
    pub(crate) async fn sweep(&self, session: &SessionId) -> Result<SweepStats, Error> {
        self.writable()?;
        let pk = self.common.partitions.session(session);
        let (mut retry, mut cost) = (self.retry(), Cost::default());
        let range = records(pk.clone(), 0, MAX_SEQ);
        let (mut after, mut damaged) = (None, Damaged::default());
        let mut taken_back = MAX_SEQ + 1;
        let clear = 'pages: loop {
            let page = retry!(retry, self.table.page(&range, after.as_deref(), &mut cost))?;
            for item in &page.items {
                let Some(head) = damaged.pass(item::decode_without_messages(item))? else { continue };
                match head.body {
                    Body::Record { .. } if head.is_blocker() => {}
                    Body::Record { rewind: Some(0), .. } if head.seq >= taken_back => {
                        return Err(taken_back_clear(&pk, head.seq));
                    }
                    Body::Record { rewind: Some(0), .. } => {
                        self.finish_delete(item, &mut cost).await?;
                        break 'pages Some(head.seq);
                    }
                    Body::Record { rewind, .. } => taken_back = taken_back.min(rewind.unwrap_or(MAX_SEQ + 1)),
                    Body::Stub { cleared_by, .. } => {
                        self.check_clear(&pk, head.seq, cleared_by, &mut cost, &mut retry).await?;
                        break 'pages Some(cleared_by);
                    }
                }
            }
            after = page.after;
            if after.is_none() {
                break None;
            }
        };
        let swept = match clear {
            Some(clear) => damaged.pass(self.sweep_below(&pk, clear, cost).await)?,
            None => Some(SweepStats::new(0, cost)),
        };
        damaged.none_or("cleared records were erased, except for these")?;
        Ok(swept.unwrap_or_default())
    }

    /// Checks that the clear named by a stub exists, since it was not seen above the stub: whatever is swept below it is lost.
    async fn check_clear(&self, pk: &str, stub: u64, clear: u64, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<(), Error> {
        let range = records(pk.to_owned(), clear, clear);
        let page = retry!(retry, self.table.page(&range, None, cost))?;
        let found = page.items.first().map(item::decode_without_messages).transpose()?;
        match found.map(|head| head.body) {
            Some(Body::Stub { .. } | Body::Record { rewind: Some(0), .. }) => Ok(()),
            _ => Err(Error::corrupt(format!(
                "record {stub} of {pk:?} is marked as erased by the clear {clear}, which is missing; nothing was swept"
            ))),
        }
    }

    /// Sweeps what is numbered below this clear. A record that cannot be read stays; it is reported once all others are erased.
    pub(super) async fn sweep_below(&self, pk: &str, clear: u64, mut cost: Cost) -> Result<SweepStats, Error> {
        let Some(newest) = clear.checked_sub(1) else { return Ok(SweepStats::new(0, cost)) };
        // The deadline applies to one page: a long session takes as long as it takes.
        let mut retry = self.retry();
        let ttl = self.ttl_name(&mut cost, &mut retry).await?;
        let range = records(pk.to_owned(), 0, newest);
        let (mut after, mut swept, mut damaged) = (None, 0, Damaged::default());
        loop {
            let mut retry = self.retry();
            let page = retry!(retry, self.table.page(&range, after.as_deref(), &mut cost))?;
            let mut live = Vec::new();
            for item in &page.items {
                let Some(head) = damaged.pass(item::decode_without_messages(item))? else { continue };
                if !head.is_stub() || head.parts().is_some() {
                    live.push((&item.key, head));
                }
            }
            for batch in live.chunks(AT_ONCE) {
                let erased = batch.iter().map(|(key, head)| self.erase(key, head, clear, &ttl));
                for result in futures_util::future::join_all(erased).await {
                    let (replaced, of_record) = result?;
                    swept += u64::from(replaced);
                    cost += of_record;
                }
            }
            after = page.after;
            if after.is_none() {
                damaged.none_or("cleared records were erased, except for these")?;
                return Ok(SweepStats::new(swept, cost));
            }
        }
    }

    /// Replaces one record with its stub, and deletes its parts.
    async fn erase(&self, key: &Key, head: &Head, clear: u64, ttl: &str) -> Result<(bool, Cost), Error> {
        let (mut retry, mut cost) = (self.retry(), Cost::default());
        if !self.keeps(Rule::Stub) {
            retry!(retry, self.table.delete(key, &[], &mut cost))?;
            return Ok((true, cost));
        }
        if head.is_stub() {
            self.erase_seen(key, head, clear, ttl, &mut cost, &mut retry).await?;
            return Ok((false, cost));
        }
        let mut replaced = self.erase_seen(key, head, clear, ttl, &mut cost, &mut retry).await?;
        while !replaced {
            // A redaction may have given it other parts.
            let range = Range { limit: Some(1), ..records(key.pk.clone(), head.seq, head.seq) };
            let page = retry!(retry, self.table.page(&range, None, &mut cost))?;
            let now = page.items.first().map(item::decode_without_messages).transpose()?;
            let Some(now) = now.filter(|now| !now.is_stub() && now.append_id == head.append_id) else { break };
            replaced = self.erase_seen(key, &now, clear, ttl, &mut cost, &mut retry).await?;
        }
        Ok((replaced, cost))
    }

    /// Replaces a record if it is as it was seen. Returns whether it was.
    async fn erase_seen(
        &self,
        key: &Key,
        head: &Head,
        clear: u64,
        ttl: &str,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<bool, Error> {
        let now = self.clock.now().wall;
        let clear = match head.body {
            Body::Stub { cleared_by, .. } => cleared_by,
            Body::Record { .. } => clear,
        };
        // A stub names no entry, so a delete's entry in the directory is removed first.
        self.remove_ended(key, head, cost).await?;
        if let Some(parts) = &head.old_parts {
            self.delete_parts(key, parts, cost, retry).await?;
        }
        // Head first: a reader that finds a live head must find its parts. Only the record that was seen is replaced.
        let stub = item::stub(key, head, clear, head.parts(), now, ttl);
        let as_seen = [written_by(head.append_id), Condition::equals(REV, head.rev.as_deref().cloned())];
        let replaced = head.is_stub() || retry!(retry, self.table.put(&stub, &as_seen, cost))?;
        if let Some(parts) = head.parts() {
            self.delete_parts(key, parts, cost, retry).await?;
            let bare = item::stub(key, head, clear, None, now, ttl);
            let is_stub = [written_by(head.append_id), Condition::equals(REV, None)];
            retry!(retry, self.table.put(&bare, &is_stub, cost))?;
        }
        Ok(replaced)
    }

    pub(super) async fn delete_parts(
        &self,
        head: &Key,
        parts: &PartsOf,
        cost: &mut Cost,
        retry: &mut Retry<'_, C>,
    ) -> Result<(), Error> {
        for n in 0..parts.count {
            let key = Key { pk: head.pk.clone(), sk: part_sk(&parts.id, n) };
            retry!(retry, self.table.delete(&key, &[], cost))?;
        }
        Ok(())
    }
}
