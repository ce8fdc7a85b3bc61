//! The narrow view of a table that the list protocol uses, so that it runs on DynamoDB and on a simulated table alike.
//!
//! Each call is one request, sent once: retrying is up to the protocol. Each adds its cost to the cost.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::iam::Operation;
use crate::table::{Attributes, Fault, Item, Key};
use chat_memory_core::store::{AppendId, Cost};

/// Identifies the list between two of our rewrites. No value ever comes back, so a late request for an older generation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Generation(pub(crate) [u8; 16]);

impl Generation {
    pub(crate) fn random() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }
}

/// The condition on an item for a change to be made.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Guard {
    /// No condition. Only the simulation uses this, to see what would be lost.
    #[default]
    #[cfg_attr(not(test), allow(dead_code, reason = "only the simulation takes rules out"))]
    Any,
    /// There is no item.
    Absent,
    /// It has this generation.
    Of(Generation),
    /// It has no generation: only originals wrote it.
    Ungenerated,
}

/// A change of one item, made completely or not at all (`UpdateItem`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) guard: Guard,
    /// The append must not be among those that the item remembers; it is then added to them.
    pub(crate) once: Option<AppendId>,
    /// These attributes must have these values, or be absent for `None`.
    pub(crate) equal: Vec<(String, Option<AttributeValue>)>,
    /// This attribute must not be an expiry (epoch seconds) that has been reached at this time.
    pub(crate) alive: Option<(String, i64)>,
    /// Elements to append to a list, which is created if missing.
    pub(crate) append: Option<(String, Vec<AttributeValue>)>,
    pub(crate) set: Vec<(String, AttributeValue)>,
    pub(crate) remove: Vec<String>,
}

/// The outcome of a change.
#[derive(Debug, Clone)]
pub(crate) enum Changed {
    /// It was made; the item as it is now.
    Done(Attributes),
    /// It was refused; the item that failed the condition.
    Refused(Option<Attributes>),
}

/// A page of a scan of the table.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) items: Vec<Item>,
    pub(crate) after: Option<Key>,
}

/// The part of the table that a scan reads: the `number`-th of `of`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) number: u32,
    pub(crate) of: u32,
}

#[async_trait]
pub(crate) trait ListTable: Send + Sync + std::fmt::Debug {
    /// Reads an item (`GetItem`).
    async fn read(&self, key: &Key, eventual: bool, cost: &mut Cost) -> Result<Option<Attributes>, Fault>;

    /// Changes an item (`UpdateItem`). Returns the new item, or the one that failed the condition.
    async fn change(&self, change: &Change, cost: &mut Cost) -> Result<Changed, Fault>;

    /// Writes an item, replacing any existing one (`PutItem`).
    async fn store(&self, item: &Item, cost: &mut Cost) -> Result<(), Fault>;

    /// Deletes an item, if it exists (`DeleteItem`).
    async fn discard(&self, key: &Key, cost: &mut Cost) -> Result<(), Fault>;

    /// Reads a sample of the table's items, whole (`Scan`).
    async fn sample(&self, cost: &mut Cost) -> Result<Vec<Item>, Fault>;

    /// Deletes an item if it has this generation and these attributes have these values, or are absent for `None` (`DeleteItem`).
    /// Returns whether it did.
    async fn discard_if(
        &self,
        key: &Key,
        generation: Generation,
        equal: &[(String, Option<AttributeValue>)],
        cost: &mut Cost,
    ) -> Result<bool, Fault>;

    /// Reads a page of a share of the whole table (`Scan`): the keys and these attributes of every item. With `lists`, returns only
    /// the items in which one of these lists is not empty, along with the beginning of each list, and the items that have none of
    /// them.
    async fn slice(
        &self,
        share: Share,
        only: &[&str],
        lists: &[&str],
        after: Option<&Key>,
        cost: &mut Cost,
    ) -> Result<Slice, Fault>;

    /// The attribute by which the table purges, if it does (`DescribeTimeToLive`, requested once).
    async fn purges_by(&self, cost: &mut Cost) -> Result<Option<String>, Fault>;

    /// Tests on a reserved key whether the credentials allow an operation; changes nothing.
    async fn try_out(&self, operation: Operation, key: &Key, cost: &mut Cost) -> Result<(), Fault>;
}
