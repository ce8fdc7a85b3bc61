//! The narrow view of a table that the protocol uses, so that it runs on DynamoDB and on a simulated table alike.
//!
//! Each call is one request, sent once: retrying is up to the protocol. Each adds its cost to the cost.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use chat_memory_core::backend::Moment;
use chat_memory_core::error::Error;
use chat_memory_core::store::{AppendId, Cost};

/// An item's attributes, without its keys (the table's implementation adds those under the user's names).
pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// An item's key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

/// An item with its key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) attributes: Attributes,
}

/// A new item, written only if its key is free.
#[derive(Debug, Clone)]
pub(crate) struct NewItem {
    pub(crate) item: Item,
    /// Written only if this other item exists. With a precondition or with changes, the write is one transaction.
    pub(crate) precondition: Option<Precondition>,
    /// Changes made together with it.
    pub(crate) changes: Vec<Change>,
}

#[cfg(test)]
impl NewItem {
    /// An item without precondition or changes.
    pub(crate) fn alone(item: Item) -> Self {
        Self { item, precondition: None, changes: Vec::new() }
    }
}

/// An item that must exist.
#[derive(Debug, Clone)]
pub(crate) struct Precondition {
    pub(crate) key: Key,
    /// It must have been written by this append, first tried at this time (epoch milliseconds): a key that is reused after a day
    /// produces the same id again.
    pub(crate) written_by: Option<(AppendId, i64)>,
}

/// A change of another item, in the same transaction as a new one.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Puts an item, replacing any existing one.
    Put(Item),
    /// Sets and (where `None`) removes attributes of an item that must exist.
    Update(Key, Vec<(String, Option<AttributeValue>)>),
    /// Deletes an item, if it exists.
    Delete(Key),
}

/// The outcome of creating an item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Created {
    Done,
    /// Its key is taken by this item.
    Taken(Item),
    /// The precondition's item does not exist, or another append wrote it.
    NoPrecondition,
    /// An item to be updated with it does not exist.
    NothingToUpdate,
}

/// The outcome of an update.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Updated {
    /// The item as it is now.
    Done(Item),
    /// The attribute differs from the expected value: the item as it is.
    Changed(Item),
    Missing,
}

/// What an update expects of an attribute: a value, or that it is absent.
pub(crate) type Expected<'a> = (&'static str, Option<&'a AttributeValue>);

/// A range of one partition, by sort key.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) pk: String,
    /// The lowest sort key, inclusive.
    pub(crate) from: String,
    /// The highest sort key, inclusive.
    pub(crate) to: String,
    pub(crate) newest_first: bool,
    pub(crate) limit: Option<u32>,
    pub(crate) eventual: bool,
    /// Only these attributes; all if `None`.
    pub(crate) only: Option<&'static [&'static str]>,
}

/// A page of a range.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) items: Vec<Item>,
    /// The sort key after which the range continues; `None` at its end.
    pub(crate) after: Option<String>,
}

/// A page of the whole table, in no order of partitions.
#[derive(Debug, Clone)]
pub(crate) struct ScanPage {
    pub(crate) items: Vec<Item>,
    /// The key after which the table continues; `None` at its end.
    pub(crate) after: Option<Key>,
}

/// Why a request failed, and whether it may have landed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: Error,
    /// Whether the request may have been carried out nevertheless (its response was lost, or came too late).
    pub(crate) may_have_landed: bool,
    /// Whether the same request may succeed later. An unknown outcome is always worth a retry.
    pub(crate) retry: bool,
}

#[async_trait]
pub(crate) trait Table: Send + Sync + std::fmt::Debug {
    /// Writes an item if its key is free (`PutItem` with `attribute_not_exists`); otherwise returns the existing item. With a
    /// precondition or changes, sends `TransactWriteItems` with the put, a `ConditionCheck` and the changes.
    async fn create(&self, new: &NewItem, cost: &mut Cost) -> Result<Created, Fault>;

    /// Replaces the item under this key if the append `seen` wrote it (`PutItem` on `append_id = :seen`). Returns whether it did.
    async fn replace(&self, item: &Item, seen: AppendId, cost: &mut Cost) -> Result<bool, Fault>;

    /// Writes an item, replacing any existing one (`PutItem`).
    async fn put(&self, item: &Item, cost: &mut Cost) -> Result<(), Fault>;

    /// Sets and (where `None`) removes attributes of an item that exists and is as expected (`UpdateItem` on `attribute_exists` and
    /// the expected value); otherwise returns the item as it is.
    async fn update(
        &self,
        key: &Key,
        set: &[(&str, Option<AttributeValue>)],
        expected: Option<Expected<'_>>,
        cost: &mut Cost,
    ) -> Result<Updated, Fault>;

    /// Deletes an item, if it exists (`DeleteItem`).
    async fn delete(&self, key: &Key, cost: &mut Cost) -> Result<(), Fault>;

    /// Reads an item, strongly consistent (`GetItem`).
    async fn get(&self, key: &Key, cost: &mut Cost) -> Result<Option<Item>, Fault>;

    /// The name of the attribute by which the table purges (`DescribeTimeToLive`, requested once).
    async fn ttl_attribute(&self, cost: &mut Cost) -> Result<String, Fault>;

    /// Reads a page of a range (`Query`), from its start or after a sort key.
    async fn page(&self, range: &Range, after: Option<&str>, cost: &mut Cost) -> Result<Page, Fault>;

    /// Reads a page of the whole table (`Scan`): only these attributes and the keys, strongly consistent.
    async fn scan(&self, only: &[&str], after: Option<&Key>, cost: &mut Cost) -> Result<ScanPage, Fault>;
}

/// Time and randomness, as the protocol uses them.
#[async_trait]
pub(crate) trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Moment;
    async fn sleep(&self, ms: u64);
    /// Uniform from 0 to 1.
    fn random(&self) -> f64;
}
