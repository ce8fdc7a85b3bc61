//! A directory entry, as stored.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::item::check_version;
use crate::common::names::*;
use crate::table::{Item, Key};
use chat_memory_core::error::Error;
use chat_memory_core::store::{Expiry, SessionInfo};
use chat_memory_core::{Owner, Timestamp};

/// A directory entry, as stored.
pub(super) struct Entry {
    pub(super) info: SessionInfo,
    /// Until when its session is known to last. `None` in an entry of the previous version: then only the session itself tells.
    sure: Option<Expiry>,
    /// When it becomes hidden.
    hidden: Expiry,
}

impl Entry {
    /// Whether the previous version wrote it.
    pub(super) fn is_before(&self) -> bool {
        self.sure.is_none()
    }

    /// Whether it is listed; `None` if its session's newest record decides.
    pub(super) fn is_shown(&self, now: Timestamp) -> Option<bool> {
        match self.sure {
            Some(sure) if !sure.is_over(now) => Some(true),
            Some(_) if self.hidden.is_over(now) => Some(false),
            _ => None,
        }
    }
}

/// Reads an item of the directory; `None` if it is elsewhere.
pub(super) fn entry_in(partitions: &Partitions, item: &Item) -> Option<Result<Entry, Error>> {
    let pk = &item.key.pk;
    let owner = partitions.owner_of_directory(pk)?;
    let owner = (!owner.is_empty()).then(|| Owner::new(owner)).transpose();
    let owner = owner.map_err(|e| Error::corrupt(format!("{pk:?} is not a partition of the directory: {e}")));
    Some(owner.and_then(|owner| entry(item, owner.as_ref())))
}

/// What an entry's key says about its session, if the rest cannot be read.
pub(super) fn bare_entry(partitions: &Partitions, key: &Key) -> Option<Entry> {
    let owner = partitions.owner_of_directory(&key.pk)?;
    let owner = (!owner.is_empty()).then(|| Owner::new(owner)).transpose().ok()?;
    let (created_at, id) = entry_of(&key.sk)?;
    let info = SessionInfo::new(id, created_at).with_owner(owner).with_last_at(Some(created_at));
    Some(Entry { info, sure: None, hidden: Expiry::Forever })
}

/// Reads a directory entry.
pub(super) fn entry(item: &Item, owner: Option<&Owner>) -> Result<Entry, Error> {
    check_version(item)?;
    let wrong = |what: &str| Error::corrupt(format!("the directory entry {:?} in {:?} has {what}", item.key.sk, item.key.pk));
    let (created_at, id) = entry_of(&item.key.sk).ok_or_else(|| wrong("a key that is not a directory entry's"))?;
    let text = |name: &str| match item.attributes.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("an attribute {name:?} that is not a string"))),
    };
    let number = |name: &str| match item.attributes.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(at)) => {
            at.parse::<i64>().map(Some).map_err(|_| wrong(&format!("an attribute {name:?} that is not an integer")))
        }
        Some(_) => Err(wrong(&format!("an attribute {name:?} that is not a number"))),
    };
    let metadata: Option<Map<String, Value>> = match text(METADATA)? {
        None => None,
        Some(json) => Some(serde_json::from_str(&json).map_err(|_| wrong("metadata that is not a JSON object"))?),
    };
    let expiry = |at| if at == 0 { Expiry::Forever } else { Expiry::Until(Timestamp::from_secs(at)) };
    let sure = number(SURE_UNTIL)?.map(expiry);
    let hidden = Expiry::of(number(EXPIRES_AT)?.map(Timestamp::from_secs));
    let last_at = Some(number(LAST_AT)?.map_or(created_at, |at| Timestamp::from_millis(at).max(created_at)));
    let info = SessionInfo::new(id, created_at).with_owner(owner.cloned()).with_title(text(TITLE)?);
    // Programs of before did not write them.
    let records =
        number(NEXT_SEQ)?.zip(number(FIRST_SEQ)?).and_then(|(next, first)| u64::try_from(next.checked_sub(first)?).ok());
    let info = info.with_metadata(metadata).with_last_at(last_at).with_records_at_least(records);
    Ok(Entry { info, sure, hidden })
}
