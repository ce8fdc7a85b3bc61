//! Appends only the entries that a session does not contain yet, by the ids that they carry.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::entry_ids::{EntryIds, reused};
use super::{Append, Appended, ChatStore, ChatStoreExt, Cost, Identity, Position};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind};
use crate::session::SessionId;
use crate::timestamp::Timestamp;

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
    let wanted = ids_of(&append)?;
    let remembered = store.entry_ids().and_then(|cache| cache.take(session)).filter(|ids| ids.hold_at(Timestamp::now(), &wanted));
    let (mut cost, is_current) = (Cost::default(), remembered.is_none());
    let mut ids = match remembered {
        Some(ids) => ids,
        None => EntryIds::read(store, session, &wanted, &mut cost).await?,
    };
    let appended = append_at(store, session, &append, &wanted, &mut ids, is_current, cost).await;
    if let Some(cache) = store.entry_ids() {
        cache.put(session, ids);
    }
    appended
}

/// Appends the entries that the ids do not contain, at their position. Ids that are not current are remembered from an earlier call:
/// an append that succeeds at their position proves that they still hold, and any other result is given only after a read.
async fn append_at<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    append: &Append,
    wanted: &HashSet<&str>,
    ids: &mut EntryIds,
    mut is_current: bool,
    mut cost: Cost,
) -> Result<AppendedNew, Error> {
    let mut attempt = 1;
    while attempt <= ATTEMPTS {
        let new = ids.which_are_new(append);
        let is_something_new = new.as_ref().is_ok_and(|new| new.contains(&true));
        let is_expected = append.expected().is_none_or(|expected| *expected == ids.position);
        if !(is_current || is_something_new && is_expected) {
            ids.read_newer(store, session, wanted, &mut cost).await?;
            is_current = true;
            continue;
        }
        let new = new?;
        if !is_something_new {
            return Ok(AppendedNew { new, appended: None, position: ids.position.clone(), cost });
        }
        if !is_expected {
            return Err(Error::conflict(ids.position.clone()));
        }
        let only_new = append.only(&new, ids.position.clone());
        match store.append_with_retry(session, only_new).await {
            Ok(appended) => {
                ids.extend(append, &appended, wanted);
                cost += appended.cost;
                return Ok(AppendedNew { new, position: appended.position.clone(), appended: Some(appended), cost });
            }
            Err(error) if error.is_conflict() => {
                tokio::time::sleep((PAUSE * attempt).min(LONGEST_PAUSE)).await;
                ids.read_newer(store, session, wanted, &mut cost).await?;
                is_current = true;
                attempt += 1;
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

/// Collects the ids of an append.
///
/// # Errors
/// Key reused if an id comes twice, with different bodies.
fn ids_of(append: &Append) -> Result<HashSet<&str>, Error> {
    let mut first: HashMap<&str, &Entry> = HashMap::new();
    for entry in append.entries() {
        if let Some(id) = entry.id()
            && *first.entry(id).or_insert(entry) != entry
        {
            return Err(reused(id, "occurs twice in the append, with different bodies"));
        }
    }
    Ok(first.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::message::Message;
    use crate::store::{AppendId, Capabilities, EntryIdCache, History, InMemoryStore, Load, Ticket};

    fn with_ids(ids: &[u32]) -> Append {
        Append::new(ids.iter().map(|id| Message::user(format!("line {id}")).with_id(id.to_string())))
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
        loads: AtomicUsize,
    }

    impl Racing {
        fn new(before: &[Before]) -> Self {
            let before = Mutex::new(before.iter().rev().cloned().collect());
            Self { store: InMemoryStore::new(), before, loads: AtomicUsize::new(0) }
        }
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
            self.loads.fetch_add(1, Ordering::SeqCst);
            self.store.load(session, load).await
        }

        fn entry_ids(&self) -> Option<&EntryIdCache> {
            self.store.entry_ids()
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
            for remembered in [false, true] {
                let what = format!("{before:?}, remembered: {remembered}");
                let (store, session) = (Racing::new(&before), SessionId::random());
                for id in 0..3 {
                    let append = with_ids(&[id]);
                    if remembered {
                        store.store.append_new(&session, append).await.expect("in memory");
                    } else {
                        store.store.append(&session, &append).await.expect("in memory");
                    }
                }
                let appended = store.append_new(&session, with_ids(&[1, 2, 3])).await.unwrap_or_else(|e| panic!("{what}: {e}"));
                let is_proven = before.iter().all(|before| matches!(before, LostAnswer | LostRequest));
                assert_eq!(store.loads.load(Ordering::SeqCst) == 0, remembered && is_proven, "{what}");
                assert_eq!(appended.new, [1, 2, 3].map(|id| new.contains(&id)), "{what}");
                assert_eq!(appended.appended.is_some(), !new.is_empty(), "{what}");
                let history = store.load(&session, &Load::all()).await.expect("in memory");
                let ids: Vec<u32> = history.messages().filter_map(|message| message.id.as_ref()?.parse().ok()).collect();
                assert_eq!(ids, left, "{what}");
                assert_eq!(appended.position, history.position, "{what}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn endless_conflicts_end_as_contended() {
        let before = vec![Before::Append(Box::new(with_ids(&[9]))); 2 * ATTEMPTS as usize];
        let store = Racing::new(&before);
        let error = store.append_new(&SessionId::random(), with_ids(&[1])).await.expect_err("others come first each time");
        assert_eq!(error.kind(), ErrorKind::Contended, "{error}");
    }
}
