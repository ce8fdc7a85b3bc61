//! Deleting all sessions of an owner.

use uuid::Uuid;

use crate::conformance::sample::{saying, texts};
use crate::conformance::{Failure, TestContext};
use crate::session::{Owner, SessionId};
use crate::store::{ChatStore, SessionQuery};
use crate::{ChatStoreExt as _, Error};

const NOTHING: [String; 0] = [];

async fn listed(store: &dyn ChatStore, owner: &Owner) -> Result<usize, Error> {
    Ok(store.sessions(&SessionQuery::of(owner.clone()).with_expired().limit(1_000)).await?.sessions.len())
}

pub(super) async fn sessions_of_an_owner_are_deleted(context: TestContext) -> Result<(), Failure> {
    let (ada, bob) =
        (Owner::new(format!("conformance/{}", Uuid::new_v4()))?, Owner::new(format!("conformance/{}", Uuid::new_v4()))?);
    let mut sessions: Vec<SessionId> = Vec::new();
    for n in 0..20 {
        let session = context.session()?;
        context.store.append(&session, &saying("0").with_owner(ada.clone())).await?;
        context.store.append(&session, &saying("1")).await?;
        if n == 3 {
            // A session without messages is one, too.
            context.store.clear(&session).await?;
        }
        sessions.push(session);
    }
    let (of_bob, unowned) = (context.session()?, context.session()?);
    context.store.append(&of_bob, &saying("bob's").with_owner(bob.clone())).await?;
    context.store.append(&unowned, &saying("nobody's")).await?;

    let handle = context.open().await?;
    let mut told = Vec::new();
    let some = handle.delete_owner(&ada, Some(10), &mut |done| told.push(done.session)).await?;
    ensure!(some.more, "a deletion that stopped says that it is complete");
    ensure!((10..20).contains(&some.sessions), "a deletion of about 10 sessions deleted {}", some.sessions);
    ensure_eq!(listed(&handle, &ada).await? as u64, 20 - some.sessions, "the sessions that are left");
    let rest = handle.delete_owner(&ada, None, &mut |done| told.push(done.session)).await?;
    ensure_eq!((some.sessions + rest.sessions, rest.failed, rest.more), (20, 0, false), "what both deletions did");
    ensure!(some.records + rest.records >= 38, "two deletions of 38 records erased {}", some.records + rest.records);
    told.sort();
    sessions.sort();
    ensure_eq!(told, sessions, "the sessions that were reported");
    for handle in context.handles(1).await? {
        ensure_eq!(listed(&handle, &ada).await?, 0, "the sessions that are listed after the deletion");
        for session in &sessions {
            ensure_eq!(texts(&handle, session).await?, NOTHING, "the messages of a deleted session");
        }
        ensure_eq!(texts(&handle, &of_bob).await?, ["bob's"], "the messages of another owner");
        ensure_eq!(texts(&handle, &unowned).await?, ["nobody's"], "the messages of an unowned session");
        let again = handle.delete_owner(&ada, None, &mut |_| {}).await?;
        ensure_eq!((again.sessions, again.records, again.more), (0, 0, false), "what a repeat did");
    }
    Ok(())
}
