//! Faults of appends.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chat_memory::backend::check_title;
use chat_memory::store::*;
use chat_memory::{Entry, Error, Message, Owner, SessionId, Timestamp};
use serde_json::{Map, Value};

use super::Fault;
use super::store::Broken;

/// The session in which each key was first used, across all handles.
static KEYS: Mutex<Option<HashMap<String, SessionId>>> = Mutex::new(None);

/// An append taken apart, to be reassembled with changes.
struct Parts {
    messages: Vec<Entry>,
    metadata: Option<Map<String, Value>>,
    rewind: Option<u64>,
    expected: Option<Position>,
    identity: Identity,
    owner: Option<Owner>,
    title: Option<String>,
    session_metadata: Option<Map<String, Value>>,
    sent_at: Vec<Option<Timestamp>>,
    starts_at: Timestamp,
}

impl Parts {
    fn of(append: &Append) -> Self {
        Self {
            messages: append.entries().to_vec(),
            metadata: append.metadata().cloned(),
            rewind: append.rewinds_to(),
            expected: append.expected().cloned(),
            identity: append.identity().clone(),
            owner: append.owner().cloned(),
            title: append.title().map(str::to_owned),
            session_metadata: append.session_metadata().cloned(),
            sent_at: append.times().to_vec(),
            starts_at: append.starts_at(Timestamp::MAX),
        }
    }

    /// Reassembles it; a rewind that expects no position gets the actual one.
    fn append(self, actual: &Position) -> Append {
        let expected = self.expected.clone();
        let mut append = match self.rewind {
            None => Append::new(self.messages),
            Some(0) => Append::replace_all(self.messages),
            Some(seq) => {
                let shown = History::new(vec![Record::new(seq, AppendId::random(), Timestamp::UNIX_EPOCH)], true, actual.clone());
                Append::rewind(&shown, seq, self.messages).unwrap()
            }
        };
        if let Some(position) = expected {
            append = append.with_expected(position);
        }
        append = match self.identity {
            Identity::Key(key) => append.with_key(key),
            Identity::Ticket(ticket) => append.with_ticket(ticket),
            _ => append,
        };
        if let Some(metadata) = self.metadata {
            append = append.with_metadata(metadata);
        }
        if let Some(owner) = self.owner {
            append = append.with_owner(owner);
        }
        append = append.sent_at(self.sent_at).with_session_metadata(self.session_metadata);
        if self.starts_at != Timestamp::MAX {
            append = append.started_at(self.starts_at);
        }
        match self.title {
            Some(title) => append.with_title(title),
            None => append,
        }
    }
}

impl Broken {
    pub async fn append_all_wrongly(&self, session: &SessionId, appends: &[Append]) -> Result<Appended, Error> {
        let (first, more) = Append::check_all(appends)?;
        if self.fault == Fault::ForksOneByOne {
            let appended = self.inner.append(session, first).await?;
            for append in more {
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.inner.append(session, append).await?;
            }
            return Ok(appended);
        }
        let mut parts = Parts::of(first);
        match self.fault {
            Fault::ForksBlindly => parts.expected = None,
            Fault::ForksWithoutOrigin => parts.session_metadata = None,
            Fault::IgnoresKeys | Fault::IgnoresTickets => parts.identity = Identity::New,
            _ => {}
        }
        let first = parts.append(&Position::new(0, None, Timestamp::now()));
        let more = if self.fault == Fault::ForksDropLast { &more[..more.len().saturating_sub(1)] } else { more };
        self.inner.append_all(session, &[&[first], more].concat()).await
    }

    pub async fn append_wrongly(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.remembers.loaded.lock().unwrap().remove(session);
        if let Err(error) = append.check().and_then(|()| append.title().map_or(Ok(()), check_title)) {
            if self.fault == Fault::WritesBadInput {
                self.inner.append(session, &Append::new([Message::user("ghost")])).await?;
            }
            return Err(error);
        }
        if !self.declares.entries {
            append.check_messages_only("this store", "another")?;
        }
        let history = self.everything(session).await?;
        let actual = &history.position;
        let mut parts = Parts::of(append);
        let is_clear = parts.rewind == Some(0) && parts.messages.is_empty();
        let rewinds = parts.rewind.filter(|seq| *seq > 0);
        let is_ticket = matches!(parts.identity, Identity::Ticket(_));
        let key = if let Identity::Key(key) = &parts.identity { Some(key.clone()) } else { None };
        let conflict = || Err(Error::conflict(actual.clone()));
        let now = Timestamp::now();
        let not_written =
            || Ok(Appended::new(actual.next(), Position::new(actual.next() + 1, Some(AppendId::random()), now), now));
        match self.fault {
            Fault::LosesSome if self.remembers.appends.fetch_add(1, Ordering::SeqCst) % 10 == 9 => return not_written(),
            Fault::DropsOtherEntries => parts.messages.retain(|entry| entry.as_message().is_some()),
            Fault::DropsLastMessage if parts.messages.len() > 1 => {
                parts.messages.pop();
                parts.sent_at.truncate(parts.messages.len());
            }
            Fault::SplitsAppends if parts.messages.len() > 1 && parts.rewind.is_none() => {
                let mut result = not_written();
                for message in parts.messages {
                    result = self.inner.append(session, &Append::new([message])).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                return result;
            }
            Fault::DropsTimes => parts.sent_at.clear(),
            Fault::StartsNow => parts.starts_at = Timestamp::MAX,
            Fault::IgnoresPositions => parts.expected = None,
            Fault::IgnoresPositionIds if parts.expected.as_ref().is_some_and(|p| p.next() == actual.next()) => {
                parts.expected = Some(actual.clone());
            }
            Fault::OldPositionsConflict
                if parts.expected.as_ref().is_some_and(|p| p.read_at().abs_diff(actual.read_at()) > Duration::from_mins(10)) =>
            {
                return conflict();
            }
            Fault::AlwaysConflicts if parts.expected.is_some() => return conflict(),
            Fault::PositionBeforeKey if parts.expected.as_ref().is_some_and(|p| p != actual) => return conflict(),
            Fault::RefusesLongKeys if key.as_ref().is_some_and(|key| key.len() > 1_000) => {
                return Err(Error::invalid("a long key"));
            }
            Fault::IgnoresKeys if key.is_some() => parts.identity = Identity::New,
            Fault::IgnoresTickets if is_ticket => parts.identity = Identity::New,
            Fault::TicketsIgnorePositions if is_ticket => parts.expected = None,
            Fault::TicketsDoNotSearch => {
                if let Identity::Ticket(ticket) = &parts.identity {
                    let found = history.records.iter().any(|r| r.append_id == ticket.append_id() && r.seq == ticket.lowest());
                    parts.identity = if found { parts.identity } else { Identity::New };
                }
            }
            Fault::ShortMemory if key.is_some() => {
                let id = append.id_in(session);
                let newest: Vec<_> = history.records.iter().rev().take(50).collect();
                if !newest.iter().any(|record| record.append_id == id) {
                    parts.identity = Identity::New;
                }
            }
            Fault::GlobalKeys if key.is_some() => {
                let first = {
                    let mut keys = KEYS.lock().unwrap();
                    let first = keys.get_or_insert_default().entry(key.unwrap()).or_insert_with(|| session.clone());
                    first.clone()
                };
                return self.inner.append(&first, append).await;
            }
            Fault::ComparesText if key.is_some() => {
                let body = format!("{:?}", parts.messages);
                let mut bodies = self.remembers.bodies.lock().unwrap();
                if *bodies.entry((session.clone(), key.unwrap())).or_insert_with(|| body.clone()) != body {
                    return Err(append.reused(0));
                }
            }
            Fault::IgnoresRewinds if rewinds.is_some() => {
                parts.rewind = None;
                parts.messages.push(Message::system("taken back").into());
            }
            Fault::RewindsTooLittle => parts.rewind = parts.rewind.map(|seq| if seq > 0 { seq + 1 } else { 0 }),
            Fault::RewindsDropMessages if rewinds.is_some() => {
                parts.messages.clear();
                parts.sent_at.clear();
            }
            Fault::RewindsUndo if parts.expected.is_some() && parts.rewind.is_some() => {
                let same = history.records.iter().find(|record| record.rewind == parts.rewind);
                parts.rewind = same.map(|record| record.seq).or(parts.rewind);
            }
            Fault::RefusesEmptyClears if is_clear && history.is_empty() => return Err(Error::invalid("nothing to clear")),
            Fault::ClearsHalf if is_clear => {
                let messages: Vec<_> = history.entries().cloned().collect();
                parts.messages = messages[messages.len() / 2..].to_vec();
            }
            Fault::ClearsLate if is_clear => {
                self.remembers.cleared.lock().unwrap().insert(session.clone(), true);
                return not_written();
            }
            Fault::ClearsSlowly if is_clear => {
                for record in history.records.iter().rev().filter(|record| record.seq > 0 && record.rewind != Some(0)) {
                    let now = self.everything(session).await?;
                    self.inner.append(session, &Append::rewind(&now, record.seq, None::<Message>)?).await?;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Fault::ClearsTwice if is_clear => {
                let cleared = self.inner.append(session, append).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.inner.append(session, &Append::clear()).await?;
                return cleared;
            }
            Fault::ReplacesInTwoSteps if parts.rewind == Some(0) && !is_clear => {
                self.inner.append(session, &Append::clear()).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                parts.rewind = None;
            }
            Fault::PagesShowTakenBack | Fault::FindsHidden => {
                let hidden = history.records.iter().filter(|record| parts.rewind.is_some_and(|seq| record.seq >= seq));
                self.remembers.hidden.lock().unwrap().entry(session.clone()).or_default().extend(hidden.cloned());
            }
            Fault::WindowsReachBehindClears if is_clear => {
                self.remembers.loaded.lock().unwrap().insert(session.clone(), history.clone());
            }
            _ => {}
        }
        let made = parts.append(actual);
        let mut appended = match self.inner.append(session, &made).await {
            Err(error) if error.is_conflict() && self.fault == Fault::WritesOnConflict => {
                self.inner.append(session, &Append::new(append.entries())).await?;
                return Err(error);
            }
            Err(error) if error.is_key_reused() && self.fault == Fault::IgnoresBodies => return not_written(),
            result => result?,
        };
        match self.fault {
            Fault::ForgetsCleared if appended.repeated => {
                let cleared = history.records.first().filter(|record| record.rewind == Some(0));
                if cleared.is_some_and(|clear| clear.seq > appended.seq) {
                    return self.inner.append(session, &Append::new(append.entries())).await;
                }
            }
            Fault::ClearsUnlist if is_clear => drop(self.inner.delete(session).await?.records),
            Fault::WrongNumbers => appended.seq += 1,
            Fault::OutOfOrder => appended.seq = 1_000_000 - appended.seq,
            Fault::AlwaysStarts => appended.started = true,
            Fault::CostsLength => appended.cost.requests += appended.seq,
            _ => {}
        }
        Ok(appended)
    }
}
