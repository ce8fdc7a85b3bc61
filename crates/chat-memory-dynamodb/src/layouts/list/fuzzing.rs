//! Runs this layout's decoders on arbitrary bytes.

use super::element::{self, Dialect};
use super::sessions::{parse, spell};
use super::side::SideItem;
use super::state::{Lists, Log, State};
use super::value::as_stored;
use crate::fuzzing::attributes;
use crate::table::Attributes;
use chat_memory_core::Error;
use chat_memory_core::SessionId;

/// Decodes an item in DynamoDB's JSON, as a session's item and as a side item. A message decoded from an element is equal after
/// re-encoding in either dialect.
pub fn list(data: &[u8]) {
    let Some(attributes) = attributes(data) else { return };
    let attributes: Attributes = attributes.into_iter().collect();
    let lists = Lists::usual();
    let named = |error: &Error| {
        let is_elsewhere = error.is_invalid() && error.to_string().contains("list_attribute=");
        assert!(error.is_corrupt() || error.is_unsupported() || is_elsewhere, "{error:?}");
        assert!(error.to_string().contains("the session"), "{error}");
    };
    let Ok(session) = SessionId::new("the session") else { return };
    if let Ok(SideItem::Segment(log)) = SideItem::parse(&lists, &session, "the id", &attributes).inspect_err(named) {
        read(&log, named);
    }
    if let Ok(state) = State::of("the session", &lists, Some(&attributes)).inspect_err(named) {
        read(&state.log, named);
    }
}

fn read(log: &Log, named: impl Fn(&Error)) {
    let mut next = log.head.next;
    for entry in &log.entries {
        assert!(entry.bare.seq >= next, "numbers only grow");
        next = entry.bare.seq + 1;
        let _ = log.record("the session", entry).inspect_err(&named);
    }
    assert_eq!(log.next(), next);
    let shown: usize = log.entries.iter().map(|entry| entry.count).sum();
    assert_eq!(shown, log.elements.len(), "each element is one record's");
    for (_, value) in &log.elements {
        let Ok(read) = element::decode(value) else { continue };
        // What is no valid message is shown as it is, but could not be stored.
        if read.message.check().is_err() {
            continue;
        }
        for dialect in [Dialect::Js, Dialect::Python] {
            let written = as_stored(element::encode(dialect, &read.message, read.mark.clone()));
            assert_eq!(element::decode(&written).as_ref(), Ok(&read), "{dialect}");
        }
    }
}

/// Parses the cursor of a listing of all sessions.
pub fn cursor(text: &str) {
    if let Ok(progress) = parse(text) {
        let spelt = spell(&progress);
        assert_eq!(parse(&spelt).map(|again| spell(&again)).ok(), Some(spelt));
    }
}
