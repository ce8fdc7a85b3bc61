//! Appends only the entries that a session does not contain yet, by the ids that they carry.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::position::wall_ms;
use super::{Append, Appended, ChatStore, ChatStoreExt, Cost, History, Identity, KEY_LIFETIME_MS, Load, Position};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind};
use crate::session::SessionId;

/// How many records a page has while the ids are looked up.
const PAGE: usize = 100;

/// How often an append is tried while other writers come first.
const ATTEMPTS: u32 = 100;

/// The pause after the first conflict; it grows with each up to the second value.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The result of [`append_new`](ChatStoreExt::append_new).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AppendedNew {
    /// For each entry of the append, whether it was new and is appended now.
    pub new: Vec<bool>,
    /// The record of the new entries; `None` if there were none.
    pub appended: Option<Appended>,
    /// The position after the record, or of the log as it was read.
    pub position: Position,
    /// What everything cost, except for attempts that conflicted with other writers.
    pub cost: Cost,
}

pub(super) async fn append_new<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    append: Append,
) -> Result<AppendedNew, Error> {
    append.check()?;
    if append.rewinds_to().is_some() || *append.identity() != Identity::New {
        return Err(Error::invalid(
            "cannot append only new entries with a rewind, a key or a ticket: the entries' ids replace these; leave them out",
        ));
    }
    let mut known = Known::wanted_by(&append)?;
    let mut cost = Cost::default();
    let mut position = known.read(store, session, &mut cost).await?;
    for attempt in 1..=ATTEMPTS {
        let new = known.which_are_new(&append)?;
        if !new.contains(&true) {
            return Ok(AppendedNew { new, appended: None, position, cost });
        }
        if append.expected().is_some_and(|expected| *expected != position) {
            return Err(Error::conflict(position));
        }
        match store.append_with_retry(session, append.only(&new, position.clone())).await {
            Ok(appended) => {
                cost += appended.cost;
                return Ok(AppendedNew { new, position: appended.position.clone(), appended: Some(appended), cost });
            }
            Err(error) if error.is_conflict() => {
                tokio::time::sleep((PAUSE * attempt).min(LONGEST_PAUSE)).await;
                position = known.read_newer(store, session, &position, &mut cost).await?;
            }
            // The ids settle it, not a ticket.
            Err(error) => return Err(error.of_repeatable("appended to")),
        }
    }
    Err(Error::new(
        ErrorKind::Contended,
        format!("append of new entries to {session} contended: other writers came first in {ATTEMPTS} attempts; retry"),
    ))
}

/// What is known of the ids that an append wants: for each, the record that has it, and the entry.
struct Known(HashMap<String, Option<(u64, Entry)>>);

impl Known {
    /// Collects the ids of an append.
    ///
    /// # Errors
    /// Key reused if an id comes twice, with different bodies.
    fn wanted_by(append: &Append) -> Result<Self, Error> {
        let mut first: HashMap<&str, &Entry> = HashMap::new();
        for entry in append.entries() {
            if let Some(id) = entry.id()
                && *first.entry(id).or_insert(entry) != entry
            {
                return Err(reused(id, "occurs twice in the append, with different bodies"));
            }
        }
        Ok(Self(first.into_keys().map(|id| (id.to_owned(), None)).collect()))
    }

    /// Says for each entry of the append whether it is new.
    ///
    /// # Errors
    /// Key reused if the session has an entry with its id and another body.
    fn which_are_new(&self, append: &Append) -> Result<Vec<bool>, Error> {
        let mut seen = HashSet::new();
        let is_new = |entry: &'_ Entry| match (entry.id(), entry.id().and_then(|id| self.0.get(id)?.as_ref())) {
            (Some(id), Some((seq, stored))) if stored != entry => {
                Err(reused(id, &format!("was already used in record {seq}, with another body")))
            }
            (_, Some(_)) => Ok(false),
            // The second of two in the append is not new.
            (Some(id), None) => Ok(seen.insert(id.to_owned())),
            (None, None) => Ok(true),
        };
        append.entries().iter().map(is_new).collect()
    }

    /// Looks the ids up in the records of the last 24 hours, from the newest back, and returns the position of the log.
    async fn read<S: ChatStore + ?Sized>(&mut self, store: &S, session: &SessionId, cost: &mut Cost) -> Result<Position, Error> {
        self.0.values_mut().for_each(|found| *found = None);
        // Without ids only the position is needed.
        let mut load = Load::records(if self.0.is_empty() { 0 } else { PAGE });
        let mut position = None;
        loop {
            let history = store.load(session, &load).await?;
            *cost += history.cost;
            let since_ms = wall_ms() - KEY_LIFETIME_MS;
            self.find(&history, since_ms);
            let older = history.older().filter(|_| !self.is_complete());
            // What other programs wrote has no time.
            let older =
                older.filter(|_| history.records.first().is_some_and(|record| !(1..=since_ms).contains(&record.created_at)));
            let position = position.get_or_insert(history.position);
            match older {
                Some(older) => load = Load::records(PAGE).before(older),
                None => return Ok(position.clone()),
            }
        }
    }

    /// Looks the ids up in what was appended since this position, and returns the new one. If more has changed than that records
    /// were added, reads everything again.
    async fn read_newer<S: ChatStore + ?Sized>(
        &mut self,
        store: &S,
        session: &SessionId,
        seen: &Position,
        cost: &mut Cost,
    ) -> Result<Position, Error> {
        let since = seen.next().saturating_sub(1);
        let newer = store.load(session, &Load::all().since(since)).await?;
        *cost += newer.cost;
        let [last_seen, added @ ..] = newer.records.as_slice() else { return self.read(store, session, cost).await };
        let is_plain = seen.last() == Some(last_seen.append_id)
            && newer.position.next().checked_sub(since) == Some(newer.records.len() as u64)
            && added.iter().all(|record| record.rewind.is_none());
        if !is_plain {
            return self.read(store, session, cost).await;
        }
        self.find(&newer, wall_ms() - KEY_LIFETIME_MS);
        Ok(newer.position)
    }

    fn find(&mut self, history: &History, since_ms: i64) {
        for record in history.records.iter().filter(|record| !(1..=since_ms).contains(&record.created_at)) {
            for entry in &record.entries {
                if let Some(found) = entry.id().and_then(|id| self.0.get_mut(id)) {
                    found.get_or_insert_with(|| (record.seq, entry.clone()));
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.0.values().all(Option::is_some)
    }
}

fn reused(id: &str, why: &str) -> Error {
    Error::new(ErrorKind::KeyReused, format!("entry id {id:?} {why}; give a changed entry another id"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::message::Message;
    use crate::store::{AppendId, Capabilities, InMemoryStore, Record, Ticket};

    fn with_ids(ids: &[u32]) -> Append {
        Append::new(ids.iter().map(|id| Message::user(format!("line {id}")).with_id(id.to_string())))
    }

    #[test]
    fn id_is_remembered_for_a_day() {
        let record = |created_at| Record::new(0, AppendId::random(), created_at).with_entries(with_ids(&[1]).entries());
        for (created_at, is_new) in [(1_000, true), (1_001, false), (0, false)] {
            let mut known = Known::wanted_by(&with_ids(&[1])).expect("one id");
            known.find(&History::new(vec![record(created_at)], true, Position::new(1, None, 0)), 1_000);
            assert_eq!(known.which_are_new(&with_ids(&[1])).expect("equal bodies"), [is_new], "{created_at}");
        }
    }

    /// What happens before an append of the store gets through.
    #[derive(Debug, Clone)]
    enum Before {
        Append(Box<Append>),
        RewindTo(u64),
        LostAnswer,
        LostRequest,
    }

    #[derive(Debug)]
    struct Racing {
        store: InMemoryStore,
        before: Mutex<Vec<Before>>,
    }

    #[async_trait]
    impl ChatStore for Racing {
        fn capabilities(&self) -> Capabilities {
            self.store.capabilities()
        }

        async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
            let before = self.before.lock().expect("no panic").pop();
            let ticket = match append.identity() {
                Identity::Ticket(ticket) => *ticket,
                _ => Ticket::new(AppendId::random(), 0),
            };
            let through = append.clone().with_ticket(ticket);
            match before {
                Some(Before::Append(other)) => self.store.append(session, &other).await.map(|_| ())?,
                Some(Before::RewindTo(seq)) => self.store.rewind_to(session, seq).await.map(|_| ())?,
                Some(Before::LostAnswer) => {
                    self.store.append(session, &through).await?;
                    return Err(Error::in_doubt(ticket, "the answer was lost"));
                }
                Some(Before::LostRequest) => return Err(Error::in_doubt(ticket, "the request was lost")),
                None => {}
            }
            self.store.append(session, &through).await
        }

        async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
            self.store.load(session, load).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_meanwhile_decides_what_is_new() {
        use Before::{LostAnswer, LostRequest, RewindTo};
        let other = |append| Before::Append(Box::new(append));
        // Ids 0, 1 and 2 are there, a record each; 1, 2 and 3 are to be appended.
        for (before, new, left) in [
            (vec![], vec![3], vec![0, 1, 2, 3]),
            (vec![LostAnswer], vec![3], vec![0, 1, 2, 3]),
            (vec![LostRequest, LostRequest], vec![3], vec![0, 1, 2, 3]),
            (vec![other(with_ids(&[9]))], vec![3], vec![0, 1, 2, 9, 3]),
            (vec![other(with_ids(&[9])), LostRequest, other(with_ids(&[8]))], vec![3], vec![0, 1, 2, 9, 8, 3]),
            (vec![other(with_ids(&[3]))], vec![], vec![0, 1, 2, 3]),
            (vec![other(with_ids(&[3])), LostRequest], vec![], vec![0, 1, 2, 3]),
            (vec![other(Append::clear())], vec![1, 2, 3], vec![1, 2, 3]),
            (vec![other(Append::replace_all(with_ids(&[2]).entries()))], vec![1, 3], vec![2, 1, 3]),
            (vec![RewindTo(2)], vec![2, 3], vec![0, 1, 2, 3]),
            (vec![RewindTo(1)], vec![1, 2, 3], vec![0, 1, 2, 3]),
        ] {
            let what = format!("{before:?}");
            let (store, session) = (InMemoryStore::new(), SessionId::random());
            for id in 0..3 {
                store.append(&session, &with_ids(&[id])).await.expect("in memory");
            }
            let store = Racing { store, before: Mutex::new(before.into_iter().rev().collect()) };
            let appended = store.append_new(&session, with_ids(&[1, 2, 3])).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(appended.new, [1, 2, 3].map(|id| new.contains(&id)), "{what}");
            assert_eq!(appended.appended.is_some(), !new.is_empty(), "{what}");
            let history = store.load(&session, &Load::all()).await.expect("in memory");
            let ids: Vec<u32> = history.messages().filter_map(|message| message.id.as_ref()?.parse().ok()).collect();
            assert_eq!(ids, left, "{what}");
            assert_eq!(appended.position, history.position, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn endless_conflicts_end_as_contended() {
        let before = vec![Before::Append(Box::new(with_ids(&[9]))); 2 * ATTEMPTS as usize];
        let store = Racing { store: InMemoryStore::new(), before: Mutex::new(before) };
        let error = store.append_new(&SessionId::random(), with_ids(&[1])).await.expect_err("others come first each time");
        assert_eq!(error.kind(), ErrorKind::Contended, "{error}");
    }
}
