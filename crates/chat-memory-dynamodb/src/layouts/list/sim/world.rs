//! What the simulation records of the table: after each write, it compares what a reader sees with what was promised.

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;

use super::super::Settings;
use super::super::side::SideItem;
use super::super::state::State;
use crate::table::sim::{Faults, Watch, Write};
use crate::table::{Attributes, Key};
use chat_memory_core::SessionId;
use chat_memory_core::message::Message;
use chat_memory_core::store::AppendId;

pub(super) type World = crate::table::sim::World<Shown>;
pub(super) type Client = crate::table::sim::Client<Shown>;

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

/// What a reader sees, and how it came about.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(super) events: Vec<Event>,
    pub(super) landings: Vec<Landing>,
    /// Appends that the table has forgotten because an original cleared or overwrote them.
    pub(super) forgotten: HashSet<u64>,
    /// An original brought back what had been swept since it read. From then on it determines what is seen, until the next clear.
    pub(super) murky: bool,
    /// When originals cleared the session.
    pub(super) original_clears: Vec<u64>,
    /// When LangChain Python wrote back a list that others had written to since it was read.
    pub(super) overwrites: Vec<u64>,
    pub(super) sweeps: usize,
    /// Used to read the table: the product's own decoder, which the conformance suite verifies.
    pub(super) reader: Arc<Settings>,
    pub(super) session: SessionId,
    pub(super) main: Key,
}

impl Watch for Shown {
    fn wrote(world: &mut World, _: usize, write: &Write, old: Option<&Attributes>) {
        match write {
            Write::Put(item, _) => {
                let is_swept = |text: &String| text.contains("\"swept\":[") || text.contains("\"swept\":true");
                if item.attributes.values().any(|value| matches!(value, AttributeValue::S(text) if is_swept(text))) {
                    world.sweeps += 1;
                }
            }
            Write::Delete(key, _) if *key == world.main => world.expect(world.view().clone(), "an empty item was deleted"),
            Write::Delete(..) => world.sweeps += 1,
            Write::Update(update) => world.note(old, &world.items[&update.key].clone()),
            Write::Create(_) => unreachable!("this layout writes sessions by updates"),
        }
    }
}

impl World {
    /// A table of clients whose clocks are ahead by so much.
    pub(super) fn of(rng: fastrand::Rng, faults: Faults, skew_ms: Vec<i64>, settings: &Settings, session: &SessionId) -> Self {
        let main = Key { pk: settings.ids.partitions.session(session), sk: String::new() };
        let shown = Shown {
            events: vec![Event { step: 0, view: Vec::new() }],
            landings: Vec::new(),
            forgotten: HashSet::new(),
            murky: false,
            original_clears: Vec::new(),
            overwrites: Vec::new(),
            sweeps: 0,
            reader: Arc::new(settings.clone()),
            session: session.clone(),
            main,
        };
        let mut world = Self::new(rng, faults, skew_ms, shown);
        world.item_bytes = settings.item_bytes;
        world
    }

    pub(super) fn view(&self) -> &View {
        &self.events[self.events.len() - 1].view
    }

    fn fail(&mut self, why: String) {
        if !self.murky {
            self.broken.get_or_insert(why);
        }
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
        let landed = landed.into_iter().rfind(|entry| entry.bare.created_at.known().is_some()).cloned();
        let is_append = landed.as_ref().filter(|entry| entry.bare.seq >= old.log.next());
        let Some(entry) = is_append else {
            self.expect(self.view().clone(), "a roll");
            return;
        };
        // A delete's clear is made by the store itself: it has no number, and may be repeated.
        let op = entry.bare.metadata.as_ref().and_then(|metadata| metadata["op"].as_u64()).unwrap_or(u64::MAX);
        if op != u64::MAX && self.landings.iter().any(|landing| landing.op == op) && !self.forgotten.remove(&op) {
            self.fail(format!("op {op} landed twice"));
        }
        let landing = Landing { op, step: self.step, version: self.events.len() };
        self.landings.push(landing);
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
                record.messages().map(Message::text).collect()
            }
            Some(parts) => self.parts(parts).unwrap_or_default(),
        }
    }

    fn parts(&self, parts: &super::super::state::Parts) -> Option<Vec<String>> {
        let mut payload = Vec::new();
        for n in 0..parts.count {
            let key = self.reader.ids.side_key(&self.session, &super::super::side::part_id(&parts.id, n));
            match self.items.get(&key)?.get("data")? {
                AttributeValue::B(data) => payload.extend(data.as_ref()),
                _ => return None,
            }
        }
        let messages = crate::common::payload::unpack_messages(payload, usize::MAX / 4).ok()?;
        Some(messages.iter().map(Message::text).collect())
    }

    /// What the table shows now, segments included.
    fn actual(&self) -> Result<View, String> {
        let state = self.state(self.items.get(&self.main));
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
            let Some(item) = self.items.get(&self.reader.ids.side_key(&self.session, &id)) else {
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
            let step = self.step;
            self.events.push(Event { step, view: actual });
        } else if let Some(last) = self.events.last_mut() {
            last.view = actual;
        }
    }
}

pub(super) fn texts(view: &View) -> Vec<String> {
    view.iter().flat_map(|(_, texts)| texts.clone()).collect()
}
