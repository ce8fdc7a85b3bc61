//! Estimates what a record costs in a table, without one.

use super::Turns;
use super::item::{self, Encoded, Limits, Links};
use crate::common::names::{TTL, record_sk};
use crate::common::size::{item_bytes, write_units};
use crate::table::{Clock, Item, Key, Table};
use chat_memory_core::SessionId;
use chat_memory_core::store::{Append, Record};

/// The cost of writing a record, by the rules of "DynamoDB item sizes and formats" in AWS's developer guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecordCost {
    /// The bytes of its item and of its parts, keys and names included, after compression if it applies.
    pub bytes: usize,
    /// Its write units.
    pub write_units: usize,
}

/// Estimates the cost of writing this record to a table of the `turns` layout, whatever store it comes from; `None` if DynamoDB
/// would refuse it because its metadata is larger than an item may be.
///
/// A namespace adds its own bytes. Not counted: a session's first record is written in a transaction with the session's entry in
/// the directory, which costs twice the units of its item and two more; and an append that conflicts with another writer costs
/// more.
///
/// ```
/// use chat_memory::store::dynamodb::cost_of;
/// use chat_memory::store::{Append, ChatStore, InMemoryStore, Load};
/// use chat_memory::{Message, SessionId};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (store, session) = (InMemoryStore::new(), SessionId::new("trip")?);
/// let turn = [Message::user("Where should we go in May?"), Message::assistant("To Lisbon.")];
/// store.append(&session, &Append::new(turn)).await?;
/// let history = store.load(&session, &Load::all()).await?;
/// let cost = cost_of(&session, &history.records[0]).ok_or("it is no large one")?;
/// assert_eq!(cost.write_units, 1);
/// assert!(cost.bytes < 1024);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cost_of(session: &SessionId, record: &Record) -> Option<RecordCost> {
    let links = Links::to(record.created_at, None);
    cost(session.as_str(), record, &links, Limits::new(usize::MAX))
}

/// The cost of a record in this partition; `None` if it would be refused.
fn cost(pk: &str, record: &Record, links: &Links, limits: Limits) -> Option<RecordCost> {
    let encoded = item::encode(pk, record, TTL, limits).ok()?;
    Some(cost_encoded(pk, record, links, encoded).0)
}

/// The total cost, and the units of the head alone.
fn cost_encoded(pk: &str, record: &Record, links: &Links, encoded: Encoded) -> (RecordCost, usize) {
    let mut attributes = encoded.attributes;
    item::link(&mut attributes, links, false);
    let head = Item { key: Key { pk: pk.to_owned(), sk: record_sk(record.seq) }, attributes };
    let items = encoded.parts.iter().chain([&head]).map(item_bytes);
    let add =
        |cost: RecordCost, bytes| RecordCost { bytes: cost.bytes + bytes, write_units: cost.write_units + write_units(bytes) };
    (items.fold(RecordCost::default(), add), write_units(item_bytes(&head)))
}

impl<T: Table, C: Clock> Turns<T, C> {
    /// Estimates the write units of these appends to a new session: the transaction that starts it, and each record with its parts.
    pub(crate) fn write_units(&self, session: &SessionId, appends: &[Append]) -> f64 {
        let pk = self.common.partitions.session(session);
        let of = |(place, append): (usize, &Append)| {
            let record = append.record(0, append.id_in(session), self.clock.now().wall, None);
            let links = Links::to(record.created_at, append.owner().cloned());
            // What cannot be encoded is refused, and costs nothing.
            if place > 0 {
                return cost(&pk, &record, &links, self.settings).map_or(0, |cost| cost.write_units);
            }
            // In the transaction that starts the session, the record's head costs twice as much, and the entry two units.
            let Ok(encoded) = item::encode_in_parts(&pk, &record, TTL, self.settings) else { return 0 };
            let (cost, head) = cost_encoded(&pk, &record, &links, encoded);
            cost.write_units + head + 2
        };
        let units: usize = appends.iter().enumerate().map(of).sum();
        units as f64
    }

    /// Estimates the write units of these appends in one transaction that starts a session: twice those of each record's item, those
    /// of its parts, and two for the session's entry.
    pub(crate) fn write_units_of_all(&self, session: &SessionId, appends: &[Append]) -> f64 {
        let pk = self.common.partitions.session(session);
        let of = |append: &Append| {
            let record = append.record(0, append.id_in(session), self.clock.now().wall, None);
            let Ok(encoded) = item::encode_in_parts(&pk, &record, TTL, self.settings) else { return 0 };
            let links = Links::to(record.created_at, appends.first().and_then(|first| first.owner().cloned()));
            let (cost, head) = cost_encoded(&pk, &record, &links, encoded);
            cost.write_units + head
        };
        let units: usize = appends.iter().map(of).sum();
        (units + 2) as f64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use chat_memory_core::Timestamp;
    use chat_memory_core::message::Message;
    use chat_memory_core::store::AppendId;

    fn record(text: String) -> Record {
        Record::new(7, AppendId::random(), Timestamp::from_millis(1_700_000_000_123)).with_entries([Message::user(text)])
    }

    #[test]
    fn estimate_counts_units_parts_and_refuses_oversized_metadata() {
        let session = SessionId::new("trip").expect("a good id");
        let cost = |record: &Record| cost_of(&session, record);
        assert_eq!(cost(&record("x".repeat(300))).map(|cost| cost.write_units), Some(1));
        // Random enough to stay large when compressed.
        let mut random = fastrand::Rng::with_seed(7);
        let noise: String = (0..900_000).map(|_| random.alphanumeric()).collect();
        let large = cost(&record(noise)).expect("it goes into parts");
        assert!(large.bytes > 600_000 && large.write_units > large.bytes / 1024, "{large:?}");
        let mut annotated = record(String::new());
        annotated.metadata = Some(Map::from_iter([("note".to_owned(), Value::from("x".repeat(500_000)))]));
        assert_eq!(cost(&annotated), None);
    }
}
