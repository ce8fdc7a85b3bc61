//! Writes to a session. Each is completed even if its client disconnects, and watchers are notified.

use chat_memory::store::{
    Append, Appended, AppendedNew, ChatStore as _, ChatStoreExt as _, Cost, Fork, ForkPlan, Forked, Identity, Load, Position,
    Redacted, Redaction,
};
use chat_memory::{Error, Message, SessionId};

use crate::auth::Access;
use crate::memory::Held;
use crate::metrics::Operation;
use crate::problem::Problem;

/// Appends a record. Refuses a second append with the same key while the first is under way.
pub(crate) async fn append(access: &Access, session: &SessionId, append: Append, held: Held) -> Result<Appended, Problem> {
    store(access, session, append, Operation::Append, held).await
}

async fn store(
    access: &Access,
    session: &SessionId,
    append: Append,
    operation: Operation,
    held: Held,
) -> Result<Appended, Problem> {
    let in_flight = match append.identity() {
        Identity::Key(key) => Some(access.service.begin((access.namespace.clone(), session.clone(), key.clone()))?),
        _ => None,
    };
    let (within, to) = (access.clone(), session.clone());
    let work = async move {
        let _until_the_end = (held, in_flight);
        let appended = within.store.append_with_retry(&to, append).await.map_err(|e| within.problem_of(&e, operation))?;
        if !appended.repeated {
            within.tell(&to);
        }
        Ok(appended)
    };
    access.service.write(work).await
}

/// Appends a record that takes back others.
pub(crate) async fn replace(access: &Access, session: &SessionId, append: Append, held: Held) -> Result<Appended, Problem> {
    store(access, session, append, Operation::Rewind, held).await
}

/// Appends the entries that are new, by their ids.
pub(crate) async fn append_new(access: &Access, session: &SessionId, append: Append, held: Held) -> Result<AppendedNew, Problem> {
    let (within, to) = (access.clone(), session.clone());
    let work = async move {
        let _until_the_end = held;
        let appended = within.store.append_new(&to, append).await.map_err(|e| within.problem_of(&e, Operation::Append))?;
        if appended.appended.is_some() {
            within.tell(&to);
        }
        Ok(appended)
    };
    access.service.write(work).await
}

/// Forks a session. Refuses a second fork with the same key while the first is under way.
pub(crate) async fn fork(
    access: &Access,
    session: &SessionId,
    to: &SessionId,
    mut fork: Fork,
    key: Option<String>,
    held: Held,
) -> Result<Forked, Problem> {
    let in_flight = match key {
        Some(key) => {
            fork = fork.with_key(&key);
            Some(access.service.begin((access.namespace.clone(), to.clone(), key))?)
        }
        None => None,
    };
    let (within, of, to) = (access.clone(), session.clone(), to.clone());
    let work = async move {
        let _until_the_end = (held, in_flight);
        let forked = within.store.fork(&of, &to, &fork).await.map_err(|e| within.problem_of(&e, Operation::Fork))?;
        if !forked.repeated {
            within.tell(&to);
        }
        Ok(forked)
    };
    access.service.write(work).await
}

/// Estimates what a fork would copy and cost.
pub(crate) async fn plan_fork(access: &Access, session: &SessionId, to: &SessionId, fork: &Fork) -> Result<ForkPlan, Problem> {
    access.store.plan_fork(session, to, fork).await.map_err(|e| access.problem(&e))
}

/// Redacts a record, which no watcher sees: it has the number that it had.
pub(crate) async fn redact(
    access: &Access,
    session: &SessionId,
    seq: u64,
    redaction: Redaction,
    held: Held,
) -> Result<Redacted, Problem> {
    let (within, of) = (access.clone(), session.clone());
    let work = async move {
        let _until_the_end = held;
        within.store.redact(&of, seq, &redaction).await.map_err(|error| {
            // A missing table is for the operator to fix, a missing record for the client.
            match error.missing_record() {
                Some(seq) => Problem::not_found(error.to_string()).in_console(format!(
                    "record {seq} cannot be redacted: it does not exist, its messages were erased, or another record has its number now"
                )),
                None => within.problem_of(&error, Operation::Redact),
            }
        })
    };
    access.service.write(work).await
}

/// What a clear did.
#[derive(Debug)]
pub(crate) struct Cleared {
    pub(crate) appended: Appended,
    /// How many records were erased; `None` if that was interrupted. They are hidden nevertheless.
    pub(crate) erased: Option<u64>,
    pub(crate) cost: Cost,
}

/// Clears a session with this append, then erases what is hidden.
pub(crate) async fn clear(access: &Access, session: &SessionId, clear: Append) -> Result<Cleared, Problem> {
    let appended = store(access, session, clear, Operation::Clear, Held::default()).await?;
    let (within, of) = (access.clone(), session.clone());
    let swept = access.service.write(async move {
        let swept = within.store.sweep(&of).await;
        Ok(swept.inspect_err(|error| tracing::warn!(%error, "sweeping a cleared session did not finish")))
    });
    let mut cost = appended.cost;
    let swept = swept.await?.ok().inspect(|swept| cost += swept.cost);
    Ok(Cleared { appended, erased: swept.map(|swept| swept.records), cost })
}

/// What to remove.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Back {
    /// The last n turns.
    Turns(usize),
    /// Every record from this number on.
    To(u64),
}

/// What a rewind did.
#[derive(Debug)]
pub(crate) struct Rewound {
    /// The number of its record; `None` if there was nothing to take back.
    pub(crate) seq: Option<u64>,
    pub(crate) to: Option<u64>,
    pub(crate) position: Position,
    pub(crate) cost: Cost,
}

/// Rewinds if the session is at the expected position.
pub(crate) async fn rewind(
    access: &Access,
    session: &SessionId,
    back: Back,
    messages: Vec<Message>,
    expected: Option<Position>,
    held: Held,
) -> Result<Rewound, Problem> {
    let load = match back {
        Back::Turns(turns) => Load::turns(turns),
        Back::To(seq) => Load::all().since(seq),
    };
    let history = access.store.load(session, &load).await.map_err(|e| access.problem(&e))?;
    if expected.is_some_and(|expected| expected != history.position) {
        return Err(access.problem(&Error::conflict(history.position)));
    }
    let replaces = !messages.is_empty();
    let append = match back {
        Back::Turns(turns) => Append::rewind_turns(&history, turns, messages).map_err(|e| access.problem(&e))?,
        Back::To(seq) => Some(Append::rewind(&history, seq, messages).map_err(|e| Problem::invalid(e.to_string()).at("/to"))?),
    };
    let Some(append) = append else {
        if replaces {
            let detail = "no turn to replace with the messages; append them instead";
            return Err(Problem::invalid(detail).at("/turns"));
        }
        return Ok(Rewound { seq: None, to: None, position: history.position, cost: history.cost });
    };
    let to = append.rewinds_to();
    let appended = store(access, session, append, Operation::Rewind, held).await?;
    let mut cost = history.cost;
    cost += appended.cost;
    Ok(Rewound { seq: Some(appended.seq), to, position: appended.position, cost })
}
