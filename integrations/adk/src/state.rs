//! The states of apps and users, which sessions share. Each is a log of changes, written out completely from time to time.
//!
//! A change is an append that does not depend on the state, so writers never wait for each other, and the last to write a key wins.

use chat_memory::store::{Append, ChatStore, ChatStoreExt, Load};
use chat_memory::{Error, Message, SessionId};
use serde_json::{Map, Value};

use crate::names;
use crate::view::StateMap;

/// The message field with a change.
const FIELD: &str = "adk_state";

/// The number of changes from which a reader writes the state out completely.
const COMPACT_AT: usize = 32;

/// Changes a state; writes nothing if there are no changes.
///
/// # Errors
/// As [`ChatStore::append`].
pub async fn change(store: &dyn ChatStore, log: &SessionId, delta: &StateMap) -> Result<(), Error> {
    if delta.is_empty() {
        return Ok(());
    }
    let append = Append::new([message(delta)]).with_owner(names::own()?);
    store.append_with_retry(log, append).await.map(drop)
}

/// Reads a state.
///
/// # Errors
/// As [`ChatStore::load`].
pub async fn read(store: &dyn ChatStore, log: &SessionId) -> Result<StateMap, Error> {
    let history = store.load(log, &Load::all()).await?;
    let mut state = StateMap::new();
    for change in history.messages().filter_map(|message| message.extra.get(FIELD)?.as_object()) {
        state.extend(change.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    if history.records.len() >= COMPACT_AT {
        let whole = Append::replace_all([message(&state)]).with_expected(history.position).with_owner(names::own()?);
        // Only speeds up later readers: if it fails, or another reader was faster, the changes are still there.
        if store.append(log, &whole).await.is_ok() {
            let _ = store.sweep(log).await;
        }
    }
    Ok(state)
}

fn message(change: &StateMap) -> Message {
    let mut message = Message::system("");
    let change: Map<String, Value> = change.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    message.extra.insert(FIELD.into(), Value::Object(change));
    message
}
