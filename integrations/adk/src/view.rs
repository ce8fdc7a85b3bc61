//! A session's log as adk-rust sees it: events, and the state that results from them.
//!
//! Each event is a record. The state after an event is the state before it with its delta applied, so a reader would need the whole
//! log. Therefore every [`SNAPSHOT_EVERY`]th record carries the whole state in its metadata, and so do the first one and every
//! rewind.

use std::collections::HashMap;

use adk_core::Event;
use adk_session::extract_state_deltas;
use chat_memory::store::{ChatStore, History, Load, Record};
use chat_memory::{Error, SessionId};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::event::from_messages;

/// A state: its keys and values.
pub type StateMap = HashMap<String, Value>;

/// After how many records the state is written out again. A reader reads at least this many.
pub const SNAPSHOT_EVERY: usize = 16;

/// The field of a record's metadata with the session's state after it.
const STATE: &str = "adk_state";

/// The part of a session that was read.
pub struct View {
    pub history: History,
    /// The events with their records' numbers, oldest first.
    pub events: Vec<(u64, Event)>,
    /// The session's own state after the last of them.
    pub state: StateMap,
    /// How many records follow the last one that carries the state.
    pub since: usize,
    pub updated_at: DateTime<Utc>,
}

/// The metadata of a record that carries the state.
pub fn snapshot(state: &StateMap) -> Map<String, Value> {
    let state: Map<_, _> = state.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Map::from_iter([(STATE.to_owned(), Value::Object(state))])
}

/// Reads at least the `events` newest events of a session, or all. Returns `None` if there is no session.
///
/// # Errors
/// As [`ChatStore::load`].
pub async fn read(store: &dyn ChatStore, session: &SessionId, events: Option<usize>) -> Result<Option<View>, Error> {
    let mut reach = events.map(|n| n.max(SNAPSHOT_EVERY));
    loop {
        let history = store.load(session, &reach.map_or_else(Load::all, Load::last).single_message_records()).await?;
        let complete = history.complete;
        let view = View::of(history);
        match (view, reach) {
            (Ok(view), _) if complete || view.events.len() >= events.unwrap_or(usize::MAX) => return Ok(Some(view)),
            (Err(NoState), _) if complete => return Ok(None),
            // Some events have several messages, and more records may follow a snapshot: read on.
            (_, Some(n)) => reach = (n < 4096).then(|| n * 4),
            (_, None) => return Ok(None),
        }
    }
}

/// Whether this end of a log belongs to a session: it has a message, or the record of its creation or of a rewind.
pub fn is_there(end: &History) -> bool {
    end.records.iter().any(|record| !record.entries.is_empty() || state_in(record).is_some())
}

/// Too little was read to determine the state.
struct NoState;

impl View {
    fn of(history: History) -> Result<Self, NoState> {
        // A log read from its start without a snapshot was written by another program: its state starts empty.
        let others = history.complete && !history.is_empty();
        let mut state = others.then(StateMap::new);
        let (mut events, mut since) = (Vec::new(), 0);
        let mut updated_at = DateTime::default();
        for record in &history.records {
            let messages: Vec<_> = record.messages().cloned().collect();
            let own = from_messages(&messages, record.seq, record.created_at);
            since += 1;
            if let Some(snapshot) = state_in(record) {
                (state, since) = (Some(snapshot), 0);
            } else if let Some(state) = &mut state {
                state.extend(own.iter().flat_map(|event| extract_state_deltas(&event.actions.state_delta).2));
            }
            let written = DateTime::from_timestamp_millis(record.created_at.as_millis()).unwrap_or_default();
            updated_at = own.last().map_or(written, |event| event.timestamp);
            events.extend(own.into_iter().map(|event| (record.seq, event)));
        }
        match state {
            Some(state) => Ok(Self { history, events, state, since, updated_at }),
            None => Err(NoState),
        }
    }

    /// The session's own state after its first `kept` events; requires a view of all of them.
    pub fn state_after(&self, kept: usize) -> StateMap {
        let first = self.history.records.iter().find_map(state_in).unwrap_or_default();
        let deltas = self.events.iter().take(kept).map(|(_, event)| extract_state_deltas(&event.actions.state_delta).2);
        deltas.fold(first, |mut state, delta| {
            state.extend(delta);
            state
        })
    }
}

fn state_in(record: &Record) -> Option<StateMap> {
    let fields = record.metadata.as_ref()?.get(STATE)?.as_object()?;
    Some(fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}
