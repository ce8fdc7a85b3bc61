//! Rows in this process's memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::rows::{Condition, Put, Row, RowPage, RowRange, Rows};
use crate::error::Error;
use crate::store::Cost;

/// Rows in this process's memory: for tests and experiments. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct InMemoryRows(Arc<Mutex<BTreeMap<(String, String), Row>>>);

impl InMemoryRows {
    /// Creates an empty table.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Rows for InMemoryRows {
    async fn page(&self, partition: &str, range: &RowRange, cost: &mut Cost) -> Result<RowPage, Error> {
        cost.requests += 1;
        if range.from > range.to {
            return Ok(RowPage::default());
        }
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |sort: &String| (partition.to_owned(), sort.clone());
        let mut found = table.range((Bound::Included(key(&range.from)), Bound::Included(key(&range.to)))).map(|(_, row)| row);
        let most = range.limit.map_or(usize::MAX, |limit| limit as usize);
        let mut rows = Vec::new();
        while let Some(row) = if range.descending { found.next_back() } else { found.next() } {
            if rows.len() == most {
                return Ok(RowPage { rows, more: true });
            }
            cost.bytes += row.body.len() as u64;
            rows.push(row.clone());
        }
        Ok(RowPage { rows, more: false })
    }

    async fn put(&self, partition: &str, row: &Row, condition: Condition, cost: &mut Cost) -> Result<Put, Error> {
        cost.requests += 1;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (partition.to_owned(), row.sort.clone());
        match (condition, table.get(&key)) {
            (Condition::None, _) | (Condition::Absent, None) => {}
            (Condition::Is(body), Some(there)) if there.body == body => {}
            (Condition::Is(_), None) => return Ok(Put::Gone),
            (_, Some(there)) => return Ok(Put::Taken(there.clone())),
        }
        cost.bytes += row.body.len() as u64;
        table.insert(key, row.clone());
        Ok(Put::Done)
    }

    async fn delete(&self, partition: &str, sorts: &[String], cost: &mut Cost) -> Result<(), Error> {
        cost.requests += 1;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sort in sorts {
            table.remove(&(partition.to_owned(), sort.clone()));
        }
        Ok(())
    }

    async fn partitions(
        &self,
        prefix: &str,
        _after: Option<&str>,
        cost: &mut Cost,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        cost.requests += 1;
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<String> = table.keys().map(|(partition, _)| partition.clone()).collect();
        found.retain(|partition| partition.starts_with(prefix));
        found.dedup();
        Ok((found, None))
    }
}
