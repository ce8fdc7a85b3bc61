//! Serde for data types: a text where the type has a text form, a message or entry as its JSON object; the others derive it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::entry::Entry;
use crate::message::{Message, Role};
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

macro_rules! as_object {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.to_value().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    )+};
}

as_object!(Message, Entry);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
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
