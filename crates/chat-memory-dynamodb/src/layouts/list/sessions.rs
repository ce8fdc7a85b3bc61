//! Lists sessions by scanning every item of the table, since the originals keep no directory.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use super::{Listed, retry};
use crate::common::names::{LIST_HEAD, VERSION, not_of_namespaces};
use crate::table::{Attributes, Clock, Key, Scan, ScanPage, Table};
use chat_memory_core::backend::first_words;
use chat_memory_core::error::Error;
use chat_memory_core::store::{Cost, SessionInfo, SessionPage};
use chat_memory_core::{SessionId, Timestamp};

/// How many shares of the table are read at once.
const SHARES: u32 = 4;

/// How many items without a recognised list are read at once.
const AT_ONCE: usize = 8;

/// How many of a list's first elements are read, to show its first words. A page is counted before anything is left out, so they cost
/// nothing.
const FIRST_ELEMENTS: usize = 3;

/// How far a share has been read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Progress {
    #[serde(rename = "0")]
    Start,
    #[serde(rename = "k")]
    After(String, String),
    #[serde(rename = "e")]
    End,
}

impl<T: Table, C: Clock> Listed<T, C> {
    /// A page of the sessions that have messages, in no order: one page of each share of the table, read concurrently.
    pub(crate) async fn list_all_sessions(&self, after: Option<&str>) -> Result<SessionPage, Error> {
        let mut progress = match after {
            None => vec![Progress::Start; SHARES as usize],
            Some(cursor) => parse(cursor)?,
        };
        let of = u32::try_from(progress.len()).unwrap_or(SHARES);
        let shares = progress.iter().enumerate().map(|(number, progress)| {
            let number = u32::try_from(number).unwrap_or_default();
            self.share((number, of), progress.clone())
        });
        let (mut sessions, mut warnings, mut cost) = (Vec::new(), BTreeSet::new(), Cost::default());
        for (share, read) in futures_util::future::join_all(shares).await.into_iter().enumerate() {
            let (found, said, next, of_share) = read?;
            sessions.extend(found);
            warnings.extend(said);
            progress[share] = next;
            cost += of_share;
        }
        let is_over = progress.iter().all(|progress| matches!(progress, Progress::End));
        let mut page = SessionPage::new(sessions, (!is_over).then(|| spell(&progress)));
        page.warnings = warnings.into_iter().collect();
        page.cost = cost;
        Ok(page)
    }

    async fn share(
        &self,
        share: (u32, u32),
        progress: Progress,
    ) -> Result<(Vec<SessionInfo>, BTreeSet<String>, Progress, Cost), Error> {
        let mut cost = Cost::default();
        let after = match progress {
            Progress::End => return Ok((Vec::new(), BTreeSet::new(), Progress::End, cost)),
            Progress::Start => None,
            Progress::After(pk, sk) => Some(Key { pk, sk }),
        };
        let mut retry = self.retry();
        let ttl = match self.ttl_attribute(&mut cost, &mut retry).await {
            Err(error) if error.is_access_denied() => None,
            ttl => ttl?,
        };
        // Without the attribute's name, what has expired would be shown.
        let may_show_words = self.common.retention.is_none() || ttl.is_some();
        let lists = [self.settings.lists.js.as_str(), self.settings.lists.python.as_str()];
        let only: Vec<&str> = [VERSION, LIST_HEAD].into_iter().chain(ttl.as_deref()).collect();
        let scan = Scan {
            only: Some(&only),
            lists: &lists,
            elements: FIRST_ELEMENTS,
            share: Some(share),
            eventual: true,
            ..Scan::default()
        };
        let ScanPage { items, after } = retry!(retry, self.table.scan(&scan, after.as_ref(), &mut cost))?;
        let (mut found, mut unclear) = (Vec::new(), Vec::new());
        let of_namespaces = items.iter().find_map(|item| self.settings.ids.partitions.anothers(&item.key.pk));
        for item in &items {
            let Some(id) = self.settings.ids.session_of(item) else { continue };
            if lists.iter().any(|list| item.attributes.get(*list).is_some_and(begins_with_a_message)) {
                let words = || self.first_words(&id, &item.attributes, ttl.as_deref());
                found.push((id.clone(), may_show_words.then(words).flatten()));
            } else {
                unclear.push((id, &item.key));
            }
        }
        let mut warnings: BTreeSet<_> = of_namespaces.map(not_of_namespaces).into_iter().collect();
        // The first element of the list is no message, or the settings do not read the list: read the whole item.
        for some in unclear.chunks(AT_ONCE) {
            let whole = some.iter().map(|(id, key)| self.look_into(id, key));
            for (read, (id, _)) in futures_util::future::join_all(whole).await.into_iter().zip(some) {
                let (seen, of_read) = read?;
                cost += of_read;
                match seen {
                    Contents::Nothing => {}
                    Contents::Messages => found.push((id.clone(), None)),
                    Contents::Hidden(warning) => {
                        found.push((id.clone(), None));
                        warnings.insert(warning);
                    }
                    Contents::Unknown(warning) => drop(warnings.insert(warning)),
                }
            }
        }
        let info = |(id, words)| SessionInfo::new(id, Timestamp::UNIX_EPOCH).with_first_words(words);
        let sessions = found.into_iter().map(info).collect();
        let progress = after.map_or(Progress::End, |key| Progress::After(key.pk, key.sk));
        Ok((sessions, warnings, progress, cost))
    }

    /// The first words of a session, by the beginning of its lists; `None` if older messages are in a segment, if it has expired, or if
    /// it cannot be read, which whoever loads it learns.
    fn first_words(&self, session: &SessionId, attributes: &Attributes, ttl: Option<&str>) -> Option<String> {
        let state = self.read_state(session, Some(attributes), ttl).ok()?;
        if state.log.head.segment.is_some() || self.is_expired(&state) {
            return None;
        }
        // As a load finds them. A later record that takes some of these back has removed them from the list; its numbers have gaps, of
        // any size in an item edited by hand, so not every number is counted.
        let mut in_view = Vec::new();
        let mut below = u64::MAX;
        for entry in state.log.entries.iter().rev() {
            if entry.bare.seq < below {
                in_view.extend(Some(entry).filter(|entry| entry.count > 0));
                below = entry.bare.rewind.unwrap_or(below);
            }
        }
        for entry in in_view.into_iter().rev() {
            // A large message is stored elsewhere.
            if entry.parts.is_some() {
                return None;
            }
            let words = first_words(&state.log.record(session.as_str(), entry).ok()?.entries);
            if words.is_some() {
                return words;
            }
        }
        None
    }

    /// Reads an item in which the settings' lists were not found, to see what it holds.
    async fn look_into(&self, session: &SessionId, key: &Key) -> Result<(Contents, Cost), Error> {
        let mut cost = Cost::default();
        let mut retry = self.retry();
        let item = match retry!(retry, self.table.get(key, true, &mut cost)) {
            Err(error) if error.is_access_denied() => {
                let why = "some items could not be read, so sessions may be missing from the list: the credentials lack \
                           dynamodb:GetItem; grant it";
                return Ok((Contents::Unknown(why.to_owned()), cost));
            }
            item => item?.map(|item| item.attributes).unwrap_or_default(),
        };
        let lists = &self.settings.lists;
        let seen = match lists.unread(&item) {
            Some((name, dialect)) => Contents::Hidden(format!(
                "some sessions, such as {:?}, hold their messages under the attribute {name:?}, which these settings do not read; {}",
                session.as_str(),
                lists.remedy(&[(name, dialect)])
            )),
            None if [&lists.js, &lists.python].iter().any(|name| is_something(item.get(*name))) => Contents::Messages,
            None => Contents::Nothing,
        };
        Ok((seen, cost))
    }
}

/// What an item holds.
enum Contents {
    Nothing,
    Messages,
    /// Messages that the settings do not read, and a warning about them.
    Hidden(String),
    /// It could not be read, and a warning about that.
    Unknown(String),
}

/// Whether the first element of a list has a type, as every message in it has.
fn begins_with_a_message(list: &AttributeValue) -> bool {
    let first = list.as_l().ok().and_then(|elements| elements.first());
    first.and_then(|first| first.as_m().ok()).is_some_and(|fields| fields.contains_key("type"))
}

/// Whether an attribute exists and is not an empty list.
fn is_something(value: Option<&AttributeValue>) -> bool {
    match value {
        None => false,
        Some(AttributeValue::L(list)) => !list.is_empty(),
        Some(_) => true,
    }
}

pub(super) fn spell(progress: &[Progress]) -> String {
    BASE64.encode(serde_json::to_string(progress).unwrap_or_default())
}

pub(super) fn parse(cursor: &str) -> Result<Vec<Progress>, Error> {
    let read = || serde_json::from_slice::<Vec<Progress>>(&BASE64.decode(cursor).ok()?).ok();
    let shares = read().filter(|shares| (1..=64).contains(&shares.len()));
    shares.ok_or_else(|| Error::invalid("invalid cursor: it does not belong to a list of this table; start from the first page"))
}
