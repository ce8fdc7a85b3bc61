//! A session as adk-rust reads it: a copy of the stored one.

use std::collections::HashMap;

use adk_core::Event;
use adk_core::identity::AdkIdentity;
use adk_session::{Events, Session, State};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::view::StateMap;

pub struct Loaded {
    pub identity: AdkIdentity,
    /// The session's own state merged with those of its app and its user.
    pub state: StateMap,
    pub events: Vec<Event>,
    pub updated_at: DateTime<Utc>,
}

impl Session for Loaded {
    fn id(&self) -> &str {
        self.identity.session_id.as_ref()
    }

    fn app_name(&self) -> &str {
        self.identity.app_name.as_ref()
    }

    fn user_id(&self) -> &str {
        self.identity.user_id.as_ref()
    }

    fn state(&self) -> &dyn State {
        self
    }

    fn events(&self) -> &dyn Events {
        self
    }

    fn last_update_time(&self) -> DateTime<Utc> {
        self.updated_at
    }
}

impl State for Loaded {
    fn get(&self, key: &str) -> Option<Value> {
        self.state.get(key).cloned()
    }

    /// Changes only this copy; lasting changes go into an event's state delta.
    fn set(&mut self, key: String, value: Value) {
        if adk_core::validate_state_key(&key).is_ok() {
            self.state.insert(key, value);
        }
    }

    fn all(&self) -> HashMap<String, Value> {
        self.state.clone()
    }
}

impl Events for Loaded {
    fn all(&self) -> Vec<Event> {
        self.events.clone()
    }

    fn len(&self) -> usize {
        self.events.len()
    }

    fn at(&self, index: usize) -> Option<&Event> {
        self.events.get(index)
    }
}
