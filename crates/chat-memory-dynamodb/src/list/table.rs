//! The narrow view of a table that the list protocol has, so that it runs on DynamoDB and on a simulated table alike.
//!
//! Each call is one request, tried once: repeating is the protocol's business. Each adds what it took to the receipt.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::iam::Operation;
use crate::table::{Attributes, Fault, Item, Key};
use chat_memory_core::store::{AppendId, Receipt};

/// What our writes that rewrite a list have in common until the next one. It never comes twice, so a late request for an older
/// one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Generation(pub(crate) [u8; 16]);

impl Generation {
    pub(crate) fn random() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }
}

/// What must hold of an item for a change to be made.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Guard {
    /// Whatever it is. Only the simulation asks for this, to see what would be lost.
    #[default]
    #[cfg_attr(not(test), allow(dead_code, reason = "only the simulation takes rules out"))]
    Any,
    /// There is no item.
    Absent,
    /// It is of this generation.
    Of(Generation),
    /// It has none: only originals wrote it.
    Ungenerated,
}

/// A change of one item, made whole or not at all (`UpdateItem`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) guard: Guard,
    /// The append must not be among those that the item remembers; then it is remembered.
    pub(crate) once: Option<AppendId>,
    /// These attributes must be equal to this, or not there.
    pub(crate) equal: Vec<(String, Option<AttributeValue>)>,
    /// This attribute must not be a time in epoch seconds that has come by then.
    pub(crate) alive: Option<(String, i64)>,
    /// Elements for the end of a list, which is made if it is not there.
    pub(crate) append: Option<(String, Vec<AttributeValue>)>,
    pub(crate) set: Vec<(String, AttributeValue)>,
    pub(crate) remove: Vec<String>,
}

/// What became of a change.
#[derive(Debug, Clone)]
pub(crate) enum Changed {
    /// It was made; the item as it is now.
    Done(Attributes),
    /// It was not, since the item is so.
    Refused(Option<Attributes>),
}

/// A page of the table, for a listing of its sessions.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) items: Vec<Item>,
    pub(crate) after: Option<Key>,
}

/// Which part of the table a scan looks at: the `number`-th of `of`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) number: u32,
    pub(crate) of: u32,
}

#[async_trait]
pub(crate) trait ListTable: Send + Sync + std::fmt::Debug {
    /// Reads an item (`GetItem`).
    async fn read(&self, key: &Key, eventual: bool, receipt: &mut Receipt) -> Result<Option<Attributes>, Fault>;

    /// Changes an item (`UpdateItem`), answering with the item as it is then or as it stands in the way.
    async fn change(&self, change: &Change, receipt: &mut Receipt) -> Result<Changed, Fault>;

    /// Writes an item, whatever is there (`PutItem`).
    async fn store(&self, item: &Item, receipt: &mut Receipt) -> Result<(), Fault>;

    /// Deletes an item, if it is there (`DeleteItem`).
    async fn discard(&self, key: &Key, receipt: &mut Receipt) -> Result<(), Fault>;

    /// Reads some items of the table whole (`Scan`), to see what lies there.
    async fn sample(&self, receipt: &mut Receipt) -> Result<Vec<Item>, Fault>;

    /// Deletes an item if it is of this generation and these attributes are equal to this, or not there (`DeleteItem`). Whether it did.
    async fn discard_if(
        &self,
        key: &Key,
        generation: Generation,
        equal: &[(String, Option<AttributeValue>)],
        receipt: &mut Receipt,
    ) -> Result<bool, Fault>;

    /// Reads a page of a share of the whole table (`Scan`): keys and these attributes, of all items; with `lists`, only of those in which
    /// one of them holds something, and then the beginning of each list too, or which have neither.
    async fn slice(
        &self,
        share: Share,
        only: &[&str],
        lists: &[&str],
        after: Option<&Key>,
        receipt: &mut Receipt,
    ) -> Result<Slice, Fault>;

    /// The attribute by which the table purges, if it does (`DescribeTimeToLive`, asked once).
    async fn purges_by(&self, receipt: &mut Receipt) -> Result<Option<String>, Fault>;

    /// Tries on a reserved key whether the credentials allow an operation; it changes nothing.
    async fn try_out(&self, operation: Operation, key: &Key, receipt: &mut Receipt) -> Result<(), Fault>;
}
