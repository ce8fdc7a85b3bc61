//! All sessions of an owner.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _};

use super::{ChatStore, Cost, Deleted, SessionQuery};
use crate::error::{Error, ErrorKind};
use crate::session::{Owner, SessionId};

/// How many sessions are deleted at once.
const AT_ONCE: usize = 8;

/// How often the list is read from its start. Twice is usual: the second list shows that nothing is left.
const PASSES: usize = 10;

/// A session of an owner whose sessions are deleted.
#[derive(Debug)]
#[non_exhaustive]
pub struct OwnedSession {
    /// The session.
    pub session: SessionId,
    /// The result of its delete.
    pub result: Result<Deleted, Error>,
}

/// What a deletion of an owner's sessions did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct OwnerDeletion {
    /// Sessions that were deleted.
    pub sessions: u64,
    /// Records whose messages were erased.
    pub records: u64,
    /// Sessions that could not be deleted, and are left.
    pub failed: u64,
    /// Whether it stopped before the end: there may be more sessions.
    pub more: bool,
    /// What it cost.
    pub cost: Cost,
}

pub(super) async fn delete_owner<S: ChatStore + ?Sized>(
    store: &S,
    owner: &Owner,
    most: Option<u64>,
    progress: &mut (dyn FnMut(OwnedSession) + Send),
) -> Result<OwnerDeletion, Error> {
    let mut done = OwnerDeletion::default();
    let mut failed = HashSet::new();
    for _ in 0..PASSES {
        let mut query = SessionQuery::of(owner.clone()).with_expired();
        let mut is_empty = true;
        loop {
            let page = store.sessions(&query).await?;
            done.cost += page.cost;
            let left: Vec<SessionId> =
                page.sessions.into_iter().map(|info| info.id).filter(|session| !failed.contains(session)).collect();
            is_empty &= left.is_empty();
            for some in left.chunks(AT_ONCE) {
                if most.is_some_and(|most| done.sessions + done.failed >= most) {
                    done.more = true;
                    return Ok(done);
                }
                let deletes = some.iter().cloned().map(|session| async move {
                    let result = store.delete(&session).await;
                    OwnedSession { session, result }
                });
                let results: Vec<_> = stream::iter(deletes).buffer_unordered(AT_ONCE).collect().await;
                for deleted in results {
                    match &deleted.result {
                        Ok(deleted) => {
                            done.sessions += 1;
                            done.records += deleted.records;
                            done.cost += deleted.cost;
                        }
                        Err(_) => {
                            done.failed += 1;
                            failed.insert(deleted.session.clone());
                        }
                    }
                    progress(deleted);
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        if is_empty {
            return Ok(done);
        }
    }
    Err(Error::new(
        ErrorKind::Contended,
        format!(
            "sessions of {:?} keep being started while they are deleted; stop what starts them and run it again",
            owner.as_str()
        ),
    ))
}
