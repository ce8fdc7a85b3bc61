//! Rewind and clear: rewrite the list, on the condition that it is the one that was read.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::append::{Attempt, Took};
use super::element::{self, Dialect};
use super::generations::{Generation, as_known};
use super::load::lost;
use super::side::{Gone, SideItem, stubs_of};
use super::state::{Bare, Entry, Head, Log, Parts, State, mark_of};
use super::{Listed, Rule, retry};
use crate::common::names::{LIST_HEAD, LIST_IDS};
use crate::common::retry::Retry;
use crate::common::size::value_bytes;
use crate::table::{Clock, Table, Update};
use chat_memory_core::error::Error;
use chat_memory_core::{SessionId, Timestamp};

impl<T: Table, C: Clock> Listed<T, C> {
    /// Builds the request of a rewind or a clear, or of an append to an expired session. What it removes is noted first.
    pub(super) async fn rewriting(
        &self,
        attempt: &mut Attempt<'_>,
        state: &State,
        unchanged: bool,
        retry: &mut Retry<'_, C>,
    ) -> Result<Option<Update>, Error> {
        let dialect = self.form(state);
        let seq = state.log.next();
        let to = attempt.append.rewinds_to().unwrap_or(0);
        let mut gone = Gone { at: attempt.now, to, before: state.log.head.gone.clone(), ..Gone::default() };
        let mut kept = state.log.clone();
        if to == 0 {
            let has_messages = !kept.elements.is_empty() || kept.head.segment.is_some();
            let bare = if has_messages { 0 } else { kept.entries.len() as u64 };
            attempt.took = Took { shown: has_messages && !self.is_expired(state), bare };
            self.take_away(&mut gone, &kept, 0, attempt.now);
            gone.segments = kept.head.segment.clone().map(|from| (from, None));
            // Numbering continues after the removed records.
            kept = Log {
                head: Head { next: seq, last: state.log.last(), ..Head::default() },
                elements: Vec::new(),
                entries: Vec::new(),
            };
        } else {
            self.take_away(&mut gone, &kept, to, attempt.now);
            cut(attempt.session, &mut kept, to)?;
            // All that remains may be in older segments: then the newest of these becomes the list again.
            let first = kept.head.segment.clone();
            while kept.elements.is_empty() {
                let Some(id) = kept.head.segment.clone() else { break };
                let found = self.read_side_item(attempt.session, &id, &mut attempt.cost, retry).await?;
                kept = match found {
                    Some(SideItem::Segment(log)) => log,
                    _ if !unchanged => return Ok(None),
                    // As in a load: an original brought back a list whose segments were swept, or they have expired.
                    Some(SideItem::Swept { .. }) => Log { head: Head { segment: None, root: None, ..kept.head }, ..kept },
                    None if self.common.retention.is_some() => {
                        Log { head: Head { segment: None, root: None, ..kept.head }, ..kept }
                    }
                    _ => return Err(lost(attempt.session, &format!("the segment {id:?}"))),
                };
                self.take_away(&mut gone, &kept, to, attempt.now);
                cut(attempt.session, &mut kept, to)?;
                gone.segments = first.clone().map(|from| (from, kept.head.segment.clone()));
            }
        }
        let is_note_needed = !gone.stubs.is_empty() || !gone.parts.is_empty() || gone.segments.is_some();
        kept.head.gone.clone_from(&gone.before);
        if is_note_needed && self.keeps(Rule::Gone) {
            let id = Uuid::new_v4().to_string();
            attempt.notes.push(id.clone());
            let note = self.note(attempt.session, &id, &gone, None);
            retry!(retry, self.table.put(&note, &[], &mut attempt.cost))?;
            kept.head.gone = Some(id);
        }
        let kept = self.unify(attempt.session, kept, dialect)?;
        let added = match attempt.append.entries() {
            [] => Vec::new(),
            _ => self.elements(attempt, dialect, Some(seq))?,
        };
        let bytes = kept.elements.iter().map(|(_, element)| 1 + value_bytes(element)).sum();
        attempt.rolling.leave();
        let shorter = if !added.is_empty() && self.is_due(attempt, bytes, &added) {
            self.shorten(attempt, &kept, dialect, &added, retry).await?
        } else {
            None
        };
        let (mut head, mut elements) =
            shorter.unwrap_or_else(|| (kept.head, kept.elements.into_iter().map(|(_, element)| element).collect()));
        if added.is_empty() {
            let bare = Bare {
                seq,
                append_id: attempt.id,
                created_at: attempt.now,
                rewind: attempt.append.rewinds_to(),
                metadata: attempt.append.metadata().cloned(),
                sent_at: Vec::new(),
            };
            match elements.last_mut() {
                None => head.bare.push(bare),
                Some(last) => *last = followed_by(attempt.session, dialect, last, &bare)?,
            }
        } else {
            elements.extend(added);
        }
        let mut update = self.rewrite(attempt.session, state, dialect, &head, elements)?;
        update.set.extend(self.expiry(attempt));
        Ok(Some(update))
    }

    /// The change that replaces the list that was read with these elements.
    pub(super) fn rewrite(
        &self,
        session: &SessionId,
        state: &State,
        dialect: Dialect,
        head: &Head,
        mut elements: Vec<AttributeValue>,
    ) -> Result<Update, Error> {
        let mut set = vec![Generation::random().set()];
        // The attribute of an earlier, empty list stays: it applies to whatever an original brings back from that time.
        match elements.first_mut() {
            Some(first) => *first = headed(session, dialect, first, head)?,
            None => set.push((LIST_HEAD.to_owned(), Some(AttributeValue::S(head.value().to_string())))),
        }
        set.push((self.list_name(dialect).to_owned(), Some(AttributeValue::L(elements))));
        if state.is_mixed() {
            // Everything is in one list now. The other stays, empty, since LangChain Python fails if its list is missing.
            let other = if dialect == Dialect::Js { Dialect::Python } else { Dialect::Js };
            set.push((self.list_name(other).to_owned(), Some(AttributeValue::L(Vec::new()))));
        }
        set.push((LIST_IDS.to_owned(), None));
        let mut conditions = as_known(state.generation, state.exists);
        if state.exists {
            conditions.extend(self.as_read(state));
        }
        Ok(Update { key: self.settings.ids.key(session)?, conditions, set, ..Update::default() })
    }

    fn take_away(&self, gone: &mut Gone, log: &Log, from: u64, now: Timestamp) {
        let away: Vec<&Entry> = log.entries.iter().filter(|entry| entry.bare.seq >= from).collect();
        gone.stubs.extend(stubs_of(away.iter().copied(), now));
        gone.parts.extend(away.iter().filter_map(|entry| entry.parts.clone()).collect::<Vec<Parts>>());
    }

    /// Converts the elements to one dialect.
    pub(super) fn unify(&self, session: &SessionId, log: Log, dialect: Dialect) -> Result<Log, Error> {
        let elements = log.elements.into_iter().map(|(form, value)| {
            if form == dialect {
                return Ok((form, value));
            }
            let read = element::decode(&value).map_err(|why| unreadable(session, &why))?;
            Ok((dialect, element::encode(dialect, &read.message, read.mark)))
        });
        Ok(Log { elements: elements.collect::<Result<_, Error>>()?, ..log })
    }
}

/// Removes the records from this number on.
fn cut(session: &SessionId, log: &mut Log, to: u64) -> Result<(), Error> {
    let (entry, place) = log.cut(to);
    log.entries.truncate(entry);
    log.elements.truncate(place);
    log.head.bare.retain(|bare| bare.seq < to);
    if let Some((dialect, last)) = log.elements.last_mut()
        && let Some(mut mark) = mark_of(last)
        && let Some(Value::Array(then)) = mark.get_mut("then")
    {
        then.retain(|bare| bare.get("seq").and_then(Value::as_u64).is_some_and(|seq| seq < to));
        if then.is_empty() {
            mark.shift_remove("then");
        }
        *last = marked(session, *dialect, last, mark)?;
    }
    Ok(())
}

/// The element with this head, which describes what precedes the list.
pub(super) fn headed(
    session: &SessionId,
    dialect: Dialect,
    first: &AttributeValue,
    head: &Head,
) -> Result<AttributeValue, Error> {
    let old = mark_of(first).unwrap_or_default();
    let mut mark = old.clone();
    mark.shift_remove("head");
    if !head.is_plain() {
        mark.insert("head".into(), head.value());
    }
    // An original's element without a mark stays as it is: its id is a hash of it.
    if mark == old {
        return Ok(first.clone());
    }
    marked(session, dialect, first, mark)
}

fn followed_by(session: &SessionId, dialect: Dialect, last: &AttributeValue, bare: &Bare) -> Result<AttributeValue, Error> {
    let mut mark = mark_of(last).unwrap_or_default();
    let then = mark.entry("then").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(then) = then {
        then.push(Value::Object(bare.mark(true)));
    }
    marked(session, dialect, last, mark)
}

fn marked(
    session: &SessionId,
    dialect: Dialect,
    element: &AttributeValue,
    mark: Map<String, Value>,
) -> Result<AttributeValue, Error> {
    element::with_mark(dialect, element, mark).map_err(|why| unreadable(session, &why))
}

pub(super) fn unreadable(session: &SessionId, why: &str) -> Error {
    Error::corrupt(format!("a message of session {session:?} cannot be read: its element {why}"))
}
