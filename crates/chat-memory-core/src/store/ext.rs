//! Operations built on the store contract, for any store.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::fork::{self, Fork, ForkPlan, Forked};
use super::new_entries::{AppendedNew, append_new};
use super::owner::{self, OwnedSession, OwnerDeletion};
use super::pages::{self, ForwardCursor, ForwardPage};
use super::{Append, Appended, ChatStore, Load, Position, Record, SessionInfo, SessionPage, SessionQuery};
use crate::entry::Entry;
use crate::error::Error;
use crate::session::{Owner, SessionId};

/// How often an append whose outcome is unknown is repeated with its ticket. Each attempt has the store's own retries and
/// deadline.
const REPEATS: u32 = 3;

/// The delay before the first repeat; it grows with each repeat.
const PAUSE: Duration = Duration::from_millis(200);

/// Convenience methods for any store.
#[async_trait]
pub trait ChatStoreExt: ChatStore {
    /// Removes the last `turns` turns, each from a message that [begins a turn](crate::Message::begins_turn) to the next; all of
    /// them if there are fewer. Returns `None` if there was nothing to remove.
    ///
    /// # Errors
    /// Conflict if another writer wrote in the meantime; otherwise as [`ChatStore::load`] and [`ChatStore::append`].
    async fn rewind_turns(&self, session: &SessionId, turns: usize) -> Result<Option<Appended>, Error> {
        let history = self.load(session, &Load::turns(turns)).await?;
        let Some(append) = Append::rewind_turns(&history, turns, None::<Entry>)? else { return Ok(None) };
        let mut appended = self.append(session, &append).await?;
        appended.cost += history.cost;
        Ok(Some(appended))
    }

    /// Removes the records from number `seq` on.
    ///
    /// # Errors
    /// Invalid if no visible record has this number; conflict if another writer wrote in the meantime; otherwise as
    /// [`ChatStore::load`] and [`ChatStore::append`].
    async fn rewind_to(&self, session: &SessionId, seq: u64) -> Result<Appended, Error> {
        let history = self.load(session, &Load::all().since(seq)).await?;
        let mut appended = self.append(session, &Append::rewind(&history, seq, None::<Entry>)?).await?;
        appended.cost += history.cost;
        Ok(appended)
    }

    /// Streams the records of a session's view, newest first, in pages of 100 records: for histories that do not fit into
    /// memory.
    ///
    /// Each record comes once, in descending order, and none is left out between two that come, whatever is written meanwhile. What is
    /// appended after the stream began is not part of it. What a rewind takes back, or a clear or delete hides, before the stream
    /// reaches it, does not come: after a clear the stream ends, without an error.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory::{Append, ChatStore, ChatStoreExt, Message, SessionId};
    /// use futures_util::TryStreamExt;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let (store, trip) = (InMemoryStore::new(), SessionId::new("trip")?);
    /// for text in ["Where to?", "To Lisbon."] {
    ///     store.append(&trip, &Append::new([Message::user(text)])).await?;
    /// }
    /// let mut records = store.records_backwards(&trip);
    /// while let Some(record) = records.try_next().await? {
    ///     println!("{}: {:?}", record.seq, record.entries);
    /// }
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChatStore::load`]; then the stream ends.
    fn records_backwards<'a>(&'a self, session: &'a SessionId) -> BoxStream<'a, Result<Record, Error>> {
        pages::backwards(self, session)
    }

    /// Streams the records of a session's view, oldest first, in pages of up to 500 records and some 2 MB: for histories that do not fit
    /// into memory.
    ///
    /// A log can only be read from its end, since a later record may hide any earlier one. So the stream first reads back to the start, keeps
    /// the four oldest pages, and reads the others a second time: a session of some 2,000 records and 8 MB is read once, a longer one almost
    /// twice.
    ///
    /// Each record comes once, in ascending order. What is appended after the stream began is not part of it. What is taken back, cleared
    /// or deleted before its page is read for the last time does not come.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory::{Append, ChatStore, ChatStoreExt, Message, SessionId};
    /// use futures_util::TryStreamExt;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let (store, trip) = (InMemoryStore::new(), SessionId::new("trip")?);
    /// for text in ["Where to?", "To Lisbon."] {
    ///     store.append(&trip, &Append::new([Message::user(text)])).await?;
    /// }
    /// let numbers: Vec<u64> = store.records_forwards(&trip).map_ok(|record| record.seq).try_collect().await?;
    /// assert_eq!(numbers, [0, 1]);
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChatStore::load`]; then the stream ends.
    fn records_forwards<'a>(&'a self, session: &'a SessionId) -> BoxStream<'a, Result<Record, Error>> {
        pages::forwards(self, session)
    }

    /// Returns a page of what [`records_forwards`](Self::records_forwards) streams: the first, or the one after another page. For callers
    /// that cannot hold a stream, such as one whose next request may reach another process.
    ///
    /// The first page reads the whole session, and has its oldest records, up to some 2,000 and 8 MB. Each further page is read again.
    ///
    /// # Errors
    /// As [`ChatStore::load`].
    async fn page_forwards(&self, session: &SessionId, after: Option<ForwardCursor>) -> Result<ForwardPage, Error> {
        pages::page_forwards(self, session, after).await
    }

    /// Streams the pages of a list of sessions, from the query's cursor on.
    ///
    /// By start, each session comes once at most, and every session that is listed all the while comes; by last activity, see
    /// [`SessionQuery::recent`].
    ///
    /// # Errors
    /// As [`ChatStore::sessions`]; then the stream ends.
    fn session_pages(&self, query: SessionQuery) -> BoxStream<'_, Result<SessionPage, Error>> {
        let pages = stream::try_unfold(Some(query), move |query| async move {
            let Some(mut query) = query else { return Ok(None) };
            let page = self.sessions(&query).await?;
            query.after.clone_from(&page.next);
            Ok(Some((page, query.after.is_some().then_some(query))))
        });
        pages.boxed()
    }

    /// Streams the sessions of a list, as [`session_pages`](Self::session_pages) does their pages.
    ///
    /// ```
    /// use chat_memory::store::{InMemoryStore, SessionQuery};
    /// use chat_memory::ChatStoreExt;
    /// use futures_util::TryStreamExt;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let sessions: Vec<_> = InMemoryStore::new().session_stream(SessionQuery::unowned()).try_collect().await?;
    /// assert!(sessions.is_empty());
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChatStore::sessions`]; then the stream ends.
    fn session_stream(&self, query: SessionQuery) -> BoxStream<'_, Result<SessionInfo, Error>> {
        let sessions = |page: SessionPage| stream::iter(page.sessions.into_iter().map(Ok));
        self.session_pages(query).map_ok(sessions).try_flatten().boxed()
    }

    /// Streams the pages of all sessions, with and without owners, in no order ([`ChatStore::list_all_sessions`]). A session that
    /// is started or deleted meanwhile may come or not.
    ///
    /// # Errors
    /// As [`ChatStore::list_all_sessions`]; then the stream ends.
    fn all_session_pages(&self) -> BoxStream<'_, Result<SessionPage, Error>> {
        let pages = stream::try_unfold(Some(None), move |after: Option<Option<String>>| async move {
            let Some(after) = after else { return Ok(None) };
            let page = self.list_all_sessions(after.as_deref()).await?;
            let next = page.next.clone().map(Some);
            Ok(Some((page, next)))
        });
        pages.boxed()
    }

    /// Appends and, if the outcome is unknown, repeats the append with its ticket a few times. For callers that cannot hand on a
    /// ticket. It takes at most four times the store's own deadline.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory::{Append, ChatStoreExt, Message, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let turn = Append::new([Message::user("Where to?"), Message::assistant("To Lisbon.")]);
    /// let appended = InMemoryStore::new().append_with_retry(&SessionId::new("trip")?, turn).await?;
    /// assert_eq!(appended.seq, 0);
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChatStore::append`]: in doubt, with the ticket, if no repeat could determine the outcome.
    async fn append_with_retry(&self, session: &SessionId, append: Append) -> Result<Appended, Error> {
        write_with_retry(self, session, [append]).await
    }

    /// Appends several records in one step and, if the outcome is unknown, repeats that as
    /// [`append_with_retry`](Self::append_with_retry) does.
    ///
    /// # Errors
    /// As [`ChatStore::append_all`]: in doubt, with the ticket, if no repeat could determine the outcome.
    async fn append_all_with_retry(&self, session: &SessionId, appends: Vec<Append>) -> Result<Appended, Error> {
        write_with_retry(self, session, appends).await
    }

    /// Forks a session: creates `target` with a copy of what `session` shows, up to a record or all of it.
    ///
    /// The records are copied, not shared: what happens to one session later does not touch the other. They keep their entries,
    /// their metadata and the times of their entries, and get numbers and times of their own. `target` appears in one step with all
    /// of them. It begins now, with the owner, the title and the session metadata of `session` unless `fork` gives others, and its
    /// session metadata names its [`Origin`](super::Origin) in the field [`FORKED_FROM`](super::FORKED_FROM). A store without a
    /// directory keeps none of these.
    ///
    /// It costs a load of the session and the writing of the copies; [`plan_fork`](Self::plan_fork) estimates the latter.
    ///
    /// ```
    /// use chat_memory::store::{Fork, InMemoryStore};
    /// use chat_memory::{Append, ChatStore, ChatStoreExt, Message, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let (store, trip, rome) = (InMemoryStore::new(), SessionId::new("trip")?, SessionId::new("trip-rome")?);
    /// for text in ["Where to?", "To Lisbon.", "How?"] {
    ///     store.append(&trip, &Append::new([Message::user(text)])).await?;
    /// }
    /// let forked = store.fork(&trip, &rome, &Fork::new().up_to(0)).await?;
    /// assert_eq!(forked.records, 1);
    /// let origin = store.session(&rome).await?.and_then(|info| info.forked_from()).ok_or("it is a fork")?;
    /// assert_eq!((origin.session, origin.seq), (trip, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Conflict if `target` has messages or is listed; invalid if `session` has no messages, or does not show the record; key reused
    /// if the fork's key was used for something else; too large if the store cannot write as much in one step; in doubt if the
    /// outcome is unknown, after some repeats (the same fork again, with a key, settles it); unsupported if the store cannot fork;
    /// otherwise as [`ChatStore::load`] and [`ChatStore::append_all`].
    async fn fork(&self, session: &SessionId, target: &SessionId, fork: &Fork) -> Result<Forked, Error> {
        fork::fork(self, session, target, fork).await
    }

    /// Returns the position at which a new session with this id begins, so that an append that [expects](Append::with_expected) it adds
    /// to no session that exists. `None` if one has messages or is listed.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory::{Append, ChatStore, ChatStoreExt, Message, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let (store, trip) = (InMemoryStore::new(), SessionId::new("trip")?);
    /// let start = store.start_position(&trip).await?.ok_or("trip exists")?;
    /// store.append(&trip, &Append::new([Message::user("Where to?")]).with_expected(start)).await?;
    /// assert!(store.start_position(&trip).await?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChatStore::load`] and [`ChatStore::session`].
    async fn start_position(&self, session: &SessionId) -> Result<Option<Position>, Error> {
        fork::start_position(self, session).await
    }

    /// Reads what [`fork`](Self::fork) would copy, and estimates what writing that would cost. Writes nothing.
    ///
    /// # Errors
    /// Those of [`fork`](Self::fork) that can be known before: conflict, invalid, and those of the load.
    async fn plan_fork(&self, session: &SessionId, target: &SessionId, fork: &Fork) -> Result<ForkPlan, Error> {
        fork::plan_fork(self, session, target, fork).await
    }

    /// Deletes all sessions of an owner, also those that have expired and are not erased yet: a person's right to be forgotten. Calls
    /// `progress` with each session and the result of its [delete](ChatStore::delete).
    ///
    /// It lists the owner's sessions and deletes them, eight at a time, until a list shows none. A session that cannot be deleted is
    /// counted in [`failed`](OwnerDeletion::failed), and the others are deleted nevertheless; so a result without `failed` and without
    /// [`more`](OwnerDeletion::more) means that nothing of the owner is listed any more. If it is interrupted, call it again. With
    /// `most`, it stops after about as many sessions and reports that there are more.
    ///
    /// Not covered: what an interrupted delete left of a session that is no longer listed (on DynamoDB, `table sweep` erases that),
    /// the threads of a checkpoint store, and the owner's name in metadata and messages of others.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory::{Append, ChatStore, ChatStoreExt, Message, Owner, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let (store, ada) = (InMemoryStore::new(), Owner::new("ada")?);
    /// let hello = Append::new([Message::user("Hello")]).with_owner(ada.clone());
    /// store.append(&SessionId::new("trip")?, &hello).await?;
    /// let erased = store.delete_owner(&ada, None, &mut |done| println!("{}", done.session)).await?;
    /// assert_eq!((erased.sessions, erased.failed, erased.more), (1, 0, false));
    /// # Ok::<(), chat_memory::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChatStore::sessions`]; contended if sessions of this owner keep being started. What was deleted stays deleted.
    async fn delete_owner(
        &self,
        owner: &Owner,
        most: Option<u64>,
        progress: &mut (dyn FnMut(OwnedSession) + Send),
    ) -> Result<OwnerDeletion, Error> {
        owner::delete_owner(self, owner, most, progress).await
    }

    /// Appends the entries whose [ids](Entry::id) the session does not contain yet, so that overlapping batches, such as the lines
    /// of a growing transcript, are stored once.
    ///
    /// An entry is left out if a visible record of the last 24 hours ([`KEY_LIFETIME`](super::KEY_LIFETIME), as for
    /// idempotency keys) has one with the same id, or if it comes a second time in the append. Entries without an id are always
    /// appended. What was rewound or cleared may be appended again. If another writer appends in the meantime, what is new is read
    /// and the append is tried again. A repeat of a call is safe for all entries with an id, whatever the outcome of the first one.
    ///
    /// The first call for a session reads the records of the last 24 hours, from the newest back to the one that completes the ids.
    /// Then the store [remembers](ChatStore::entry_ids) the ids, and a further call costs its append; if nothing is new, a read of the
    /// last record; and if others wrote in the meantime, a read of what they wrote.
    ///
    /// ```
    /// use chat_memory::store::InMemoryStore;
    /// use chat_memory::{Append, ChatStoreExt, Entry, SessionId};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let (store, session) = (InMemoryStore::new(), SessionId::new("agent")?);
    /// let line = |n: u32| Entry::from_json(&format!(r#"{{"type": "progress", "uuid": "line-{n}"}}"#));
    /// store.append_new(&session, Append::new([line(1)?, line(2)?])).await?;
    /// let again = store.append_new(&session, Append::new([line(2)?, line(3)?])).await?;
    /// assert_eq!(again.new, [false, true]);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Key reused, naming the id, if an entry with a known id has another body; invalid for an append that rewinds, or that has an
    /// idempotency key or a ticket, since the ids take their place; conflict if the append expects another position and something
    /// is new; contended if other writers kept it from getting through; otherwise as [`ChatStore::load`] and
    /// [`append_with_retry`](Self::append_with_retry). After an error, repeat the call.
    async fn append_new(&self, session: &SessionId, append: Append) -> Result<AppendedNew, Error> {
        append_new(self, session, append).await
    }
}

impl<S: ChatStore + ?Sized> ChatStoreExt for S {}

async fn write_with_retry<S: ChatStore + ?Sized>(
    store: &S,
    session: &SessionId,
    mut appends: impl AsMut<[Append]> + Send,
) -> Result<Appended, Error> {
    async fn write<S: ChatStore + ?Sized>(store: &S, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        match appends {
            [append] => store.append(session, append).await,
            all => store.append_all(session, all).await,
        }
    }
    let appends = appends.as_mut();
    let doubt = match write(store, session, appends).await {
        Err(error) if error.is_in_doubt() => error,
        settled => return settled,
    };
    let (Some(ticket), [first, ..]) = (doubt.ticket().copied(), &mut *appends) else { return Err(doubt) };
    *first = first.clone().with_ticket(ticket);
    for attempt in 1..=REPEATS {
        tokio::time::sleep(PAUSE * attempt).await;
        match write(store, session, appends).await {
            // These errors do not reveal the outcome of the first attempt, so it stays in doubt.
            Err(error) if error.is_in_doubt() || error.is_retryable() || error.is_access_denied() => {}
            settled => return settled,
        }
    }
    Err(doubt)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::message::Message;
    use crate::store::{AppendId, Capabilities, History, Identity, InMemoryStore, Ticket};

    /// A store whose first responses are lost, with the write stored or not.
    #[derive(Debug)]
    struct Lossy {
        store: InMemoryStore,
        lose: AtomicUsize,
        lands: bool,
    }

    #[async_trait]
    impl ChatStore for Lossy {
        fn capabilities(&self) -> Capabilities {
            self.store.capabilities()
        }

        async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
            let ticket = match append.identity() {
                Identity::Ticket(ticket) => *ticket,
                _ => Ticket::new(AppendId::random(), 0),
            };
            let through = append.clone().with_ticket(ticket);
            if self.lose.load(Ordering::SeqCst) == 0 {
                return self.store.append(session, &through).await;
            }
            self.lose.fetch_sub(1, Ordering::SeqCst);
            if self.lands {
                self.store.append(session, &through).await?;
            }
            Err(Error::in_doubt(ticket, "the answer was lost"))
        }

        async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
            self.store.load(session, load).await
        }
    }

    #[tokio::test]
    async fn streams_of_sessions_have_every_session_once() {
        let store = InMemoryStore::new();
        for n in 0..7 {
            let session = SessionId::new(format!("s{n}")).expect("a good id");
            store.append(&session, &Append::new([Message::user("x")])).await.expect("in memory");
        }
        let query = SessionQuery::unowned().limit(3);
        let pages: Vec<_> =
            store.session_pages(query.clone()).map_ok(|page| page.sessions.len()).try_collect().await.expect("a list");
        assert_eq!(pages, [3, 3, 1]);
        let mut sessions = store.session_stream(query);
        let mut ids = Vec::new();
        while let Some(info) = sessions.try_next().await.expect("a list") {
            if ids.is_empty() {
                // The session that the next page would begin with.
                store.delete(&SessionId::new("s0").expect("a good id")).await.expect("in memory");
            }
            ids.push(info.id.to_string());
        }
        ids.sort();
        assert_eq!(ids, ["s1", "s2", "s3", "s4", "s5", "s6"]);
        let all: Vec<_> = store.all_session_pages().try_collect().await.expect("a list");
        assert_eq!(all.iter().map(|page| page.sessions.len()).sum::<usize>(), 6);
        let failed = store.session_pages(SessionQuery::unowned().after("x")).try_collect::<Vec<_>>().await;
        assert!(failed.expect_err("no cursor").is_invalid());
    }

    #[tokio::test(start_paused = true)]
    async fn lost_answer_does_not_duplicate_the_append() {
        for (lands, lose) in [(true, 1), (false, 1), (true, 3), (false, 3), (true, 100)] {
            let store = Lossy { store: InMemoryStore::new(), lose: AtomicUsize::new(lose), lands };
            let session = SessionId::random();
            let appended = store.append_with_retry(&session, Append::new([Message::user("once")])).await;
            assert_eq!(appended.is_ok(), lose < 100);
            assert!(appended.map_or_else(|e| e.ticket().is_some(), |a| a.seq == 0));
            let history = store.load(&session, &Load::all()).await.expect("in memory");
            assert_eq!(history.messages().count(), 1, "lands: {lands}, lost: {lose}");
        }
    }
}
