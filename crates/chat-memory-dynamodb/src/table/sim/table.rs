//! A simulated table and simulated clocks: requests and responses are lost, writes arrive twice or minutes late, TTL purges in any
//! order, and time jumps.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Faults, SIGNATURE_MS, deliver, is_shown, turn, unknown};
use crate::common::size::item_bytes;
use crate::table::{
    Attributes, Change, Clock, Condition, Created, Fault, Item, Key, NewItem, Page, Range, Scan, ScanPage, Table, Update, Updated,
};
use chat_memory_core::Timestamp;
use chat_memory_core::backend::Moment;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Cost;

/// A write, as the table applies it.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Create(NewItem),
    Put(Item, Vec<Condition>),
    Delete(Key, Vec<Condition>),
    Update(Update),
}

/// The response to a write.
#[derive(Debug)]
pub(super) enum Answer {
    Created(Created),
    Done(bool),
    Updated(Updated),
    TooLarge,
}

/// What a layout's simulation records of the writes that take effect.
pub(crate) trait Watch: std::fmt::Debug + Send + Sized + 'static {
    /// A client's write has taken effect; `old` is the item as it was before.
    fn wrote(world: &mut World<Self>, client: usize, write: &Write, old: Option<&Attributes>);
}

/// The table and its time. Stands for what a layout's simulation records as well.
#[derive(Debug)]
pub(crate) struct World<W> {
    pub(crate) rng: fastrand::Rng,
    pub(crate) items: BTreeMap<Key, Attributes>,
    pub(crate) now_ms: i64,
    pub(crate) step: u64,
    /// The first violation, found when it happened.
    pub(crate) broken: Option<String>,
    pub(crate) faults: Faults,
    /// How far the clients' wall clocks are ahead.
    pub(crate) skew_ms: Vec<i64>,
    /// The attribute by which it purges.
    pub(crate) ttl: Option<&'static str>,
    /// The size of the largest item that it takes.
    pub(crate) item_bytes: usize,
    /// Items that one transaction has just written, and up to which step a page may show only some of them.
    pub(crate) torn: Option<(Vec<Key>, u64)>,
    /// Whether anyone has seen one of the transaction's items.
    pub(crate) torn_is_seen: bool,
    late: Vec<(i64, (usize, Write))>,
    page: usize,
    watch: W,
}

impl<W> Deref for World<W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.watch
    }
}

impl<W> DerefMut for World<W> {
    fn deref_mut(&mut self) -> &mut W {
        &mut self.watch
    }
}

impl<W: Watch> World<W> {
    pub(crate) fn new(mut rng: fastrand::Rng, faults: Faults, skew_ms: Vec<i64>, watch: W) -> Self {
        let page = rng.usize(1..6);
        Self {
            items: BTreeMap::new(),
            now_ms: 1_800_000_000_000,
            step: 0,
            broken: None,
            torn: None,
            torn_is_seen: false,
            faults,
            skew_ms,
            ttl: None,
            item_bytes: usize::MAX,
            late: Vec::new(),
            page,
            rng,
            watch,
        }
    }

    pub(super) fn chance(&mut self, of_1000: u32) -> bool {
        self.rng.u32(0..1000) < of_1000
    }

    /// Keeps a write that was sent at this time until some moment while its signature is valid.
    pub(super) fn hold(&mut self, sent_ms: i64, sent: (usize, Write)) {
        let due = (sent_ms + self.rng.i64(0..=SIGNATURE_MS)).max(self.now_ms);
        self.late.push((due, sent));
    }

    /// Lets time pass; delayed writes arrive on the way, and TTL purges.
    pub(crate) fn pass(&mut self, ms: i64) {
        self.step += 1;
        // A transaction becomes visible within moments.
        self.torn.take_if(|_| ms > 1_000);
        let until = self.now_ms + ms;
        while let Some(next) = (0..self.late.len()).filter(|n| self.late[*n].0 <= until).min_by_key(|n| self.late[*n].0) {
            let (due, sent) = self.late.swap_remove(next);
            self.now_ms = self.now_ms.max(due);
            self.carry_out(sent);
        }
        self.now_ms = until;
        for key in self.due() {
            if self.chance(300) {
                self.items.remove(&key);
            }
        }
    }

    /// Some of the items that a transaction has just written: a page may show one before another. An item that was seen once stays.
    fn unseen(&mut self) -> Vec<Key> {
        let Some((keys, until)) = self.torn.take() else { return Vec::new() };
        if self.step > until {
            return Vec::new();
        }
        let mut unseen = keys.clone();
        unseen.retain(|_| self.rng.bool());
        // One is seen at least: a transaction of which nothing is seen yet has not begun.
        if unseen.len() == keys.len() && !self.torn_is_seen {
            unseen.remove(self.rng.usize(..unseen.len()));
        }
        self.torn_is_seen = true;
        if !unseen.is_empty() {
            self.torn = Some((unseen.clone(), until));
        }
        unseen
    }

    /// Notes that a request found this item, so that every later one finds it.
    fn found(&mut self, key: &Key) {
        if let Some((keys, _)) = &mut self.torn {
            let before = keys.len();
            keys.retain(|unseen| unseen != key);
            self.torn_is_seen |= keys.len() < before;
        }
        self.torn.take_if(|(keys, _)| keys.is_empty());
    }

    /// The items that TTL may purge by now.
    pub(crate) fn due(&self) -> Vec<Key> {
        let Some(ttl) = self.ttl else { return Vec::new() };
        let now_s = self.now_ms / 1000;
        let is_due = |attributes: &Attributes| number_in(attributes, ttl).is_some_and(|at| at <= now_s);
        self.items.iter().filter(|(_, attributes)| is_due(attributes)).map(|(key, _)| key.clone()).collect()
    }

    /// Delivers everything that is still in flight.
    pub(crate) fn settle(&mut self) {
        self.pass(SIGNATURE_MS);
        self.torn = None;
        assert!(self.late.is_empty(), "nothing may arrive after its signature's end");
    }

    pub(super) fn carry_out(&mut self, (client, write): (usize, Write)) -> Answer {
        let key = match &write {
            Write::Create(NewItem { item: Item { key, .. }, .. }) | Write::Put(Item { key, .. }, _) => key,
            Write::Delete(key, _) | Write::Update(Update { key, .. }) => key,
        };
        let old = self.items.get(key).cloned();
        self.found(key);
        if let Write::Create(NewItem { precondition: Some((key, _)), .. }) = &write {
            self.found(key);
        }
        let answer = match &write {
            Write::Create(new) => Answer::Created(self.create(new)),
            Write::Put(item, conditions) => {
                let holds = self.holds(key, conditions);
                if holds && item_bytes(item) > self.item_bytes {
                    return Answer::TooLarge;
                }
                if holds {
                    self.put(item);
                }
                Answer::Done(holds)
            }
            Write::Delete(key, conditions) => {
                let holds = self.holds(key, conditions);
                if holds {
                    self.items.remove(key);
                }
                Answer::Done(holds)
            }
            Write::Update(update) if !self.holds(key, &update.conditions) => {
                Answer::Updated(Updated::Refused(old.clone().map(|attributes| Item { key: key.clone(), attributes })))
            }
            Write::Update(update) => {
                let new = updated(old.clone(), update);
                if item_bytes(&new) > self.item_bytes {
                    return Answer::TooLarge;
                }
                self.put(&new);
                Answer::Updated(Updated::Done(new))
            }
        };
        if let Answer::Created(Created::Done) | Answer::Done(true) | Answer::Updated(Updated::Done(_)) = answer {
            W::wrote(self, client, &write, old.as_ref());
        }
        answer
    }

    fn holds(&self, key: &Key, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| condition.holds(self.items.get(key)))
    }

    fn put(&mut self, item: &Item) {
        self.items.insert(item.key.clone(), item.attributes.clone());
    }

    fn create(&mut self, new: &NewItem) -> Created {
        let NewItem { item, precondition, changes } = new;
        if let Some(attributes) = self.items.get(&item.key) {
            return Created::Taken(Item { key: item.key.clone(), attributes: attributes.clone() });
        }
        if precondition.as_ref().is_some_and(|(key, conditions)| !self.holds(key, conditions)) {
            return Created::NoPrecondition;
        }
        let is_refused =
            |change: &Change| matches!(change, Change::Update(update) if !self.holds(&update.key, &update.conditions));
        if changes.iter().any(is_refused) {
            return Created::NothingToUpdate;
        }
        self.put(item);
        for change in changes {
            match change {
                Change::Put(item) => self.put(item),
                Change::Delete(key) => drop(self.items.remove(key)),
                Change::Update(update) => {
                    let old = self.items.get(&update.key).cloned();
                    self.put(&updated(old, update));
                }
            }
        }
        Created::Done
    }
}

/// The item after an update.
pub(crate) fn updated(old: Option<Attributes>, update: &Update) -> Item {
    let mut attributes = old.unwrap_or_default();
    for (name, value) in &update.set {
        match value {
            Some(value) => drop(attributes.insert(name.clone(), value.clone())),
            None => drop(attributes.remove(name)),
        }
    }
    if let Some((name, elements)) = &update.append
        && let AttributeValue::L(list) = attributes.entry(name.clone()).or_insert_with(|| AttributeValue::L(Vec::new()))
    {
        list.extend(elements.clone());
    }
    if let Some((name, member)) = &update.add
        && let AttributeValue::Bs(set) = attributes.entry(name.clone()).or_insert_with(|| AttributeValue::Bs(Vec::new()))
    {
        set.push(member.clone());
    }
    Item { key: update.key.clone(), attributes }
}

/// A number in an item.
pub(crate) fn number_in(attributes: &Attributes, name: &str) -> Option<i64> {
    match attributes.get(name) {
        Some(AttributeValue::N(digits)) => digits.parse().ok(),
        _ => None,
    }
}

/// One client's view of the world: its connection and its clocks.
#[derive(Debug)]
pub(crate) struct Client<W> {
    pub(crate) world: Arc<Mutex<World<W>>>,
    pub(crate) number: usize,
}

impl<W> Clone for Client<W> {
    fn clone(&self) -> Self {
        Self { world: Arc::clone(&self.world), number: self.number }
    }
}

impl<W: Watch> Client<W> {
    pub(crate) fn world(&self) -> MutexGuard<'_, World<W>> {
        self.world.lock().expect("no schedule panics while it holds the world")
    }

    async fn write(&self, write: Write, cost: &mut Cost) -> Result<Answer, Fault> {
        cost.requests += 1;
        if is_shown() {
            let shown = format!("{write:?}").chars().take(160).collect::<String>();
            eprintln!("{} client {} writes {shown}", self.world().step, self.number);
        }
        let answer = deliver(&self.world, (self.number, write)).await;
        if answer.is_ok() {
            // What was answered is there for everyone.
            self.world().torn = None;
        }
        match answer {
            Ok(Answer::TooLarge) => {
                let error = Error::new(ErrorKind::TooLarge, "larger than an item may be");
                Err(Fault { error, may_have_landed: false, retry: false })
            }
            answer => answer,
        }
    }

    async fn read<A>(&self, cost: &mut Cost, look: impl FnOnce(&mut World<W>) -> A) -> Result<A, Fault> {
        cost.requests += 1;
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
impl<W: Watch> Table for Client<W> {
    async fn get(&self, key: &Key, _: bool, cost: &mut Cost) -> Result<Option<Item>, Fault> {
        let item = |attributes: &Attributes| Item { key: key.clone(), attributes: attributes.clone() };
        self.read(cost, |world| world.items.get(key).map(item)).await
    }

    async fn page(&self, range: &Range, after: Option<&str>, cost: &mut Cost) -> Result<Page, Fault> {
        self.read(cost, |world| {
            let key = |sk: &str| Key { pk: range.pk.clone(), sk: sk.to_owned() };
            // Pages are short, so that many loads need several.
            let size = world.rng.usize(1..=world.page).min(range.limit.unwrap_or(u32::MAX) as usize);
            let item = |(key, attributes): (&Key, &Attributes)| Item { key: key.clone(), attributes: attributes.clone() };
            let unseen = world.unseen();
            let newest_first = range.newest_first;
            let past = |(key, _): &(&Key, &Attributes)| {
                !unseen.contains(key)
                    && after.is_none_or(|after| if newest_first { key.sk.as_str() < after } else { key.sk.as_str() > after })
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

    /// Returns items whole, whatever the scan asks for.
    async fn scan(&self, scan: &Scan<'_>, after: Option<&Key>, cost: &mut Cost) -> Result<ScanPage, Fault> {
        self.read(cost, |world| {
            let past = |key: &&Key| after.is_none_or(|after| *key > after);
            let size = (world.rng.usize(1..=world.page) * 3).min(scan.limit.unwrap_or(u32::MAX) as usize);
            let mut keys = world.items.keys().filter(past);
            let keys: Vec<Key> = keys.by_ref().take(size).cloned().collect();
            let after = keys.last().filter(|last| world.items.keys().any(|key| key > *last)).cloned();
            let item = |key: Key| Item { attributes: world.items[&key].clone(), key };
            ScanPage { items: keys.into_iter().map(item).collect(), after }
        })
        .await
    }

    async fn put(&self, item: &Item, conditions: &[Condition], cost: &mut Cost) -> Result<bool, Fault> {
        match self.write(Write::Put(item.clone(), conditions.to_vec()), cost).await? {
            Answer::Done(done) => Ok(done),
            _ => unreachable!(),
        }
    }

    async fn delete(&self, key: &Key, conditions: &[Condition], cost: &mut Cost) -> Result<bool, Fault> {
        match self.write(Write::Delete(key.clone(), conditions.to_vec()), cost).await? {
            Answer::Done(done) => Ok(done),
            _ => unreachable!(),
        }
    }

    async fn update(&self, update: &Update, cost: &mut Cost) -> Result<Updated, Fault> {
        match self.write(Write::Update(update.clone()), cost).await? {
            Answer::Updated(updated) => Ok(updated),
            _ => unreachable!(),
        }
    }

    async fn create(&self, new: NewItem, cost: &mut Cost) -> Result<Created, Fault> {
        match self.write(Write::Create(new), cost).await? {
            Answer::Created(created) => Ok(created),
            _ => unreachable!(),
        }
    }

    async fn ttl_attribute(&self, _: &[&str], _: &mut Cost) -> Result<Option<String>, Fault> {
        Ok(self.world().ttl.map(str::to_owned))
    }
}

#[async_trait]
impl<W: Watch> Clock for Client<W> {
    fn now(&self) -> Moment {
        let world = self.world();
        // Each machine's monotonic clock has a different start.
        let mono_ms = (world.now_ms - 1_700_000_000_000) as u64 + 1_000 * self.number as u64;
        let wall_ms = world.now_ms + world.skew_ms.get(self.number).unwrap_or(&0);
        Moment { mono_ms, wall: Timestamp::from_millis(wall_ms) }
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.world().now_ms + duration.as_millis() as i64;
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
