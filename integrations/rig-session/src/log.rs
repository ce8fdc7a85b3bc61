//! A log of rig's as records: the bytes of each append, and the messages in them for every reader.

use std::io;

use chat_memory::store::History;
use chat_memory::{Entry, Message, Role};
use chat_memory_rig_form::shown;
use serde_json::{Map, Value};

use crate::bytes;

/// The field of a record's metadata with the log's length after it.
const LENGTH: &str = "rig_length";

/// The metadata of a record after which the log has this length.
pub fn metadata(length: u64) -> Map<String, Value> {
    Map::from_iter([(LENGTH.to_owned(), length.into())])
}

/// The log's length, from its end; 0 if there is no log.
pub fn length(end: &History) -> io::Result<u64> {
    let Some(record) = end.records.iter().rfind(|record| !record.entries.is_empty()) else { return Ok(0) };
    let length = record.metadata.as_ref().and_then(|fields| fields.get(LENGTH)?.as_u64());
    length.ok_or_else(|| stranger(record.seq))
}

/// The log's bytes.
pub fn bytes(history: &History) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut there = false;
    for record in history.records.iter().filter(|record| !record.entries.is_empty()) {
        let own = record.entries.first().and_then(Entry::as_message).and_then(bytes::of).ok_or_else(|| stranger(record.seq))?;
        all.extend(own);
        there = true;
    }
    if there { Ok(all) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn stranger(seq: u64) -> io::Error {
    let why =
        format!("record {seq} of the log was not written by rig, so the log has no bytes there; give rig a session of its own");
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The messages of an append: those that its lines add to the conversation, with the bytes in the first.
pub fn messages(appended: &[u8]) -> Vec<Message> {
    let mut messages: Vec<Message> = appended.split(|byte| *byte == b'\n').flat_map(said).collect();
    if messages.is_empty() {
        messages.push(Message::new(Role::System, ""));
    }
    if let Some(first) = messages.first_mut() {
        bytes::put(first, appended);
    }
    messages
}

/// The messages that a line pushes. Other changes (a splice, a reset) concern only rig: a reader of the messages sees what was
/// said.
fn said(line: &[u8]) -> Vec<Message> {
    let Some(line) = std::str::from_utf8(line).ok().and_then(|line| chat_memory::json::parse(line).ok()) else {
        return Vec::new();
    };
    let entries = (line["type"] == "push").then(|| line["entries"].as_array()).flatten();
    entries.into_iter().flatten().flat_map(|entry| shown(&entry["message"])).collect()
}
