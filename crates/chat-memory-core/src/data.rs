//! Serde for data types: a text where the type has a text form, a message or entry as its JSON object; the others derive it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::entry::Entry;
use crate::message::{Message, Role, role_of};
use crate::session::{Namespace, Owner, SessionId};
use crate::store::{AppendId, PageCursor, Position, Ticket};
use crate::wire::Format;

macro_rules! as_text {
    ($($type:ty: $read:expr),+ $(,)?) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let read: fn(&str) -> Result<Self, _> = $read;
                read(&text).map_err(D::Error::custom)
            }
        }
    )+};
}

as_text! {
    Role: str::parse,
    Format: str::parse,
    // A table may hold ids that no new session can have.
    SessionId: |text| SessionId::stored(text),
    Owner: str::parse,
    Namespace: str::parse,
    AppendId: str::parse,
    Position: str::parse,
    Ticket: str::parse,
    PageCursor: str::parse,
}

/// Known fields come first, in the order in which `Message` declares them; then the others, as they came.
impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Writes a known field: what the message has, else what `extra` has under that name.
        fn put<M: SerializeMap>(map: &mut M, message: &Message, key: &str, own: Option<&impl Serialize>) -> Result<(), M::Error> {
            match (own, message.extra.get(key)) {
                (Some(own), _) => map.serialize_entry(key, own),
                (None, Some(value)) => map.serialize_entry(key, value),
                (None, None) => Ok(()),
            }
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", self.role.as_str())?;
        put(&mut map, self, "content", self.content.as_ref())?;
        put(&mut map, self, "name", self.name.as_ref())?;
        put(&mut map, self, "id", self.id.as_ref())?;
        put(&mut map, self, "tool_calls", Some(&self.tool_calls).filter(|calls| !calls.is_empty()))?;
        put(&mut map, self, "tool_call_id", self.tool_call_id.as_ref())?;
        for (key, value) in self.extra.iter().filter(|(key, _)| !Message::FIELDS.contains(&key.as_str())) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Message(message) => message.serialize(serializer),
            Self::Other(fields) => fields.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Reads what [`Entry::from_value`] would, without building the value.
impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut fields: Vec<(FieldName, Value)> = Vec::with_capacity(4);
        while let Some(name) = map.next_key::<FieldName>()? {
            let value = map.next_value()?;
            // A list is searched from its start, so it stays short. Of a name that comes twice, the last value counts, as in a `Value`.
            if fields.len() == 16 || fields.iter().any(|(earlier, _)| *earlier == name) {
                let mut fields: Map<String, Value> =
                    fields.into_iter().map(|(name, value)| (name.0.into_owned(), value)).collect();
                fields.insert(name.0.into_owned(), value);
                while let Some((name, value)) = map.next_entry()? {
                    fields.insert(name, value);
                }
                return Ok(Entry::from_object(fields));
            }
            fields.push((name, value));
        }
        Ok(match role_of(fields.iter().map(|(name, value)| (&*name.0, value))) {
            Ok(role) => Entry::Message(Message::of(role, fields.into_iter().map(|(name, value)| (name.0, value)))),
            Err(_) => Entry::Other(fields.into_iter().map(|(name, value)| (name.0.into_owned(), value)).collect()),
        })
    }
}

/// The name of a field, allocated only if it is none of a message's own.
#[derive(PartialEq)]
struct FieldName(Cow<'static, str>);

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = FieldName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }
            fn visit_str<E>(self, name: &str) -> Result<FieldName, E> {
                let own = Message::FIELDS.into_iter().find(|own| *own == name);
                Ok(FieldName(own.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed)))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json;
    use crate::store::{Cost, Record, SessionInfo};
    use crate::timestamp::Timestamp;
    use crate::wire::arbitrary;

    fn again<T: Serialize + for<'de> Deserialize<'de>>(value: &T) -> T {
        let text = serde_json::to_string(value).expect("data is JSON");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    proptest! {
        #[test]
        fn record_round_trips_through_serde(messages in proptest::collection::vec(arbitrary::message(), 0..4), seq: u64, rewind: Option<u64>) {
            let mut record = Record::new(seq, AppendId::random(), Timestamp::from_millis(-1)).with_entries(messages);
            record.sent_at = record.entries.iter().map(|_| Some(Timestamp::from_millis(1))).collect();
            (record.expires_at, record.rewind) = (Some(Timestamp::from_secs(7)), rewind);
            prop_assert_eq!(again(&record), record);
        }
    }

    proptest! {
        #[test]
        fn entry_is_read_like_its_value(
            message in arbitrary::message(),
            taken in proptest::collection::vec((proptest::sample::select(&Message::FIELDS[..]), arbitrary::value()), 0..2),
            fields in proptest::collection::vec((arbitrary::text(), arbitrary::value()), 0..24),
            role in proptest::option::of(proptest::sample::select(&["user", "tool", "bot"][..])),
        ) {
            prop_assert_eq!(message.depth(), json::depth(&message.to_value()));
            let mut message = message;
            message.extra.extend(taken.clone().into_iter().map(|(name, value)| (name.to_owned(), value)));
            let fields = fields.into_iter().chain(taken.into_iter().map(|(name, value)| (name.to_owned(), value)));
            let fields = fields.chain(role.map(|role| ("role".to_owned(), role.into())));
            // Built by hand, as a name may come twice.
            let pairs: Vec<String> = fields.map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
            for text in [message.to_value().to_string(), format!("{{{}}}", pairs.join(","))] {
                let value: Value = serde_json::from_str(&text).expect("JSON");
                let read: Entry = serde_json::from_str(&text).expect("an object");
                prop_assert_eq!(serde_json::to_string(&Entry::from_value(value).expect("an object")).expect("JSON"), read.to_json());
            }
        }
    }

    #[test]
    fn text_forms_round_trip_through_serde() {
        let position = Position::new(3, Some(AppendId::random()), Timestamp::from_millis(5));
        assert_eq!(serde_json::to_value(&position).expect("JSON"), position.to_string());
        assert_eq!(again(&position), position);
        let ticket = Ticket::new(AppendId::random(), 2).tried_at(Timestamp::from_millis(9));
        assert_eq!(again(&ticket), ticket);
        let id = SessionId::new("trip").expect("a good id");
        let info = SessionInfo::new(id, Timestamp::from_millis(1)).with_owner(Owner::new("ada").ok());
        assert_eq!(again(&info), info);
        let cost = Cost { requests: 1, read_units: 0.5, ..Cost::default() };
        assert_eq!(again(&cost), cost);
        assert!(serde_json::from_str::<Position>("\"x\"").is_err_and(|e| e.to_string().contains("position")));
        assert!(serde_json::from_str::<Message>(r#"{"role":"user","content":1}"#).is_err());
    }
}
