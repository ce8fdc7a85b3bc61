//! Many appends to one session, for `import` and `migrate`.

use chat_memory::store::Appended;
use chat_memory::{Append, ChatStore, ChatStoreExt as _, Error, SessionId};

/// How many records a step writes to a SQLite file, which syncs the disk once for all of them.
const TOGETHER: usize = 100;

/// Appends that are written step by step, in order.
pub struct Steps {
    rest: std::vec::IntoIter<Append>,
    size: usize,
}

/// What a step wrote.
pub struct Step {
    pub appended: Appended,
    pub appends: u64,
    pub entries: u64,
}

impl Steps {
    /// These appends to this session of this store. On DynamoDB a step is one append: in a transaction each would take twice the units.
    pub fn new(store: &dyn ChatStore, session: &SessionId, appends: Vec<Append>) -> Self {
        let size = if store.write_units(session, &appends).is_none() { TOGETHER } else { 1 };
        Self { rest: appends.into_iter(), size }
    }

    pub fn are_done(&self) -> bool {
        self.rest.len() == 0
    }

    /// Writes the next step, whose first append `describe` changes. Returns `None` after the last.
    pub async fn next(
        &mut self,
        store: &dyn ChatStore,
        session: &SessionId,
        describe: impl FnOnce(Append) -> Append,
    ) -> Result<Option<Step>, Error> {
        let Some(first) = self.rest.next() else { return Ok(None) };
        let step: Vec<Append> = std::iter::once(describe(first)).chain(self.rest.by_ref().take(self.size - 1)).collect();
        let (appends, entries) = (step.len() as u64, step.iter().map(|append| append.entries().len() as u64).sum());
        let appended = store.append_all_with_retry(session, step).await?;
        Ok(Some(Step { appended, appends, entries }))
    }
}
