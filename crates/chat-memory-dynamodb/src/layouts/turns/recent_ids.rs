//! Recent ids: the appends in each session's log of late, so that an append with a key need not search a day of records each time.

use crate::common::timing::RECENT_IDS;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cached_tail::CachedTail;
use chat_memory_core::Timestamp;
use chat_memory_core::store::AppendId;

/// How many ids are remembered in total. A session whose ids are forgotten costs a search through its last day.
const REMEMBERED: usize = 200_000;

/// The ids of each session's newest records, by partition key: all that a key may refer to, without a gap.
#[derive(Debug, Default)]
pub(super) struct RecentIds(Mutex<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    by_pk: HashMap<String, Seen>,
    count: usize,
}

/// The ids of one log up to its last known record, which tells this log from another that was purged and has grown again.
#[derive(Debug)]
struct Seen {
    next: u64,
    last: Option<AppendId>,
    ids: HashSet<AppendId>,
    /// With their times, oldest first.
    order: VecDeque<(AppendId, Timestamp)>,
}

impl RecentIds {
    /// Starts a session's ids after a search through all records of a key's lifetime, up to this tail. The ids and their times are
    /// newest first.
    pub(super) fn start(&self, pk: &str, end: &CachedTail, newest_first: &[(AppendId, Timestamp)]) {
        let mut sessions = self.lock();
        sessions.forget(pk);
        if sessions.count + newest_first.len() > REMEMBERED {
            *sessions = Sessions::default();
        }
        if newest_first.len() > REMEMBERED {
            return;
        }
        let ids = newest_first.iter().map(|(id, _)| *id).collect();
        let order = newest_first.iter().rev().copied().collect();
        sessions.count += newest_first.len();
        sessions.by_pk.insert(pk.to_owned(), Seen { next: end.next, last: end.last_id(), ids, order });
    }

    /// Adds the record `seq` of this append; the record before it is `before`. Ignored unless the known ids end exactly there.
    pub(super) fn extend(&self, pk: &str, before: Option<AppendId>, seq: u64, id: AppendId, created_at: Timestamp) {
        let mut sessions = self.lock();
        if sessions.count >= REMEMBERED {
            *sessions = Sessions::default();
        }
        let Some(seen) = sessions.by_pk.get_mut(pk).filter(|seen| (seen.next, seen.last) == (seq, before)) else { return };
        let had = seen.order.len();
        (seen.next, seen.last) = (seq + 1, Some(id));
        seen.ids.insert(id);
        seen.order.push_back((id, created_at));
        while let Some((old, at)) = seen.order.front().copied()
            && at < created_at - RECENT_IDS
        {
            seen.order.pop_front();
            seen.ids.remove(&old);
        }
        let has = seen.order.len();
        sessions.count = sessions.count + has - had;
    }

    /// Whether the ids reach exactly this tail, and this id is not among them.
    pub(super) fn lack(&self, pk: &str, end: &CachedTail, id: AppendId) -> bool {
        let sessions = self.lock();
        let seen = sessions.by_pk.get(pk).filter(|seen| (seen.next, seen.last) == (end.next, end.last_id()));
        seen.is_some_and(|seen| !seen.ids.contains(&id))
    }

    /// The end of the known ids if this one is not among them: the next number, and the id before it.
    pub(super) fn end_without(&self, pk: &str, id: AppendId) -> Option<(u64, Option<AppendId>)> {
        let sessions = self.lock();
        sessions.by_pk.get(pk).filter(|seen| !seen.ids.contains(&id)).map(|seen| (seen.next, seen.last))
    }

    /// Forgets a session.
    pub(super) fn forget(&self, pk: &str) {
        self.lock().forget(pk);
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn forget(&mut self, pk: &str) {
        if let Some(seen) = self.by_pk.remove(pk) {
            self.count -= seen.order.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_memory_core::backend::Moment;

    fn id(n: u8) -> AppendId {
        AppendId::from_bytes([n; 16])
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn end(next: u64, last: u8) -> CachedTail {
        let now = Moment { mono_ms: 0, wall: Timestamp::UNIX_EPOCH };
        let mut end = CachedTail::empty(now);
        end.next = next;
        end.last = Some(super::super::cached_tail::Last {
            append_id: id(last),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            purged_at: None,
            links: super::super::item::Links::default(),
        });
        end
    }

    #[test]
    fn recent_ids_extend_only_from_their_end() {
        let seen = RecentIds::default();
        seen.start("s", &end(3, 2), &[(id(2), at(20)), (id(1), at(10))]);
        assert!(seen.lack("s", &end(3, 2), id(9)) && !seen.lack("s", &end(3, 2), id(1)));
        assert!(!seen.lack("s", &end(4, 3), id(9)), "an end that was not seen");
        assert!(!seen.lack("s", &end(3, 7), id(9)), "another log of that length");
        seen.extend("s", Some(id(7)), 3, id(3), at(30));
        seen.extend("s", Some(id(2)), 4, id(4), at(40));
        assert_eq!(seen.end_without("s", id(9)), Some((3, Some(id(2)))), "neither continues from there");
        seen.extend("s", Some(id(2)), 3, id(3), at(30));
        assert!(seen.lack("s", &end(4, 3), id(9)) && seen.end_without("s", id(3)).is_none());
        seen.extend("t", None, 0, id(1), at(0));
        assert!(seen.end_without("t", id(9)).is_none(), "a session that nobody looked through");
    }

    #[test]
    fn expired_recent_ids_are_forgotten() {
        let seen = RecentIds::default();
        seen.start("s", &end(1, 1), &[(id(1), at(0))]);
        seen.extend("s", Some(id(1)), 1, id(2), at(1) + RECENT_IDS);
        assert!(seen.end_without("s", id(1)).is_some(), "it is too old");
        assert_eq!(seen.lock().count, 1);
        seen.forget("s");
        assert_eq!(seen.lock().count, 0);
    }
}
