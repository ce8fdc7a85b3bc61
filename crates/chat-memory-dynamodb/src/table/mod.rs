//! The narrow view of a table that both layouts use, so that their protocols run on DynamoDB and on a simulated table alike.
//!
//! Each call is one request, sent once: retrying is up to the protocol. Each adds its cost to the cost.

pub(crate) mod sdk;
#[cfg(test)]
pub(crate) mod sim;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use chat_memory_core::Timestamp;
use chat_memory_core::backend::Moment;
use chat_memory_core::error::Error;
use chat_memory_core::store::Cost;

/// An item's attributes, without its keys (the table's implementation adds those under the user's names).
pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// An item's key. The sort key is empty in a table without one.
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

/// What must hold of an item for a write to be made. A write with several conditions is made if all of them hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// There is no item.
    Absent,
    /// There is an item.
    Exists,
    /// The attribute has this value, or is absent for `None`.
    Equals(String, Option<AttributeValue>),
    /// The set of bytes does not contain this.
    Lacks(String, Blob),
    /// The attribute is no expiry (epoch seconds) that has been reached at this time.
    Unexpired(String, Timestamp),
}

impl Condition {
    pub(crate) fn equals(name: &str, value: Option<AttributeValue>) -> Self {
        Self::Equals(name.to_owned(), value)
    }

    /// Whether an item fulfils it.
    #[cfg(test)]
    pub(crate) fn holds(&self, item: Option<&Attributes>) -> bool {
        let attribute = |name: &String| item.and_then(|item| item.get(name));
        match self {
            Self::Absent => item.is_none(),
            Self::Exists => item.is_some(),
            Self::Equals(name, value) => attribute(name) == value.as_ref(),
            Self::Lacks(name, member) => {
                !attribute(name).is_some_and(|set| matches!(set, AttributeValue::Bs(members) if members.contains(member)))
            }
            Self::Unexpired(name, now) => match attribute(name) {
                Some(AttributeValue::N(at)) => at.parse::<i64>().is_ok_and(|at| at > now.as_secs()),
                other => other.is_none(),
            },
        }
    }
}

/// A change of one item, made completely or not at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Update {
    pub(crate) key: Key,
    pub(crate) conditions: Vec<Condition>,
    /// Attributes to set, or to remove where `None`.
    pub(crate) set: Vec<(String, Option<AttributeValue>)>,
    /// Elements to append to a list, which is created if missing.
    pub(crate) append: Option<(String, Vec<AttributeValue>)>,
    /// A member to add to a set of bytes, which is created if missing.
    pub(crate) add: Option<(String, Blob)>,
}

/// The outcome of an update.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Updated {
    /// The item as it is now.
    Done(Item),
    /// A condition does not hold: the item as it is, if there is one.
    Refused(Option<Item>),
}

/// A new item, written only if its key is free.
#[derive(Debug, Clone)]
pub(crate) struct NewItem {
    pub(crate) item: Item,
    /// Written only if another item fulfils these. With a precondition or with changes, the write is one transaction.
    pub(crate) precondition: Option<(Key, Vec<Condition>)>,
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

/// A change of another item, in the same transaction as a new one.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Puts an item, replacing any existing one.
    Put(Item),
    Update(Update),
    /// Deletes an item, if it exists.
    Delete(Key),
}

/// The outcome of creating an item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Created {
    Done,
    /// Its key is taken by this item.
    Taken(Item),
    /// The precondition does not hold.
    NoPrecondition,
    /// A condition of an update made with it does not hold.
    NothingToUpdate,
}

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

/// What a scan reads of the whole table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scan<'a> {
    /// Only the keys and these attributes; all if `None`.
    pub(crate) only: Option<&'a [&'a str]>,
    /// Only the items in which one of these lists is not empty, along with the first elements of each list, and the items that have none
    /// of them. All items if empty.
    pub(crate) lists: &'a [&'a str],
    /// How many elements of each list.
    pub(crate) elements: usize,
    /// Only the `.0`-th of `.1` shares of the table.
    pub(crate) share: Option<(u32, u32)>,
    pub(crate) limit: Option<u32>,
    pub(crate) eventual: bool,
}

impl Scan<'_> {
    /// A few items, whole: enough to detect what a table holds.
    pub(crate) fn sample() -> Self {
        Self { limit: Some(20), eventual: true, ..Self::default() }
    }
}

/// A page of a scan, in no order of partitions.
#[derive(Debug, Clone)]
pub(crate) struct ScanPage {
    pub(crate) items: Vec<Item>,
    /// The key after which the scan continues; `None` at its end.
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
    /// Reads an item (`GetItem`).
    async fn get(&self, key: &Key, eventual: bool, cost: &mut Cost) -> Result<Option<Item>, Fault>;

    /// Reads a page of a range (`Query`), from its start or after a sort key.
    async fn page(&self, range: &Range, after: Option<&str>, cost: &mut Cost) -> Result<Page, Fault>;

    /// Reads a page of the whole table (`Scan`), from its start or after a key.
    async fn scan(&self, scan: &Scan<'_>, after: Option<&Key>, cost: &mut Cost) -> Result<ScanPage, Fault>;

    /// Writes an item, replacing any existing one, if the conditions hold (`PutItem`). Returns whether they did.
    async fn put(&self, item: &Item, conditions: &[Condition], cost: &mut Cost) -> Result<bool, Fault>;

    /// Deletes an item, if there is one and the conditions hold (`DeleteItem`). Returns whether they did.
    async fn delete(&self, key: &Key, conditions: &[Condition], cost: &mut Cost) -> Result<bool, Fault>;

    /// Changes an item (`UpdateItem`), or returns the one that failed a condition.
    async fn update(&self, update: &Update, cost: &mut Cost) -> Result<Updated, Fault>;

    /// Writes an item if its key is free (`PutItem`), or returns the one that takes it. With a precondition or changes, sends
    /// `TransactWriteItems` with the put, a `ConditionCheck` and the changes.
    async fn create(&self, new: NewItem, cost: &mut Cost) -> Result<Created, Fault>;

    /// The name of the attribute by which the table purges, if it does (`DescribeTimeToLive`, requested once).
    ///
    /// # Errors
    /// Invalid if it is one of these, since then it has another meaning.
    async fn ttl_attribute(&self, taken: &[&str], cost: &mut Cost) -> Result<Option<String>, Fault>;

    /// Whether the table is known to have no sort key.
    fn lacks_sort_key(&self) -> bool {
        false
    }
}

/// Time and randomness, as the protocol uses them.
#[async_trait]
pub(crate) trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Moment;
    async fn sleep(&self, duration: Duration);
    /// Uniform from 0 to 1.
    fn random(&self) -> f64;
}
