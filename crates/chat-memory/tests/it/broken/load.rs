//! Faults of loads.

use chat_memory::store::*;
use chat_memory::{Content, Entry, Error, Message, SessionId, Timestamp, ToolCall, json};
use serde_json::{Map, Value};

use super::Fault;
use super::store::Broken;

impl Broken {
    pub async fn load_wrongly(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        let mut standing = load.clone();
        standing.before = None;
        let load = if self.fault == Fault::PagesStandStill { &standing } else { load };
        if let (Fault::AddsUnchecked, Some(since)) = (self.fault, load.since) {
            since.checked_add(1).expect("an attempt to add with overflow");
        }
        if self.fault == Fault::ForksBlindly && matches!(load.reach, Reach::Messages(1)) {
            return Ok(History::new(Vec::new(), true, Position::new(0, None, Timestamp::now())));
        }
        let mut history = self.inner.load(session, load).await?;
        match (self.fault, &load.reach) {
            (Fault::LoadsWrite, _) if history.position.next() == 0 => {
                self.inner.append(session, &Append::new([Message::user("ghost")])).await?;
            }
            (Fault::StaleHandles, _) => {
                let mut loaded = self.remembers.loaded.lock().unwrap();
                history = loaded.entry(session.clone()).or_insert(history).clone();
            }
            (Fault::Reverses, _) => history.records.reverse(),
            (Fault::TornWindows, Reach::Messages(n)) => {
                let mut surplus = history.messages().count().saturating_sub(*n);
                for record in &mut history.records {
                    let cut = surplus.min(record.entries.len());
                    record.entries.drain(..cut);
                    surplus -= cut;
                }
            }
            (Fault::ShortWindows, _) if !history.complete && !history.records.is_empty() => drop(history.records.remove(0)),
            (Fault::WindowsCountHidden, Reach::Messages(n)) => {
                let from = history.position.next().saturating_sub(*n as u64);
                history.records.retain(|record| record.seq >= from);
            }
            (Fault::WindowsCountEntries, Reach::Messages(n)) => {
                let mut left = *n;
                let cut = history.records.iter().rposition(|record| {
                    left = left.saturating_sub(record.entries.len());
                    left == 0
                });
                history.records.drain(..cut.unwrap_or(0));
            }
            (Fault::WindowsReachBehindClears, Reach::Messages(n)) if history.messages().count() < *n => {
                if let Some(before) = self.remembers.loaded.lock().unwrap().get(session) {
                    history.records.splice(..0, before.records.clone());
                }
            }
            (Fault::AlwaysComplete, _) => history.complete = true,
            (Fault::NeverComplete, _) => history.complete = false,
            (Fault::NoPositionOfNothing, _) if history.records.is_empty() => {
                history.position = Position::new(0, None, Timestamp::UNIX_EPOCH)
            }
            (Fault::PagesShowTakenBack, _) if load.before.is_some() => {
                let hidden = self.remembers.hidden.lock().unwrap();
                history.records.splice(..0, hidden.get(session).cloned().unwrap_or_default());
            }
            (Fault::SinceForgetsOne, _) if load.since > Some(0) => {
                history.records.retain(|record| Some(record.seq) != load.since)
            }
            (Fault::CostsDepth, _) if load.before.is_some() => {
                let first = history.records.first().map_or(0, |record| record.seq);
                history.cost.requests += history.position.next() - first;
            }
            (Fault::CostsLength, _) => history.cost.requests += history.position.next(),
            (Fault::ThousandAtMost, _) => drop(history.records.drain(..history.records.len().saturating_sub(1_000))),
            _ => {}
        }
        for record in &mut history.records {
            for entry in &mut record.entries {
                match entry {
                    Entry::Message(message) => self.spoil(message),
                    Entry::Other(fields) => self.spoil_fields(fields),
                    _ => {}
                }
            }
            match self.fault {
                Fault::DropsMetadata => record.metadata = None,
                Fault::CutsRecords => {
                    let mut bytes = 0;
                    record.entries.retain(|entry| {
                        bytes += entry.to_value().to_string().len();
                        bytes <= 2_000_000
                    });
                }
                _ => {}
            }
        }
        Ok(history)
    }

    fn spoil(&self, message: &mut Message) {
        match (self.fault, &mut message.content) {
            (Fault::DropsNul, Some(Content::Text(text))) => text.retain(|c| c != '\0'),
            (Fault::CutsText, Some(Content::Text(text))) if text.len() > 500_000 => text.truncate(500_000),
            (Fault::FlattensParts, Some(Content::Parts(_))) => message.content = Some(Content::Text(message.text())),
            (Fault::DropsIds, _) => message.id = None,
            (Fault::DropsNames, _) => message.name = None,
            (Fault::NormalisesArguments, _) => message.tool_calls.iter_mut().for_each(normalise),
            _ => self.spoil_fields(&mut message.extra),
        }
    }

    fn spoil_fields(&self, fields: &mut Map<String, Value>) {
        match self.fault {
            Fault::RoundsNumbers => fields.values_mut().for_each(round),
            Fault::DropsNulls => fields.retain(|_, value| !value.is_null()),
            Fault::CutsDepth => fields.retain(|_, value| json::depth(value) < 50),
            _ => {}
        }
    }
}

fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15) {
                *value = Value::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        _ => {}
    }
}

fn normalise(call: &mut ToolCall) {
    if let (Some(id), Some(name), Some(arguments)) = (call.id(), call.name(), call.arguments())
        && let Ok(value) = serde_json::from_str::<Value>(arguments)
    {
        *call = ToolCall::function(id, name, value.to_string());
    }
}
