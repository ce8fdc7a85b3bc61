//! Forks: a new session that begins with the records of another.

use serde_json::{Map, Value, json};

use super::{Append, AppendId, ChatStore, ChatStoreExt, Cost, History, Load, Position, Record, SessionInfo};
use crate::error::{Error, ErrorKind};
use crate::session::{Owner, SessionId};
use crate::timestamp::Timestamp;

/// The field of a fork's session metadata that names its [`Origin`]: `{"session": "trip", "seq": 12}`.
pub const FORKED_FROM: &str = "forked_from";

/// How to fork a session: up to which record, and what the new session is called.
///
/// ```
/// use chat_memory::store::Fork;
/// let other_ending = Fork::new().up_to(12).with_title("Rome instead");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "a fork does nothing until a store takes it"]
pub struct Fork {
    up_to: Option<u64>,
    owner: Option<Owner>,
    title: Option<String>,
    key: Option<String>,
}

impl Fork {
    /// Copies everything that is visible. The new session gets the owner and the title of the other.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies the records up to this number, inclusive.
    pub fn up_to(self, seq: u64) -> Self {
        Self { up_to: Some(seq), ..self }
    }

    /// Gives the new session this owner.
    pub fn with_owner(self, owner: Owner) -> Self {
        Self { owner: Some(owner), ..self }
    }

    /// Gives the new session this title. An empty title is none: the new session keeps that of the other.
    pub fn with_title(self, title: impl Into<String>) -> Self {
        Self { title: Some(title.into()).filter(|title| !title.is_empty()), ..self }
    }

    /// Identifies the fork by the caller's idempotency key, as [`Append::with_key`] does an append: a repeat within
    /// [`KEY_LIFETIME`](super::KEY_LIFETIME) finds the session that the first attempt created.
    pub fn with_key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Makes up the id of the new session, for a caller that does not care: from the key, if there is one, so that a repeat finds what the
    /// first attempt created; otherwise at random.
    ///
    /// # Errors
    /// None that is known: such an id is valid.
    pub fn target_of(&self, session: &SessionId) -> Result<SessionId, Error> {
        match &self.key {
            Some(key) => SessionId::new(AppendId::of_key(session, key).to_string()),
            None => Ok(SessionId::random()),
        }
    }
}

/// Where a fork comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The session that was forked. It may have been deleted since.
    pub session: SessionId,
    /// The number, in that session, of the last record that was copied.
    pub seq: u64,
}

impl SessionInfo {
    /// Returns where the session was forked from, as its metadata says ([`FORKED_FROM`]); `None` if it is no fork, or if its metadata
    /// was replaced since.
    pub fn forked_from(&self) -> Option<Origin> {
        let origin = self.metadata.as_ref()?.get(FORKED_FROM)?;
        Some(Origin { session: SessionId::stored(origin["session"].as_str()?).ok()?, seq: origin["seq"].as_u64()? })
    }
}

/// What a fork would copy, and what that would cost.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ForkPlan {
    /// The number, in the session that is forked, of the last record that is copied.
    pub seq: u64,
    /// How many records are copied.
    pub records: u64,
    /// How many messages and other entries they have.
    pub entries: u64,
    /// An estimate of the write units; `None` if the store has no units.
    pub write_units: Option<f64>,
    /// What reading both sessions cost.
    pub cost: Cost,
}

/// The result of a fork.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Forked {
    /// The number, in the session that was forked, of the last record that was copied.
    pub seq: u64,
    /// How many records were copied.
    pub records: u64,
    /// How many messages and other entries they have.
    pub entries: u64,
    /// The position after the last copy, for the next append.
    pub position: Position,
    /// Whether an earlier attempt with the same key had already created the session.
    pub repeated: bool,
    /// What it cost, reading included.
    pub cost: Cost,
}

/// A session that was read to be forked.
struct Source {
    records: Vec<Record>,
    info: Option<SessionInfo>,
    cost: Cost,
}

impl Source {
    async fn read<S: ChatStore + ?Sized>(store: &S, session: &SessionId, fork: &Fork) -> Result<Self, Error> {
        let History { mut records, cost, .. } = store.load(session, &Load::all()).await?;
        if let Some(seq) = fork.up_to {
            if !records.iter().any(|record| record.seq == seq) {
                return Err(Error::invalid(format!(
                    "cannot fork session {:?} at record {seq}: it has no such record, or no longer shows it; give the number of one that it shows",
                    session.as_str()
                )));
            }
            records.retain(|record| record.seq <= seq);
        }
        // What is left of a rewind or a clear that put nothing in place of what it hides.
        records.retain(|record| !record.entries.is_empty());
        if records.is_empty() {
            return Err(Error::invalid(format!(
                "cannot fork session {:?}: it has no messages; append some first, or check the id",
                session.as_str()
            )));
        }
        let info = entry_of(store, session).await?;
        Ok(Self { records, info, cost })
    }

    /// The number of the last record that is copied.
    fn seq(&self) -> u64 {
        self.records.last().map_or(0, |record| record.seq)
    }

    fn entries(&self) -> u64 {
        self.records.iter().map(|record| record.entries.len() as u64).sum()
    }

    /// The appends that copy the records.
    fn appends(&self, session: &SessionId, fork: &Fork) -> Vec<Append> {
        let mut appends: Vec<_> = self.records.iter().map(copy).collect();
        if let Some(first) = appends.first_mut() {
            let mut metadata = self.info.as_ref().and_then(|info| info.metadata.clone()).unwrap_or_default();
            metadata.insert(FORKED_FROM.to_owned(), json!({"session": session.as_str(), "seq": self.seq()}));
            let info = self.info.as_ref();
            let owner = fork.owner.clone().or_else(|| info.and_then(|info| info.owner.clone()));
            let title = fork.title.clone().or_else(|| info.and_then(|info| info.title.clone()));
            *first = described(first.clone(), metadata, owner, title);
            if let Some(key) = &fork.key {
                *first = first.clone().with_key(key);
            }
        }
        appends
    }
}

fn described(mut append: Append, metadata: Map<String, Value>, owner: Option<Owner>, title: Option<String>) -> Append {
    append = append.with_session_metadata(metadata);
    if let Some(owner) = owner {
        append = append.with_owner(owner);
    }
    title.map_or(append.clone(), |title| append.with_title(title))
}

/// The append that stores a record's entries again, with their times.
fn copy(record: &Record) -> Append {
    let append = Append::new(&record.entries).sent_at(record.entry_times());
    match &record.metadata {
        Some(metadata) => append.with_metadata(metadata.clone()),
        None => append,
    }
}

/// A session's directory entry, in a store that has a directory.
async fn entry_of<S: ChatStore + ?Sized>(store: &S, session: &SessionId) -> Result<Option<SessionInfo>, Error> {
    match store.session(session).await {
        // Only the first request shows whether a table has a directory.
        Err(error) if error.is_unsupported() => Ok(None),
        info => info,
    }
}

pub(super) async fn plan_fork<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    target: &SessionId,
    fork: &Fork,
) -> Result<ForkPlan, Error> {
    let source = Source::read(store, session, fork).await?;
    let appends = source.appends(session, fork);
    Append::check_all(&appends)?;
    let to = Target::read(store, target, None).await?;
    if let Err(actual) = to.free {
        return Err(Error::taken(target, actual));
    }
    let mut cost = source.cost;
    cost += to.cost;
    let (records, entries) = (appends.len() as u64, source.entries());
    let write_units = store.write_units_of_all(target, &appends);
    Ok(ForkPlan { seq: source.seq(), records, entries, write_units, cost })
}

/// Returns the position at which a new session with this id begins; `None` if one exists.
pub(super) async fn start_position<S: ChatStore + ?Sized>(store: &S, session: &SessionId) -> Result<Option<Position>, Error> {
    Ok(Target::read(store, session, None).await?.free.ok())
}

pub(super) async fn fork<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    target: &SessionId,
    fork: &Fork,
) -> Result<Forked, Error> {
    let to = Target::read(store, target, fork.key.as_deref()).await?;
    // The new session tells by itself: the one that was forked may have changed since.
    if let (Some(copies), Some(origin)) = (&to.copies, &to.origin)
        && fork.up_to.is_none_or(|seq| seq <= origin.seq)
    {
        if origin.session != *session || fork.up_to.is_some_and(|seq| seq < origin.seq) {
            return Err(reused(fork, origin));
        }
        let (records, entries, position) = (copies.records, copies.entries, copies.position.clone());
        return Ok(Forked { seq: origin.seq, records, entries, position, repeated: true, cost: to.cost });
    }
    let mut source = Source::read(store, session, fork).await?;
    let mut appends = source.appends(session, fork);
    let expected = match to.free {
        Ok(position) => position,
        // It may be what the first attempt with this key created. Any other session conflicts with the position of an empty one.
        Err(_) if fork.key.is_some() => Position::new(0, None::<AppendId>, Timestamp::now()),
        Err(actual) => return Err(Error::taken(target, actual)),
    };
    if let Some(first) = appends.first_mut() {
        *first = first.clone().with_expected(expected);
    }
    let appended = store.append_all_with_retry(target, appends).await.map_err(|error| match error.actual() {
        Some(actual) if error.is_conflict() => Error::taken(target, actual.clone()),
        _ => error,
    })?;
    let mut cost = to.cost;
    cost += source.cost;
    cost += appended.cost;
    // The same for every repeat.
    let mut position = Position::new(appended.position.next(), appended.position.last(), appended.created_at);
    if appended.repeated {
        if let Some(origin) = &to.origin {
            if origin.session != *session || fork.up_to.is_some() && origin.seq != source.seq() {
                return Err(reused(fork, origin));
            }
            source.records.retain(|record| record.seq <= origin.seq);
        }
        if let Some(copies) = &to.copies {
            source.records.truncate(usize::try_from(copies.records).unwrap_or(usize::MAX));
        }
        let records = source.records.len() as u64;
        let last = fork.key.as_ref().map(|key| AppendId::of_key(target, key).following(records.saturating_sub(1)));
        position = Position::new(appended.seq + records, last, appended.created_at);
    }
    let (seq, records, entries) = (source.seq(), source.records.len() as u64, source.entries());
    Ok(Forked { seq, records, entries, position, repeated: appended.repeated, cost })
}

/// The session that a fork is to create, before it does.
struct Target {
    /// Where a new session begins; as the error, the position of one that has messages or is listed.
    free: Result<Position, Position>,
    /// What an earlier attempt with the key copied, unless some of it is not shown any more.
    copies: Option<Copies>,
    /// Where the session comes from, unless its metadata was replaced or the store has none.
    origin: Option<Origin>,
    cost: Cost,
}

impl Target {
    async fn read<S: ChatStore + ?Sized>(store: &S, target: &SessionId, key: Option<&str>) -> Result<Self, Error> {
        let load = if key.is_some() { Load::all() } else { Load::last(1) };
        let there = store.load(target, &load).await?;
        let info = if there.is_empty() || key.is_some() { entry_of(store, target).await? } else { None };
        let copies = key.and_then(|key| Copies::of(&there, AppendId::of_key(target, key)));
        let is_free = there.is_empty() && info.is_none();
        let free = if is_free { Ok(there.position) } else { Err(there.position) };
        Ok(Self { free, copies, origin: info.and_then(|info| info.forked_from()), cost: there.cost })
    }
}

struct Copies {
    records: u64,
    entries: u64,
    position: Position,
}

impl Copies {
    /// The records at the beginning of the new session that were appended together under this id.
    fn of(there: &History, id: AppendId) -> Option<Self> {
        let is_copy = |(n, record): &(u64, &Record)| record.append_id == id.following(*n);
        let copies: Vec<&Record> = (0..).zip(&there.records).take_while(is_copy).map(|(_, record)| record).collect();
        let last = copies.last()?;
        // With a number left out, something after it was taken back, and perhaps copies as well.
        let next = there.records.get(copies.len()).map_or(there.position.next(), |record| record.seq);
        (next == last.seq + 1).then(|| Self {
            records: copies.len() as u64,
            entries: copies.iter().map(|record| record.entries.len() as u64).sum(),
            position: Position::new(next, Some(last.append_id), last.created_at),
        })
    }
}

/// The error for a key of another fork.
fn reused(fork: &Fork, origin: &Origin) -> Error {
    let (key, session, seq) = (fork.key.as_deref().unwrap_or_default(), origin.session.as_str(), origin.seq);
    Error::new(
        ErrorKind::KeyReused,
        format!(
            "the idempotency key {key:?} was already used for a fork of session {session:?} up to record {seq}; use a new key for another fork"
        ),
    )
}
