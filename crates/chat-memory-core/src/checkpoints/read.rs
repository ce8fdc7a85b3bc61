//! Reads a log backwards, in runs: a run is a row that leans on no other row, and those after it that lean on the row before them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::format::{self, BasePart, Entry, Head, Lean, Mark, WritesPart};
use super::frame;
use super::keys::{Log, Place, below, place};
use super::rows::{Row, RowRange};
use super::rules::Rule;
use super::state::{Rode, State};
use super::store::Inner;
use super::{Checkpoint, Write};
use crate::error::{Error, ErrorKind};
use crate::store::Cost;
use crate::store::position::Moment;
use crate::timestamp::Timestamp;

/// How many rows the first page has: the newest checkpoint, and perhaps writes. Usually the reader knows the rest.
const FIRST_PAGE: u32 = 3;

/// How many rows the pages after it have: about those of a run.
const PAGE: u32 = 50;

/// A checkpoint that was read or put, with what is needed to read or put the next one.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) head: Head,
    /// The id in the row before it.
    pub(super) previous: String,
    /// The encoded [`State`].
    pub(super) state: Vec<u8>,
    /// The base of its run.
    pub(super) base: Option<Arc<Base>>,
}

impl Known {
    pub(super) fn decode(&self) -> Result<State, Error> {
        State::decode(&self.state).map_err(|why| unreadable(&self.head.id, &why))
    }
}

/// A state that other rows lean on.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) chain: String,
    pub(super) id: String,
    /// How many bytes its chain has up to it.
    pub(super) chain_bytes: usize,
    pub(super) state: Vec<u8>,
}

/// A checkpoint of a log with what its tasks wrote.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) known: Arc<Known>,
    /// The content of its row.
    pub(super) body: Vec<u8>,
    pub(super) writes: Vec<Write>,
    /// The ids of the calls that stored those of them that have rows of their own.
    pub(super) calls: Vec<String>,
    /// The sort keys of the writes that have rows of their own.
    pub(super) write_rows: Vec<String>,
    pub(super) is_newest: bool,
}

impl Found {
    pub(super) fn id(&self) -> &str {
        &self.known.head.id
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.known.head.is_over(now)
    }

    pub(super) fn into_checkpoint(self, log: &Log) -> Result<Checkpoint, Error> {
        let state = self.known.decode()?;
        let head = &self.known.head;
        let values = state.channels.into_iter().filter_map(|(name, (_, value))| Some((name, value?)));
        Ok(Checkpoint {
            namespace: log.namespace(),
            id: head.id.clone(),
            parent: head.parent.clone(),
            body: state.body,
            metadata: state.metadata,
            values: values.collect(),
            writes: self.writes,
            calls: self.calls,
            is_newest: self.is_newest,
            expires_at: head.expires_at,
        })
    }
}

/// The row of a checkpoint, not decoded yet.
struct RowOf {
    head: Head,
    previous: String,
    body: Vec<u8>,
    /// How many bytes at the end of the body are the frame.
    frame_bytes: usize,
}

impl RowOf {
    fn lacks_previous(&self) -> Error {
        unreadable(&self.head.id, &format!("the checkpoint before it, {:?}, is missing", self.previous))
    }
}

/// Reads until it succeeds, or fails twice in the same way: a reader that meets a removal may miss rows that were there when it
/// began, and finds what took their place when it reads again.
macro_rules! steady {
    ($store:expr, $read:expr) => {{
        let mut before = None;
        loop {
            match $read {
                Err(error)
                    if error.is_corrupt()
                        && before.as_ref() != Some(&error.to_string())
                        && $store.0.keeps(crate::checkpoints::rules::Rule::Steady) =>
                {
                    before = Some(error.to_string());
                }
                read => break read,
            }
        }
    }};
}
pub(super) use steady;

/// The writes of a checkpoint that have rows of their own: the rows' sort keys, and the calls and writes that count.
#[derive(Debug, Default)]
struct WritesOf {
    rows: Vec<String>,
    calls: Vec<String>,
    writes: Vec<Write>,
}

/// A walk over a log, from its newest row or an earlier one to its first.
pub(super) struct Walk<'a> {
    inner: &'a Inner,
    began: Moment,
    partition: &'a str,
    log: &'a Log,
    /// What is still to be read.
    range: Option<RowRange>,
    page: VecDeque<Row>,
    /// A checkpoint that need not be decoded.
    cached: Option<Arc<Known>>,
    bases: HashMap<(String, String), Arc<Base>>,
    /// Rows of writes, by the id of their checkpoint, which comes after them.
    writes: HashMap<String, Vec<(Row, String, usize)>>,
    /// The checkpoint after the next one, if it is its child: what tasks wrote at the next one rode in it.
    rode: Option<(String, Rode)>,
    /// The id in the first row of the walk, also of a mark or of a checkpoint that has expired.
    pub(super) last: Option<String>,
    /// From when on the table may delete that row.
    pub(super) last_purged_at: Option<Timestamp>,
    now: Timestamp,
    skips_expired: bool,
    /// The marks that were passed, with their sort keys.
    pub(super) marks: Vec<(String, Mark)>,
    /// The checkpoints that were passed since they have expired and nothing leans on them: the sort keys of their rows and of what
    /// tasks wrote at them, and the bases that they lean on.
    pub(super) expired: Vec<String>,
    pub(super) expired_writes: Vec<String>,
    pub(super) expired_bases: Vec<(String, String)>,
    any_checkpoint: bool,
    newest_only: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(inner: &'a Inner, partition: &'a str, log: &'a Log, range: RowRange) -> Self {
        let began = inner.now();
        Self {
            inner,
            began,
            now: began.wall,
            skips_expired: inner.keeps(Rule::SkipExpired),
            expired: Vec::new(),
            expired_writes: Vec::new(),
            expired_bases: Vec::new(),
            partition,
            log,
            range: Some(RowRange { limit: Some(FIRST_PAGE), ..range }),
            page: VecDeque::new(),
            cached: None,
            bases: HashMap::new(),
            writes: HashMap::new(),
            rode: None,
            last: None,
            last_purged_at: None,
            marks: Vec::new(),
            any_checkpoint: false,
            newest_only: false,
        }
    }

    /// Returns only the newest checkpoint of each run. The states of the others are not kept in memory.
    pub(super) fn newest_only(self) -> Self {
        Self { newest_only: true, ..self }
    }

    /// Does not decode this one again.
    pub(super) fn knowing(self, cached: Option<Arc<Known>>) -> Self {
        let bases = cached.iter().filter_map(|known| known.base.clone());
        Self { bases: bases.map(|base| ((base.chain.clone(), base.id.clone()), base)).collect(), cached, ..self }
    }

    async fn next_row(&mut self, cost: &mut Cost) -> Result<Option<Row>, Error> {
        while self.page.is_empty() {
            let Some(range) = self.range.take() else { return Ok(None) };
            let page = self.inner.rows.page(self.partition, &range, cost).await?;
            if self.inner.is_old(self.began) {
                let sentence = "checkpoints not read: it took so long that what was read first may be gone; repeat it";
                return Err(Error::new(ErrorKind::Unavailable, sentence));
            }
            if let Some(last) = page.rows.last().filter(|_| page.more) {
                let to = below(&last.sort);
                self.range = Some(RowRange { to, limit: Some(PAGE), ..range });
            }
            self.page = page.rows.into();
        }
        Ok(self.page.pop_front())
    }

    /// Returns the next run, newest first; `None` at the end of the log.
    pub(super) async fn run(&mut self, cost: &mut Cost) -> Result<Option<Vec<Found>>, Error> {
        let mut rows: Vec<RowOf> = Vec::new();
        while let Some(row) = self.next_row(cost).await? {
            let Some((_, place)) = place(&row.sort) else { continue };
            match place {
                Place::Base { .. } => {}
                Place::Write { checkpoint, call, part, task_id } => {
                    let part = part.parse().map_err(|_| unreadable(checkpoint, "a write has no number"))?;
                    let call = format!("{call}#{task_id}");
                    self.writes.entry(checkpoint.to_owned()).or_default().push((row, call, part));
                }
                Place::After(previous) => {
                    let (entry, frame) = format::decode_entry(&row.body, previous)
                        .map_err(|why| unreadable(&format!("after {previous:?}"), &why))?;
                    if self.last.is_none() {
                        (self.last, self.last_purged_at) = (Some(entry.id().to_owned()), row.purge_at);
                    }
                    match entry {
                        Entry::Mark(mark) => {
                            if mark.all {
                                (self.range, self.page) = (None, VecDeque::new());
                            }
                            self.marks.push((row.sort.clone(), mark));
                        }
                        Entry::Checkpoint(head) => {
                            // It may lean on rows that are gone.
                            if rows.is_empty() && head.is_over(self.now) && self.skips_expired {
                                let writes = self.writes.remove(&head.id).unwrap_or_default();
                                self.expired_writes.extend(writes.into_iter().map(|(row, ..)| row.sort));
                                self.expired.push(row.sort.clone());
                                if let Lean::Base { chain, id } = head.lean {
                                    self.expired_bases.push((chain, id));
                                }
                                continue;
                            }
                            if let Some(later) = rows.last().filter(|later| later.previous != head.id) {
                                return Err(later.lacks_previous());
                            }
                            let is_start = head.lean != Lean::Previous || self.is_cached(&head);
                            let (previous, frame_bytes) = (previous.to_owned(), frame.len());
                            rows.push(RowOf { head, previous, body: row.body, frame_bytes });
                            if is_start {
                                return self.decode(rows, cost).await.map(Some);
                            }
                        }
                    }
                }
            }
        }
        rows.last().map_or(Ok(None), |row| Err(row.lacks_previous()))
    }

    /// Returns the last row, also of a mark; then the one before it.
    pub(super) async fn last_row(&mut self, cost: &mut Cost) -> Result<Option<(Row, Entry)>, Error> {
        while let Some(row) = self.next_row(cost).await? {
            if let Some((_, Place::After(previous))) = place(&row.sort) {
                let read = format::decode_entry(&row.body, previous).map(|(entry, _)| entry);
                let entry = read.map_err(|why| unreadable(&format!("after {previous:?}"), &why))?;
                return Ok(Some((row, entry)));
            }
        }
        Ok(None)
    }

    fn is_cached(&self, head: &Head) -> bool {
        self.cached.as_ref().is_some_and(|known| known.head == *head)
    }

    async fn decode(&mut self, rows: Vec<RowOf>, cost: &mut Cost) -> Result<Vec<Found>, Error> {
        let mut run: Vec<Arc<Known>> = Vec::with_capacity(rows.len());
        let mut bodies = Vec::with_capacity(rows.len());
        for RowOf { head, previous, body, frame_bytes } in rows.into_iter().rev() {
            bodies.push(body);
            if let Some(cached) = self.cached.clone().filter(|_| self.is_cached(&head)) {
                run.push(cached);
                continue;
            }
            let base = match &head.lean {
                Lean::Nothing => None,
                Lean::Previous => run.last().and_then(|before| before.base.clone()),
                Lean::Base { chain, id } => Some(self.base(chain, id, cost).await?),
            };
            let against = match &head.lean {
                Lean::Nothing => &[][..],
                Lean::Previous => run.last().map_or(&[][..], |before| &before.state),
                Lean::Base { .. } => base.as_ref().map_or(&[][..], |base| &base.state),
            };
            let frame = bodies.last().and_then(|body| body.get(body.len() - frame_bytes..)).unwrap_or_default();
            let state = frame::decompress(frame, against, head.size).map_err(|why| unreadable(&head.id, &why))?;
            if self.newest_only {
                run.clear();
                bodies.drain(..bodies.len() - 1);
            }
            run.push(Arc::new(Known { head, previous, state, base }));
        }
        let mut found = Vec::with_capacity(run.len());
        for (known, body) in run.into_iter().zip(bodies).rev() {
            let id = &known.head.id;
            let rode = self.rode.take().filter(|(parent, _)| parent == id).map(|(_, rode)| rode).unwrap_or_default();
            let WritesOf { rows: write_rows, calls, mut writes } = self.writes_of(id, &rode)?;
            writes.extend(rode.writes);
            if let Some(parent) = known.head.parent.clone().filter(|parent| *parent == known.previous) {
                let rode = State::rode_in(&known.state).map_err(|why| unreadable(id, &why))?;
                self.rode = Some((parent, rode));
            }
            let is_newest = !std::mem::replace(&mut self.any_checkpoint, true);
            found.push(Found { writes: merged(writes), calls, write_rows, is_newest, known, body });
        }
        Ok(found)
    }

    /// Takes the writes of a checkpoint that have rows of their own; those that count, by what rode in the row after it.
    fn writes_of(&mut self, id: &str, rode: &Rode) -> Result<WritesOf, Error> {
        let mut calls: BTreeMap<String, Vec<(usize, Row)>> = BTreeMap::new();
        for (row, call, part) in self.writes.remove(id).unwrap_or_default() {
            calls.entry(call).or_default().push((part, row));
        }
        let mut found = WritesOf::default();
        for (call, mut parts) in calls {
            parts.sort_by_key(|(part, _)| *part);
            found.rows.extend(parts.iter().map(|(_, row)| row.sort.clone()));
            let parts = parts.iter().map(|(_, row)| WritesPart::decode(&row.body)).collect::<Result<Vec<_>, _>>();
            let parts = parts.map_err(|why| unreadable(id, &why))?;
            let Some(first) = parts.first() else { continue };
            // The first part is written last, so one of a call that was cut off is not there.
            let call = call.split('#').next().unwrap_or_default();
            if parts.len() != first.parts || !rode.counts(call) {
                continue;
            }
            found.calls.push(call.to_owned());
            let frame: Vec<u8> = parts.iter().flat_map(|part| part.piece.iter().copied()).collect();
            let read = frame::decompress(&frame, &[], first.size).and_then(|bytes| format::decode_writes(&bytes));
            found.writes.extend(read.map_err(|why| unreadable(id, &format!("in a task's writes: {why}")))?);
        }
        Ok(found)
    }

    /// Reads a base.
    async fn base(&mut self, chain: &str, id: &str, cost: &mut Cost) -> Result<Arc<Base>, Error> {
        let key = (chain.to_owned(), id.to_owned());
        if let Some(base) = self.bases.get(&key) {
            return Ok(base.clone());
        }
        let mut parts: HashMap<String, Vec<BasePart>> = HashMap::new();
        let mut range = Some(self.log.bases(chain, id));
        while let Some(next) = range.take() {
            let page = self.inner.rows.page(self.partition, &next, cost).await?;
            if let Some(last) = page.rows.last().filter(|_| page.more) {
                range = Some(RowRange { from: format!("{}\0", last.sort), ..next });
            }
            for row in page.rows {
                let Some((_, Place::Base { id, .. })) = place(&row.sort) else { continue };
                let part = BasePart::decode(&row.body).map_err(|why| unreadable(id, &format!("in its base: {why}")))?;
                parts.entry(id.to_owned()).or_default().push(part);
            }
        }
        let mut needed = vec![id.to_owned()];
        while let Some(before) = needed.last().and_then(|id| parts.get(id)?.first()?.before.clone()) {
            if needed.contains(&before) {
                return Err(unreadable(id, "its bases lean on one another"));
            }
            needed.push(before);
        }
        let mut state = Vec::new();
        let mut chain_bytes = 0;
        for base in needed.iter().rev() {
            let parts = parts.get(base).filter(|parts| parts.first().is_some_and(|first| first.parts == parts.len()));
            let parts = parts.ok_or_else(|| unreadable(id, &format!("a part of its base {base:?} is missing")))?;
            let frame: Vec<u8> = parts.iter().flat_map(|part| part.piece.iter().copied()).collect();
            state = frame::decompress(&frame, &state, parts[0].size)
                .map_err(|why| unreadable(id, &format!("in its base {base:?}: {why}")))?;
            chain_bytes = parts[0].chain_bytes;
        }
        let base = Arc::new(Base { chain: chain.to_owned(), id: id.to_owned(), chain_bytes, state });
        self.bases.insert(key, base.clone());
        Ok(base)
    }
}

/// Of several writes to one place, an ordinary one counts if it was the first, and one of a special kind if it was the last. The
/// result is in the order in which a run applies writes.
pub(super) fn merged(writes: Vec<Write>) -> Vec<Write> {
    let mut kept: BTreeMap<(String, i64), Write> = BTreeMap::new();
    for write in writes {
        let place = (write.task_id.clone(), write.index);
        if write.index < 0 || !kept.contains_key(&place) {
            kept.insert(place, write);
        }
    }
    let mut writes: Vec<Write> = kept.into_values().collect();
    writes.sort_by(|a, b| (&a.task_path, &a.task_id, a.index).cmp(&(&b.task_path, &b.task_id, b.index)));
    writes
}

pub(super) fn unreadable(id: &str, why: &str) -> Error {
    Error::corrupt(format!("checkpoint {id} cannot be read: {why}; delete the thread, or restore the table from a backup"))
}
