//! Plans which parts of a session to write where: pure functions.

use chat_memory::store::Record;
use chat_memory::{Append, Entry, Message, Timestamp};
use serde_json::{Map, Value};

/// The content of one record in the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub entries: Vec<Entry>,
    /// When each was sent.
    pub times: Vec<Option<Timestamp>>,
    pub metadata: Option<Map<String, Value>>,
}

impl Piece {
    pub fn append(&self) -> Append {
        let append = Append::new(&self.entries).sent_at(self.times.iter().copied());
        match &self.metadata {
            Some(metadata) => append.with_metadata(metadata.clone()),
            None => append,
        }
    }
}

/// Splits a session into pieces. Records keep their bounds and their metadata. Consecutive single messages, as Flowise and
/// LangChain write them, are joined to one piece per turn, since each record costs at least one write unit.
pub fn pieces(records: Vec<Record>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    // Whether the last piece may still grow.
    let mut open = false;
    for record in records {
        let times: Vec<_> = record.entry_times().collect();
        let Record { entries, metadata, .. } = record;
        if entries.is_empty() {
            continue;
        }
        let is_single = entries.len() == 1 && metadata.is_none();
        let begins_turn = begins_turn(&entries[0]);
        match pieces.last_mut() {
            // A system prompt belongs to the turn after it.
            Some(last) if open && is_single && (!begins_turn || !last.entries.iter().any(self::begins_turn)) => {
                last.entries.extend(entries);
                last.times.extend(times);
            }
            _ => pieces.push(Piece { entries, times, metadata }),
        }
        open = is_single;
    }
    pieces
}

fn begins_turn(entry: &Entry) -> bool {
    entry.as_message().is_some_and(Message::begins_turn)
}

/// What remains to be written if the target holds `there`; `None` if that is not the beginning of the session.
pub fn missing(pieces: Vec<Piece>, there: &[Entry]) -> Option<Vec<Piece>> {
    let mut left = there;
    let mut missing = Vec::new();
    for mut piece in pieces {
        let here = piece.entries.len().min(left.len());
        if piece.entries[..here] != left[..here] {
            return None;
        }
        left = &left[here..];
        if here < piece.entries.len() {
            piece.entries.drain(..here);
            piece.times.drain(..here);
            missing.push(piece);
        }
    }
    left.is_empty().then_some(missing)
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    pub messages: u64,
    /// Of those, the messages whose time differs in the target.
    pub other_times: u64,
}

impl std::ops::AddAssign for Compared {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.other_times += other.other_times;
    }
}

/// The entries of records, with the time of each.
pub fn timed(records: &[Record]) -> Vec<(Entry, Option<Timestamp>)> {
    records.iter().flat_map(|record| record.entries.iter().cloned().zip(record.entry_times())).collect()
}

/// Compares every field of the entries of two sides.
///
/// # Errors
/// The first difference: its place and both values.
pub fn compare(source: &[(Entry, Option<Timestamp>)], target: &[(Entry, Option<Timestamp>)]) -> Result<Compared, String> {
    let entries = |side: &[(Entry, Option<Timestamp>)]| side.iter().map(|(entry, _)| entry.clone()).collect::<Vec<_>>();
    if let Some(difference) = first_difference(&entries(source), &entries(target)) {
        return Err(difference);
    }
    let other_times = source.iter().zip(target).filter(|((_, at), (_, other))| at != other).count();
    Ok(Compared { messages: source.len() as u64, other_times: other_times as u64 })
}

/// The first difference between two histories: its place and both values.
fn first_difference(source: &[Entry], target: &[Entry]) -> Option<String> {
    let at = source.iter().zip(target).position(|(a, b)| a != b);
    let at = at.or_else(|| (source.len() != target.len()).then_some(source.len().min(target.len())))?;
    let kind = |entry: Option<&Entry>| match entry {
        None => "nothing".to_owned(),
        Some(Entry::Message(message)) => format!("a message of the {}", message.role),
        Some(other) => format!("an entry of the type {:?}", other.kind().unwrap_or_default()),
    };
    Some(format!(
        "source and target differ from message {} on: the source has {} of {}, the target {} of {}",
        at + 1,
        kind(source.get(at)),
        source.len(),
        kind(target.get(at)),
        target.len()
    ))
}

#[cfg(test)]
mod tests {
    use chat_memory::Role;
    use chat_memory::store::AppendId;

    use super::*;

    fn entry(c: char) -> Entry {
        match c {
            's' => Message::system("s").into(),
            'u' => Message::user("u").into(),
            'a' => Message::assistant("a").into(),
            't' => Message::tool("c", "t").into(),
            _ => Entry::Other(Map::from_iter([("type".to_owned(), "summary".into())])),
        }
    }

    fn record(roles: &str) -> Record {
        Record::new(0, AppendId::random(), Timestamp::UNIX_EPOCH).with_entries(roles.chars().map(entry))
    }

    fn spelled(pieces: &[Piece]) -> Vec<String> {
        let letter = |entry: &Entry| match entry.as_message().map(|message| message.role) {
            Some(Role::System) => 's',
            Some(Role::User) => 'u',
            Some(Role::Assistant) => 'a',
            Some(_) => 't',
            None => 'o',
        };
        pieces.iter().map(|piece| piece.entries.iter().map(letter).collect()).collect()
    }

    #[test]
    fn single_messages_merge_into_turns_and_records_stay() {
        for (records, want) in [
            (&["s", "u", "a", "u", "a"][..], &["sua", "ua"][..]),
            (&["u", "a", "t", "a", "u"], &["uata", "u"]),
            (&["ua", "u", "a", "uaua"], &["ua", "ua", "uaua"]),
            (&["a", "", "u"], &["au"]),
            (&["ua", "a"], &["ua", "a"]),
            (&["o", "u", "o", "a", "u"], &["ouoa", "u"]),
            (&["uoa", "oo"], &["uoa", "oo"]),
        ] {
            let all = pieces(records.iter().map(|roles| record(roles)).collect());
            assert_eq!(spelled(&all), want, "{records:?}");
        }
    }

    #[test]
    fn record_with_metadata_is_not_merged() {
        let mut with = record("a");
        with.metadata = Some(Map::new());
        let all = pieces(vec![record("u"), with, record("a")]);
        assert_eq!(spelled(&all), ["u", "a", "a"]);
        assert_eq!(all[1].metadata, Some(Map::new()));
    }

    #[test]
    fn copy_resumes_after_messages_in_the_target() {
        let all = || pieces(vec![record("ua"), record("uata")]);
        let there = |roles: &str| roles.chars().map(entry).collect::<Vec<_>>();
        assert_eq!(missing(all(), &there("uau")).as_deref().map(spelled), Some(vec!["ata".to_owned()]));
        assert_eq!(missing(all(), &there("uauata")).as_deref().map(spelled), Some(vec![]));
        assert_eq!(missing(all(), &there("uu")), None);
        assert_eq!(missing(all(), &there("uauatau")), None, "the target holds more");
    }

    #[test]
    fn pieces_keep_the_time_of_each_message() {
        let at = Timestamp::from_millis;
        let single = |roles: &str, ms| Record::new(0, AppendId::random(), at(ms)).with_entries(roles.chars().map(entry));
        let mut given = single("ua", 9);
        given.sent_at = vec![Some(at(7)), None];
        // What the original classes wrote has no time.
        let all = pieces(vec![single("u", 1), single("a", 2), single("u", 0), given]);
        let times: Vec<_> = all.iter().map(|piece| piece.times.clone()).collect();
        assert_eq!(times, [vec![Some(at(1)), Some(at(2))], vec![None], vec![Some(at(7)), None]]);
        assert_eq!(missing(all, &[entry('u')]).expect("the start")[0].times, [Some(at(2))]);
        let compared = compare(&timed(&[single("u", 1)]), &timed(&[single("u", 2)])).expect("equal messages");
        assert_eq!(compared, Compared { messages: 1, other_times: 1 });
    }

    #[test]
    fn first_difference_names_the_message() {
        let of = |roles: &str| roles.chars().map(entry).collect::<Vec<_>>();
        assert_eq!(first_difference(&of("ua"), &of("ua")), None);
        assert!(first_difference(&of("uau"), &of("uat")).expect("a difference").contains("message 3"));
        assert!(first_difference(&of("ua"), &of("u")).expect("a difference").contains("nothing of 1"));
        assert!(first_difference(&of("uo"), &of("ua")).expect("a difference").contains("an entry of the type \"summary\""));
    }
}
