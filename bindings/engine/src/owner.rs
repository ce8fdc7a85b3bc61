//! The deletion of all sessions of an owner, in steps, so that a caller learns of its progress and can stop.

use chat_memory::store::{ChatStoreExt, OwnedSession};
use chat_memory::{ChatStore, Error, Owner};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;

/// About how many sessions a step deletes.
const STEP: u64 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToDeleteOwner {
    owner: String,
    /// How many sessions earlier steps could not delete. Each step tries them again.
    #[serde(default)]
    failed: u64,
}

impl ToDeleteOwner {
    pub(crate) async fn run(self, store: &dyn ChatStore) -> Result<Value, Error> {
        let owner = Owner::new(self.owner)?;
        let mut sessions = Vec::new();
        // Even if all of them fail again, there is room for new ones.
        let most = STEP.saturating_add(self.failed);
        let deleted = store.delete_owner(&owner, Some(most), &mut |done| sessions.push(written(&done))).await?;
        Ok(json!({"sessions": sessions, "more": deleted.more, "cost": answer::cost(&deleted.cost)}))
    }
}

fn written(done: &OwnedSession) -> Value {
    let session = done.session.to_string();
    match &done.result {
        Ok(deleted) => json!({"session": session, "records": deleted.records, "error": null}),
        Err(error) => json!({"session": session, "records": 0, "error": answer::error(error)}),
    }
}
