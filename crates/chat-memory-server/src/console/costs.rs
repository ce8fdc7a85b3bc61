//! What a session's records cost on DynamoDB, compared with one item for the whole session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_memory::store::dynamodb::cost_of;
use chat_memory::store::{Load, Reach, Record};
use chat_memory::{ChatStore, Error, Message, SessionId};

/// DynamoDB's largest item, in bytes.
const LARGEST_ITEM: usize = 400 * 1024;

/// The size of a write unit, in bytes.
const WRITE_UNIT: usize = 1024;

/// The size at which a page of messages ends, whatever else is asked for: in bytes of their JSON.
const LARGEST_PAGE: u64 = 1_000_000;

/// How long an estimate may read before it reports that it did not reach the end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How many messages an estimate reads per request.
const AT_ONCE: u64 = 1_000;

/// What writing one record costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// The bytes of its messages' JSON.
    plain: usize,
    seq: u64,
    messages: usize,
    units: usize,
    bytes: usize,
}

impl Taken {
    fn by(session: &SessionId, record: &Record) -> Self {
        let cost = cost_of(session, record).unwrap_or_default();
        Self {
            plain: record.messages().map(plain_bytes).sum(),
            seq: record.seq,
            messages: record.messages().count(),
            units: cost.write_units,
            bytes: cost.bytes,
        }
    }
}

fn plain_bytes(message: &Message) -> usize {
    message.to_json().len()
}

/// What the records of a session cost, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Costs {
    pub(crate) records: usize,
    pub(crate) messages: usize,
    /// As stored.
    pub(crate) bytes: usize,
    pub(crate) units: usize,
    /// The cost of rewriting, at each record, an item with all messages so far, until that item is full.
    pub(crate) one_item: usize,
    /// The units of the records that fit into one item: what `one_item` is compared with.
    pub(crate) units_in_item: usize,
    /// The number of the first record that no longer fits into one item.
    pub(crate) full_at: Option<u64>,
    plain: usize,
    /// After each record: its units, those of one item, and the totals of both.
    pub(crate) curve: Vec<Point>,
}

/// Both totals after a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) seq: u64,
    pub(crate) units: usize,
    pub(crate) sum: usize,
    /// The units of one item at this record, and their total; `None` if it would be full.
    pub(crate) one_item: Option<(usize, usize)>,
}

impl Costs {
    /// What these records cost, oldest first.
    pub(crate) fn of(session: &SessionId, records: &[Record]) -> Self {
        Self::add_up(records.iter().map(|record| Taken::by(session, record)))
    }

    fn add_up(records: impl Iterator<Item = Taken>) -> Self {
        let mut costs = Self::default();
        for taken in records {
            costs.records += 1;
            costs.messages += taken.messages;
            costs.bytes += taken.bytes;
            costs.units += taken.units;
            costs.plain += taken.plain;
            if costs.plain > LARGEST_ITEM {
                costs.full_at.get_or_insert(taken.seq);
            }
            let one_item = costs.full_at.is_none().then(|| {
                let units = costs.plain.div_ceil(WRITE_UNIT).max(1);
                costs.one_item += units;
                costs.units_in_item = costs.units;
                (units, costs.one_item)
            });
            costs.curve.push(Point { seq: taken.seq, units: taken.units, sum: costs.units, one_item });
        }
        costs
    }

    /// One item's cost divided by ours, for the records that fit into it.
    pub(crate) fn factor(&self) -> Option<f64> {
        (self.units_in_item > 0).then(|| self.one_item as f64 / self.units_in_item as f64)
    }
}

/// A load of up to n newest messages, limited to roughly the size of a page.
pub(crate) fn newest(messages: u64) -> Load {
    let least = LARGEST_PAGE / messages.max(1);
    Load::reaching(Reach::Weight { budget: LARGEST_PAGE, of: Arc::new(move |message| (plain_bytes(message) as u64).max(least)) })
}

/// Reads a whole session and estimates its cost; `None` if the time runs out first.
pub(crate) async fn estimate(store: &dyn ChatStore, session: &SessionId, until: Instant) -> Result<Option<Costs>, Error> {
    let mut taken = Vec::new();
    let mut load = newest(AT_ONCE).eventually_consistent();
    loop {
        let history = store.load(session, &load).await?;
        taken.extend(history.records.iter().rev().map(|record| Taken::by(session, record)));
        let Some(older) = history.older() else { break };
        if Instant::now() >= until {
            return Ok(None);
        }
        load = newest(AT_ONCE).eventually_consistent().before(older);
    }
    Ok(Some(Costs::add_up(taken.into_iter().rev())))
}

#[cfg(test)]
mod tests {
    use chat_memory::store::{Append, InMemoryStore};

    use super::*;

    #[tokio::test]
    async fn single_item_estimate_grows_with_each_record() {
        let (store, session) = (InMemoryStore::new(), SessionId::new("trip").expect("a good id"));
        for _ in 0..1_500 {
            let turn = [Message::user("q".repeat(300)), Message::assistant("a".repeat(300))];
            store.append(&session, &Append::new(turn)).await.expect("in memory");
        }
        let costs = estimate(&store, &session, Instant::now() + PATIENCE).await.expect("in memory").expect("in time");
        assert_eq!((costs.records, costs.messages, costs.units), (1_500, 3_000, 1_500));
        let per_turn = costs.plain / costs.records;
        let held = LARGEST_ITEM / per_turn;
        let expected: usize = (1..=held).map(|turn| (turn * per_turn).div_ceil(1024)).sum();
        assert_eq!(costs.one_item, expected, "nothing is counted beyond the point where the item is full");
        assert_eq!((costs.full_at, costs.units_in_item), (Some(held as u64), held), "records are numbered from 0");
        assert!(costs.curve.iter().all(|point| point.one_item.is_some() == (point.seq < held as u64)));
        assert_eq!(costs.factor(), Some(expected as f64 / held as f64));
        let one_page = store.load(&session, &Load::all()).await.expect("in memory");
        assert_eq!(Costs::of(&session, &one_page.records).one_item, expected);
        assert!(estimate(&store, &session, Instant::now()).await.expect("in memory").is_none(), "no time at all");
    }
}
