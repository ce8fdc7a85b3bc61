//! The rows of checkpoints, in a table of their own (docs/formats.md, "SQLite").
//!
//! The table is created with its first row. Programs that know nothing of it ignore it, so the file keeps its version.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::connect::Database;
use super::failure::{Failure, commit_outcome_unknown};
use super::log::Transaction;
use super::{SqliteStore, schema, sweep};
use chat_memory_core::Timestamp;
use chat_memory_core::checkpoints::{CheckpointOptions, CheckpointStore, Condition, Put, Row, RowPage, RowRange, Rows};
use chat_memory_core::error::Error;
use chat_memory_core::store::Cost;

/// A page ends after this many bytes of bodies, so that reading many large rows does not need much memory at once.
const PAGE_BYTES: usize = 4_000_000;

/// How many partitions a page has: as many as a page of sessions.
const PARTITIONS: usize = 100;

pub(super) const UP: &str =
    "SELECT sort, body, purge_at FROM checkpoints WHERE partition = ?1 AND sort >= ?2 AND sort <= ?3 ORDER BY sort LIMIT ?4";

pub(super) const DOWN: &str =
    "SELECT sort, body, purge_at FROM checkpoints WHERE partition = ?1 AND sort >= ?2 AND sort <= ?3 ORDER BY sort DESC LIMIT ?4";

pub(super) const ONE: &str = "SELECT sort, body, purge_at FROM checkpoints WHERE partition = ?1 AND sort = ?2";

pub(super) const DELETE: &str = "DELETE FROM checkpoints WHERE partition = ?1 AND sort = ?2";

pub(super) const REPLACE: &str =
    "UPDATE checkpoints SET body = :body, purge_at = :purge_at WHERE partition = :partition AND sort = :sort AND body = :before";

pub(super) const NEXT_PARTITION: &str = "SELECT partition FROM checkpoints WHERE partition >= ?1 ORDER BY partition LIMIT 1";

impl SqliteStore {
    /// Returns the checkpoints in the file. They need a Tokio runtime, unlike the rest of the store. If the options have no
    /// retention, the store's applies.
    ///
    /// ```
    /// use chat_memory::SessionId;
    /// use chat_memory::checkpoints::{CheckpointOptions, NewCheckpoint, Typed};
    /// use chat_memory::store::sqlite::SqliteStore;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("chat.db");
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let checkpoints = SqliteStore::open(&path).await?.checkpoints(CheckpointOptions::default());
    /// let json = |text: &str| Typed::new("json", text);
    /// checkpoints.put(&SessionId::new("trip")?, "", NewCheckpoint::new("1", None, json("{}"), json("{}"))).await?;
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoints(&self, options: CheckpointOptions) -> CheckpointStore {
        let retention = options.retention.or(self.0.options.retention);
        CheckpointStore::new(self.rows(), options.with_retention(retention))
    }

    pub(super) fn rows(&self) -> SqliteRows {
        SqliteRows(self.clone())
    }
}

/// The table of checkpoints in a store's file.
#[derive(Clone)]
pub(super) struct SqliteRows(SqliteStore);

impl fmt::Debug for SqliteRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteRows").field(&self.0.path()).finish()
    }
}

impl SqliteRows {
    fn database(&self) -> &Arc<Database> {
        &self.0.0
    }

    async fn purge_if_due(&self) {
        if self.database().is_time_to_purge()
            && let Err(error) = self.database().write(|db| sweep::purge_a_little(db, Timestamp::now())).await
        {
            // The put succeeded; what could not be purged is hidden anyway, and the next purge takes it.
            tracing::warn!(%error, "purging expired records failed");
        }
    }
}

#[async_trait]
impl Rows for SqliteRows {
    async fn page(&self, partition: &str, range: &RowRange, cost: &mut Cost) -> Result<RowPage, Error> {
        cost.requests += 1;
        let (partition, range) = (partition.to_owned(), range.clone());
        let page = self.database().read(move |db| page(db, &partition, &range)).await?;
        cost.bytes += page.rows.iter().map(|row| row.body.len() as u64).sum::<u64>();
        Ok(page)
    }

    async fn put(&self, partition: &str, row: &Row, condition: Condition, cost: &mut Cost) -> Result<Put, Error> {
        self.0.writable("put checkpoints")?;
        cost.requests += 1;
        let (partition, new) = (partition.to_owned(), row.clone());
        let put = self.database().write(move |db| put(db, &partition, &new, &condition)).await?;
        cost.bytes += match &put {
            Put::Done => row.body.len(),
            Put::Taken(there) => there.body.len(),
            Put::Gone => 0,
        } as u64;
        if put == Put::Done {
            self.purge_if_due().await;
        }
        Ok(put)
    }

    async fn delete(&self, partition: &str, sorts: &[String], cost: &mut Cost) -> Result<(), Error> {
        self.0.writable("delete checkpoints")?;
        cost.requests += 1;
        let (partition, sorts) = (partition.to_owned(), sorts.to_vec());
        self.database().write(move |db| delete(db, &partition, &sorts)).await
    }

    async fn partitions(
        &self,
        prefix: &str,
        after: Option<&str>,
        cost: &mut Cost,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        cost.requests += 1;
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.database().read(move |db| partitions(db, &prefix, after.as_deref())).await
    }

    async fn erase_traces(&self, cost: &mut Cost) -> Result<(), Error> {
        self.0.writable("delete checkpoints")?;
        cost.requests += 1;
        self.database().write(sweep::empty_log_of_writes).await.map(drop)
    }
}

fn page(db: &Connection, partition: &str, range: &RowRange) -> Result<RowPage, Failure> {
    if !schema::has_checkpoints(db)? {
        return Ok(RowPage::default());
    }
    let limit = range.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut query = db.prepare_cached(if range.descending { DOWN } else { UP })?;
    // One row more than the page has: whether the range continues.
    let bound = i64::try_from(limit).map_or(-1, |limit| limit.saturating_add(1));
    let mut found = query.query(params![partition, range.from, range.to, bound])?;
    let (mut page, mut bytes) = (RowPage::default(), 0);
    while let Some(row) = found.next()? {
        if page.rows.len() == limit || bytes >= PAGE_BYTES {
            page.more = true;
            break;
        }
        let row = read(row)?;
        bytes += row.body.len();
        page.rows.push(row);
    }
    Ok(page)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let purge_at: Option<i64> = row.get(2)?;
    Ok(Row { sort: row.get(0)?, body: row.get(1)?, purge_at: purge_at.map(Timestamp::from_secs) })
}

fn put(db: &Connection, partition: &str, row: &Row, condition: &Condition) -> Result<Put, Failure> {
    let transaction = Transaction::to_write(db)?;
    schema::allow_checkpoints(db)?;
    let sql = match condition {
        Condition::None => {
            "INSERT INTO checkpoints (partition, sort, body, purge_at) VALUES (:partition, :sort, :body, :purge_at)
             ON CONFLICT DO UPDATE SET body = excluded.body, purge_at = excluded.purge_at"
        }
        Condition::Absent => {
            "INSERT INTO checkpoints (partition, sort, body, purge_at) VALUES (:partition, :sort, :body, :purge_at)
             ON CONFLICT DO NOTHING"
        }
        Condition::Is(_) => REPLACE,
    };
    let purge_at = row.purge_at.map(Timestamp::as_secs);
    let mut put = db.prepare_cached(sql)?;
    let stored = match condition {
        Condition::Is(body) => put.execute(named_params! {
            ":partition": partition, ":sort": row.sort, ":body": row.body, ":purge_at": purge_at, ":before": body,
        })?,
        _ => put.execute(named_params! {
            ":partition": partition, ":sort": row.sort, ":body": row.body, ":purge_at": purge_at,
        })?,
    };
    if stored == 0 {
        let there = db.prepare_cached(ONE)?.query_row(params![partition, row.sort], read).optional()?;
        return Ok(there.map_or(Put::Gone, Put::Taken));
    }
    transaction.commit().map_err(|error| commit_outcome_unknown(error, "checkpoint"))?;
    Ok(Put::Done)
}

fn delete(db: &Connection, partition: &str, sorts: &[String]) -> Result<(), Failure> {
    let transaction = Transaction::to_write(db)?;
    if !schema::has_checkpoints(db)? {
        return Ok(());
    }
    let mut delete = db.prepare_cached(DELETE)?;
    for sort in sorts {
        delete.execute(params![partition, sort])?;
    }
    Ok(transaction.commit()?)
}

fn partitions(db: &Connection, prefix: &str, after: Option<&str>) -> Result<(Vec<String>, Option<String>), Failure> {
    let _transaction = Transaction::to_read(db)?;
    if !schema::has_checkpoints(db)? {
        return Ok((Vec::new(), None));
    }
    // One step down the tree for each partition, and not past all its rows.
    let mut next = db.prepare_cached(NEXT_PARTITION)?;
    let mut found: Vec<String> = Vec::new();
    let mut from = after.map_or_else(|| prefix.to_owned(), |after| format!("{after}\0"));
    loop {
        let partition: Option<String> = next.query_row([&from], |row| row.get(0)).optional()?;
        let Some(partition) = partition.filter(|partition| partition.starts_with(prefix)) else { return Ok((found, None)) };
        if found.len() == PARTITIONS {
            let last = found.last().cloned();
            return Ok((found, last));
        }
        from = format!("{partition}\0");
        found.push(partition);
    }
}
