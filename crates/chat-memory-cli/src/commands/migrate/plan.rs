//! Plans which parts of a session to write where: pure functions.

use chat_memory::store::Record;
use chat_memory::{Append, Entry, Message, Timestamp};
use serde_json::{Map, Value};

use crate::commands::count;

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

/// What remains to be written if the target holds this many entries of it.
pub fn missing(pieces: Vec<Piece>, there: usize) -> Vec<Piece> {
    let mut left = there;
    let mut missing = Vec::new();
    for mut piece in pieces {
        let here = piece.entries.len().min(left);
        left -= here;
        if here < piece.entries.len() {
            piece.entries.drain(..here);
            piece.times.drain(..here);
            missing.push(piece);
        }
    }
    missing
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    pub messages: u64,
    /// Of those, the messages whose time differs in the target.
    pub other_times: u64,
    /// Of those, the messages that each side redacted, with a time and perhaps words of its own.
    pub redacted: u64,
}

impl std::ops::AddAssign for Compared {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.other_times += other.other_times;
        self.redacted += other.redacted;
    }
}

/// An entry of one side.
struct Placed<'a> {
    entry: &'a Entry,
    at: Option<Timestamp>,
    record: &'a Record,
}

fn placed(records: &[Record]) -> impl Iterator<Item = Placed<'_>> {
    records.iter().flat_map(|record| {
        let times: Vec<_> = record.entry_times().collect();
        record.entries.iter().zip(times).map(move |(entry, at)| Placed { entry, at, record })
    })
}

/// How two sides differ, and what the user may do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub what: String,
    pub remedy: &'static str,
}

/// Compares the first `entries` of the source with all of the target: every field of each, its time, and its record's metadata.
///
/// # Errors
/// The first difference: its place and both values.
pub fn compare(source: &[Record], entries: usize, target: &[Record]) -> Result<Compared, String> {
    difference(source, target).map_or(Ok(()), |difference| Err(difference.what))?;
    let (mut compared, mut there) = (Compared::default(), placed(target));
    for from in placed(source).take(entries) {
        let number = compared.messages + 1;
        let Some(to) = there.next() else { return Err(format!("message {number} is not in the target")) };
        if from.record.metadata != to.record.metadata {
            let shown =
                |record: &Record| record.metadata.clone().map_or_else(|| "none".to_owned(), |it| Value::Object(it).to_string());
            let (from, to) = (shown(from.record), shown(to.record));
            return Err(format!("the metadata of message {number}'s record differs: the source has {from}, the target {to}"));
        }
        compared.messages += 1;
        compared.redacted += u64::from(from.entry != to.entry);
        compared.other_times += u64::from(from.at != to.at);
    }
    Ok(compared)
}

/// How the target's entries differ from the beginning of the source's; `None` if they do not. What both sides redacted is the same, whenever and
/// with whatever replacement each did.
pub fn difference(source: &[Record], target: &[Record]) -> Option<Difference> {
    let other = |n, from: Option<&Entry>, to: &Entry| {
        let remedy = "delete it in the target first, or name the other sessions with --session";
        Some(Difference { what: other(n, from, to), remedy })
    };
    // The records that still have what the other side redacted.
    let (mut at_source, mut at_target) = (Redacted::default(), Redacted::default());
    let mut from = placed(source);
    for (n, to) in placed(target).enumerate() {
        let from = from.next();
        match &from {
            Some(from) if from.entry == to.entry => {}
            Some(from) => match (from.entry.is_left_of(to.entry), to.entry.is_left_of(from.entry)) {
                (true, true) => {}
                (true, false) => at_source.add(to.record.seq),
                (false, true) => at_target.add(from.record.seq),
                (false, false) => return other(n, Some(from.entry), to.entry),
            },
            None => return other(n, None, to.entry),
        }
    }
    let said = [at_source.said("source", "target"), at_target.said("target", "source")];
    let said: Vec<_> = said.into_iter().flatten().collect();
    let remedy = "redact what is left of them, or delete the session in the target";
    (!said.is_empty()).then(|| Difference { what: said.join("; "), remedy })
}

/// Messages that only one side redacted, and the other side's records that have them.
#[derive(Default)]
struct Redacted {
    messages: u64,
    records: Vec<u64>,
}

impl Redacted {
    fn add(&mut self, seq: u64) {
        self.messages += 1;
        if self.records.last() != Some(&seq) {
            self.records.push(seq);
        }
    }

    fn said(&self, side: &str, other: &str) -> Option<String> {
        const SHOWN: usize = 10;
        let shown: Vec<_> = self.records.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = if self.records.len() > SHOWN { format!(" and {} more", self.records.len() - SHOWN) } else { String::new() };
        let (messages, records) = (count(self.messages, "message"), if self.records.len() == 1 { "record" } else { "records" });
        let verb = if self.messages == 1 { "is" } else { "are" };
        (self.messages > 0).then(|| {
            format!(
                "{messages} {verb} redacted at the {side} only, and the {other} still has what was said in {records} {}{more}",
                shown.join(", ")
            )
        })
    }
}

/// The first difference between two sides that no redaction explains.
fn other(n: usize, source: Option<&Entry>, target: &Entry) -> String {
    let kind = |entry: &Entry| match entry {
        Entry::Message(message) => format!("a message of the {}", message.role),
        other => format!("an entry of the type {:?}", other.kind().unwrap_or_default()),
    };
    let (source, target) = (source.map_or_else(|| "nothing".to_owned(), kind), kind(target));
    let instead = if source == target { format!("another text in {target}") } else { format!("{target} instead of {source}") };
    format!("from message {} on the target has other messages than the source: {instead}", n + 1)
}

#[cfg(test)]
mod tests {
    use chat_memory::store::{AppendId, Redaction};
    use chat_memory::{Role, SessionId};

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
        assert_eq!(spelled(&missing(all(), 3)), ["ata"]);
        assert_eq!(spelled(&missing(all(), 6)), [""; 0]);
        assert_eq!(spelled(&missing(all(), 0)), ["ua", "uata"]);
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
        assert_eq!(missing(all, 1)[0].times, [Some(at(2))]);
        let compared = compare(&[single("ua", 1)], 1, &[single("u", 2)]).expect("equal messages");
        assert_eq!(compared, Compared { messages: 1, other_times: 1, redacted: 0 });
    }

    #[test]
    fn first_difference_names_the_message() {
        let of = |roles: &str| vec![record(roles)];
        for (source, target, words) in [
            ("ua", "ua", None),
            ("ua", "u", None),
            (
                "uau",
                "uat",
                Some(
                    "from message 3 on the target has other messages than the source: a message of the tool instead of a message of the user",
                ),
            ),
            (
                "u",
                "ua",
                Some(
                    "from message 2 on the target has other messages than the source: a message of the assistant instead of nothing",
                ),
            ),
            (
                "uo",
                "ua",
                Some(
                    "from message 2 on the target has other messages than the source: a message of the assistant instead of an entry of the type \"summary\"",
                ),
            ),
        ] {
            assert_eq!(
                difference(&of(source), &of(target)).map(|difference| difference.what).as_deref(),
                words,
                "{source} {target}"
            );
        }
        assert_eq!(compare(&of("ua"), 2, &of("u")), Err("message 2 is not in the target".to_owned()));
    }

    #[test]
    fn redactions_of_one_side_are_told_from_other_messages() {
        let redacted = |seq: u64, entries: &[usize]| {
            let mut record = record("ua");
            record.seq = seq;
            for n in entries {
                let redaction = Redaction::new().message(*n).with_replacement(format!("[{seq} {n}]"));
                let session = SessionId::random();
                record = redaction.apply(&session, record, Timestamp::from_millis(seq as i64)).expect("redacted").after;
            }
            record
        };
        let said = |source: Record, target: Record| difference(&[source], &[target]).map(|difference| difference.what);
        assert_eq!(said(redacted(1, &[0]), redacted(2, &[0])), None, "both, at other times and in other words");
        assert_eq!(
            said(redacted(1, &[0, 1]), redacted(2, &[])).as_deref(),
            Some("2 messages are redacted at the source only, and the target still has what was said in record 2")
        );
        assert_eq!(
            said(redacted(1, &[0]), redacted(2, &[1])).as_deref(),
            Some(
                "1 message is redacted at the source only, and the target still has what was said in record 2; 1 message is redacted at the \
                 target only, and the source still has what was said in record 1"
            )
        );
        let mut described = redacted(2, &[]);
        described.metadata = Some(Map::new());
        let refused = compare(&[redacted(1, &[])], 2, &[described]);
        assert_eq!(refused, Err("the metadata of message 1's record differs: the source has none, the target {}".to_owned()));
    }
}
