//! The keys of rows (docs/formats.md, "Checkpoints").

use super::rows::RowRange;
use crate::error::Error;

/// What ends the id of a fence: it is greater than any other character of an id.
const FENCE: char = '~';

/// What precedes the id of a thread in its partition's key, after the prefix of a tenant.
pub const PARTITION: &str = "ckpt#";

/// The highest sort key of a prefix.
pub(super) fn last_of(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

/// The highest sort key below one.
pub(super) fn below(sort: &str) -> String {
    // No key of ours contains a control character, so nothing is between them.
    let mut to = sort.to_owned();
    let last = to.pop().map_or(' ', |c| char::from_u32(u32::from(c) - 1).unwrap_or(' '));
    format!("{to}{last}\u{10ffff}")
}

/// Writes a namespace without the characters that have a meaning in a key.
fn escaped(namespace: &str) -> String {
    namespace.replace('%', "%25").replace('#', "%23")
}

fn unescaped(text: &str) -> String {
    text.replace("%23", "#").replace("%25", "%")
}

/// The id of a fence after this row.
pub(super) fn fence_after(id: &str) -> String {
    format!("{id}{FENCE}")
}

/// The id of a base with the state of a checkpoint. It sorts with the checkpoint's own.
pub(super) fn base_of(id: &str, unique: &str) -> String {
    format!("{id}+{unique}")
}

/// The id of the checkpoint whose state a base has.
pub(super) fn checkpoint_of(base: &str) -> &str {
    base.split_once('+').map_or(base, |(id, _)| id)
}

/// Checks that a checkpoint's id can be part of a key.
pub(super) fn check_id(id: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if id.is_empty() || id.len() > 200 || !id.chars().all(fits) {
        return Err(Error::invalid(format!(
            "invalid checkpoint id {id:?}: expected 1 to 200 letters, digits or any of -_.:, such as a UUID"
        )));
    }
    Ok(())
}

/// Checks that the name of an attempt can be part of a key.
pub(super) fn check_attempt(attempt: Option<&str>) -> Result<(), Error> {
    match attempt {
        Some(name) if name.is_empty() || name.len() > 40 || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
            Err(Error::invalid(format!("invalid attempt {name:?}: expected 1 to 40 letters, digits or -")))
        }
        _ => Ok(()),
    }
}

/// The keys of a namespace's rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Log {
    namespace: String,
}

impl Log {
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: escaped(namespace) }
    }

    pub(super) fn namespace(&self) -> String {
        unescaped(&self.namespace)
    }

    fn prefix(&self) -> String {
        format!("c#{}#", self.namespace)
    }

    /// The place of what follows a checkpoint; of the first one for `None`.
    pub(super) fn after(&self, previous: Option<&str>) -> String {
        format!("{}{}", self.prefix(), previous.unwrap_or_default())
    }

    /// All rows.
    pub(super) fn whole(&self) -> RowRange {
        self.up_to(last_of(&self.prefix()))
    }

    /// The rows that a checkpoint and those before it can have, newest first.
    pub(super) fn until(&self, id: &str) -> RowRange {
        self.up_to(last_of(&format!("{}{id}#", self.prefix())))
    }

    fn up_to(&self, to: String) -> RowRange {
        RowRange { from: self.prefix(), to, descending: true, limit: None }
    }

    /// The key of what a task wrote at a checkpoint.
    pub(super) fn write(&self, checkpoint: &str, task_id: &str, call: &str, part: usize) -> String {
        format!("{}{checkpoint}#w#{}#{call}#{part:04}", self.prefix(), escaped(task_id))
    }

    /// The key of a part of a base.
    pub(super) fn base(&self, chain: &str, id: &str, part: usize) -> String {
        format!("{}{id}#{part:04}", self.chain(chain))
    }

    fn chain(&self, chain: &str) -> String {
        format!("b#{}#{chain}#", self.namespace)
    }

    /// The bases of a chain up to this one, oldest first.
    pub(super) fn bases(&self, chain: &str, id: &str) -> RowRange {
        let prefix = self.chain(chain);
        RowRange { to: last_of(&format!("{prefix}{id}#")), from: prefix, descending: false, limit: None }
    }

    /// All bases of the namespace.
    pub(super) fn all_bases(&self) -> RowRange {
        let from = format!("b#{}#", self.namespace);
        RowRange { to: last_of(&from), from, descending: false, limit: None }
    }
}

/// What a sort key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A checkpoint or a mark, after this row.
    After(&'a str),
    /// A part of a task's writes at a checkpoint.
    Write { checkpoint: &'a str, task_id: String, call: &'a str, part: &'a str },
    /// A part of a base.
    Base { chain: &'a str, id: &'a str },
}

/// Reads a sort key: its namespace and what it names.
pub(super) fn place(sort: &str) -> Option<(Log, Place<'_>)> {
    let mut fields = sort.split('#');
    let kind = fields.next()?;
    let log = Log { namespace: fields.next()?.to_owned() };
    let rest: Vec<&str> = fields.collect();
    let place = match (kind, rest.as_slice()) {
        ("c", [previous]) => Place::After(previous),
        ("c", [checkpoint, "w", task, call, part]) => Place::Write { checkpoint, task_id: unescaped(task), call, part },
        ("b", [chain, id, _part]) => Place::Base { chain, id },
        _ => return None,
    };
    Some((log, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_ordered() {
        for namespace in ["", "child:1|node:2", "a#b%23c/d"] {
            let log = Log::new(namespace);
            assert_eq!(log.namespace(), namespace);
            let write = log.write("id-1", "t#1", "call", 3);
            let read = Place::Write { checkpoint: "id-1", task_id: "t#1".to_owned(), call: "call", part: "0003" };
            assert_eq!(place(&write), Some((log.clone(), read)));
            assert_eq!(place(&log.after(Some("id-1"))), Some((log.clone(), Place::After("id-1"))));
            assert_eq!(place(&log.base("id-1", "id-2", 0)), Some((log.clone(), Place::Base { chain: "id-1", id: "id-2" })));
            let keys = [
                log.after(None),
                log.after(Some("id-1")),
                write,
                log.after(Some(&fence_after("id-1"))),
                log.after(Some("id-2")),
                log.whole().to,
            ];
            assert!(keys.is_sorted(), "{keys:?}");
            let until = log.until("id-1");
            assert!(until.from <= keys[0] && keys[2] <= until.to && until.to < keys[3]);
            let below = below(&keys[3]);
            assert!(keys[2] <= below && below < keys[3]);
        }
        assert_ne!(Log::new("a").after(Some("b")), Log::new("a#b").after(None));
    }
}
