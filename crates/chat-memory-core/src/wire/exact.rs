//! Makes a conversion of lists exact, whatever it cannot express.
//!
//! A form [reads](Convert::decode) and [writes](Convert::encode) what the other side understands. Here the result is checked:
//!
//! - Values that would be written differently are kept as they are: each as a message of its own, in OpenAI's form, with the
//!   form's field in [`Message::extra`] set to `{"raw": true}`.
//! - Messages that would be read differently carry an overlay: the field [`OVERLAY_KEY`] of their first value is a text with the
//!   differences. It applies only if the values are still as they were written; otherwise it is an unknown field.

use serde_json::{Map, Value, json};

use super::overlay::{OVERLAY_KEY, Overlay};
use super::{Placed, openai};
use crate::message::{Message, MessageError, Role};

/// A form whose lists are converted.
pub(super) trait Convert {
    /// The field of [`Message::extra`] for what only this form has.
    const KEY: &'static str;

    /// Checks that a value is one of this form.
    fn check(value: &Value) -> Result<(), MessageError>;

    /// Returns whether `next`, which follows `before`, must be read or written together with it.
    fn values_belong(before: &Value, next: &Value) -> bool;

    /// As [`values_belong`](Self::values_belong), for messages.
    fn messages_belong(before: &Message, next: &Message) -> bool;

    /// Reads values that belong together, as the other side understands them. A unit that cannot be read has no message.
    fn decode(values: &[Value]) -> Vec<Unit>;

    /// Writes messages that belong together.
    fn encode(messages: &[Message]) -> Vec<Unit>;
}

/// Values and the messages that they are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    pub(super) values: Vec<Value>,
    pub(super) messages: Vec<Message>,
}

/// Returns all values of these units.
fn values(units: &[Unit]) -> impl Iterator<Item = &Value> {
    units.iter().flat_map(|unit| &unit.values)
}

/// Returns all messages of these units.
fn messages(units: &[Unit]) -> impl Iterator<Item = &Message> {
    units.iter().flat_map(|unit| &unit.messages)
}

/// Reads a list.
pub(super) fn read<F: Convert>(list: Vec<Value>) -> Result<Vec<Placed<Message>>, MessageError> {
    for (place, value) in list.iter().enumerate() {
        F::check(value).map_err(|e| e.at(place))?;
    }
    let (mut read, mut place) = (Vec::new(), 0);
    for run in list.chunk_by(F::values_belong) {
        for unit in read_run::<F>(run).map_err(|e| within(e, place))? {
            let last = place + unit.values.len() - 1;
            for message in unit.messages {
                message.check_depth().map_err(|e| e.at(place))?;
                read.push((last, message));
            }
            place = last + 1;
        }
    }
    Ok(read)
}

/// Writes a list.
pub(super) fn write<F: Convert>(list: &[Message]) -> Vec<Placed<Value>> {
    write_runs::<F>(list, write_run::<F>)
}

/// Writes a list of which a reader may join what belongs together: no value has an overlay that only keeps it from what is next to it.
pub(super) fn write_joined<F: Convert>(list: &[Message]) -> Vec<Placed<Value>> {
    write_runs::<F>(list, |run| F::encode(run).into_iter().map(readable::<F>).collect())
}

fn write_runs<F: Convert>(list: &[Message], write: impl Fn(&[Message]) -> Vec<Unit>) -> Vec<Placed<Value>> {
    let (mut written, mut place) = (Vec::new(), 0);
    for run in list.chunk_by(F::messages_belong) {
        for unit in write(run) {
            place += unit.messages.len();
            written.extend(unit.values.into_iter().map(|value| (place - 1, value)));
        }
    }
    written
}

/// Reads values that belong together. An overlay is checked by writing, and writing checks itself by reading. Each step down reads
/// an overlay nested in the last one, escaped once more, so there are few.
fn read_run<F: Convert>(run: &[Value]) -> Result<Vec<Unit>, MessageError> {
    if run.iter().any(|value| value.get(OVERLAY_KEY).is_some())
        && let Some(units) = read_overlaid::<F>(run)
    {
        let exact: Vec<_> = messages(&units).cloned().collect();
        if values(&write_run::<F>(&exact)).eq(run) {
            return Ok(units);
        }
    }
    read_plain::<F>(run)
}

/// Reads values without looking for overlays.
fn read_plain<F: Convert>(run: &[Value]) -> Result<Vec<Unit>, MessageError> {
    // A message with a field twice, of its own and in `extra`, would be written, but could not be stored.
    let is_exact = |units: &[Unit], run: &[Value]| {
        let read: Vec<_> = messages(units).cloned().collect();
        read.iter().all(|message| message.check_fields().is_ok()) && values(&F::encode(&read)).eq(run)
    };
    let (mut units, mut place) = (Vec::new(), 0);
    for unit in F::decode(run) {
        let next = place + unit.values.len();
        if is_exact(std::slice::from_ref(&unit), &unit.values) {
            units.push(unit);
        } else {
            units.extend(read_raw::<F>(&unit.values).map_err(|e| within(e, place))?);
        }
        place = next;
    }
    if is_exact(&units, run) {
        return Ok(units);
    }
    let units = read_raw::<F>(run)?;
    if is_exact(&units, run) { Ok(units) } else { Err(reserved(F::KEY)) }
}

/// Moves an error into a list that begins this much earlier.
fn within(error: MessageError, before: usize) -> MessageError {
    let place = before + error.place().unwrap_or_default();
    error.at(place)
}

fn reserved(key: &str) -> MessageError {
    MessageError::new(format!("invalid field {key:?}: it is reserved for fields of this format; leave it out or rename it"))
}

/// Keeps each value as a message in OpenAI's form.
fn read_raw<F: Convert>(values: &[Value]) -> Result<Vec<Unit>, MessageError> {
    let read = |(place, value): (usize, &Value)| {
        let mut message = openai::from_value(value.clone()).map_err(|e| e.at(place))?;
        match message.extra.insert(F::KEY.into(), json!({"raw": true})) {
            None => Ok(Unit { values: vec![value.clone()], messages: vec![message] }),
            Some(_) => Err(reserved(F::KEY).at(place)),
        }
    };
    values.iter().enumerate().map(read).collect()
}

/// Returns the value that a message keeps as it was, if it is one of the form's.
pub(super) fn raw<F: Convert>(message: &Message) -> Option<Value> {
    if message.extra.get(F::KEY) != Some(&json!({"raw": true})) {
        return None;
    }
    let mut plain = message.clone();
    plain.extra.shift_remove(F::KEY);
    let value = openai::to_value(&plain);
    F::check(&value).is_ok().then_some(value)
}

fn write_run<F: Convert>(run: &[Message]) -> Vec<Unit> {
    let units = F::encode(run);
    let plain: Vec<_> = values(&units).cloned().collect();
    if read_run::<F>(&plain).is_ok_and(|read| messages(&read).eq(run)) {
        return units;
    }
    let few: Vec<_> = units.iter().cloned().map(readable::<F>).collect();
    let written: Vec<_> = values(&few).cloned().collect();
    if read_overlaid::<F>(&written).is_some_and(|read| messages(&read).eq(run)) {
        return few;
    }
    units.into_iter().map(overlaid::<F>).collect()
}

/// The unit as it can be read by itself: with an overlay, if it needs one.
fn readable<F: Convert>(unit: Unit) -> Unit {
    let is_read = read_plain::<F>(&unit.values).is_ok_and(|read| messages(&read).eq(&unit.messages));
    if is_read { unit } else { overlaid::<F>(unit) }
}

/// Adds the overlay: how the messages differ from what the values show.
fn overlaid<F: Convert>(mut unit: Unit) -> Unit {
    for value in unit.values.iter_mut().filter_map(Value::as_object_mut) {
        value.shift_remove(OVERLAY_KEY);
    }
    let shown = shown::<F>(&unit.values);
    let differences = unit.messages.iter().enumerate().map(|(at, message)| {
        if is_value(&unit.values, message) { "raw".into() } else { Overlay::between(&shown_at(&shown, at), message).to_value() }
    });
    let text = json!({"values": unit.values.len(), "messages": differences.collect::<Vec<_>>()}).to_string();
    if let Some(Value::Object(first)) = unit.values.first_mut() {
        first.insert(OVERLAY_KEY.into(), text.into());
    }
    unit
}

/// Whether a message in OpenAI's form is this value.
fn is_value(values: &[Value], message: &Message) -> bool {
    matches!(values, [value] if openai::to_value(message) == *value && openai::from_value(value.clone()).as_ref() == Ok(message))
}

fn shown<F: Convert>(values: &[Value]) -> Vec<Message> {
    F::decode(values).into_iter().flat_map(|unit| unit.messages).collect()
}

fn shown_at(shown: &[Message], at: usize) -> Message {
    shown.get(at).cloned().unwrap_or_else(|| Message::new(Role::User, ""))
}

/// Reads values of which some have overlays; `None` if an overlay is not ours.
fn read_overlaid<F: Convert>(run: &[Value]) -> Option<Vec<Unit>> {
    let has_overlay = |value: &Value| value.get(OVERLAY_KEY).is_some();
    let (mut units, mut rest) = (Vec::new(), run);
    while let Some(first) = rest.first() {
        if !has_overlay(first) {
            let (plain, after) = rest.split_at(rest.iter().position(has_overlay).unwrap_or(rest.len()));
            units.extend(read_plain::<F>(plain).ok()?);
            rest = after;
            continue;
        }
        let overlay: Map<String, Value> = serde_json::from_str(first.get(OVERLAY_KEY)?.as_str()?).ok()?;
        let n = usize::try_from(overlay.get("values")?.as_u64()?).ok().filter(|n| (1..=rest.len()).contains(n))?;
        let (values, after) = rest.split_at(n);
        rest = after;
        let mut plain = values.to_vec();
        plain.first_mut()?.as_object_mut()?.shift_remove(OVERLAY_KEY);
        if plain.iter().any(has_overlay) {
            return None;
        }
        let shown = shown::<F>(&plain);
        let exact = |(at, difference): (usize, &Value)| match difference {
            Value::String(raw) if raw == "raw" => openai::from_value(plain.first()?.clone()).ok(),
            difference => Overlay::from_value(difference.clone())?.applied_to(&shown_at(&shown, at)),
        };
        let messages: Vec<_> = overlay.get("messages")?.as_array()?.iter().enumerate().map(exact).collect::<Option<_>>()?;
        if messages.is_empty() {
            return None;
        }
        units.push(Unit { values: values.to_vec(), messages });
    }
    Some(units)
}
