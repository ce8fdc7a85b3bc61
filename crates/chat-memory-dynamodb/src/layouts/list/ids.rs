//! Maps session ids to items' keys and back.
//!
//! In a table with a partition key only, the id is the key. In one with a sort key, each pair of keys is a session with the id
//! `PARTITION/SORT`. In `PARTITION`, `~` is written `~0` and `/` is written `~1` (as in a JSON Pointer); `SORT` is unescaped. So
//! each pair has exactly one id, and each id names at most one pair. If the settings fix the sort key's value, the id is the
//! partition key alone.

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::common::names::{LIST_SESSION, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, Partitions, SEGMENT, VERSION};
use crate::table::{Attributes, Item, Key};
use chat_memory_core::SessionId;
use chat_memory_core::error::Error;

/// The length of the longest side item id, with a part's number: `#UUID#0000`.
const SIDE_ID_BYTES: usize = 1 + 36 + 5;

/// The role of the sort key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The table has no sort key.
    None,
    /// It has this value in each session's item.
    Fixed(String),
    /// It is part of the session's id. Holds the key's name.
    Free(String),
}

impl Sort {
    pub(crate) fn is_some(&self) -> bool {
        *self != Self::None
    }
}

/// The id of the session with these two keys.
pub(super) fn join(pk: &str, sk: &str) -> String {
    format!("{}/{sk}", pk.replace('~', "~0").replace('/', "~1"))
}

/// The two keys of a session's id; `None` if it names no pair.
fn split(id: &str) -> Option<(String, &str)> {
    let (escaped, sk) = id.split_once('/')?;
    let mut pk = String::with_capacity(escaped.len());
    let mut chars = escaped.chars();
    while let Some(c) = chars.next() {
        pk.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    (!pk.is_empty() && !sk.is_empty()).then_some((pk, sk))
}

/// Whether this is a side item's id, the last part of its key: a UUID, optionally followed by a part's number.
fn is_side_id(id: &str) -> bool {
    let (uuid, part) = id.split_once('#').unwrap_or((id, "0000"));
    Uuid::try_parse(uuid).is_ok() && part.len() == 4 && part.bytes().all(|b| b.is_ascii_digit())
}

/// Maps session ids to keys as the settings say.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    pub(crate) partitions: Partitions,
    pub(crate) sort: Sort,
}

impl Ids {
    /// The key of a session's item.
    ///
    /// # Errors
    /// Invalid if the id cannot be a key of this table.
    pub(super) fn key(&self, session: &SessionId) -> Result<Key, Error> {
        let refused = |why: String| Err(Error::invalid(format!("session id {:?} cannot be used: {why}", abridged(session))));
        let (pk, sk) = match &self.sort {
            Sort::None => (session.to_string(), ""),
            Sort::Fixed(value) => (session.to_string(), value.as_str()),
            Sort::Free(name) => match split(session.as_str()) {
                Some(keys) => keys,
                None => {
                    return refused(format!(
                        "the table has the sort key {name:?} too; name the session PARTITION/SORT (with ~0 for ~ and ~1 for / in \
                         PARTITION), or fix the sort key's value in the store URL (sort_value={name} where LangChain.js's sortKey does)"
                    ));
                }
            },
        };
        let pk = format!("{}{pk}", self.partitions.prefix());
        if let Some(name) = self.partitions.anothers(&pk) {
            return refused(format!("it names a session of the namespace {name:?}; give namespace={name} in the store URL"));
        }
        for (what, bytes, most) in [("partition", pk.len(), MAX_PARTITION_KEY_BYTES), ("sort", sk.len(), MAX_SORT_KEY_BYTES)] {
            if bytes > most {
                return refused(format!("its {what} key has {bytes} bytes, and DynamoDB's limit is {most}; give a shorter one"));
            }
        }
        Ok(Key { pk, sk: sk.to_owned() })
    }

    /// The key of this whole id under the sort key's own name, where LangChain.js's `sortKey` stores it.
    pub(super) fn by_sort_key_name(&self, session: &SessionId, name: &str) -> Key {
        Key { pk: format!("{}{session}", self.partitions.prefix()), sk: name.to_owned() }
    }

    /// The key of a side item.
    pub(super) fn side_key(&self, session: &SessionId, id: &str) -> Key {
        let prefix = self.partitions.prefix();
        match &self.sort {
            Sort::None => {
                let named = if self.is_too_long_with_side_items(session) { "" } else { session.as_str() };
                Key { pk: format!("{prefix}{SEGMENT}{named}#{id}"), sk: String::new() }
            }
            Sort::Fixed(_) => Key { pk: format!("{prefix}{session}"), sk: format!("{SEGMENT}{id}") },
            Sort::Free(_) => {
                let pk = split(session.as_str()).map(|(pk, _)| pk).unwrap_or_default();
                Key { pk: format!("{prefix}{pk}"), sk: format!("{SEGMENT}{id}") }
            }
        }
    }

    /// The attribute that names a side item's session, if its key does not hold the whole id.
    pub(super) fn session_of_side_item(&self, session: &SessionId) -> Option<(String, AttributeValue)> {
        let is_lacking = match self.sort {
            Sort::None => self.is_too_long_with_side_items(session),
            Sort::Fixed(_) => false,
            Sort::Free(_) => true,
        };
        is_lacking.then(|| (LIST_SESSION.to_owned(), AttributeValue::S(session.to_string())))
    }

    fn is_too_long_with_side_items(&self, session: &SessionId) -> bool {
        let prefix = self.partitions.prefix().len() + SEGMENT.len();
        prefix + session.as_str().len() + SIDE_ID_BYTES > MAX_PARTITION_KEY_BYTES
    }

    /// The session of an item; `None` for a side item or one of another namespace.
    pub(super) fn session_of(&self, item: &Item) -> Option<SessionId> {
        let id = item.key.pk.strip_prefix(self.partitions.prefix())?;
        if self.partitions.anothers(&item.key.pk).is_some() || self.is_ours(&item.key, Some(&item.attributes)) {
            return None;
        }
        let id = match &self.sort {
            Sort::None => id.to_owned(),
            Sort::Fixed(value) if item.key.sk == *value => id.to_owned(),
            Sort::Fixed(_) => return None,
            Sort::Free(_) => join(id, &item.key.sk),
        };
        SessionId::stored(id).ok()
    }

    /// Whether an item is one of our side items, or of a thread of checkpoints, and not a session's own. Both its key, which an
    /// original could have given to a session, and the version attribute, which only we write, must show it.
    pub(super) fn is_ours(&self, key: &Key, attributes: Option<&Attributes>) -> bool {
        (self.side_of(key).is_some() || self.partitions.is_thread(&key.pk))
            && attributes.is_some_and(|attributes| attributes.contains_key(VERSION))
    }

    /// The session (empty if the key does not hold it) and the id of a side item, from its key.
    fn side_of<'a>(&self, key: &'a Key) -> Option<(&'a str, &'a str)> {
        let rest = key.pk.strip_prefix(self.partitions.prefix())?;
        if self.sort.is_some() {
            let id = key.sk.strip_prefix(SEGMENT).filter(|id| is_side_id(id))?;
            return Some((rest, id));
        }
        let rest = rest.strip_prefix(SEGMENT)?;
        let mut ends = rest.rmatch_indices('#').map(|(at, _)| at);
        let (last, before) = (ends.next()?, ends.next());
        let at = [Some(last), before].into_iter().flatten().find(|at| is_side_id(&rest[at + 1..]))?;
        Some((&rest[..at], &rest[at + 1..]))
    }

    /// The session and the id of a side item.
    pub(super) fn side_key_of(&self, item: &Item) -> Option<(SessionId, String)> {
        let (named, id) = self.side_of(&item.key).filter(|_| item.attributes.contains_key(VERSION))?;
        let session = match (item.attributes.get(LIST_SESSION), &self.sort) {
            (Some(AttributeValue::S(session)), _) => session,
            (None, Sort::None | Sort::Fixed(_)) => named,
            _ => return None,
        };
        Some((SessionId::stored(session).ok()?, id.to_owned()))
    }
}

fn abridged(session: &SessionId) -> String {
    let id = session.as_str();
    if id.chars().count() <= 60 { id.to_owned() } else { id.chars().take(60).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_pairs_and_ids_map_one_to_one() {
        for (pk, sk, id) in [
            ("ada", "s1", "ada/s1"),
            ("a/b", "c", "a~1b/c"),
            ("a", "b/c", "a/b/c"),
            ("~1", "~1", "~01/~1"),
            ("~", "/", "~0//"),
            ("日\n", " ", "日\n/ "),
        ] {
            assert_eq!(join(pk, sk), id);
            assert_eq!(split(id), Some((pk.to_owned(), sk)));
        }
        for none in ["ada", "/s1", "ada/", "a~/b", "a~2/b", ""] {
            assert_eq!(split(none), None, "{none}");
        }
    }

    #[test]
    fn random_key_pairs_round_trip() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut text =
            || -> String { (0..rng.usize(1..6)).map(|_| *rng.choice(&['~', '/', '0', '1', 'a']).unwrap_or(&'a')).collect() };
        for _ in 0..10_000 {
            let (pk, sk) = (text(), text());
            assert_eq!(split(&join(&pk, &sk)), Some((pk, sk.as_str())));
        }
    }

    #[test]
    fn only_uuid_keys_are_side_items() {
        let uuid = "1b0c74f2-9a3e-4d55-8c61-37ade01f92b8";
        for ours in [uuid.to_owned(), format!("{uuid}#0000")] {
            assert!(is_side_id(&ours), "{ours}");
        }
        for other in ["x", "", "#0000", "x#0000", &format!("{uuid}#00"), &format!("{uuid}#abcd")] {
            assert!(!is_side_id(other), "{other}");
        }
    }
}
