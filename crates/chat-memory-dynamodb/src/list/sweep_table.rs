//! Sweep of a whole table: what was cut off anywhere, and what a clear by an original left behind.

use std::collections::{BTreeMap, HashSet};

use super::beside::{Beside, REMEMBERED_MS, part_id};
use super::state::Log;
use super::{ListTable, Listed, Share, retry};
use crate::names::{CREATED_AT, LIST_HEAD, LIST_SESSION, VERSION};
use crate::retry::Retry;
use crate::table::{Clock, Key};
use crate::turns::{Damaged, TableSwept};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;
use chat_memory_core::store::Receipt;

/// From which age on what nothing points at is garbage: no append, rewind or roll goes on for as long.
const ABANDONED_MS: i64 = 2 * REMEMBERED_MS;

impl<T: ListTable, C: Clock> Listed<T, C> {
    pub(crate) async fn sweep_table(&self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<TableSwept, Error> {
        self.writable()?;
        let mut swept = TableSwept::default();
        let old_before = self.clock.now().wall_ms - ABANDONED_MS;
        // What stands beside each session, and whether it is old.
        let mut beside: BTreeMap<SessionId, Vec<(String, bool, Key)>> = BTreeMap::new();
        // Sessions that were emptied at some time.
        let mut emptied: Vec<SessionId> = Vec::new();
        let mut after = None;
        loop {
            let mut retry = self.retry();
            let whole = Share { number: 0, of: 1 };
            let only = &[VERSION, CREATED_AT, LIST_SESSION, LIST_HEAD];
            let page = retry!(retry, self.table.slice(whole, only, &[], after.as_ref(), &mut swept.receipt))?;
            for item in page.items {
                swept.items += 1;
                if let Some((session, id)) = self.beside_of(&item) {
                    let made = item.attributes.get(CREATED_AT).and_then(|at| at.as_n().ok()?.parse::<i64>().ok());
                    beside.entry(session).or_default().push((id, made.is_none_or(|made| made < old_before), item.key));
                } else if item.attributes.contains_key(LIST_HEAD) {
                    emptied.extend(self.session_of(&item));
                }
            }
            progress(swept.items);
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        let mut damaged = Damaged::default();
        for (session, items) in beside {
            damaged.pass(self.sweep_beside(&session, items, &mut swept).await)?;
        }
        for session in emptied {
            damaged.pass(self.forget_emptied(&session, &mut swept).await)?;
        }
        swept.unless(damaged)
    }

    /// Finishes a session's sweep, and deletes what its item does not lead to.
    async fn sweep_beside(
        &self,
        session: &SessionId,
        items: Vec<(String, bool, Key)>,
        swept: &mut TableSwept,
    ) -> Result<(), Error> {
        let done = self.sweep(session).await?;
        let mut erased = done.records > 0;
        swept.records += done.records;
        swept.receipt += done.receipt;
        let mut retry = self.retry();
        let named = self.reachable(session, &mut swept.receipt, &mut retry).await?;
        for (id, is_old, key) in items {
            if is_old && !named.contains(&id) {
                let mut retry = self.retry();
                retry!(retry, self.table.discard(&key, &mut swept.receipt))?;
                swept.parts += 1;
                erased = true;
            }
        }
        swept.sessions += u64::from(erased);
        Ok(())
    }

    /// Deletes the item of a session that was emptied so long ago that nothing has to be known by it any more: no key and no ticket is
    /// good for longer, and no request is on its way.
    async fn forget_emptied(&self, session: &SessionId, swept: &mut TableSwept) -> Result<(), Error> {
        let mut retry = self.retry();
        let state = self.state(session, false, None, &mut swept.receipt, &mut retry).await?;
        let old_before = self.clock.now().wall_ms - ABANDONED_MS;
        let is_old = state.log.entries.iter().all(|entry| entry.count == 0 && entry.bare.created_at < old_before);
        let is_empty = state.log.elements.is_empty() && state.log.head.segment.is_none() && !state.log.entries.is_empty();
        let Some(generation) = state.generation.filter(|_| is_empty && is_old) else { return Ok(()) };
        if !self.reachable(session, &mut swept.receipt, &mut retry).await?.is_empty() {
            return Ok(());
        }
        let (key, equal) = (self.key(session)?, self.as_read(&state));
        let gone = retry!(retry, self.table.discard_if(&key, generation, &equal, &mut swept.receipt))?;
        swept.sessions += u64::from(gone);
        Ok(())
    }

    /// Everything that a session's item leads to.
    async fn reachable<'a>(
        &'a self,
        session: &SessionId,
        receipt: &mut Receipt,
        retry: &mut Retry<'a, C>,
    ) -> Result<HashSet<String>, Error> {
        let state = self.state(session, false, None, receipt, retry).await?;
        let mut named = HashSet::new();
        name_parts(&state.log, &mut named);
        let mut to_see: Vec<String> = state.log.head.segment.iter().chain(&state.log.head.gone).cloned().collect();
        while let Some(id) = to_see.pop() {
            if !named.insert(id.clone()) {
                continue;
            }
            *retry = self.retry();
            match self.read_beside(session, &id, receipt, retry).await? {
                Some(Beside::Segment(log)) => {
                    name_parts(&log, &mut named);
                    to_see.extend(log.head.segment);
                }
                Some(Beside::Swept { head, .. }) => to_see.extend(head.segment),
                Some(Beside::Gone(gone)) => {
                    let is_over = gone.swept && gone.at < self.clock.now().wall_ms - ABANDONED_MS;
                    if is_over {
                        // Nothing is looked for there any more.
                        named.remove(&id);
                        continue;
                    }
                    for parts in &gone.parts {
                        named.extend((0..parts.count).map(|n| part_id(&parts.id, n)));
                    }
                    to_see.extend(gone.segments.map(|(from, _)| from));
                    to_see.extend(gone.before);
                }
                None => {}
            }
        }
        Ok(named)
    }
}

fn name_parts(log: &Log, named: &mut HashSet<String>) {
    for parts in log.entries.iter().filter_map(|entry| entry.parts.as_ref()) {
        named.extend((0..parts.count).map(|n| part_id(&parts.id, n)));
    }
}
