//! The ids of a session's entries, which [`append_new`](super::ChatStoreExt::append_new) looks up and a store keeps between calls.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Append, Appended, ChatStore, Cost, KEY_LIFETIME, Load, Position};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind};
use crate::message::redacted::{redacted_at, shape};
use crate::session::SessionId;
use crate::timestamp::Timestamp;

/// How many ids are remembered in total, each in some 150 bytes. A session whose ids are forgotten is read again for 24 hours.
const REMEMBERED: usize = 100_000;

/// How many records a page has while the ids are read.
const PAGE: usize = 100;

/// Remembers the ids of the entries in a store's sessions, so that [`append_new`](super::ChatStoreExt::append_new) need not read
/// them each time. A store that wants this keeps one and returns it from [`ChatStore::entry_ids`].
///
/// It is a hint: ids are known up to a position, and an append either expects that position or reads first what came after it.
#[derive(Debug)]
pub struct EntryIdCache {
    lifetime: Duration,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_id: HashMap<SessionId, EntryIds>,
    /// How many ids they have, plus one for each session.
    count: usize,
}

impl EntryIdCache {
    /// Creates an empty cache for a store that keeps records for this long.
    pub fn new(retention: Option<Duration>) -> Self {
        let lifetime = retention.map_or(KEY_LIFETIME, |kept| kept.min(KEY_LIFETIME));
        Self { lifetime, sessions: Mutex::default() }
    }

    /// Takes a session's ids out, so that a call that is cancelled leaves none.
    pub(super) fn take(&self, session: &SessionId) -> Option<EntryIds> {
        self.lock().take(session)
    }

    /// Remembers a session's ids, unless some are missing.
    pub(super) fn put(&self, session: &SessionId, ids: EntryIds) {
        if !ids.is_complete {
            return;
        }
        let mut sessions = self.lock();
        // Another call may have run at the same time.
        sessions.take(session);
        if sessions.count + ids.weight() > REMEMBERED {
            *sessions = Sessions::default();
        }
        sessions.count += ids.weight();
        sessions.by_id.insert(session.clone(), ids);
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for EntryIdCache {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Sessions {
    fn take(&mut self, session: &SessionId) -> Option<EntryIds> {
        let ids = self.by_id.remove(session)?;
        self.count -= ids.weight();
        Some(ids)
    }
}

/// The ids of the entries in a session's visible records of the last 24 hours.
#[derive(Debug)]
pub(super) struct EntryIds {
    /// The position up to which they are known.
    pub(super) position: Position,
    by_id: HashMap<String, Known>,
    /// Whether all of them are known, not only those that an append needed.
    is_complete: bool,
    lifetime: Duration,
}

#[derive(Debug)]
struct Known {
    seq: u64,
    /// The entry's hash, with the key of the map; if it is redacted, that of its shape.
    body: u64,
    is_redacted: bool,
    /// The earliest time at which the id may be free again.
    until: Timestamp,
}

impl EntryIds {
    /// Reads the records of the last 24 hours, from the newest back to the one that completes the wanted ids.
    pub(super) async fn read<S: ChatStore + ?Sized>(
        store: &S,
        session: &SessionId,
        wanted: &HashSet<&str>,
        cost: &mut Cost,
    ) -> Result<Self, Error> {
        let lifetime = store.entry_ids().map_or(KEY_LIFETIME, |cache| cache.lifetime);
        // Without ids only the position is needed.
        let mut load = Load::records(if wanted.is_empty() { 0 } else { PAGE });
        let mut earlier: Option<Self> = None;
        loop {
            let history = store.load(session, &load).await?;
            *cost += history.cost;
            let older = history.older();
            let now = Timestamp::now();
            let mut ids = earlier.take().unwrap_or_else(|| Self {
                position: history.position,
                by_id: HashMap::new(),
                is_complete: true,
                lifetime,
            });
            for record in &history.records {
                ids.add(record.seq, record.created_at, record.expires_at, &record.entries, wanted, now);
            }
            let is_recent = history.records.first().is_some_and(|oldest| ends_at(oldest.created_at, KEY_LIFETIME) > now);
            match older {
                Some(older) if is_recent && !ids.have(wanted) => {
                    load = Load::records(PAGE).before(older);
                    earlier = Some(ids);
                }
                older => {
                    ids.is_complete &= older.is_none() || !(is_recent || wanted.is_empty());
                    return Ok(ids);
                }
            }
        }
    }

    /// Reads what was appended after the position. If more has changed than that a few records were added, reads everything again.
    pub(super) async fn read_newer<S: ChatStore + ?Sized>(
        &mut self,
        store: &S,
        session: &SessionId,
        wanted: &HashSet<&str>,
        cost: &mut Cost,
    ) -> Result<(), Error> {
        let since = self.position.next().saturating_sub(1);
        let newer = store.load(session, &Load::records(PAGE).since(since)).await?;
        *cost += newer.cost;
        match newer.records.as_slice() {
            [last, added @ ..]
                if self.position.last() == Some(last.append_id)
                    && newer.position.next().checked_sub(since) == Some(newer.records.len() as u64)
                    && added.iter().all(|record| record.rewind.is_none()) =>
            {
                let now = Timestamp::now();
                for record in added {
                    self.add(record.seq, record.created_at, record.expires_at, &record.entries, wanted, now);
                }
                self.position = newer.position;
            }
            _ => *self = Self::read(store, session, wanted, cost).await?,
        }
        Ok(())
    }

    /// Adds the entries of an append at the position.
    pub(super) fn extend(&mut self, append: &Append, appended: &Appended, wanted: &HashSet<&str>) {
        // A store that put it elsewhere ignores positions.
        self.is_complete &= appended.seq == self.position.next();
        self.add(appended.seq, appended.created_at, None, append.entries(), wanted, appended.created_at);
        self.position = appended.position.clone();
    }

    fn add(
        &mut self,
        seq: u64,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
        entries: &[Entry],
        wanted: &HashSet<&str>,
        now: Timestamp,
    ) {
        if ends_at(created_at, KEY_LIFETIME) <= now {
            return;
        }
        let until = ends_at(created_at, self.lifetime).min(expires_at.unwrap_or(Timestamp::MAX));
        for entry in entries {
            let Some(id) = entry.id() else { continue };
            if self.by_id.len() >= REMEMBERED && !wanted.contains(id) {
                self.is_complete = false;
                continue;
            }
            let is_redacted = redacted_at(entry).is_some();
            let body = self.hash(entry, is_redacted);
            self.by_id.entry(id.to_owned()).or_insert(Known { seq, body, is_redacted, until });
        }
    }

    fn hash(&self, entry: &Entry, is_redacted: bool) -> u64 {
        if is_redacted { self.by_id.hasher().hash_one(shape(entry)) } else { self.by_id.hasher().hash_one(entry) }
    }

    fn have(&self, wanted: &HashSet<&str>) -> bool {
        wanted.iter().all(|id| self.by_id.contains_key(*id))
    }

    fn weight(&self) -> usize {
        self.by_id.len() + 1
    }

    /// Whether what is known at the position still holds at this time, as far as these ids are concerned.
    pub(super) fn hold_at(&self, now: Timestamp, wanted: &HashSet<&str>) -> bool {
        ends_at(self.position.read_at(), KEY_LIFETIME) > now
            && wanted.iter().filter_map(|id| self.by_id.get(*id)).all(|known| known.until > now)
    }

    /// Says for each entry of the append whether it is new.
    ///
    /// # Errors
    /// Key reused if the session has an entry with its id and another body.
    pub(super) fn which_are_new(&self, append: &Append) -> Result<Vec<bool>, Error> {
        let mut seen = HashSet::new();
        let is_new = |entry: &Entry| {
            let Some(id) = entry.id() else { return Ok(true) };
            match self.by_id.get(id) {
                // It was redacted since it was read here.
                Some(known) if !known.is_redacted && redacted_at(entry).is_some() => Ok(false),
                Some(known) if known.body != self.hash(entry, known.is_redacted) => {
                    Err(reused(id, &format!("was already used in record {}, with another body", known.seq)))
                }
                Some(_) => Ok(false),
                // The second of two in the append is not new.
                None => Ok(seen.insert(id.to_owned())),
            }
        };
        append.entries().iter().map(is_new).collect()
    }
}

/// When what was created at this time ends. What other programs wrote has no time, and never ends.
fn ends_at(created_at: Timestamp, lifetime: Duration) -> Timestamp {
    created_at.known().map_or(Timestamp::MAX, |at| at + lifetime)
}

/// Returns the error for an id that comes with another body.
pub(super) fn reused(id: &str, why: &str) -> Error {
    Error::new(ErrorKind::KeyReused, format!("entry id {id:?} {why}; give a changed entry another id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::store::{AppendId, ChatStoreExt as _, InMemoryStore};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn known(ids: impl IntoIterator<Item = usize>, created_at: Timestamp, expires_at: Option<Timestamp>) -> EntryIds {
        let position = Position::new(1, Some(AppendId::random()), NOW);
        let (by_id, lifetime) = (HashMap::new(), EntryIdCache::new(Some(2 * HOUR)).lifetime);
        let mut known = EntryIds { position, by_id, is_complete: true, lifetime };
        let entries: Vec<Entry> = ids.into_iter().map(|id| Message::user("x").with_id(id.to_string()).into()).collect();
        known.add(0, created_at, expires_at, &entries, &HashSet::new(), NOW);
        known
    }

    #[test]
    fn id_is_remembered_for_a_day() {
        let append = Append::new([Message::user("x").with_id("1")]);
        let moment = Duration::from_millis(1);
        for (created_at, is_new) in
            [(NOW - KEY_LIFETIME, true), (NOW - KEY_LIFETIME + moment, false), (Timestamp::UNIX_EPOCH, false)]
        {
            let known = known([1], created_at, None);
            assert_eq!(known.which_are_new(&append).expect("equal bodies"), [is_new], "{created_at}");
        }
    }

    #[test]
    fn remembered_id_holds_until_its_record_may_be_gone() {
        for (created_at, expires_at, until) in [
            (NOW, None, NOW + 2 * HOUR),
            (NOW - HOUR, None, NOW + HOUR),
            (NOW, Some(NOW + HOUR), NOW + HOUR),
            (Timestamp::UNIX_EPOCH, None, NOW + KEY_LIFETIME),
        ] {
            let known = known([1], created_at, expires_at);
            let before = until - Duration::from_millis(1);
            for (at, wanted, holds) in [(before, "1", true), (until, "1", false), (until, "2", until < NOW + KEY_LIFETIME)] {
                assert_eq!(known.hold_at(at, &HashSet::from([wanted])), holds, "{created_at} {expires_at:?} {at} {wanted}");
            }
        }
    }

    #[test]
    fn cache_is_bounded_and_keeps_complete_ids_only() {
        let (cache, session) = (EntryIdCache::default(), SessionId::random());
        cache.put(&session, EntryIds { is_complete: false, ..known([1], NOW, None) });
        assert!(cache.take(&session).is_none());
        cache.put(&session, known(0..REMEMBERED - 1, NOW, None));
        cache.put(&session, known(0..REMEMBERED - 3, NOW, None));
        cache.put(&SessionId::random(), known([1], NOW, None));
        assert_eq!(cache.lock().count, REMEMBERED);
        cache.put(&SessionId::random(), known([1], NOW, None));
        assert!(cache.take(&session).is_none(), "the others are forgotten");
        assert_eq!(cache.lock().count, 2);
        assert!(!known(0..=REMEMBERED, NOW, None).is_complete, "a session with too many ids is not remembered");
    }

    #[tokio::test]
    async fn ids_that_were_not_all_read_are_not_remembered() {
        let (store, session) = (InMemoryStore::new(), SessionId::random());
        let line = |n: usize| Append::new([Message::user("x").with_id(n.to_string())]);
        for n in 0..=PAGE {
            store.append(&session, &line(n)).await.expect("in memory");
        }
        for (append, is_remembered) in [(line(PAGE), false), (Append::new([Message::user("x")]), false), (line(0), true)] {
            store.append_new(&session, append).await.expect("in memory");
            let ids = store.entry_ids().and_then(|cache| cache.take(&session));
            assert_eq!(ids.map(|ids| ids.by_id.len()), is_remembered.then_some(PAGE + 1));
        }
    }
}
