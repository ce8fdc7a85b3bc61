//! A simulated table and its time. Writes take effect when they arrive; after each one, the world compares what a reader sees with
//! what was promised.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::super::side::SideItem;
use super::super::state::State;
use super::super::table::{Change, Changed, Generation, Guard};
use super::super::{Listed, Settings};
use super::client::Nothing;
use crate::names::{LIST_GENERATION, LIST_IDS};
use crate::sim::{Faults, Network, SIGNATURE_MS};
use crate::size::item_bytes;
use crate::table::{Attributes, Item, Key};
use chat_memory_core::SessionId;
use chat_memory_core::message::Message;
use chat_memory_core::store::AppendId;

/// What a reader sees: the texts of each record, by number.
pub(super) type View = Vec<(u64, Vec<String>)>;

/// A change in what a reader sees.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) step: u64,
    pub(super) view: View,
}

/// An append that landed.
#[derive(Debug, Clone)]
pub(super) struct Landing {
    pub(super) op: u64,
    pub(super) step: u64,
    /// The number of events before it.
    pub(super) version: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Write {
    Change(Change),
    Store(Item),
    Discard(Key),
    DiscardIf(Key, Generation, Vec<(String, Option<AttributeValue>)>),
}

#[derive(Debug)]
pub(super) enum Answer {
    Changed(Changed),
    Discarded(bool),
    TooLarge,
    None,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) items: BTreeMap<Key, Attributes>,
    pub(super) now_ms: i64,
    pub(super) step: u64,
    pub(super) events: Vec<Event>,
    pub(super) landings: Vec<Landing>,
    /// Appends that the table has forgotten because an original cleared or overwrote them.
    pub(super) forgotten: HashSet<u64>,
    /// An original brought back what had been swept since it read. From then on it determines what is seen, until the next clear.
    pub(super) murky: bool,
    /// When originals cleared the session.
    pub(super) original_clears: Vec<u64>,
    pub(super) sweeps: usize,
    pub(super) rolls: usize,
    pub(super) broken: Option<String>,
    pub(super) faults: Faults,
    pub(super) late: Vec<(i64, Write)>,
    /// Used to read the table: the product's own decoder, which the conformance suite verifies.
    pub(super) reader: Arc<Settings>,
    pub(super) session: SessionId,
    pub(super) main: Key,
}

impl World {
    pub(super) fn new(rng: fastrand::Rng, faults: Faults, settings: &Settings, session: &SessionId) -> Self {
        let main = Key { pk: settings.partitions.session(session), sk: String::new() };
        Self {
            rng,
            items: BTreeMap::new(),
            now_ms: 1_800_000_000_000,
            step: 0,
            events: vec![Event { step: 0, view: Vec::new() }],
            landings: Vec::new(),
            forgotten: HashSet::new(),
            murky: false,
            original_clears: Vec::new(),
            sweeps: 0,
            rolls: 0,
            broken: None,
            faults,
            late: Vec::new(),
            reader: Arc::new(settings.clone()),
            session: session.clone(),
            main,
        }
    }

    pub(super) fn view(&self) -> &View {
        &self.events[self.events.len() - 1].view
    }

    fn fail(&mut self, why: String) {
        if !self.murky {
            self.broken.get_or_insert(why);
        }
    }

    /// Lets time pass; delayed writes arrive on the way.
    pub(super) fn pass(&mut self, ms: i64) {
        self.step += 1;
        let until = self.now_ms + ms;
        while let Some(next) = (0..self.late.len()).filter(|n| self.late[*n].0 <= until).min_by_key(|n| self.late[*n].0) {
            let (due, write) = self.late.swap_remove(next);
            self.now_ms = self.now_ms.max(due);
            self.carry_out(write);
        }
        self.now_ms = until;
    }

    /// Delivers everything that is still in flight.
    pub(super) fn settle(&mut self) {
        self.pass(SIGNATURE_MS);
    }

    pub(super) fn carry_out(&mut self, write: Write) -> Answer {
        match write {
            Write::Store(item) => {
                if item.attributes.values().any(|value| matches!(value, AttributeValue::S(text) if text.contains("\"swept\":[") || text.contains("\"swept\":true"))) {
                    self.sweeps += 1;
                }
                self.items.insert(item.key, item.attributes);
                Answer::None
            }
            Write::Discard(key) => {
                self.sweeps += 1;
                self.items.remove(&key);
                Answer::None
            }
            Write::DiscardIf(key, generation, equal) => {
                let change = Change { key, guard: Guard::Of(generation), equal, ..Change::default() };
                let done = holds(&change, self.items.get(&change.key));
                if done {
                    self.items.remove(&change.key);
                    self.expect(self.view().clone(), "an empty item was deleted");
                }
                Answer::Discarded(done)
            }
            Write::Change(change) => self.change(change),
        }
    }

    fn change(&mut self, change: Change) -> Answer {
        let old = self.items.get(&change.key).cloned();
        if !holds(&change, old.as_ref()) {
            return Answer::Changed(Changed::Refused(old));
        }
        let mut new = old.clone().unwrap_or_default();
        if let Some((name, elements)) = &change.append
            && let AttributeValue::L(list) = new.entry(name.clone()).or_insert_with(|| AttributeValue::L(Vec::new()))
        {
            list.extend(elements.clone());
        }
        new.extend(change.set.clone());
        for name in &change.remove {
            new.remove(name);
        }
        if let Some(id) = change.once
            && let AttributeValue::Bs(ids) = new.entry(LIST_IDS.to_owned()).or_insert_with(|| AttributeValue::Bs(Vec::new()))
        {
            ids.push(Blob::new(id.as_bytes()));
        }
        if item_bytes(&Item { key: change.key.clone(), attributes: new.clone() }) > self.reader.item_bytes {
            return Answer::TooLarge;
        }
        self.items.insert(change.key, new.clone());
        self.note(old.as_ref(), &new);
        Answer::Changed(Changed::Done(new))
    }

    fn state(&self, item: Option<&Attributes>) -> State {
        State::of(self.session.as_str(), &self.reader.lists, item).expect("our own item")
    }

    /// Records what one of our changes did: an append landed, or the list was rolled.
    fn note(&mut self, old: Option<&Attributes>, new: &Attributes) {
        let (old, new) = (self.state(old), self.state(Some(new)));
        let before: HashSet<AppendId> = old.log.entries.iter().map(|entry| entry.bare.append_id).collect();
        let landed: Vec<_> =
            new.log.entries.iter().filter(|entry| !entry.foreign && !before.contains(&entry.bare.append_id)).collect();
        let landed = landed.into_iter().rfind(|entry| entry.bare.created_at > 0).cloned();
        let is_append = landed.as_ref().filter(|entry| entry.bare.seq >= old.log.next());
        let Some(entry) = is_append else {
            self.rolls += 1;
            self.expect(self.view().clone(), "a roll");
            return;
        };
        // A delete's clear is made by the store itself: it has no number, and may be repeated.
        let op = entry.bare.metadata.as_ref().and_then(|metadata| metadata["op"].as_u64()).unwrap_or(u64::MAX);
        if op != u64::MAX && self.landings.iter().any(|landing| landing.op == op) && !self.forgotten.remove(&op) {
            self.fail(format!("op {op} landed twice"));
        }
        self.landings.push(Landing { op, step: self.step, version: self.events.len() });
        let mut view = self.view().clone();
        if let Some(to) = entry.bare.rewind {
            view.retain(|(seq, _)| *seq < to);
            if to == 0 {
                self.murky = false;
            }
        }
        view.push((entry.bare.seq, self.texts_of(&new, entry)));
        self.expect(view, &format!("op {op}"));
    }

    fn texts_of(&self, state: &State, entry: &super::super::state::Entry) -> Vec<String> {
        match &entry.parts {
            None => {
                let record = state.log.record("s", entry).expect("our own item");
                record.messages.iter().map(Message::text).collect()
            }
            Some(parts) => self.parts(parts).unwrap_or_default(),
        }
    }

    fn parts(&self, parts: &super::super::state::Parts) -> Option<Vec<String>> {
        let reader = self.reader();
        let mut payload = Vec::new();
        for n in 0..parts.count {
            let key = reader.side_key(&self.session, &super::super::side::part_id(&parts.id, n));
            match self.items.get(&key)?.get("data")? {
                AttributeValue::B(data) => payload.extend(data.as_ref()),
                _ => return None,
            }
        }
        let messages = crate::payload::unpack_messages(payload, usize::MAX / 4).ok()?;
        Some(messages.iter().map(Message::text).collect())
    }

    fn reader(&self) -> Listed<Nothing, Nothing> {
        Listed::new(Nothing, Nothing, (*self.reader).clone())
    }

    /// What the table shows now, segments included.
    fn actual(&self) -> Result<View, String> {
        let state = self.state(self.items.get(&self.main));
        let reader = self.reader();
        let mut view = View::new();
        let mut log = state.log.clone();
        loop {
            let of = State { log: log.clone(), ..State::absent() };
            let here = log.entries.iter().map(|entry| (entry.bare.seq, self.texts_of(&of, entry)));
            let here: View = here.collect();
            view.splice(0..0, here);
            if log.entries.first().is_some_and(|entry| entry.bare.rewind == Some(0)) {
                break;
            }
            let Some(id) = log.head.segment else { break };
            let Some(item) = self.items.get(&reader.side_key(&self.session, &id)) else {
                return Err(format!("the segment {id} is not there"));
            };
            match SideItem::parse(&self.reader.lists, &self.session, &id, item).map_err(|e| e.to_string())? {
                SideItem::Segment(older) => log = older,
                SideItem::Swept { .. } => break,
                SideItem::Gone(_) => return Err("a note is stored where a segment should be".to_owned()),
            }
        }
        Ok(view)
    }

    /// Checks that the table shows this after an event.
    pub(super) fn expect(&mut self, view: View, what: &str) {
        let actual = match self.actual() {
            Ok(actual) => actual,
            Err(why) => {
                self.fail(format!("after {what}: {why}"));
                view.clone()
            }
        };
        if texts(&actual) != texts(&view) {
            self.fail(format!("after {what} the table shows {actual:?}, and should {view:?}"));
        }
        let all = texts(&actual);
        if all.iter().collect::<HashSet<_>>().len() != all.len() {
            self.fail(format!("after {what} a message is there twice: {actual:?}"));
        }
        // A roll changes nothing that a reader sees.
        if what != "a roll" {
            self.events.push(Event { step: self.step, view: actual });
        } else if let Some(last) = self.events.last_mut() {
            last.view = actual;
        }
    }
}

pub(super) fn texts(view: &View) -> Vec<String> {
    view.iter().flat_map(|(_, texts)| texts.clone()).collect()
}

fn holds(change: &Change, item: Option<&Attributes>) -> bool {
    let generation = item.and_then(|item| match item.get(LIST_GENERATION) {
        Some(AttributeValue::B(bytes)) => Some(bytes.as_ref().to_vec()),
        _ => None,
    });
    let guarded = match change.guard {
        Guard::Any => true,
        Guard::Absent => item.is_none(),
        Guard::Ungenerated => item.is_some() && generation.is_none(),
        Guard::Of(seen) => generation.as_deref() == Some(&seen.0[..]),
    };
    let remembered = |id: AppendId| match item.and_then(|item| item.get(LIST_IDS)) {
        Some(AttributeValue::Bs(ids)) => ids.iter().any(|known| known.as_ref() == id.as_bytes()),
        _ => false,
    };
    let equal = |(name, value): &(String, Option<AttributeValue>)| item.and_then(|item| item.get(name)) == value.as_ref();
    guarded && !change.once.is_some_and(remembered) && change.equal.iter().all(equal)
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
