//! Bodies of the fuzz targets, not for applications. Each accepts any bytes and must neither panic nor break the law that it
//! states.

use serde_json::Value;

use crate::backend::Cursor;
use crate::json;
use crate::store::dynamodb::fuzzing::{list, turns};
use crate::store::url::StoreUrl;
use crate::store::{PageCursor, Position, Ticket};
use crate::wire::{Format, JsonLines};

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 10] = [
    ("item", turns::item),
    ("parts", turns::parts),
    ("list", list::list),
    ("openai", |data| wire(Format::OpenAi, data)),
    ("langchain", |data| wire(Format::LangChain, data)),
    ("anthropic", |data| wire(Format::Anthropic, data)),
    ("responses", |data| wire(Format::Responses, data)),
    ("url", url),
    ("tokens", tokens),
    ("json", strict),
];

/// Runs the target with this name.
///
/// # Panics
/// If there is no such target, or if it finds a bug.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.map_or_else(|| panic!("there is no fuzz target {name}"), |(_, run)| run(data));
}

/// What a form reads, it writes again unchanged; what it writes, it reads again as equal messages. A list is a list of messages,
/// any other value a message.
fn wire(format: Format, data: &[u8]) {
    let Some(value) = std::str::from_utf8(data).ok().and_then(|text| json::parse(text).ok()) else { return };
    let values = if let Value::Array(values) = value { values } else { vec![value] };
    let Ok(messages) = format.read(values.clone()) else { return };
    let written = format.write(&messages);
    assert_eq!(written, values, "they are not written as they were read");
    assert_eq!(format.read(written).ok().as_ref(), Some(&messages), "they are read differently the second time");
    // The other forms can hold them, too, if they can be stored at all.
    if messages.iter().all(|message| message.check().is_ok()) {
        for other in Format::ALL {
            let read = other.read(other.write(&messages));
            assert_eq!(read.ok().as_ref(), Some(&messages), "{other} cannot hold them");
        }
    }
}

fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(url) = text.parse::<StoreUrl>() else { return };
    let spelt = url.to_string();
    assert_eq!(spelt.parse::<StoreUrl>().ok().as_ref(), Some(&url), "{spelt} is read differently");
}

/// Positions, tickets and cursors survive conversion to text and back.
fn tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(position) = text.parse::<Position>() {
        let again = position.to_string().parse::<Position>();
        assert!(again.is_ok_and(|again| again == position && again.read_at() == position.read_at()));
    }
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string().parse::<Ticket>().ok(), Some(ticket));
        let _ = ticket.check_age(chat_memory_core::Timestamp::UNIX_EPOCH);
    }
    if let Ok(older) = text.parse::<PageCursor>() {
        assert_eq!(older.to_string().parse::<PageCursor>().ok(), Some(older));
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse::<Cursor>().ok(), Some(cursor));
    }
    turns::cursor(text);
    list::cursor(text);
}

/// The strict parser agrees with serde_json, and its result is written without loss.
fn strict(data: &[u8]) {
    JsonLines::new(data).take(100).for_each(drop);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(value) = json::parse(text) else { return };
    assert!(json::depth(&value) <= json::MAX_DEPTH);
    assert_eq!(serde_json::from_str::<Value>(text).ok().as_ref(), Some(&value), "the strict parser reads something else");
    assert_eq!(json::parse(&value.to_string()).ok().as_ref(), Some(&value), "it is read differently after it was written");
}
