//! Names of keys and attributes, as they stand in a table.

/// The partition key of a table made here.
pub(crate) const PARTITION_KEY: &str = "session_id";
/// The sort key of a table made here.
pub(crate) const SORT_KEY: &str = "sk";
/// The TTL attribute of a table made here: when DynamoDB purges the item, in epoch seconds.
pub(crate) const TTL: &str = "ttl";
/// The id of the append that wrote the item.
pub(crate) const APPEND_ID: &str = "append_id";

/// Every attribute that has a meaning in an item, now or by reservation: a table's keys and its TTL attribute (but for
/// [`TTL`] itself) must be called otherwise, else one attribute had to hold two values.
pub(crate) const ATTRIBUTES: [&str; 20] = [
    "v",
    APPEND_ID,
    "created_at",
    "expires_at",
    TTL,
    "rewind",
    "metadata",
    "parts",
    "codec",
    "messages",
    "cleared_by",
    "ref",
    "parent",
    "summary",
    "region",
    "owner",
    "title",
    "part",
    "updated_at",
    "session",
];
