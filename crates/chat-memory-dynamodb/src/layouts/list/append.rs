//! Append: one conditional update, repeated until its outcome is known.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::element::{self, Dialect};
use super::find::{FoundAppend, Since};
use super::generations::{Generation, as_known};
use super::load::LOOK_AGAIN_MS;
use super::roll::Rolling;
use super::state::{Bare, Parts, State};
use super::{Listed, Rule, attributes, retry};
use crate::common::names::{LIST_IDS, secs};
use crate::common::retry::Retry;
use crate::common::sessions::in_doubt;
use crate::common::size::value_bytes;
use crate::table::{Clock, Condition, Item, Table, Update, Updated};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::message::{Message, Role};
use chat_memory_core::store::{Append, AppendId, Appended, Cost, Identity, KEY_LIFETIME, Position};
use chat_memory_core::{SessionId, Timestamp};

/// One append in progress.
pub(super) struct Attempt<'a> {
    pub(super) session: &'a SessionId,
    pub(super) append: &'a Append,
    /// The records that follow it in the same request.
    pub(super) more: &'a [Append],
    pub(super) id: AppendId,
    pub(super) now: Timestamp,
    /// The earliest point at which it may have landed.
    pub(super) since: Since,
    /// Whether others may be making the same append (a key, a ticket).
    pub(super) shared: bool,
    /// Whether a request is in flight that may have landed.
    pub(super) in_doubt: bool,
    /// The generation that the last request required.
    pub(super) asked: Option<Generation>,
    pub(super) ttl: Option<String>,
    /// The parts of large records, by the record's place, once they are written.
    pub(super) parts: BTreeMap<usize, Parts>,
    /// The notes of what a rewind removes. Each attempt has its own, so that a delayed copy of an older note cannot overwrite a
    /// newer one.
    pub(super) notes: Vec<String>,
    /// What a clear removed.
    pub(super) took: Took,
    pub(super) rolling: Rolling,
    pub(super) cost: Cost,
}

/// What a clear removed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    /// Whether there were messages that a load would show.
    pub(super) shown: bool,
    /// The number of records, if none of them had messages.
    pub(super) bare: u64,
}

impl Attempt<'_> {
    /// Records the next number before a request is sent, if none is in flight: the append cannot land below it.
    fn lands_from(&mut self, next: u64) {
        if !self.shared && !self.in_doubt {
            self.since.seq = Some(next);
        }
    }
}

/// A request ready to be sent, with the list's dialect and whether it starts the session.
pub(super) struct Ready {
    pub(super) update: Update,
    /// The generation that it requires.
    pub(super) requires: Option<Generation>,
    pub(super) dialect: Dialect,
    pub(super) starts: bool,
}

impl<T: Table, C: Clock> Listed<T, C> {
    pub(crate) async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.append_over(session, append, &[]).await.map(|(appended, _)| appended)
    }

    /// Appends several records with one update of the session's item.
    pub(crate) async fn append_all(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        let (first, more) = Append::check_all(appends)?;
        self.append_over(session, first, more).await.map(|(appended, _)| appended)
    }

    /// Appends, and also returns what a clear removed.
    pub(super) async fn append_over(
        &self,
        session: &SessionId,
        append: &Append,
        more: &[Append],
    ) -> Result<(Appended, Took), Error> {
        self.check(append)?;
        let key = self.settings.ids.key(session)?;
        for append in std::iter::once(append).chain(more) {
            append.check_messages_only(
                "the list layout, which Flowise and LangChain read,",
                "a table of the turns layout, or SQLite",
            )?;
            self.check_size(append)?;
        }
        let mut retry = self.retry();
        let _turn = self.turn(session, &retry).await?;
        let mut cost = Cost::default();
        let ttl = self.ttl_attribute(&mut cost, &mut retry).await?;
        let now = self.clock.now().wall;
        let since = Since::time(match append.identity() {
            Identity::New => now,
            Identity::Key(_) => now - KEY_LIFETIME,
            Identity::Ticket(ticket) => ticket.first_tried().min(now),
        });
        let shared = !matches!(append.identity(), Identity::New);
        let id = append.id_in(session);
        let mut attempt = Attempt {
            session,
            append,
            more,
            id,
            now,
            since,
            shared,
            in_doubt: false,
            asked: None,
            ttl,
            parts: BTreeMap::new(),
            notes: Vec::new(),
            took: Took::default(),
            rolling: Rolling::default(),
            cost,
        };
        match self.settle(&mut attempt, &mut retry).await {
            Ok(appended) => Ok((appended, attempt.took)),
            Err(error) => {
                self.known.generations.forget(&key);
                Err(self.give_up(attempt, error).await)
            }
        }
    }

    async fn settle(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<Appended, Error> {
        let key = self.settings.ids.key(attempt.session)?;
        self.write_parts(attempt, retry).await?;
        let plain = attempt.append.rewinds_to().is_none() && attempt.append.expected().is_none() && !attempt.shared;
        let (mut state, mut missed): (Option<State>, Option<State>) = (None, None);
        let mut met = 0_u32;
        loop {
            retry.check_contention()?;
            // A request in flight may have landed and been rolled away since; then the ids of the new generation cannot tell. So a
            // generation that this process learned through another append must not be used in place of the one that the request
            // required.
            let known = self.known.generations.get(&key).filter(|known| {
                let may_trust = !attempt.in_doubt || attempt.asked == Some(known.generation) || !self.keeps(Rule::OwnGeneration);
                plain && state.is_none() && may_trust
            });
            let known = known.map(|known| Ok::<_, Error>((known, self.elements(attempt, known.dialect, None)?))).transpose()?;
            let ready = match known.filter(|(known, elements)| !self.is_due(attempt, known.bytes, elements)) {
                Some((known, elements)) => {
                    attempt.lands_from(known.next);
                    attempt.rolling.leave();
                    self.appending(attempt, Some(known.generation), true, known.dialect, elements)?
                }
                None => {
                    if state.is_none() {
                        let ttl = attempt.ttl.clone();
                        state = Some(self.state(attempt.session, false, ttl.as_deref(), &mut attempt.cost, retry).await?);
                    }
                    let Some(now) = &state else { continue };
                    if let Some(found) = self.find_append(attempt, now, retry).await? {
                        return self.landed_before(attempt, found).await;
                    }
                    if let Identity::Ticket(ticket) = attempt.append.identity() {
                        ticket.check_age(self.clock.now().wall)?;
                    }
                    let position = now.position(self.clock.now().wall);
                    if attempt.append.expected().is_some_and(|expected| *expected != position) {
                        attempt.in_doubt = attempt.in_doubt && !self.tells(attempt, now, retry).await?;
                        return Err(Error::conflict(position));
                    }
                    attempt.lands_from(now.log.next());
                    let unchanged = missed.as_ref() == Some(now);
                    match self.ready(attempt, now, unchanged, retry).await? {
                        Some(ready) => ready,
                        None => {
                            missed = state.take();
                            retry.wait(LOOK_AGAIN_MS).await;
                            continue;
                        }
                    }
                }
            };
            let asked_at = self.clock.now();
            attempt.asked = ready.requires;
            match self.table.update(&ready.update, &mut attempt.cost).await {
                Ok(Updated::Done(item)) => return self.landed(attempt, &ready, item, asked_at.wall).await,
                Ok(Updated::Refused(item)) => {
                    // An intermediary may have sent the request twice, and this may be the response to the second copy. Until the
                    // append has been searched for, an error must not claim that it did not land.
                    let was_in_doubt = std::mem::replace(&mut attempt.in_doubt, true);
                    met += 1;
                    attempt.rolling.lost();
                    self.known.generations.forget(&key);
                    let ttl = attempt.ttl.clone();
                    let now = self.read_state(attempt.session, attributes(item.as_ref()), ttl.as_deref())?;
                    // With an expected position, another write is a conflict, which the check above reports.
                    if plain && !self.is_expired(&now) {
                        self.known.generations.learn(&key, &now, self.form(&now));
                    }
                    let found = self.find_append(attempt, &now, retry).await?;
                    attempt.in_doubt = was_in_doubt;
                    if let Some(found) = found {
                        return self.landed_before(attempt, found).await;
                    }
                    // For a plain append a known generation is enough: the list may keep growing meanwhile.
                    state = if self.known.generations.get(&key).is_some() && plain { None } else { Some(now) };
                    if met > 1 {
                        retry.wait_for_others(met, asked_at).await;
                        // If the whole list must be unchanged, what was read before the wait is out of date.
                        state = None;
                    }
                }
                Err(fault) if fault.error.is_too_large() && !attempt.rolling.is_forced && self.settings.roll_bytes.is_some() => {
                    // The originals filled up the item: its older part moves first.
                    attempt.rolling.is_forced = true;
                    state = None;
                }
                Err(fault) if fault.error.is_too_large() => return Err(too_full(fault.error)),
                Err(fault) => {
                    attempt.in_doubt |= fault.may_have_landed;
                    retry.after(fault).await?;
                }
            }
        }
    }

    /// Whether a session that does not contain this append proves that it never landed and never will. It does not if an original
    /// may have removed it: LangChain Python by writing back an older list, or any of them by deleting the item. In those cases the
    /// record that the append was to follow is gone, too.
    async fn tells(&self, attempt: &mut Attempt<'_>, state: &State, retry: &mut Retry<'_, C>) -> Result<bool, Error> {
        let Some(last) = attempt.append.expected().and_then(Position::last) else { return Ok(false) };
        let cost = &mut attempt.cost;
        Ok(state.python.is_none()
            && (self.find_in_item(attempt.session, state, last, cost, retry).await?.is_some()
                || self
                    .find_beyond_item(attempt.session, state, last, Since::time(attempt.since.at), cost, retry)
                    .await?
                    .is_some()))
    }

    /// Finds the append if it has already landed.
    async fn find_append(
        &self,
        attempt: &mut Attempt<'_>,
        state: &State,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<FoundAppend>, Error> {
        let found = self.find_in_item(attempt.session, state, attempt.id, &mut attempt.cost, retry).await?;
        if found.is_some() || !(attempt.shared || attempt.in_doubt) {
            return Ok(found);
        }
        self.find_beyond_item(attempt.session, state, attempt.id, attempt.since, &mut attempt.cost, retry).await
    }

    /// Builds the request for a list that was read.
    ///
    /// Returns `None` if a segment is missing: then either the list is `unchanged` on the next read, or it was rewritten.
    async fn ready(
        &self,
        attempt: &mut Attempt<'_>,
        state: &State,
        unchanged: bool,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Ready>, Error> {
        if state.js.is_none() && state.python.is_none() {
            self.choose_form(attempt.session, &mut attempt.cost, retry).await?;
        }
        let dialect = self.form(state);
        if attempt.append.rewinds_to().is_some() || self.is_expired(state) {
            let update = self.rewriting(attempt, state, unchanged, retry).await?;
            let (requires, starts) = (state.generation, state.log.next() == 0);
            return Ok(update.map(|update| Ready { update, requires, dialect, starts }));
        }
        let elements = self.elements(attempt, dialect, None)?;
        if self.is_due(attempt, state.bytes, &elements)
            && let Some(update) = self.rolling(attempt, state, dialect, &elements, retry).await?
        {
            let starts = state.log.next() == 0;
            return Ok(Some(Ready { update, requires: state.generation, dialect, starts }));
        }
        attempt.rolling.leave();
        let mut ready = self.appending(attempt, state.generation, state.exists, dialect, elements)?;
        ready.starts = state.log.next() == 0;
        if attempt.append.expected().is_some() || state.exists && state.generation.is_none() {
            ready.update.conditions.extend(self.as_read(state));
        }
        Ok(Some(ready))
    }

    /// The condition that both lists are as they were read.
    pub(super) fn as_read(&self, state: &State) -> Vec<Condition> {
        if !self.keeps(Rule::WholeList) {
            return Vec::new();
        }
        let lists = &self.settings.lists;
        vec![Condition::equals(&lists.js, state.js.clone()), Condition::equals(&lists.python, state.python.clone())]
    }

    /// Builds the request of a plain append to an item of this generation, or without one, or to none.
    fn appending(
        &self,
        attempt: &Attempt<'_>,
        generation: Option<Generation>,
        exists: bool,
        dialect: Dialect,
        elements: Vec<AttributeValue>,
    ) -> Result<Ready, Error> {
        let requires = generation.filter(|_| self.keeps(Rule::Generation));
        let mut conditions = as_known(generation, exists);
        if requires != generation {
            conditions.clear();
        }
        let id = Blob::new(attempt.id.as_bytes());
        let once = self.keeps(Rule::Once);
        conditions.extend(once.then(|| Condition::Lacks(LIST_IDS.to_owned(), id.clone())));
        conditions.extend(self.unexpired(attempt));
        let new = generation.is_none().then(|| Generation::random().set());
        let update = Update {
            key: self.settings.ids.key(attempt.session)?,
            conditions,
            set: new.into_iter().chain(self.expiry(attempt)).collect(),
            append: Some((self.list_name(dialect).to_owned(), elements)),
            add: once.then(|| (LIST_IDS.to_owned(), id)),
        };
        Ok(Ready { update, requires, dialect, starts: false })
    }

    /// The condition that the session has not expired, with a retention.
    pub(super) fn unexpired(&self, attempt: &Attempt<'_>) -> Option<Condition> {
        self.common.retention?;
        Some(Condition::Unexpired(attempt.ttl.clone()?, attempt.now))
    }

    /// The session's expiry if nothing more is appended; `None` without a retention.
    pub(super) fn expiry(&self, attempt: &Attempt<'_>) -> Option<(String, Option<AttributeValue>)> {
        let at = attempt.now.expires_after(self.common.retention?)?;
        Some((attempt.ttl.clone()?, Some(secs(at))))
    }

    /// The elements of an append, record by record; the first one begins its record. With `seq`, the first record states its number.
    pub(super) fn elements(
        &self,
        attempt: &Attempt<'_>,
        dialect: Dialect,
        seq: Option<u64>,
    ) -> Result<Vec<AttributeValue>, Error> {
        let mut elements = self.elements_of(attempt, 0, attempt.append, dialect, seq)?;
        for (place, append) in (1..).zip(attempt.more) {
            elements.extend(self.elements_of(attempt, place, append, dialect, None)?);
        }
        Ok(elements)
    }

    /// The elements of the record at this place of an append.
    fn elements_of(
        &self,
        attempt: &Attempt<'_>,
        place: usize,
        append: &Append,
        dialect: Dialect,
        seq: Option<u64>,
    ) -> Result<Vec<AttributeValue>, Error> {
        let bare = Bare {
            seq: seq.unwrap_or(0),
            append_id: attempt.id.following(place as u64),
            created_at: attempt.now,
            rewind: append.rewinds_to(),
            metadata: append.metadata().cloned(),
            sent_at: append.times().to_vec(),
        };
        let mut mark = bare.mark(seq.is_some());
        if let Some(parts) = attempt.parts.get(&place) {
            mark.insert("parts".into(), parts.value());
            return Ok(vec![element::encode(dialect, &stand_in(append), mark)]);
        }
        if append.entries().len() > 1 {
            mark.insert("n".into(), append.entries().len().into());
        }
        let marks = std::iter::once(mark).chain(std::iter::repeat_with(serde_json::Map::new));
        Ok(append.messages().zip(marks).map(|(message, mark)| element::encode(dialect, message, mark)).collect())
    }

    fn check_size(&self, append: &Append) -> Result<(), Error> {
        let bytes: usize = append.messages().map(|message| message.to_json().len()).sum();
        let limit = self.settings.record_bytes;
        if bytes <= limit {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "append too large: {bytes} bytes of messages, and the limit is {limit} (max_record in the store URL); split it or raise the limit"
            ),
        ))
    }

    /// Writes the parts of records that are too large to share an item with other records.
    async fn write_parts(&self, attempt: &mut Attempt<'_>, retry: &mut Retry<'_, C>) -> Result<(), Error> {
        for (place, append) in std::iter::once(attempt.append).chain(attempt.more).enumerate() {
            // Measured in the larger form, LangChain Python's.
            let elements = self.elements_of(attempt, place, append, Dialect::Python, None)?;
            let bytes: usize = elements.iter().map(value_bytes).sum();
            if bytes <= self.settings.item_bytes / 2 {
                continue;
            }
            let id = Uuid::new_v4().to_string();
            let items = self.parts_of(attempt.session, &id, append.entries())?;
            for item in &items {
                retry!(retry, self.table.put(item, &[], &mut attempt.cost))?;
            }
            attempt.parts.insert(place, Parts { id, count: items.len() });
        }
        Ok(())
    }

    async fn landed(&self, attempt: &mut Attempt<'_>, ready: &Ready, item: Item, asked_at: Timestamp) -> Result<Appended, Error> {
        let ttl = attempt.ttl.clone();
        let state = self.read_state(attempt.session, Some(&item.attributes), ttl.as_deref())?;
        self.known.generations.learn(&item.key, &state, ready.dialect);
        // The last of several records is in the item, though the first may have been rolled away.
        let after = attempt.more.len() as u64;
        let last = attempt.id.following(after);
        let last_seq = state.log.find(last).map_or_else(|| state.log.next().saturating_sub(1), |entry| entry.bare.seq);
        let position = Position::new(last_seq + 1, Some(last), asked_at);
        let mut appended = Appended::new(last_seq.saturating_sub(after), position, attempt.now);
        appended.started = ready.starts;
        if ready.requires.is_some() {
            self.delete_unused(attempt).await;
        }
        appended.cost = attempt.cost;
        Ok(appended)
    }

    /// The result if an earlier attempt, by this process or another, has landed.
    async fn landed_before(&self, attempt: &mut Attempt<'_>, found: FoundAppend) -> Result<Appended, Error> {
        if let Some(record) = &found.record
            && !attempt.append.is_body_of(record)
        {
            attempt.in_doubt = false;
            return Err(attempt.append.reused(found.stub.seq));
        }
        let seq = found.stub.seq;
        let after = attempt.more.len() as u64;
        let position = Position::new(seq + after + 1, Some(attempt.id.following(after)), self.clock.now().wall);
        let mut appended = Appended::new(seq, position, found.stub.created_at);
        // If a request of this very attempt is in flight, what is found counts as its own.
        appended.repeated = attempt.shared && !attempt.in_doubt;
        appended.cost = attempt.cost;
        Ok(appended)
    }

    async fn give_up(&self, mut attempt: Attempt<'_>, error: Error) -> Error {
        if !attempt.in_doubt {
            // Parts stay: a delayed copy of a first request may still make them visible after an original has cleared the session.
            // `table sweep` finds those that no record names.
            for note in std::mem::take(&mut attempt.notes) {
                let _ = self.table.delete(&self.settings.ids.side_key(attempt.session, &note), &[], &mut attempt.cost).await;
            }
            return error;
        }
        in_doubt(attempt.append, attempt.id, 0, attempt.now, error)
    }
}

/// The placeholder that the originals see for a record too large for the item.
fn stand_in(append: &Append) -> Message {
    let bytes: usize = append.messages().map(|message| message.text().len()).sum();
    let role = append.messages().map(|message| message.role).find(|role| *role != Role::Tool).unwrap_or(Role::User);
    Message::new(role, format!("[{bytes} bytes of text, more than this table's items hold; chat-memory shows them]"))
}

fn too_full(error: Error) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "item full: the session has reached DynamoDB's limit of 400 KB; let older records move to segments (leave roll=off out \
         of the store URL), or migrate the session to a table of the turns layout",
    )
    .with_source(error)
}
