//! What the engine needs of a table.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Error;
use crate::store::Cost;
use crate::timestamp::Timestamp;

/// A row of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The sort key, by whose bytes rows are ordered.
    pub sort: String,
    /// The content, of up to 380,000 bytes: what an item of DynamoDB has room for besides its keys.
    pub body: Vec<u8>,
    /// From when on the table may delete the row, also of one that was read.
    pub purge_at: Option<Timestamp>,
}

/// The most bytes of a row's content: DynamoDB's limit of an item, less its keys and attributes.
pub const MAX_BODY: usize = 380_000;

/// On what condition a row is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there is replaced.
    None,
    /// Nothing is there.
    Absent,
    /// A row with this content is there, and is replaced.
    Is(Vec<u8>),
}

/// The outcome of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The row is stored.
    Done,
    /// The condition does not hold: the row that is there. It may be the same one, if an earlier attempt landed and its answer was
    /// lost.
    Taken(Row),
    /// The condition does not hold: no row is there.
    Gone,
}

/// A range of a partition's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRange {
    /// The lowest sort key, inclusive.
    pub from: String,
    /// The highest sort key, inclusive.
    pub to: String,
    /// Whether the highest comes first.
    pub descending: bool,
    /// The most rows of a page.
    pub limit: Option<u32>,
}

/// A page of a range.
#[derive(Debug, Clone, Default)]
pub struct RowPage {
    /// The rows, in the range's order.
    pub rows: Vec<Row>,
    /// Whether the range continues after them.
    pub more: bool,
}

/// A table with a partition key and a sort key, for [`CheckpointStore`](super::CheckpointStore). Reads see every acknowledged
/// write. Each call adds what it cost, also if it fails; failed requests are repeated for as long as the table sees fit.
#[async_trait]
pub trait Rows: Send + Sync + Debug {
    /// Reads a page of a range, from its start.
    async fn page(&self, partition: &str, range: &RowRange, cost: &mut Cost) -> Result<RowPage, Error>;

    /// Puts a row.
    ///
    /// # Errors
    /// Of kind [`InDoubt`](crate::ErrorKind::InDoubt) if it is unknown whether the row is stored.
    async fn put(&self, partition: &str, row: &Row, condition: Condition, cost: &mut Cost) -> Result<Put, Error>;

    /// Deletes rows, as far as they exist.
    async fn delete(&self, partition: &str, sorts: &[String], cost: &mut Cost) -> Result<(), Error>;

    /// Returns partitions that start with a prefix, in any order, a page at a time: the next page starts after `after`, which is
    /// what the last one returned. A partition may come more than once.
    async fn partitions(
        &self,
        prefix: &str,
        after: Option<&str>,
        cost: &mut Cost,
    ) -> Result<(Vec<String>, Option<String>), Error>;

    /// Erases what was deleted or replaced from wherever the table still has it, such as a log of writes. Called once at the end of
    /// an operation that removes checkpoints. By default there is nothing to do.
    async fn erase_traces(&self, cost: &mut Cost) -> Result<(), Error> {
        let _ = cost;
        Ok(())
    }
}
