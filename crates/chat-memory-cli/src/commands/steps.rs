//! Many appends to one session, for `import` and `migrate`.

use chat_memory::store::{Appended, Position};
use chat_memory::{Append, ChatStore, ChatStoreExt as _, Error, ErrorKind, Owner, SessionId, Timestamp};

/// How many records a step writes to a SQLite file, which syncs the disk once for all of them.
const TOGETHER: usize = 100;

/// What a session has besides its records, for its first append.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    pub owner: Option<&'a Owner>,
    pub title: Option<&'a str>,
    pub started_at: Option<Timestamp>,
}

/// Appends that are written step by step, in order.
pub struct Steps<'a> {
    store: &'a dyn ChatStore,
    session: &'a SessionId,
    about: About<'a>,
    position: Position,
    rest: std::vec::IntoIter<Append>,
    size: usize,
}

/// What a step wrote.
pub struct Step {
    pub appended: Appended,
    pub appends: u64,
    pub entries: u64,
}

impl<'a> Steps<'a> {
    /// These appends to this session of this store, which is at this position. On DynamoDB a step is one append: in a transaction each
    /// would take twice the units.
    pub fn new(
        store: &'a dyn ChatStore,
        session: &'a SessionId,
        about: About<'a>,
        position: Position,
        appends: Vec<Append>,
    ) -> Self {
        let has_units = store.write_units(session, &[]).is_some();
        let size = if has_units { 1 } else { TOGETHER };
        Self { store, session, about, position, rest: appends.into_iter(), size }
    }

    pub fn are_done(&self) -> bool {
        self.rest.len() == 0
    }

    /// Writes the next step. Returns `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Step>, Error> {
        let Some(first) = self.rest.next() else { return Ok(None) };
        // Expecting a position turns duplicates into conflicts: from a concurrent run for the same session, or from a write of a killed
        // one that arrives late.
        let first = self.about.begin(first).with_expected(self.position.clone());
        let step: Vec<Append> = std::iter::once(first).chain(self.rest.by_ref().take(self.size - 1)).collect();
        let (appends, entries) = (step.len() as u64, step.iter().map(|append| append.entries().len() as u64).sum());
        let appended = self.store.append_all_with_retry(self.session, step).await.map_err(|error| {
            if !error.is_conflict() {
                return error;
            }
            let why =
                "the rest was not written: another program wrote to the session during this run; run the same command again";
            Error::new(ErrorKind::Conflict, why).with_source(error)
        })?;
        self.position = appended.position.clone();
        Ok(Some(Step { appended, appends, entries }))
    }
}

impl About<'_> {
    fn begin(self, mut append: Append) -> Append {
        if let Some(owner) = self.owner {
            append = append.with_owner(owner.clone());
        }
        if let Some(title) = self.title {
            append = append.with_title(title);
        }
        if let Some(at) = self.started_at {
            append = append.started_at(at);
        }
        append
    }
}
