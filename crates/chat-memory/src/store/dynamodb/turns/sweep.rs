//! Sweep: what a clear has hidden is replaced by stubs, newest first.

use super::item::{self, Body, Head, PartsOf};
use super::{Patience, Rule, Turns, persist};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::dynamodb::names::{MAX_SEQ, TTL, part_sk, records};
use crate::store::dynamodb::table::{Clock, Key, Table};
use crate::store::{Append, Appended, Cleared, Receipt, Swept};

/// How many stubs are written at once. A sweep is no race: it leaves the table's throughput to the writers.
const AT_ONCE: usize = 16;

impl<T: Table, C: Clock> Turns<T, C> {
    pub(crate) async fn clear(&self, session: &SessionId) -> Result<Cleared, Error> {
        let appended = self.append(session, &Append::clear()).await?;
        let swept = self.finish_clear(session, &appended).await?;
        Ok(Cleared { appended, swept })
    }

    /// Clears a session, sweeps it and takes it off the directory. The clear carries no link to the directory, so that the
    /// next append starts the session anew.
    pub(crate) async fn delete(&self, session: &SessionId) -> Result<Swept, Error> {
        self.writable()?;
        let pk = self.settings.partitions.session(session);
        let mut receipt = Receipt::default();
        let links = self.tail(&pk, &mut receipt, &mut self.patience()).await?.links();
        let appended = self.append_linked(session, &Append::clear(), false).await?;
        let mut patience = self.patience();
        if links.began.is_some() {
            persist!(patience, self.remove_entry(session, &links, &mut receipt))?;
        }
        let mut swept = self.finish_clear(session, &appended).await?;
        receipt += appended.receipt;
        swept.receipt += receipt;
        Ok(swept)
    }

    async fn finish_clear(&self, session: &SessionId, cleared: &Appended) -> Result<Swept, Error> {
        let pk = self.settings.partitions.session(session);
        self.sweep_below(&pk, cleared.seq, Receipt::default()).await.map_err(|e| {
            e.context("the session is cleared, but what it held is not yet erased; clear it again, or sweep, to finish")
        })
    }

    /// Sweeps below the session's newest clear, if it has one.
    pub(crate) async fn sweep(&self, session: &SessionId) -> Result<Swept, Error> {
        self.writable()?;
        let pk = self.settings.partitions.session(session);
        let (mut patience, mut receipt) = (self.patience(), Receipt::default());
        let range = records(pk.clone(), 0, MAX_SEQ);
        let mut after = None;
        loop {
            let page = persist!(patience, self.table.page(&range, after.as_deref(), &mut receipt))?;
            for item in &page.items {
                let head = item::decode(item, self.settings.limits.record)?;
                match head.body {
                    Body::Record { rewind: Some(0), .. } => return self.sweep_below(&pk, head.seq, receipt).await,
                    Body::Stub { cleared_by, .. } => return self.sweep_below(&pk, cleared_by, receipt).await,
                    Body::Record { .. } => {}
                }
            }
            after = page.after;
            if after.is_none() {
                return Ok(Swept { records: 0, receipt });
            }
        }
    }

    /// Sweeps what is numbered below this clear.
    pub(super) async fn sweep_below(&self, pk: &str, clear: u64, mut receipt: Receipt) -> Result<Swept, Error> {
        let Some(newest) = clear.checked_sub(1) else { return Ok(Swept { records: 0, receipt }) };
        // The deadline is for one page's work: a long session takes as long as it takes.
        let ttl = match persist!(&mut self.patience(), self.table.ttl_attribute(&mut receipt)) {
            // Who may not ask still may clear: a stub under the usual name costs a hundred bytes at worst.
            Err(error) if error.is_access_denied() && self.settings.retention_s.is_none() => TTL.to_owned(),
            ttl => ttl?,
        };
        let range = records(pk.to_owned(), 0, newest);
        let (mut after, mut swept) = (None, 0);
        loop {
            let mut patience = self.patience();
            let page = persist!(patience, self.table.page(&range, after.as_deref(), &mut receipt))?;
            let mut live = Vec::new();
            for item in &page.items {
                let head = item::decode(item, self.settings.limits.record)?;
                if !head.is_stub() || head.parts().is_some() {
                    live.push((&item.key, head));
                }
            }
            for batch in live.chunks(AT_ONCE) {
                let erased = batch.iter().map(|(key, head)| self.erase(key, head, clear, &ttl));
                for result in futures_util::future::join_all(erased).await {
                    let (replaced, cost) = result?;
                    swept += u64::from(replaced);
                    receipt += cost;
                }
            }
            after = page.after;
            if after.is_none() {
                return Ok(Swept { records: swept, receipt });
            }
        }
    }

    /// Replaces one record by its stub, and deletes its parts.
    async fn erase(&self, key: &Key, head: &Head, clear: u64, ttl: &str) -> Result<(bool, Receipt), Error> {
        let (mut patience, mut receipt) = (self.patience(), Receipt::default());
        if !self.keeps(Rule::Stub) {
            persist!(patience, self.table.delete(key, &mut receipt))?;
            return Ok((true, receipt));
        }
        let now_s = self.clock.now().wall_ms.div_euclid(1000);
        let clear = match head.body {
            Body::Stub { cleared_by, .. } => cleared_by,
            Body::Record { .. } => clear,
        };
        // Head first: a reader that finds a live head must find its parts. Only the record that was seen is replaced.
        let stub = item::stub(key, head, clear, head.parts(), now_s, ttl);
        let replaced = head.is_stub() || persist!(patience, self.table.replace(&stub, head.append_id, &mut receipt))?;
        if let Some(parts) = head.parts() {
            self.delete_parts(key, parts, &mut receipt, &mut patience).await?;
            let bare = item::stub(key, head, clear, None, now_s, ttl);
            persist!(patience, self.table.replace(&bare, head.append_id, &mut receipt))?;
        }
        Ok((replaced && !head.is_stub(), receipt))
    }

    async fn delete_parts(
        &self,
        head: &Key,
        parts: &PartsOf,
        receipt: &mut Receipt,
        patience: &mut Patience<'_, C>,
    ) -> Result<(), Error> {
        for n in 0..parts.count {
            let key = Key { pk: head.pk.clone(), sk: part_sk(&parts.id, n) };
            persist!(patience, self.table.delete(&key, receipt))?;
        }
        Ok(())
    }
}
