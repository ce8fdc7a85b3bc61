//! The narrow view of a table that the protocol has, so that it runs on DynamoDB and on a simulated table alike.
//!
//! Each call is one request, tried once: repeating is the protocol's business. Each adds what it took to the receipt.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::error::Error;
use crate::store::position::Moment;
use crate::store::{AppendId, Receipt};

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
    /// Written only if this other item is there: then the two are one transaction.
    pub(crate) beside: Option<Beside>,
}

/// An item that must exist.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    pub(crate) key: Key,
    /// It must have been written by this append.
    pub(crate) append_id: Option<AppendId>,
}

/// What became of a new item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Created {
    Done,
    /// There is an item under its key: this one.
    Taken(Item),
    /// The item beside it is not there, or is another append's.
    NotBeside,
}

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
    /// otherwise; with `beside`, `TransactWriteItems` of that and a `ConditionCheck`).
    async fn create(&self, new: &NewItem, receipt: &mut Receipt) -> Result<Created, Fault>;

    /// Puts an item in place of the one under its key, if that was written by the append `seen` (`PutItem` on
    /// `append_id = :seen`). Whether it was.
    async fn replace(&self, item: &Item, seen: AppendId, receipt: &mut Receipt) -> Result<bool, Fault>;

    /// Writes an item, whatever is there (`PutItem`).
    async fn put(&self, item: &Item, receipt: &mut Receipt) -> Result<(), Fault>;

    /// Sets and (where `None`) removes attributes of an item that is there (`UpdateItem` on `attribute_exists`), and
    /// returns it as it is then; `None` if there is no such item.
    async fn update(
        &self,
        key: &Key,
        set: &[(&str, Option<AttributeValue>)],
        receipt: &mut Receipt,
    ) -> Result<Option<Item>, Fault>;

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
