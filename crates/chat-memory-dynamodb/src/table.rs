//! The narrow view of a table that the protocol has, so that it runs on DynamoDB and on a simulated table alike.
//!
//! Each call is one request, tried once: repeating is the protocol's business. Each adds what it took to the receipt.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use chat_memory_core::backend::Moment;
use chat_memory_core::error::Error;
use chat_memory_core::store::{AppendId, Receipt};

/// An item's attributes, without its keys (the table's implementation adds them under the user's names).
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

/// A new item, to be written if there is none under its key.
#[derive(Debug, Clone)]
pub(crate) struct NewItem {
    pub(crate) item: Item,
    /// Written only if this other item is there. With it, or with changes, the write is one transaction.
    pub(crate) precondition: Option<Precondition>,
    /// What changes together with it.
    pub(crate) changes: Vec<Change>,
}

#[cfg(test)]
impl NewItem {
    /// An item by itself.
    pub(crate) fn alone(item: Item) -> Self {
        Self { item, precondition: None, changes: Vec::new() }
    }
}

/// An item that must exist.
#[derive(Debug, Clone)]
pub(crate) struct Precondition {
    pub(crate) key: Key,
    /// It must have been written by this append, first tried at this time (epoch milliseconds): a key that is used again after a day brings
    /// the same id back.
    pub(crate) written_by: Option<(AppendId, i64)>,
}

/// A change of another item, in one transaction with a new one.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Puts an item, whatever is there.
    Put(Item),
    /// Sets and (where `None`) removes attributes of an item that must be there.
    Update(Key, Vec<(String, Option<AttributeValue>)>),
    /// Deletes an item, if it is there.
    Delete(Key),
}

/// What became of a new item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Created {
    Done,
    /// There is an item under its key: this one.
    Taken(Item),
    /// The item of the precondition is not there, or is another append's.
    NoPrecondition,
    /// An item that was to be updated with it is not there.
    NothingToUpdate,
}

/// What became of an update.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Updated {
    /// The item as it is now.
    Done(Item),
    /// It has another value than the expected one: the item as it is.
    Changed(Item),
    Missing,
}

/// What an update expects of an attribute: this value, or that there is none.
pub(crate) type Expected<'a> = (&'static str, Option<&'a AttributeValue>);

/// A range of one partition, by sort key.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) pk: String,
    /// The lowest sort key, included.
    pub(crate) from: String,
    /// The highest sort key, included.
    pub(crate) to: String,
    pub(crate) newest_first: bool,
    pub(crate) limit: Option<u32>,
    pub(crate) eventual: bool,
    /// Only these attributes; all where it is `None`.
    pub(crate) only: Option<&'static [&'static str]>,
}

/// A page of a range.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) items: Vec<Item>,
    /// The sort key after which the range goes on; `None` at its end.
    pub(crate) after: Option<String>,
}

/// A page of the whole table, in no order of partitions.
#[derive(Debug, Clone)]
pub(crate) struct ScanPage {
    pub(crate) items: Vec<Item>,
    /// The key after which the table goes on; `None` at its end.
    pub(crate) after: Option<Key>,
}

/// Why a request failed, and what that leaves open.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: Error,
    /// Whether the request may have been carried out all the same (its answer was lost, or came too late).
    pub(crate) may_have_landed: bool,
    /// Whether the same request may succeed later. An unknown outcome is always worth a repeat.
    pub(crate) retry: bool,
}

#[async_trait]
pub(crate) trait Table: Send + Sync + std::fmt::Debug {
    /// Writes an item if there is none under its key (`PutItem` with `attribute_not_exists`, answering with the old item
    /// otherwise; with a precondition or changes, `TransactWriteItems` of that, a `ConditionCheck` and the changes).
    async fn create(&self, new: &NewItem, receipt: &mut Receipt) -> Result<Created, Fault>;

    /// Puts an item in place of the one under its key, if that was written by the append `seen` (`PutItem` on
    /// `append_id = :seen`). Whether it was.
    async fn replace(&self, item: &Item, seen: AppendId, receipt: &mut Receipt) -> Result<bool, Fault>;

    /// Writes an item, whatever is there (`PutItem`).
    async fn put(&self, item: &Item, receipt: &mut Receipt) -> Result<(), Fault>;

    /// Sets and (where `None`) removes attributes of an item that is there and as expected (`UpdateItem` on `attribute_exists`
    /// and the expected value, answering with the old item otherwise).
    async fn update(
        &self,
        key: &Key,
        set: &[(&str, Option<AttributeValue>)],
        expected: Option<Expected<'_>>,
        receipt: &mut Receipt,
    ) -> Result<Updated, Fault>;

    /// Deletes an item, if it is there (`DeleteItem`).
    async fn delete(&self, key: &Key, receipt: &mut Receipt) -> Result<(), Fault>;

    /// Reads an item, strongly consistent (`GetItem`).
    async fn get(&self, key: &Key, receipt: &mut Receipt) -> Result<Option<Item>, Fault>;

    /// The name of the attribute by which the table purges (`DescribeTimeToLive`, asked once).
    async fn ttl_attribute(&self, receipt: &mut Receipt) -> Result<String, Fault>;

    /// Reads a page of a range (`Query`), from its start or after a sort key.
    async fn page(&self, range: &Range, after: Option<&str>, receipt: &mut Receipt) -> Result<Page, Fault>;

    /// Reads a page of the whole table (`Scan`), only these attributes and the keys, strongly consistent.
    async fn scan(&self, only: &[&str], after: Option<&Key>, receipt: &mut Receipt) -> Result<ScanPage, Fault>;
}

/// Time and chance, as the protocol has them.
#[async_trait]
pub(crate) trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Moment;
    async fn sleep(&self, ms: u64);
    /// Evenly from 0 to 1.
    fn random(&self) -> f64;
}
