//! Every attribute name and key of the format, in one place (see docs/formats.md).

use aws_sdk_dynamodb::types::AttributeValue;

use crate::table::{Key, Range};
use chat_memory_core::checkpoints;
use chat_memory_core::error::Error;
use chat_memory_core::{Namespace, Owner, SessionId, Timestamp};

/// The highest format version, which readers compare with an item's `v`. A record with an entry that is not a message has it.
pub const FORMAT_VERSION: u64 = 2;

/// The version of every other item: readers that know only messages show it correctly.
pub(crate) const MESSAGES_VERSION: u64 = 1;

/// The names of the partition key and the sort key in a table created here.
pub(crate) const PARTITION_KEY: &str = "session_id";
pub(crate) const SORT_KEY: &str = "sk";
/// The TTL attribute of a table created here.
pub(crate) const TTL: &str = "ttl";

pub(crate) const VERSION: &str = "v";
pub(crate) const APPEND_ID: &str = "append_id";
pub(crate) const CREATED_AT: &str = "created_at";
pub(crate) const EXPIRES_AT: &str = "expires_at";
pub(crate) const REWIND: &str = "rewind";
pub(crate) const METADATA: &str = "metadata";
pub(crate) const MESSAGES: &str = "messages";
pub(crate) const CODEC: &str = "codec";
pub(crate) const PARTS: &str = "parts";
pub(crate) const PARTS_ID: &str = "parts_id";
pub(crate) const DATA: &str = "data";
pub(crate) const CLEARED_BY: &str = "cleared_by";
pub(crate) const BEGAN: &str = "began";
pub(crate) const OWNER: &str = "owner";
pub(crate) const ENDED: &str = "ended";
pub(crate) const AFTER_EXPIRING: &str = "after_expiring";
pub(crate) const TITLE: &str = "title";
/// In a record: until when its session lasts, and until when the session's entry may be listed (epoch seconds; 0: forever).
pub(crate) const LASTS_UNTIL: &str = "lasts_until";
pub(crate) const LISTED_UNTIL: &str = "listed_until";
/// In a record that ends a session: when the entry that was deleted with it was created.
pub(crate) const LAST_ENTRY: &str = "last_entry";
/// In an entry: until when its session is known to last (epoch seconds; 0: forever).
pub(crate) const SURE_UNTIL: &str = "sure_until";
/// In an entry: a random mark left by the last change of its title or metadata, so that the next change replaces only what it read.
/// In a record: likewise, by the last redaction.
pub(crate) const REV: &str = "rev";
/// In an entry: when its session was last written to, up to an hour behind (epoch milliseconds).
pub(crate) const LAST_AT: &str = "last_at";
/// In an entry: the number of its session's first record, and at `last_at`, of the record that would have come next.
pub(crate) const FIRST_SEQ: &str = "first_seq";
pub(crate) const NEXT_SEQ: &str = "next_seq";
pub(crate) const SENT_AT: &str = "sent_at";
/// In each of several records that were written in one transaction: the numbers of the first and the last of them.
pub(crate) const GROUP: &str = "group";
/// In a redacted record: the id and the number of the parts with its old entries, until they are deleted.
pub(crate) const OLD_PARTS: &str = "old_parts";
/// In a row of a thread of checkpoints: its content.
pub(crate) const BODY: &str = "body";

/// The attributes that the `list` layout adds to a session's item, and the name of the mark in an element.
pub(crate) const LIST_HEAD: &str = "chat_memory";
pub(crate) const LIST_GENERATION: &str = "chat_memory_generation";
pub(crate) const LIST_IDS: &str = "chat_memory_ids";
pub(crate) const MARK: &str = "chat_memory";
/// The name of LangChain Python's partition key.
pub(crate) const LIST_PYTHON_KEY: &str = "SessionId";
/// The partition key's name in LangChain.js's own example.
pub(crate) const LIST_PARTITION_KEY: &str = "id";
/// The originals' list attributes: that of LangChain.js and Flowise, and that of LangChain Python.
pub(crate) const LIST_JS: &str = "messages";
pub(crate) const LIST_PYTHON: &str = "History";
/// The attribute by which LangChain Python makes an item expire.
pub(crate) const LIST_TTL: &str = "expireAt";
/// The session of a side item, if its key does not hold the whole id.
pub(crate) const LIST_SESSION: &str = "chat_memory_session";
/// The prefix of a side item's key in the `list` layout.
pub(crate) const SEGMENT: &str = "segment#";

/// Every attribute with a meaning in an item, used or reserved. A table's keys and its TTL attribute (except [`TTL`] itself) must
/// have other names, or one attribute would have to hold two values.
pub(crate) const ATTRIBUTES: [&str; 34] = [
    VERSION,
    APPEND_ID,
    CREATED_AT,
    EXPIRES_AT,
    TTL,
    REWIND,
    METADATA,
    MESSAGES,
    CODEC,
    PARTS,
    PARTS_ID,
    DATA,
    CLEARED_BY,
    BEGAN,
    OWNER,
    ENDED,
    AFTER_EXPIRING,
    TITLE,
    LASTS_UNTIL,
    LISTED_UNTIL,
    LAST_ENTRY,
    SURE_UNTIL,
    REV,
    LAST_AT,
    FIRST_SEQ,
    NEXT_SEQ,
    SENT_AT,
    GROUP,
    OLD_PARTS,
    BODY,
    "ref",
    "parent",
    "summary",
    "region",
];

/// The value of `codec` for a zstd frame.
pub(crate) const ZSTD: &str = "zstd";

/// The longest partition key and the longest sort key, in bytes (DynamoDB's limits).
pub(crate) const MAX_PARTITION_KEY_BYTES: usize = 2048;
pub(crate) const MAX_SORT_KEY_BYTES: usize = 1024;

/// The largest number with twelve digits.
pub(crate) const MAX_SEQ: u64 = 999_999_999_999;

/// The number of partitions over which directory entries are spread, so that no single one limits how fast sessions start.
pub(crate) const SHARDS: u32 = 4;

/// The partition keys of one namespace, or of a table without namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    prefix: String,
}

impl Partitions {
    pub(crate) fn new(namespace: Option<&Namespace>) -> Self {
        Self { prefix: namespace.map_or_else(String::new, |name| format!("ns#{name}#")) }
    }

    /// The prefix of every partition key.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn session(&self, session: &SessionId) -> String {
        format!("{}{session}", self.prefix)
    }

    /// The key of an item that no session of the `list` layout can have, with or without a sort key.
    pub(crate) fn probe(&self, has_sort_key: bool) -> Key {
        let sk = if has_sort_key { format!("{SEGMENT}probe") } else { String::new() };
        Key { pk: format!("{}{SEGMENT}probe", self.prefix), sk }
    }

    /// Whether a partition belongs to one of our sessions, rather than to a directory or another namespace.
    pub(crate) fn is_session(&self, pk: &str) -> bool {
        self.session_of(pk).is_some()
    }

    /// The session that a partition belongs to.
    pub(crate) fn session_of(&self, pk: &str) -> Option<SessionId> {
        SessionId::new(pk.strip_prefix(&self.prefix)?).ok()
    }

    /// The namespace that a partition of sessions belongs to, if these partitions have no namespace.
    pub(crate) fn anothers<'a>(&self, pk: &'a str) -> Option<&'a str> {
        let (name, rest) = pk.strip_prefix("ns#").filter(|_| self.prefix.is_empty())?.split_once('#')?;
        let is_session = !rest.is_empty() && !rest.starts_with(checkpoints::PARTITION);
        (Namespace::new(name).is_ok() && is_session).then_some(name)
    }

    /// Whether a partition belongs to a thread of checkpoints, here or in a namespace.
    pub(crate) fn is_thread(&self, pk: &str) -> bool {
        let Some(rest) = pk.strip_prefix(&self.prefix) else { return false };
        let inner = rest.strip_prefix("ns#").filter(|_| self.prefix.is_empty()).and_then(|rest| rest.split_once('#'));
        [Some(rest), inner.map(|(_, rest)| rest)].iter().flatten().any(|rest| rest.starts_with(checkpoints::PARTITION))
    }

    /// The owner whose directory a partition is; empty for unowned sessions. `None` if it is no directory.
    pub(crate) fn owner_of_directory<'a>(&self, pk: &'a str) -> Option<&'a str> {
        pk.strip_prefix(&self.prefix)?.strip_prefix("dir#")?.rsplit_once('#').map(|(owner, _)| owner)
    }

    /// The directory's partition for sessions of an owner, or without one.
    pub(crate) fn directory(&self, owner: Option<&Owner>, shard: u32) -> String {
        format!("{}dir#{}#{shard}", self.prefix, owner.map_or("", Owner::as_str))
    }
}

/// The warning of a listing without a namespace in a table that also has namespaces.
pub(crate) fn not_of_namespaces(name: &str) -> String {
    format!(
        "the table also has sessions in namespaces, which are not listed; give namespace={name} in the store URL to list those of {name:?}"
    )
}

/// The shard of a session's directory entry (FNV-1a: it must never change).
pub(crate) fn shard(session: &SessionId) -> u32 {
    let hash = session.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % SHARDS
}

pub(crate) fn record_sk(seq: u64) -> String {
    format!("t#{seq:012}")
}

/// The number in a record's sort key.
pub(crate) fn seq_of(key: &Key) -> Result<u64, Error> {
    let digits = key.sk.strip_prefix("t#").filter(|digits| digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        Error::corrupt(format!("session {:?} has an item with the sort key {:?}, which is not a record's number", key.pk, key.sk))
    })
}

/// The id in a part's sort key.
pub(crate) fn parts_id_of(sk: &str) -> Option<&str> {
    Some(sk.strip_prefix("p#")?.rsplit_once('#')?.0)
}

/// The part's number in a sort key, if it is one of these parts.
pub(crate) fn part_of(sk: &str, parts_id: &str) -> Option<usize> {
    let (_, number) = sk.rsplit_once('#')?;
    number.parse().ok().filter(|n| part_sk(parts_id, *n) == sk)
}

pub(crate) fn part_sk(parts_id: &str, part: usize) -> String {
    format!("p#{parts_id}#{part:04}")
}

/// A time as an attribute: in milliseconds, as all but expiries are.
pub(crate) fn millis(at: Timestamp) -> AttributeValue {
    AttributeValue::N(at.as_millis().to_string())
}

/// When something expires, as an attribute: in seconds, as DynamoDB's TTL wants it.
pub(crate) fn secs(at: Timestamp) -> AttributeValue {
    AttributeValue::N(at.as_secs().to_string())
}

/// The sort key of a directory entry: ordered by start, and unique.
pub(crate) fn entry_sk(began: Timestamp, session: &SessionId) -> String {
    format!("d#{:013}#{session}", began.as_millis())
}

/// The start and the session in an entry's sort key.
pub(crate) fn entry_of(sk: &str) -> Option<(Timestamp, SessionId)> {
    let (began, session) = sk.strip_prefix("d#")?.split_at_checked(13)?;
    Some((Timestamp::from_millis(began.parse().ok()?), SessionId::new(session.strip_prefix('#')?).ok()?))
}

/// Everything in a partition, highest sort key first.
pub(crate) fn whole(pk: String) -> Range {
    Range { from: " ".to_owned(), to: "\u{10ffff}".to_owned(), ..records(pk, 0, 0) }
}

/// The records from `from` to `to`, newest first.
pub(crate) fn records(pk: String, from: u64, to: u64) -> Range {
    // Sort keys order like the numbers as long as they have the same number of digits.
    let [from, to] = [from, to].map(|seq| record_sk(seq.min(MAX_SEQ)));
    Range { pk, from, to, newest_first: true, limit: None, eventual: false, only: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_threads_are_no_sessions() {
        let (all, acme) = (Partitions::new(None), Partitions::new(Some(&Namespace::new("acme").expect("a good name"))));
        for (partitions, pk, is_thread) in [
            (&all, "ckpt#trip", true),
            (&all, "ns#acme#ckpt#trip", true),
            (&acme, "ns#acme#ckpt#trip", true),
            (&all, "trip", false),
            (&all, "ns#acme#trip", false),
            (&acme, "ns#acme#trip", false),
            (&acme, "ckpt#trip", false),
            (&all, "dir#ckpt#0", false),
        ] {
            assert_eq!(partitions.is_thread(pk), is_thread, "{pk}");
            assert!(!is_thread || !partitions.is_session(pk) && partitions.anothers(pk).is_none(), "{pk}");
        }
        assert_eq!(all.anothers("ns#acme#trip"), Some("acme"));
        assert!(acme.is_session("ns#acme#trip"));
    }
}
