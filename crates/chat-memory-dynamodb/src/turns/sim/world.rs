//! A simulated table and simulated clocks: requests and responses are lost, writes arrive twice or minutes late, TTL purges in any
//! order, and time jumps.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::lives::Lives;
use crate::names::{APPEND_ID, CREATED_AT, EXPIRES_AT, SURE_UNTIL, TTL, seq_of};
use crate::sim::{Faults, Network, SIGNATURE_MS, deliver, turn, unknown};
use crate::table::{
    Attributes, Change, Clock, Created, Expected, Fault, Item, Key, NewItem, Page, Range, ScanPage, Table, Updated,
};
use crate::turns::item::{self, Body};
use chat_memory_core::backend::Moment;
use chat_memory_core::store::{AppendId, Cost, Expiry};

/// The largest error of a client's wall clock.
pub(super) const MAX_SKEW_MS: i64 = 60_000;

/// A record as it was when it was written, whatever became of it since.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) pk: String,
    pub(super) step: u64,
    pub(super) at_ms: i64,
    pub(super) seq: u64,
    pub(super) append_id: AppendId,
    pub(super) rewind: Option<u64>,
    pub(super) expires_at: Option<i64>,
    /// The number of the operation in its metadata.
    pub(super) op: Option<u64>,
    pub(super) began: Option<i64>,
    pub(super) owner: Option<String>,
    /// Whether a directory entry is created with it.
    pub(super) starts: bool,
    /// How long it keeps its session alive.
    pub(super) lasts: Expiry,
}

/// A write, as the table applies it.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// With the retention of the client that writes it.
    Create(NewItem, Option<u64>),
    Replace(Item, AppendId),
    Put(Item),
    Delete(Key),
    Update(Key, Vec<(String, Option<AttributeValue>)>, Option<(String, Option<AttributeValue>)>),
}

/// The response to a write.
pub(super) enum Answer {
    Created(Created),
    Replaced(bool),
    Updated(Updated),
    None,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) items: BTreeMap<Key, Attributes>,
    pub(super) now_ms: i64,
    pub(super) step: u64,
    pub(super) journal: Vec<Made>,
    /// The sessions from start to end.
    pub(super) lives: Lives,
    /// The first violation of a rule of the log itself, found when it happened.
    pub(super) broken: Option<String>,
    pub(super) faults: Faults,
    /// How long each client keeps what it writes, in seconds.
    pub(super) retentions: Vec<Option<u64>>,
    /// The wall clocks' errors, by client.
    pub(super) skew_ms: Vec<i64>,
    late: Vec<(i64, Write)>,
    page: usize,
}

impl World {
    pub(super) fn new(mut rng: fastrand::Rng, faults: Faults, retentions: Vec<Option<u64>>) -> Self {
        let skew_ms = (0..retentions.len()).map(|_| rng.i64(-MAX_SKEW_MS..MAX_SKEW_MS)).collect();
        let page = rng.usize(1..6);
        Self {
            items: BTreeMap::new(),
            now_ms: 1_800_000_000_000,
            step: 0,
            journal: Vec::new(),
            lives: Lives::default(),
            broken: None,
            faults,
            retentions,
            skew_ms,
            late: Vec::new(),
            page,
            rng,
        }
    }

    /// Lets time pass; delayed writes arrive on the way, and TTL purges.
    pub(super) fn pass(&mut self, ms: i64) {
        self.step += 1;
        let until = self.now_ms + ms;
        while let Some(next) = (0..self.late.len()).filter(|n| self.late[*n].0 <= until).min_by_key(|n| self.late[*n].0) {
            let (due, write) = self.late.swap_remove(next);
            self.now_ms = self.now_ms.max(due);
            self.carry_out(write);
        }
        self.now_ms = until;
        self.purge();
    }

    /// The items that TTL may purge by now.
    pub(super) fn due(&self) -> Vec<Key> {
        let now_s = self.now_ms / 1000;
        let is_due = |attributes: &Attributes| number(attributes, TTL).is_some_and(|at| at <= now_s);
        self.items.iter().filter(|(_, attributes)| is_due(attributes)).map(|(key, _)| key.clone()).collect()
    }

    fn purge(&mut self) {
        for key in self.due() {
            if self.chance(300) {
                self.items.remove(&key);
            }
        }
    }

    /// Delivers everything that is still in flight.
    pub(super) fn settle(&mut self) {
        self.pass(SIGNATURE_MS);
        assert!(self.late.is_empty(), "nothing may arrive after its signature's end");
    }

    fn carry_out(&mut self, write: Write) -> Answer {
        match write {
            Write::Create(new, keeps) => Answer::Created(self.create(new, keeps)),
            Write::Replace(item, seen) => {
                let fits = self.items.get(&item.key).is_some_and(|old| append_id(old) == Some(seen));
                if fits {
                    self.items.insert(item.key, item.attributes);
                }
                Answer::Replaced(fits)
            }
            Write::Put(item) => {
                self.items.insert(item.key, item.attributes);
                Answer::None
            }
            Write::Delete(key) => {
                self.items.remove(&key);
                Answer::None
            }
            Write::Update(key, set, expected) => {
                let Some(attributes) = self.items.get_mut(&key) else { return Answer::Updated(Updated::Missing) };
                if expected.is_some_and(|(name, value)| attributes.get(&name) != value.as_ref()) {
                    return Answer::Updated(Updated::Changed(Item { key, attributes: attributes.clone() }));
                }
                self.update(&key, set);
                let attributes = self.items[&key].clone();
                Answer::Updated(Updated::Done(Item { key, attributes }))
            }
        }
    }

    fn update(&mut self, key: &Key, set: Vec<(String, Option<AttributeValue>)>) {
        let Some(attributes) = self.items.get_mut(key) else { return };
        for (name, value) in set {
            match value {
                Some(value) => drop(attributes.insert(name, value)),
                None => drop(attributes.remove(&name)),
            }
        }
    }

    fn create(&mut self, new: NewItem, keeps: Option<u64>) -> Created {
        let NewItem { item, precondition, changes } = new;
        if let Some(attributes) = self.items.get(&item.key) {
            return Created::Taken(Item { key: item.key, attributes: attributes.clone() });
        }
        if let Some(precondition) = precondition {
            let is_it = |old: &Attributes| {
                precondition.written_by.is_none_or(|(id, at)| append_id(old) == Some(id) && number(old, CREATED_AT) == Some(at))
            };
            if !self.items.get(&precondition.key).is_some_and(is_it) {
                return Created::NoPrecondition;
            }
        }
        let updates = |change: &Change| matches!(change, Change::Update(key, _) if !self.items.contains_key(key));
        if changes.iter().any(updates) {
            return Created::NothingToUpdate;
        }
        if item.key.sk.starts_with("t#") {
            self.note(&item, changes.iter().any(|change| matches!(change, Change::Put(_))), keeps);
        }
        self.items.insert(item.key, item.attributes);
        for change in changes {
            match change {
                Change::Put(item) => drop(self.items.insert(item.key, item.attributes)),
                Change::Delete(key) => drop(self.items.remove(&key)),
                Change::Update(key, set) => self.update(&key, set),
            }
        }
        Created::Done
    }

    /// Records a new record, and checks that it is at the log's tail, as every record must be.
    fn note(&mut self, item: &Item, starts: bool, keeps: Option<u64>) {
        let head = item::decode(item, usize::MAX / 4).expect("our own item");
        let end = self.log(&item.key.pk).next_back().map_or(0, |(key, _)| seq_of(key).expect("a record") + 1);
        if head.seq != end {
            self.broken.get_or_insert(format!("record {} was made where the log's end was {end}", head.seq));
        }
        let Body::Record { rewind, metadata, content, .. } = &head.body else { unreachable!("stubs are not created") };
        let (rewind, op) = (*rewind, metadata.as_ref().and_then(|fields| fields["op"].as_u64()));
        let is_empty = matches!(content, item::Stored::Here(messages) if messages.is_empty());
        let lasts = match keeps {
            // An empty clear never expires, but keeps its session alive only as long as a message would.
            Some(keeps) if rewind == Some(0) && is_empty => Expiry::Until(head.created_at.div_euclid(1000) + keeps as i64),
            _ => Expiry::of(head.expires_at),
        };
        let made = Made {
            pk: item.key.pk.clone(),
            step: self.step,
            at_ms: self.now_ms,
            seq: head.seq,
            append_id: head.append_id,
            rewind,
            expires_at: head.expires_at,
            op,
            began: head.links.began,
            owner: head.links.owner.as_ref().map(ToString::to_string),
            starts,
            lasts,
        };
        if let Err(why) = self.lives.landed(&made, self.now_ms) {
            self.broken.get_or_insert(why);
        }
        if self.journal.iter().any(|old| old.append_id == made.append_id) {
            self.broken.get_or_insert(format!("append {} landed twice, the second time as record {}", made.append_id, made.seq));
        }
        self.journal.push(made);
    }

    /// The future moments written anywhere in the table, in epoch seconds.
    pub(super) fn moments(&self) -> Vec<i64> {
        let of = |attributes: &Attributes| [EXPIRES_AT, TTL, SURE_UNTIL].map(|name| number(attributes, name));
        let mut moments: Vec<i64> = self.items.values().flat_map(of).flatten().filter(|at| at * 1000 > self.now_ms).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// The items of a session's records and stubs.
    pub(super) fn log(&self, pk: &str) -> impl DoubleEndedIterator<Item = (&Key, &Attributes)> {
        let key = |sk: &str| Key { pk: pk.to_owned(), sk: sk.to_owned() };
        self.items.range(key("t#")..key("t#~"))
    }

    /// The ids of the records whose items exist.
    pub(super) fn ids(&self, pk: &str) -> HashSet<AppendId> {
        self.log(pk).filter_map(|(_, attributes)| append_id(attributes)).collect()
    }
}

fn number(attributes: &Attributes, name: &str) -> Option<i64> {
    match attributes.get(name) {
        Some(AttributeValue::N(digits)) => digits.parse().ok(),
        _ => None,
    }
}

fn append_id(attributes: &Attributes) -> Option<AppendId> {
    match attributes.get(APPEND_ID) {
        Some(AttributeValue::B(bytes)) => Some(AppendId::from_bytes(bytes.as_ref().try_into().ok()?)),
        _ => None,
    }
}

/// One client's view of the world: its connection and its clocks.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) number: usize,
}

impl Client {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no schedule panics while it holds the world")
    }

    async fn write(&self, write: Write) -> Result<Answer, Fault> {
        if crate::sim::number("CHAT_MEMORY_SIM_SEED").is_some() {
            eprintln!(
                "{} client {} writes {}",
                self.world().step,
                self.number,
                format!("{write:?}").chars().take(160).collect::<String>()
            );
        }
        deliver(&self.world, write).await
    }

    async fn read<A>(&self, look: impl FnOnce(&mut World) -> A) -> Result<A, Fault> {
        let sent_ms = self.world().now_ms;
        turn().await;
        let answer = {
            let mut world = self.world();
            let faults = world.faults;
            let lost = world.now_ms - sent_ms > SIGNATURE_MS || world.chance(faults.lost_answer);
            if lost { Err(unknown()) } else { Ok(look(&mut world)) }
        };
        turn().await;
        answer
    }
}

#[async_trait]
impl Table for Client {
    async fn create(&self, new: &NewItem, cost: &mut Cost) -> Result<Created, Fault> {
        cost.requests += 1;
        let keeps = self.world().retentions[self.number];
        match self.write(Write::Create(new.clone(), keeps)).await? {
            Answer::Created(created) => Ok(created),
            _ => unreachable!(),
        }
    }

    async fn replace(&self, item: &Item, seen: AppendId, _: &mut Cost) -> Result<bool, Fault> {
        match self.write(Write::Replace(item.clone(), seen)).await? {
            Answer::Replaced(replaced) => Ok(replaced),
            _ => unreachable!(),
        }
    }

    async fn put(&self, item: &Item, _: &mut Cost) -> Result<(), Fault> {
        self.write(Write::Put(item.clone())).await.map(drop)
    }

    async fn update(
        &self,
        key: &Key,
        set: &[(&str, Option<AttributeValue>)],
        expected: Option<Expected<'_>>,
        _: &mut Cost,
    ) -> Result<Updated, Fault> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let expected = expected.map(|(name, value)| (name.to_owned(), value.cloned()));
        match self.write(Write::Update(key.clone(), set, expected)).await? {
            Answer::Updated(item) => Ok(item),
            _ => unreachable!(),
        }
    }

    async fn delete(&self, key: &Key, _: &mut Cost) -> Result<(), Fault> {
        self.write(Write::Delete(key.clone())).await.map(drop)
    }

    async fn get(&self, key: &Key, _: &mut Cost) -> Result<Option<Item>, Fault> {
        let item = |attributes: &Attributes| Item { key: key.clone(), attributes: attributes.clone() };
        self.read(|world| world.items.get(key).map(item)).await
    }

    async fn ttl_attribute(&self, _: &mut Cost) -> Result<String, Fault> {
        Ok(TTL.to_owned())
    }

    async fn scan(&self, _: &[&str], after: Option<&Key>, _: &mut Cost) -> Result<ScanPage, Fault> {
        self.read(|world| {
            let past = |key: &&Key| after.is_none_or(|after| *key > after);
            let size = world.rng.usize(1..=world.page) * 3;
            let mut keys = world.items.keys().filter(past);
            let keys: Vec<Key> = keys.by_ref().take(size).cloned().collect();
            let after = keys.last().filter(|last| world.items.keys().any(|key| key > *last)).cloned();
            let item = |key: Key| Item { attributes: world.items[&key].clone(), key };
            ScanPage { items: keys.into_iter().map(item).collect(), after }
        })
        .await
    }

    async fn page(&self, range: &Range, after: Option<&str>, cost: &mut Cost) -> Result<Page, Fault> {
        cost.requests += 1;
        self.read(|world| {
            let key = |sk: &str| Key { pk: range.pk.clone(), sk: sk.to_owned() };
            // Pages are short, so that many loads need several.
            let size = world.rng.usize(1..=world.page).min(range.limit.unwrap_or(u32::MAX) as usize);
            let item = |(key, attributes): (&Key, &Attributes)| Item { key: key.clone(), attributes: attributes.clone() };
            let newest_first = range.newest_first;
            let past = |(key, _): &(&Key, &Attributes)| {
                after.is_none_or(|after| if newest_first { key.sk.as_str() < after } else { key.sk.as_str() > after })
            };
            let all = (range.from <= range.to).then(|| world.items.range(key(&range.from)..=key(&range.to)));
            let mut all: Box<dyn Iterator<Item = (&Key, &Attributes)>> = match all {
                Some(all) if newest_first => Box::new(all.rev().filter(past)),
                Some(all) => Box::new(all.filter(past)),
                None => Box::new(std::iter::empty()),
            };
            let items: Vec<Item> = all.by_ref().take(size).map(item).collect();
            let more = all.next().is_some();
            let after = items.last().filter(|_| more).map(|item| item.key.sk.clone());
            Page { items, after }
        })
        .await
    }
}

#[async_trait]
impl Clock for Client {
    fn now(&self) -> Moment {
        let world = self.world();
        // Each machine's monotonic clock has a different start.
        let mono_ms = (world.now_ms - 1_700_000_000_000) as u64 + 1_000 * self.number as u64;
        Moment { mono_ms, wall_ms: world.now_ms + world.skew_ms[self.number] }
    }

    async fn sleep(&self, ms: u64) {
        let until = self.world().now_ms + ms as i64;
        turn().await;
        let mut world = self.world();
        let left = until - world.now_ms;
        if left > 0 {
            world.pass(left);
        }
    }

    fn random(&self) -> f64 {
        self.world().rng.f64()
    }
}

impl Network for World {
    type Write = Write;
    type Answer = Answer;

    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn faults(&self) -> Faults {
        self.faults
    }

    fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    fn hold(&mut self, due_ms: i64, write: Write) {
        self.late.push((due_ms, write));
    }

    fn carry_out(&mut self, write: Write) -> Answer {
        Self::carry_out(self, write)
    }
}
