//! Test messages, and helpers for common operations on a session.

use serde_json::{Map, Number, Value};

use super::{Failure, Handle};
use crate::entry::Entry;
use crate::error::Error;
use crate::message::{Content, Message, Part, Role, ToolCall};
use crate::session::SessionId;
use crate::store::{Append, Appended, History, Load};

/// Appends one user's message.
pub(super) async fn say(store: &Handle, session: &SessionId, text: impl Into<String>) -> Result<Appended, Error> {
    store.append(session, &saying(text)).await
}

/// Creates the append of one user's message.
pub(super) fn saying(text: impl Into<String>) -> Append {
    Append::new([Message::user(text.into())])
}

/// Appends this many messages, each in a record of its own: "0", "1" …
pub(super) async fn count_to(store: &Handle, session: &SessionId, n: usize) -> Result<(), Error> {
    for i in 0..n {
        say(store, session, i.to_string()).await?;
    }
    Ok(())
}

/// Loads the whole history.
pub(super) async fn all(store: &Handle, session: &SessionId) -> Result<History, Error> {
    store.load(session, &Load::all()).await
}

/// Loads the texts of the whole history.
pub(super) async fn texts(store: &Handle, session: &SessionId) -> Result<Vec<String>, Error> {
    Ok(all(store, session).await?.messages().map(Message::text).collect())
}

/// Returns the numbers of the records.
pub(super) fn seqs(history: &History) -> Vec<u64> {
    history.records.iter().map(|record| record.seq).collect()
}

/// Appends these entries and checks that another load returns them unchanged, to the last bit.
pub(super) async fn comes_back<'a, E>(store: &Handle, session: &SessionId, sent: &'a [E]) -> Result<(), Failure>
where
    Entry: From<&'a E>,
{
    let sent: Vec<Entry> = sent.iter().map(Entry::from).collect();
    let appended = store.append(session, &Append::new(&sent)).await?;
    let history = store.load(session, &Load::records(1)).await?;
    let record = history.records.last().ok_or_else(|| Failure::new("no record was loaded"))?;
    ensure_eq!(record.seq, appended.seq, "the newest record is the one just appended");
    ensure_eq!(record.entries.len(), sent.len(), "the number of entries loaded");
    for (back, sent) in record.entries.iter().zip(&sent) {
        ensure_eq!(canonical(&back.to_value()), canonical(&sent.to_value()), "an entry is loaded unchanged");
        ensure!(back == sent, "an entry is equal as JSON but not as an entry: {back:?}, not {sent:?}");
    }
    Ok(())
}

/// Writes a value as text with sorted keys. Two texts are equal exactly if the values are, including the kind of each number (1
/// or 1.0) and the sign of a zero.
pub(super) fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(sorted).collect(),
            Value::Object(fields) => {
                let mut keys: Vec<_> = fields.keys().collect();
                keys.sort_unstable();
                keys.into_iter().map(|key| (key.clone(), sorted(&fields[key]))).collect::<Map<_, _>>().into()
            }
            scalar => scalar.clone(),
        }
    }
    sorted(value).to_string()
}

/// A user's message with this field next to its text.
pub(super) fn with_field(key: &str, value: Value) -> Message {
    Message { extra: Map::from_iter([(key.to_owned(), value)]), ..Message::user("see the field") }
}

/// Random messages, the same for the same seed.
pub(super) struct Random(fastrand::Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0.usize(..n)
    }

    /// Text of any characters, favouring those that are easily lost.
    pub(super) fn text(&mut self) -> String {
        let odd = [
            '\0',
            '\r',
            '\n',
            '"',
            '\\',
            '\u{7f}',
            '\u{fffd}',
            '\u{feff}',
            '\u{202e}',
            'é',
            'ß',
            '日',
            '👩',
            '\u{200d}',
            '\u{10ffff}',
        ];
        let length = if self.0.u8(..) < 8 { 5_000 } else { self.below(40) };
        (0..length)
            .map(|_| match self.below(4) {
                0 => self.0.choice(odd).unwrap_or('x'),
                1 => self.0.char(..),
                _ => self.0.alphanumeric(),
            })
            .collect()
    }

    pub(super) fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => Value::Bool(self.0.bool()),
            2 => self.0.i64(..).into(),
            3 => self.0.u64(..).into(),
            4 => Number::from_f64(f64::from_bits(self.0.u64(..))).map_or(Value::Null, Value::Number),
            5 => Number::from_f64(self.0.i32(..).into()).map_or(Value::Null, Value::Number),
            6 => self.text().into(),
            7 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => self.fields(depth - 1).into(),
        }
    }

    pub(super) fn fields(&mut self, depth: usize) -> Map<String, Value> {
        (0..self.below(4)).map(|_| (format!("x-{}", self.text()), self.value(depth))).collect()
    }

    pub(super) fn message(&mut self) -> Message {
        let role = self.0.choice([Role::System, Role::User, Role::Assistant, Role::Tool]).unwrap_or(Role::User);
        let mut message = Message { extra: self.fields(3), ..Message::new(role, self.text()) };
        match self.below(4) {
            0 => message.content = None,
            1 => {
                let parts =
                    (0..self.below(3)).map(|_| if self.0.bool() { Part::text(self.text()) } else { self.fields(2).into() });
                message.content = Some(Content::Parts(parts.collect()));
            }
            _ => {}
        }
        if self.0.bool() {
            message.name = Some(self.text());
        }
        if self.0.bool() {
            message.id = Some(self.text());
        }
        if self.below(3) == 0 {
            message.tool_calls = (0..self.below(3)).map(|_| ToolCall::function(self.text(), self.text(), self.text())).collect();
        }
        if role == Role::Tool {
            message.tool_call_id = Some(self.text());
        }
        message
    }
}
