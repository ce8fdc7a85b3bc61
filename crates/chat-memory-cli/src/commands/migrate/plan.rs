//! Plans which parts of a session to write where: pure functions.

use chat_memory::store::Record;
use chat_memory::{Append, Message};
use serde_json::{Map, Value};

/// The content of one record in the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub messages: Vec<Message>,
    /// When each was sent.
    pub times: Vec<Option<i64>>,
    pub metadata: Option<Map<String, Value>>,
}

impl Piece {
    pub fn append(&self) -> Append {
        let append = Append::new(self.messages.clone()).sent_at(self.times.iter().copied());
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
        let times: Vec<_> = record.message_times().collect();
        let Record { messages, metadata, .. } = record;
        if messages.is_empty() {
            continue;
        }
        let is_single = messages.len() == 1 && metadata.is_none();
        let begins_turn = messages[0].begins_turn();
        match pieces.last_mut() {
            // A system prompt belongs to the turn after it.
            Some(last) if open && is_single && (!begins_turn || !last.messages.iter().any(Message::begins_turn)) => {
                last.messages.extend(messages);
                last.times.extend(times);
            }
            _ => pieces.push(Piece { messages, times, metadata }),
        }
        open = is_single;
    }
    pieces
}

/// What remains to be written if the target holds `there`; `None` if that is not the beginning of the session.
pub fn missing(pieces: Vec<Piece>, there: &[Message]) -> Option<Vec<Piece>> {
    let mut left = there;
    let mut missing = Vec::new();
    for mut piece in pieces {
        let here = piece.messages.len().min(left.len());
        if piece.messages[..here] != left[..here] {
            return None;
        }
        left = &left[here..];
        if here < piece.messages.len() {
            piece.messages.drain(..here);
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

/// The messages of records, with the time of each.
pub fn timed(records: &[Record]) -> Vec<(Message, Option<i64>)> {
    records.iter().flat_map(|record| record.messages.iter().cloned().zip(record.message_times())).collect()
}

/// Compares every field of the messages of two sides.
///
/// # Errors
/// The first difference: its place and both values.
pub fn compare(source: &[(Message, Option<i64>)], target: &[(Message, Option<i64>)]) -> Result<Compared, String> {
    let messages = |side: &[(Message, Option<i64>)]| side.iter().map(|(message, _)| message.clone()).collect::<Vec<_>>();
    if let Some(difference) = first_difference(&messages(source), &messages(target)) {
        return Err(difference);
    }
    let other_times = source.iter().zip(target).filter(|((_, at), (_, other))| at != other).count();
    Ok(Compared { messages: source.len() as u64, other_times: other_times as u64 })
}

/// The first difference between two histories: its place and both values.
fn first_difference(source: &[Message], target: &[Message]) -> Option<String> {
    let at = source.iter().zip(target).position(|(a, b)| a != b);
    let at = at.or_else(|| (source.len() != target.len()).then_some(source.len().min(target.len())))?;
    let role = |message: Option<&Message>| {
        message.map_or_else(|| "nothing".to_owned(), |message| format!("a message of the {}", message.role))
    };
    Some(format!(
        "they differ from message {} on: the source has {} of {}, the target {} of {}",
        at + 1,
        role(source.get(at)),
        source.len(),
        role(target.get(at)),
        target.len()
    ))
}

#[cfg(test)]
mod tests {
    use chat_memory::Role;
    use chat_memory::store::AppendId;

    use super::*;

    fn message(c: char) -> Message {
        match c {
            's' => Message::system("s"),
            'u' => Message::user("u"),
            'a' => Message::assistant("a"),
            _ => Message::tool("c", "t"),
        }
    }

    fn record(roles: &str) -> Record {
        Record {
            seq: 0,
            append_id: AppendId::random(),
            created_at: 0,
            expires_at: None,
            rewind: None,
            metadata: None,
            sent_at: Vec::new(),
            messages: roles.chars().map(message).collect(),
        }
    }

    fn spelled(pieces: &[Piece]) -> Vec<String> {
        let letter = |message: &Message| match message.role {
            Role::System => 's',
            Role::User => 'u',
            Role::Assistant => 'a',
            Role::Tool => 't',
        };
        pieces.iter().map(|piece| piece.messages.iter().map(letter).collect()).collect()
    }

    #[test]
    fn single_messages_become_turns_and_records_stay() {
        for (records, want) in [
            (&["s", "u", "a", "u", "a"][..], &["sua", "ua"][..]),
            (&["u", "a", "t", "a", "u"], &["uata", "u"]),
            (&["ua", "u", "a", "uaua"], &["ua", "ua", "uaua"]),
            (&["a", "", "u"], &["au"]),
            (&["ua", "a"], &["ua", "a"]),
        ] {
            let all = pieces(records.iter().map(|roles| record(roles)).collect());
            assert_eq!(spelled(&all), want, "{records:?}");
        }
    }

    #[test]
    fn metadata_keeps_a_record_apart() {
        let with = Record { metadata: Some(Map::new()), ..record("a") };
        let all = pieces(vec![record("u"), with, record("a")]);
        assert_eq!(spelled(&all), ["u", "a", "a"]);
        assert_eq!(all[1].metadata, Some(Map::new()));
    }

    #[test]
    fn a_copy_goes_on_behind_what_is_there() {
        let all = || pieces(vec![record("ua"), record("uata")]);
        let there = |roles: &str| roles.chars().map(message).collect::<Vec<_>>();
        assert_eq!(missing(all(), &there("uau")).as_deref().map(spelled), Some(vec!["ata".to_owned()]));
        assert_eq!(missing(all(), &there("uauata")).as_deref().map(spelled), Some(vec![]));
        assert_eq!(missing(all(), &there("uu")), None);
        assert_eq!(missing(all(), &there("uauatau")), None, "the target holds more");
    }

    #[test]
    fn pieces_keep_the_time_of_each_message() {
        let single = |roles: &str, at: i64| Record { created_at: at, ..record(roles) };
        let given = Record { sent_at: vec![Some(7), None], created_at: 9, ..record("ua") };
        // What the original classes wrote has no time.
        let all = pieces(vec![single("u", 1), single("a", 2), single("u", 0), given]);
        let times: Vec<_> = all.iter().map(|piece| piece.times.clone()).collect();
        assert_eq!(times, [vec![Some(1), Some(2)], vec![None], vec![Some(7), None]]);
        assert_eq!(missing(all, &[message('u')]).expect("the start")[0].times, [Some(2)]);
        let compared = compare(&timed(&[single("u", 1)]), &timed(&[single("u", 2)])).expect("equal messages");
        assert_eq!(compared, Compared { messages: 1, other_times: 1 });
    }

    #[test]
    fn a_difference_is_named() {
        let of = |roles: &str| roles.chars().map(message).collect::<Vec<_>>();
        assert_eq!(first_difference(&of("ua"), &of("ua")), None);
        assert!(first_difference(&of("uau"), &of("uat")).expect("a difference").contains("message 3"));
        assert!(first_difference(&of("ua"), &of("u")).expect("a difference").contains("nothing of 1"));
    }
}
