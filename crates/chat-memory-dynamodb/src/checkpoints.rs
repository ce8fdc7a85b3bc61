//! Checkpoints in a table with a partition key and a sort key: the engine of [`chat_memory_core::checkpoints`] on any [`Table`]. One
//! item per row (docs/formats.md, "Checkpoints").

#[cfg(test)]
mod sim;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;

use crate::common::names::{ATTRIBUTES, BODY, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, MESSAGES_VERSION, TTL, VERSION, secs};
use crate::common::retry::{Retry, retry};
use crate::table::sdk::{Failure, Trouble};
use crate::table::{
    Attributes, Clock, Condition as TableCondition, Created, Fault, Item, Key, NewItem, Range, Scan, Table, Update, Updated,
};
use chat_memory_core::Timestamp;
use chat_memory_core::checkpoints::{Condition, Put, Row, RowPage, RowRange, Rows};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Cost;

/// The longest sort key of a row. A range may end a few bytes after a row, and its ends have DynamoDB's limit, too.
const MAX_ROW_KEY_BYTES: usize = MAX_SORT_KEY_BYTES - 24;

/// How many rows are deleted at once.
const DELETES_AT_ONCE: usize = 16;

/// The rows of checkpoints in a table.
#[derive(Debug)]
pub(crate) struct TableRows<T, C> {
    pub(crate) table: T,
    pub(crate) clock: C,
    pub(crate) deadline: Duration,
    /// Whether the settings say that the table has the `list` layout.
    pub(crate) is_list: bool,
}

impl<T: Table, C: Clock> TableRows<T, C> {
    fn retry(&self) -> Result<Retry<'_, C>, Error> {
        if self.is_list {
            Err(unfit("the store URL gives it the list layout"))
        } else {
            Ok(Retry::new(&self.clock, self.deadline))
        }
    }

    /// Says of a table without a sort key that checkpoints need one.
    fn explained(&self, error: Error) -> Error {
        let is_about_keys = Failure::of(&error).is_some_and(|failure| failure.trouble() == Trouble::KeySchema);
        if is_about_keys && self.table.lacks_sort_key() { unfit("it has no sort key").with_source(error) } else { error }
    }

    /// The item of a row.
    async fn item(&self, key: Key, row: &Row, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<Item, Error> {
        let mut attributes = Attributes::from([
            (VERSION.to_owned(), AttributeValue::N(MESSAGES_VERSION.to_string())),
            (BODY.to_owned(), AttributeValue::B(Blob::new(row.body.clone()))),
        ]);
        if let Some(at) = row.purge_at {
            attributes.insert(self.ttl_name(cost, retry).await?, secs(at));
        }
        Ok(Item { key, attributes })
    }

    /// The attribute by which the table purges.
    async fn ttl_name(&self, cost: &mut Cost, retry: &mut Retry<'_, C>) -> Result<String, Error> {
        match retry!(retry, self.table.ttl_attribute(&ATTRIBUTES, cost)) {
            // At worst, a row with its time under the usual name is never purged.
            Err(error) if error.is_access_denied() => Ok(TTL.to_owned()),
            name => Ok(name?.unwrap_or_else(|| TTL.to_owned())),
        }
    }

    async fn delete_one(&self, key: Key) -> (Result<(), Error>, Cost) {
        let (mut cost, mut retry) = (Cost::default(), Retry::new(&self.clock, self.deadline));
        let deleted: Result<bool, Error> = retry!(retry, self.table.delete(&key, &[], &mut cost));
        (deleted.map(drop), cost)
    }

    /// Puts an item. If the condition does not hold, the inner error is the item that is there.
    async fn try_put(&self, item: &Item, condition: &Condition, cost: &mut Cost) -> Result<Result<(), Option<Item>>, Fault> {
        match condition {
            Condition::None => self.table.put(item, &[], cost).await.map(|_| Ok(())),
            Condition::Absent => {
                let new = NewItem { item: item.clone(), precondition: None, changes: Vec::new() };
                Ok(match self.table.create(new, cost).await? {
                    Created::Taken(there) => Err(Some(there)),
                    Created::Done | Created::NoPrecondition | Created::NothingToUpdate => Ok(()),
                })
            }
            Condition::Is(body) => {
                let update = Update {
                    key: item.key.clone(),
                    conditions: vec![TableCondition::equals(BODY, Some(AttributeValue::B(Blob::new(body.clone()))))],
                    set: item.attributes.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect(),
                    ..Update::default()
                };
                Ok(match self.table.update(&update, cost).await? {
                    Updated::Done(_) => Ok(()),
                    Updated::Refused(there) => Err(there),
                })
            }
        }
    }
}

#[async_trait]
impl<T: Table, C: Clock> Rows for TableRows<T, C> {
    async fn page(&self, partition: &str, range: &RowRange, cost: &mut Cost) -> Result<RowPage, Error> {
        for end in [&range.from, &range.to] {
            check(partition, end, MAX_SORT_KEY_BYTES)?;
        }
        let mut retry = self.retry()?;
        let range = Range {
            pk: partition.to_owned(),
            from: range.from.clone(),
            to: range.to.clone(),
            newest_first: range.descending,
            limit: range.limit,
            eventual: false,
            only: None,
        };
        if range.from > range.to {
            return Ok(RowPage::default());
        }
        let page = retry!(retry, self.table.page(&range, None, cost)).map_err(|error| self.explained(error))?;
        let rows = page.items.into_iter().map(row).collect::<Result<_, _>>()?;
        Ok(RowPage { rows, more: page.after.is_some() })
    }

    async fn put(&self, partition: &str, row: &Row, condition: Condition, cost: &mut Cost) -> Result<Put, Error> {
        let key = check(partition, &row.sort, MAX_ROW_KEY_BYTES)?;
        let mut retry = self.retry()?;
        let item = self.item(key, row, cost, &mut retry).await.map_err(|error| self.explained(error))?;
        let mut may_have_landed = false;
        loop {
            let fault = match self.try_put(&item, &condition, cost).await {
                Ok(Ok(())) => return Ok(Put::Done),
                Ok(Err(Some(there))) => return self::row(there).map(Put::Taken),
                Ok(Err(None)) => return Ok(Put::Gone),
                Err(fault) => fault,
            };
            may_have_landed |= fault.may_have_landed;
            if let Err(error) = retry.after(fault).await {
                return Err(if may_have_landed { in_doubt(error) } else { self.explained(error) });
            }
        }
    }

    async fn delete(&self, partition: &str, sorts: &[String], cost: &mut Cost) -> Result<(), Error> {
        self.retry()?;
        let mut outcome = Ok(());
        for some in sorts.chunks(DELETES_AT_ONCE) {
            let deletes: Vec<_> =
                some.iter().map(|sort| self.delete_one(Key { pk: partition.to_owned(), sk: sort.clone() })).collect();
            for (deleted, spent) in join_all(deletes).await {
                *cost += spent;
                outcome = outcome.and(deleted);
            }
        }
        outcome
    }

    /// Scans the table for its keys. A consistent scan, since what was acknowledged must be there.
    async fn partitions(
        &self,
        prefix: &str,
        after: Option<&str>,
        cost: &mut Cost,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        let after = match after.map(serde_json::from_str) {
            None => None,
            Some(Ok((pk, sk))) => Some(Key { pk, sk }),
            Some(Err(_)) => return Err(Error::invalid("invalid position in the list of threads: expected one that it returned")),
        };
        let mut retry = self.retry()?;
        let scan = Scan { only: Some(&[]), ..Scan::default() };
        let page = retry!(retry, self.table.scan(&scan, after.as_ref(), cost)).map_err(|error| self.explained(error))?;
        let mut found: Vec<String> = page.items.into_iter().map(|item| item.key.pk).collect();
        found.retain(|pk| pk.starts_with(prefix));
        found.dedup();
        let next = page.after.map(|key| serde_json::json!([key.pk, key.sk]).to_string());
        Ok((found, next))
    }
}

/// Checks that keys are not too long.
fn check(partition: &str, sort: &str, most_of_sort: usize) -> Result<Key, Error> {
    let limits = [
        ("partition key", partition, MAX_PARTITION_KEY_BYTES, "the thread a shorter id"),
        ("sort key", sort, most_of_sort, "the namespace, the checkpoint or the task a shorter name"),
    ];
    for (what, key, most, remedy) in limits {
        if key.len() > most {
            let bytes = key.len();
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("name of a checkpoint too long: its {what} has {bytes} bytes, and the limit is {most}; give {remedy}"),
            ));
        }
    }
    Ok(Key { pk: partition.to_owned(), sk: sort.to_owned() })
}

/// The row of an item.
fn row(item: Item) -> Result<Row, Error> {
    let Item { key, mut attributes } = item;
    let unreadable = |why: &str| format!("the item with the keys {:?} and {:?} cannot be read: {why}", key.pk, key.sk);
    if let Some(AttributeValue::N(version)) = attributes.get(VERSION)
        && *version != MESSAGES_VERSION.to_string()
    {
        let why = format!("it has the version {version}, and this program reads {MESSAGES_VERSION}; update it");
        return Err(Error::new(ErrorKind::Unsupported, unreadable(&why)));
    }
    let Some(AttributeValue::B(body)) = attributes.remove(BODY) else {
        return Err(Error::corrupt(unreadable(&format!("it has no bytes in {BODY:?}"))));
    };
    // No other attribute is a number but the version.
    let purge_at = attributes.iter().find_map(|(name, value)| match value {
        AttributeValue::N(at) if name != VERSION => at.parse().ok().map(Timestamp::from_secs),
        _ => None,
    });
    Ok(Row { sort: key.sk, body: body.into_inner(), purge_at })
}

fn unfit(why: &str) -> Error {
    let sentence = format!(
        "no checkpoints in this table: {why}; give a table with a partition key and a sort key (`chat-memory table create` makes one)"
    );
    Error::new(ErrorKind::Unsupported, sentence)
}

fn in_doubt(why: Error) -> Error {
    Error::new(ErrorKind::InDoubt, format!("checkpoint's outcome unknown ({why}): put it again; it is never stored twice"))
        .with_source(why)
}
