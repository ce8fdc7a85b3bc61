//! The `list` layout: replaces every value in every mark, head and note, and inserts invalid elements. Marks and segments are put
//! as the first version stored them, readable.

use aws_sdk_dynamodb::types::AttributeValue;
use chat_memory::store::dynamodb::Dialect;
use serde_json::{Map, Value, json};

use super::Tally;
use super::listed::{Listed, examine, one_of_each, written};
use super::readable::readable;
use super::values::{damages, some};
use crate::dynamodb::{Stored, s, text};

/// Every place in a JSON value, as a pointer.
fn places(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| places(value, format!("{at}/{key}"), out)),
        Value::Array(values) => {
            // The first represents the others.
            values.iter().take(1).enumerate().for_each(|(n, value)| places(value, format!("{at}/{n}"), out));
        }
        _ => {}
    }
    if !at.is_empty() {
        out.push(at);
    }
}

fn others() -> Vec<Value> {
    let parts = json!({"id": "x", "count": u64::MAX});
    vec![
        Value::Null,
        json!(1),
        json!(-1),
        json!(u64::MAX),
        json!(""),
        json!([1, "x"]),
        json!({}),
        parts,
        json!("x".repeat(50_000)),
    ]
}

/// Returns the JSON with each place damaged, and how.
fn damaged(json: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let mut at = Vec::new();
    places(json, String::new(), &mut at);
    for place in at {
        let (parent, key) = place.rsplit_once('/').expect("a pointer");
        let mut gone = json.clone();
        if let Some(Value::Object(fields)) = gone.pointer_mut(parent) {
            fields.shift_remove(key);
            all.push((format!("{place} gone"), gone));
        }
        for other in others() {
            let mut changed = json.clone();
            *changed.pointer_mut(&place).expect("a place") = other.clone();
            let said: String = other.to_string().chars().take(30).collect();
            all.push((format!("{said} at {place}"), changed));
        }
    }
    all
}

/// Whether the damage is another valid value: in the content of a message, in what a rewind removed, in where older records are
/// or whether there are any, or in how many elements belong to a record (a mark without a number, or with a one, belongs to one element,
/// and the elements after it count as an original client's).
fn may_be_meant(how: &str) -> bool {
    let of_message = ["/set", "/unset", "/said", "/metadata", "/rewind"].iter().any(|part| how.contains(part));
    let gone = ["/head gone", "/head/segment gone", "/parts gone", "/n gone"].iter().any(|end| how.ends_with(end));
    of_message || gone || how == "1 at /n"
}

/// Finds the mark in an element.
fn mark_in(element: &mut AttributeValue) -> Option<&mut AttributeValue> {
    let AttributeValue::M(fields) = element else { return None };
    if fields.contains_key("chat_memory") {
        return fields.get_mut("chat_memory");
    }
    let AttributeValue::M(data) = fields.get_mut("data")? else { return None };
    let AttributeValue::M(kwargs) = data.get_mut("additional_kwargs")? else { return None };
    kwargs.get_mut("chat_memory")
}

fn list_of<'a>(item: &'a mut Stored, name: &str) -> &'a mut Vec<AttributeValue> {
    match item.get_mut(name) {
        Some(AttributeValue::L(list)) => list,
        other => panic!("a list, not {other:?}"),
    }
}

/// A damaged item: the item, whether what it shows may be valid, and what is wrong with it.
type Damaged = (Stored, bool, String);

/// Returns the item with each value in its head replaced.
fn heads(kind: &str, item: &Stored) -> Vec<Damaged> {
    let Some(AttributeValue::S(head)) = item.get("chat_memory") else { return Vec::new() };
    let json: Value = serde_json::from_str(head).expect("our own JSON");
    let with = |changed: &Value| item.clone().into_iter().chain([("chat_memory".to_owned(), s(changed.to_string()))]).collect();
    let heads = damaged(&json).into_iter();
    heads.map(|(how, changed)| (with(&changed), may_be_meant(&how), format!("{how} in the head of {kind}"))).collect()
}

/// Returns the item with each value replaced in one mark of each shape among its elements, and with each such mark replaced.
fn marks_of(kind: &str, item: &Stored, list: &str) -> Vec<Damaged> {
    let mut all = Vec::new();
    let mut shapes: Vec<Vec<String>> = Vec::new();
    for place in 0..list_of(&mut item.clone(), list).len() {
        let mut whole = item.clone();
        let Some(AttributeValue::S(mark)) = mark_in(&mut list_of(&mut whole, list)[place]).map(|mark| mark.clone()) else {
            continue;
        };
        let with = |mark: AttributeValue| {
            let mut item = item.clone();
            *mark_in(&mut list_of(&mut item, list)[place]).expect("a mark") = mark;
            item
        };
        let json: Value = serde_json::from_str(&mark).expect("our own JSON");
        let shape: Vec<String> = json.as_object().into_iter().flat_map(Map::keys).cloned().collect();
        if shapes.contains(&shape) {
            continue;
        }
        shapes.push(shape);
        all.extend(damaged(&json).into_iter().map(|(how, changed)| {
            (with(s(changed.to_string())), may_be_meant(&how), format!("{how} in mark {place} of {kind}"))
        }));
        all.extend(damages().into_iter().step_by(3).map(|(how, value)| {
            // A missing mark, or one of other JSON, makes the element an original client's, which wrote what is visible.
            let others = value.is_none() || how.contains("JSON") && !how.contains("deep") || how == "an empty text";
            (with(value.unwrap_or_else(|| s("{}"))), others, format!("{how} as mark {place} of {kind}"))
        }));
    }
    all
}

/// Returns the item with an invalid element in its middle.
fn elements_of(kind: &str, item: &Stored, list: &str) -> Vec<Damaged> {
    let values = damages().into_iter().filter_map(|(how, value)| Some((how, value?)));
    let damaged = values.map(|(how, value)| {
        let mut item = item.clone();
        let elements = list_of(&mut item, list);
        let middle = elements.len() / 2;
        elements[middle] = value;
        (item, false, format!("{how} as an element of {kind}"))
    });
    damaged.collect()
}

async fn try_item(listed: &Listed, (item, may_differ, what): Damaged, tally: &mut Tally) {
    // DynamoDB accepts no item that is too large, so none can exist.
    if listed.whole.put(item).await {
        examine(listed, may_differ, &what, tally).await;
        listed.whole.mend().await;
    }
}

async fn marks(dialect: Dialect) {
    let list = if dialect == Dialect::Js { "messages" } else { "History" };
    let listed = written(dialect).await;
    let mut tally = Tally::default();
    let mut cases = Vec::new();
    for (kind, item) in one_of_each(&listed) {
        let item = readable(item);
        cases.extend(heads(kind, &item));
        if item.contains_key(list) {
            cases.extend(marks_of(kind, &item, list));
            cases.extend(elements_of(kind, &item, list));
        }
    }
    for case in some(cases) {
        try_item(&listed, case, &mut tally).await;
    }
    tally.close(&format!("marks of the list layout, {dialect}"), 300, 100, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_js_marks_are_refused_or_harmless() {
    marks(Dialect::Js).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_python_marks_are_refused_or_harmless() {
    marks(Dialect::Python).await;
}

/// The newest segment and the note refer to themselves.
#[tokio::test(flavor = "multi_thread")]
async fn circular_references_are_reported() {
    let listed = written(Dialect::Js).await;
    let mut tally = Tally::default();
    let items: Vec<Stored> = listed.whole.items().into_iter().map(readable).collect();
    let mut session = items.iter().find(|item| text(item, "id") == "the session").expect("the item").clone();
    let mark = mark_in(&mut list_of(&mut session, "messages")[0]).expect("a mark").as_s().expect("a text").clone();
    let mark: Value = serde_json::from_str(&mark).expect("our own JSON");
    for (place, key, id) in [("/head", "segment", &mark["head"]["segment"]), ("/gone", "before", &mark["head"]["gone"])] {
        let id = id.as_str().expect("an id");
        let mut item = items.iter().find(|item| text(item, "id").ends_with(id)).expect("the item").clone();
        let mut json: Value = serde_json::from_str(text(&item, "chat_memory")).expect("our own JSON");
        json.pointer_mut(place).expect("a head")[key] = id.into();
        item.insert("chat_memory".to_owned(), s(json.to_string()));
        if key == "segment"
            && let Some(mark) = mark_in(&mut list_of(&mut item, "messages")[0])
        {
            // Only the first element's value counts.
            let mut json: Value = serde_json::from_str(mark.as_s().expect("a text")).expect("our own JSON");
            if json.get("head").is_some() {
                json["head"]["segment"] = id.into();
                *mark = s(json.to_string());
            }
        }
        try_item(&listed, (item, false, format!("{key} {id} that leads to itself")), &mut tally).await;
    }
    assert!(tally.tried == 2 && tally.refused == 1, "a load follows no notes: {tally:?}");
}
