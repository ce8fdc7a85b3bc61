//! What the originals' own code does to a session's item.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::super::element::{self, Dialect};
use super::world::{View, World, texts};
use crate::common::size::item_bytes;
use crate::table::Item;
use chat_memory_core::message::Message;

impl World {
    /// The JavaScript original: appends to its list unconditionally.
    pub(super) fn js_appends(&mut self, text: &str) {
        let element = AttributeValue::M(HashMap::from([
            ("type".to_owned(), AttributeValue::S("human".to_owned())),
            ("text".to_owned(), AttributeValue::S(text.to_owned())),
        ]));
        let mut item = self.items.get(&self.main).cloned().unwrap_or_default();
        let name = self.reader.lists.js.clone();
        if let AttributeValue::L(list) = item.entry(name).or_insert_with(|| AttributeValue::L(Vec::new())) {
            list.push(element);
        }
        if item_bytes(&Item { key: self.main.clone(), attributes: item.clone() }) > self.reader.item_bytes {
            return;
        }
        self.items.insert(self.main.clone(), item);
        let mut view = self.view().clone();
        view.push((u64::MAX, vec![text.to_owned()]));
        self.expect(view, "an original's append");
    }

    /// A clear by either original.
    pub(super) fn original_clears(&mut self) {
        let (step, main) = (self.step, self.main.clone());
        self.items.remove(&main);
        self.original_clears.push(step);
        self.forget_landings();
        self.murky = false;
        self.expect(View::new(), "an original's clear");
    }

    fn forget_landings(&mut self) {
        let landed: Vec<u64> = self.landings.iter().map(|landing| landing.op).collect();
        self.forgotten.extend(landed);
    }

    /// The Python original reads the whole list …
    pub(super) fn python_reads(&self) -> (Vec<AttributeValue>, usize, usize) {
        let list = match self.items.get(&self.main).and_then(|item| item.get(&self.reader.lists.python)) {
            Some(AttributeValue::L(list)) => list.clone(),
            _ => Vec::new(),
        };
        (list, self.events.len(), self.sweeps)
    }

    /// … and writes it back with its own message at the end, whatever has happened meanwhile.
    pub(super) fn python_writes(&mut self, (mut list, version, sweeps): (Vec<AttributeValue>, usize, usize), text: &str) {
        list.push(element::encode(Dialect::Python, &Message::user(text), serde_json::Map::new()));
        let mut item = self.items.get(&self.main).cloned().unwrap_or_default();
        item.insert(self.reader.lists.python.clone(), AttributeValue::L(list));
        if item_bytes(&Item { key: self.main.clone(), attributes: item.clone() }) > self.reader.item_bytes {
            return;
        }
        self.items.insert(self.main.clone(), item);
        let mut view = self.events[version - 1].view.clone();
        view.push((u64::MAX, vec![text.to_owned()]));
        if self.events.len() > version {
            // Writes in between are overwritten, along with the numbers and notes that the list's first element led to.
            self.forget_landings();
            let step = self.step;
            self.overwrites.push(step);
        }
        let before = texts(self.view());
        let brought_back = texts(&view).iter().any(|shown| shown != text && !before.contains(shown));
        self.murky |= brought_back || self.sweeps > sweeps;
        self.expect(view, "an original's rewrite");
    }
}
