//! Sweeps a whole table: finishes whatever was interrupted, and erases what an original's clear left behind.

use crate::common::timing::SIDE_ITEMS_ABANDONED;
use std::collections::{BTreeMap, HashSet};

use super::generations::as_known;
use super::side::{SideItem, part_id};
use super::state::Log;
use super::{Listed, retry};
use crate::common::names::{CREATED_AT, LIST_HEAD, LIST_SESSION, VERSION};
use crate::common::retry::Retry;
use crate::common::swept::{Damaged, TableSweepStats};
use crate::table::{Clock, Key, Scan, Table};
use chat_memory_core::error::Error;
use chat_memory_core::store::Cost;
use chat_memory_core::{SessionId, Timestamp};

impl<T: Table, C: Clock> Listed<T, C> {
    pub(crate) async fn sweep_table(&self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<TableSweepStats, Error> {
        self.writable()?;
        let mut swept = TableSweepStats::default();
        let old_before = self.clock.now().wall - SIDE_ITEMS_ABANDONED;
        // Each session's side items, and whether each one is old.
        let mut side_items: BTreeMap<SessionId, Vec<(String, bool, Key)>> = BTreeMap::new();
        // Sessions that were emptied at some point.
        let mut emptied: Vec<SessionId> = Vec::new();
        let mut after = None;
        loop {
            let mut retry = self.retry();
            let only = [VERSION, CREATED_AT, LIST_SESSION, LIST_HEAD];
            let scan = Scan { only: Some(&only), eventual: true, ..Scan::default() };
            let page = retry!(retry, self.table.scan(&scan, after.as_ref(), &mut swept.cost))?;
            for item in page.items {
                swept.items += 1;
                if let Some((session, id)) = self.settings.ids.side_key_of(&item) {
                    let made = item.attributes.get(CREATED_AT).and_then(|at| at.as_n().ok()?.parse().ok());
                    side_items.entry(session).or_default().push((
                        id,
                        made.is_none_or(|made| Timestamp::from_millis(made) < old_before),
                        item.key,
                    ));
                } else if item.attributes.contains_key(LIST_HEAD) {
                    emptied.extend(self.settings.ids.session_of(&item));
                }
            }
            progress(swept.items);
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        let mut damaged = Damaged::default();
        for (session, items) in side_items {
            damaged.pass(self.sweep_side_items(&session, items, &mut swept).await)?;
        }
        for session in emptied {
            damaged.pass(self.forget_emptied(&session, &mut swept).await)?;
        }
        swept.unless(damaged)
    }

    /// Finishes a session's sweep, and deletes side items that its item does not lead to.
    async fn sweep_side_items(
        &self,
        session: &SessionId,
        items: Vec<(String, bool, Key)>,
        swept: &mut TableSweepStats,
    ) -> Result<(), Error> {
        let done = self.sweep(session).await?;
        let mut erased = done.records > 0;
        swept.records += done.records;
        swept.cost += done.cost;
        let mut retry = self.retry();
        let named = self.reachable(session, &mut swept.cost, &mut retry).await?;
        for (id, is_old, key) in items {
            if is_old && !named.contains(&id) {
                let mut retry = self.retry();
                retry!(retry, self.table.delete(&key, &[], &mut swept.cost))?;
                swept.parts += 1;
                erased = true;
            }
        }
        swept.sessions += u64::from(erased);
        Ok(())
    }

    /// Deletes the item of a session that was emptied so long ago that it is no longer needed: every key and ticket has expired by
    /// then, and no request is still in flight.
    async fn forget_emptied(&self, session: &SessionId, swept: &mut TableSweepStats) -> Result<(), Error> {
        let mut retry = self.retry();
        let state = self.state(session, false, None, &mut swept.cost, &mut retry).await?;
        let old_before = self.clock.now().wall - SIDE_ITEMS_ABANDONED;
        let is_old = state.log.entries.iter().all(|entry| entry.count == 0 && entry.bare.created_at < old_before);
        let is_empty = state.log.elements.is_empty() && state.log.head.segment.is_none() && !state.log.entries.is_empty();
        if state.generation.is_none()
            || !is_empty
            || !is_old
            || !self.reachable(session, &mut swept.cost, &mut retry).await?.is_empty()
        {
            return Ok(());
        }
        let (key, mut conditions) = (self.settings.ids.key(session)?, as_known(state.generation, true));
        conditions.extend(self.as_read(&state));
        let gone = retry!(retry, self.table.delete(&key, &conditions, &mut swept.cost))?;
        swept.sessions += u64::from(gone);
        Ok(())
    }

    /// The ids of everything that a session's item leads to.
    async fn reachable<'a>(
        &'a self,
        session: &SessionId,
        cost: &mut Cost,
        retry: &mut Retry<'a, C>,
    ) -> Result<HashSet<String>, Error> {
        let state = self.state(session, false, None, cost, retry).await?;
        let mut named = HashSet::new();
        name_parts(&state.log, &mut named);
        let mut to_see: Vec<String> = state.log.head.segment.iter().chain(&state.log.head.gone).cloned().collect();
        while let Some(id) = to_see.pop() {
            if !named.insert(id.clone()) {
                continue;
            }
            *retry = self.retry();
            match self.read_side_item(session, &id, cost, retry).await? {
                Some(SideItem::Segment(log)) => {
                    name_parts(&log, &mut named);
                    to_see.extend(log.head.segment);
                }
                Some(SideItem::Swept { head, .. }) => to_see.extend(head.segment),
                Some(SideItem::Gone(gone)) => {
                    let is_over = gone.swept && gone.at < self.clock.now().wall - SIDE_ITEMS_ABANDONED;
                    if is_over {
                        // Nothing is searched for there any more.
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
