//! Forks.

use chat_memory::backend::check_title;
use chat_memory::store::{ChatStoreExt, Fork};
use chat_memory::{ChatStore, Error, Owner, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ToFork {
    session: String,
    to: Option<String>,
    at: Option<u64>,
    owner: Option<String>,
    title: Option<String>,
    key: Option<String>,
}

impl ToFork {
    /// Reads which session is forked, the new one, and how.
    fn read(self) -> Result<(SessionId, SessionId, Fork), Error> {
        let session = SessionId::stored(self.session)?;
        let mut fork = Fork::new();
        if let Some(key) = self.key {
            fork = fork.with_key(key);
        }
        if let Some(seq) = self.at {
            fork = fork.up_to(seq);
        }
        if let Some(owner) = self.owner {
            fork = fork.with_owner(Owner::new(owner)?);
        }
        if let Some(title) = self.title {
            check_title(&title)?;
            fork = fork.with_title(title);
        }
        let to = self.to.map_or_else(|| fork.target_of(&session), SessionId::new)?;
        Ok((session, to, fork))
    }

    pub(crate) async fn run(self, store: &dyn ChatStore) -> Result<Value, Error> {
        let (session, to, fork) = self.read()?;
        let forked = store.fork(&session, &to, &fork).await?;
        Ok(json!({
            "session": to.to_string(),
            "from": session.to_string(),
            "seq": forked.seq,
            "records": forked.records,
            "entries": forked.entries,
            "position": forked.position.to_string(),
            "repeated": forked.repeated,
            "cost": answer::cost(&forked.cost),
        }))
    }

    pub(crate) async fn plan(self, store: &dyn ChatStore) -> Result<Value, Error> {
        let (session, to, fork) = self.read()?;
        let plan = store.plan_fork(&session, &to, &fork).await?;
        Ok(json!({
            "from": session.to_string(),
            "seq": plan.seq,
            "records": plan.records,
            "entries": plan.entries,
            "writeUnits": plan.write_units,
            "cost": answer::cost(&plan.cost),
        }))
    }
}
