//! Redactions.

use chat_memory::store::Redaction;
use chat_memory::{ChatStore, Error, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToRedact {
    session: String,
    seq: u64,
    message: Option<usize>,
    replacement: Option<String>,
}

impl ToRedact {
    pub(crate) async fn run(self, store: &dyn ChatStore) -> Result<Value, Error> {
        let mut redaction = Redaction::new();
        if let Some(index) = self.message {
            redaction = redaction.message(index);
        }
        if let Some(text) = self.replacement {
            redaction = redaction.with_replacement(text);
        }
        let redacted = store.redact(&SessionId::stored(self.session)?, self.seq, &redaction).await?;
        Ok(json!({"changed": redacted.changed, "entries": redacted.entries, "cost": answer::cost(&redacted.cost)}))
    }
}
