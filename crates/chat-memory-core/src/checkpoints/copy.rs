//! The engine's operation that copies a thread.

use std::collections::{HashMap, HashSet};

use super::format::{self, BasePart, Entry, Head, Lean};
use super::keys::{Log, Place, below, place};
use super::read::unreadable;
use super::rows::{Condition, Put, Row, RowRange};
use super::store::CheckpointStore;
use crate::error::{Error, ErrorKind};
use crate::session::SessionId;
use crate::store::Cost;
use crate::store::position::Moment;

/// How many rows are read at a time.
const PAGE: u32 = 100;

impl CheckpointStore {
    /// Copies all checkpoints of a thread, and what tasks wrote at them, to a thread that never had any.
    ///
    /// # Errors
    /// Conflict if the target has checkpoints, or had some; contended if the source was pruned meanwhile; errors of the table. If it
    /// fails, the target may have some of the checkpoints.
    pub async fn copy_thread(&self, source: &SessionId, target: &SessionId) -> Result<Cost, Error> {
        let mut cost = Cost::default();
        let (from, to) = (self.partition(source), self.partition(target));
        self.settle(&from, &mut cost).await?;
        self.settle(&to, &mut cost).await?;
        // Marks of earlier checkpoints would hide the copy, and must stay.
        if !self.logs(&to, &mut cost).await?.is_empty() {
            let sentence = format!(
                "thread not copied: {:?} has checkpoints, or had some; choose a thread that never had any",
                target.as_str()
            );
            return Err(Error::new(ErrorKind::Conflict, sentence));
        }
        for log in self.logs(&from, &mut cost).await? {
            // A copy is whole up to its newest checkpoint at any time, as bases come first and checkpoints in order.
            let mut copied = Copied { began: Some(self.0.now()), ..Copied::default() };
            self.copy_rows(&from, &to, log.all_bases(), &mut copied, None, &mut cost).await?;
            let rows = RowRange { descending: false, ..log.whole() };
            self.copy_rows(&from, &to, rows, &mut copied, Some(&log), &mut cost).await?;
        }
        Ok(cost)
    }

    /// Copies rows. Before a checkpoint's row (of `log`), copies what it leans on and was put since others were copied.
    async fn copy_rows(
        &self,
        from: &str,
        to: &str,
        range: RowRange,
        copied: &mut Copied,
        log: Option<&Log>,
        cost: &mut Cost,
    ) -> Result<(), Error> {
        let mut range = Some(RowRange { limit: Some(PAGE), ..range });
        while let Some(next) = range.take() {
            let page = self.0.rows.page(from, &next, cost).await?;
            if let Some(last) = page.rows.last().filter(|_| page.more) {
                range = Some(RowRange { from: format!("{}\0", last.sort), ..next });
            }
            if copied.began.is_some_and(|began| self.0.is_old(began)) {
                return Err(Error::new(
                    ErrorKind::Contended,
                    "thread not copied: it took too long; copy it again, to another thread",
                ));
            }
            for row in page.rows {
                match (place(&row.sort), log) {
                    (Some((_, Place::Base { id, .. })), _) => copied.add(id, &row)?,
                    (Some((_, Place::After(previous))), Some(log)) => {
                        let (entry, _) = format::decode_entry(&row.body, previous)
                            .map_err(|why| unreadable(&format!("after {previous:?}"), &why))?;
                        let last = copied.last.replace(entry.id().to_owned());
                        if last.as_deref().unwrap_or_default() != previous {
                            // Perhaps a row before it was put when its place had been passed.
                            let range = RowRange {
                                from: log.after(last.as_deref()),
                                to: below(&row.sort),
                                descending: false,
                                limit: None,
                            };
                            let ours = std::mem::replace(&mut copied.last, last);
                            Box::pin(self.copy_rows(from, to, range, copied, Some(log), cost)).await?;
                            copied.last = ours;
                        }
                        if let Entry::Checkpoint(Head { lean: Lean::Base { chain, id }, .. }) = &entry
                            && !copied.has(id)
                        {
                            Box::pin(self.copy_rows(from, to, log.bases(chain, id), copied, None, cost)).await?;
                            if !copied.has(id) {
                                let sentence = "thread not copied: it was pruned meanwhile; copy it again, to another thread";
                                return Err(Error::new(ErrorKind::Contended, sentence));
                            }
                        }
                    }
                    _ => {}
                }
                match self.0.rows.put(to, &row, Condition::Absent, cost).await? {
                    Put::Taken(there) if there.body != row.body => {
                        let sentence = "thread not copied: a run put a checkpoint to the target meanwhile; choose another";
                        return Err(Error::new(ErrorKind::Conflict, sentence));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// What was copied of a log.
#[derive(Default)]
struct Copied {
    began: Option<Moment>,
    /// The bases: of each, how many parts it has, which were copied, and the base before it.
    bases: HashMap<String, (usize, HashSet<String>, Option<String>)>,
    /// The id of the last checkpoint or mark.
    last: Option<String>,
}

impl Copied {
    fn add(&mut self, id: &str, row: &Row) -> Result<(), Error> {
        let part = BasePart::decode(&row.body).map_err(|why| unreadable(id, &format!("in its base: {why}")))?;
        self.bases.entry(id.to_owned()).or_insert((part.parts, HashSet::new(), part.before)).1.insert(row.sort.clone());
        Ok(())
    }

    /// Whether a base is there with all its parts, and all those that it leans on.
    fn has(&self, id: &str) -> bool {
        let mut next = Some(id);
        while let Some(id) = next {
            match self.bases.get(id) {
                Some((parts, sorts, before)) if *parts == sorts.len() => next = before.as_deref(),
                _ => return false,
            }
        }
        true
    }
}
