//! Checks what must hold in every schedule.

use std::collections::{HashMap, HashSet};

use super::actors::{Notes, Op, Seen};
use super::world::{MAX_SKEW_MS, Made, World};
use chat_memory_core::store::{AppendId, Reach, Record};
use chat_memory_core::{SessionId, Timestamp};

/// The records of the log. What expired and was purged at its tail leaves its numbers to later records.
fn log(journal: &[Made]) -> Vec<&Made> {
    let mut log: Vec<&Made> = Vec::new();
    for made in journal {
        while log.pop_if(|older| older.seq >= made.seq).is_some() {}
        log.push(made);
    }
    log
}

/// The records of a view, oldest first: what a load of the whole history shows if the journal ends at `end`.
fn view(journal: &[Made]) -> Vec<&Made> {
    let mut log = log(journal);
    let mut shown = Vec::new();
    while let Some(made) = log.pop() {
        shown.push(made);
        while log.pop_if(|older| made.rewind.is_some_and(|seq| older.seq >= seq)).is_some() {}
    }
    shown.reverse();
    shown
}

pub(super) fn check(world: &World, notes: &Notes, sessions: &[SessionId]) -> Result<(), String> {
    if let Some(broken) = &world.broken {
        return Err(broken.clone());
    }
    if let Some(error) = notes.errors.first() {
        return Err(error.clone());
    }
    for session in sessions {
        check_session(world, notes, session)?;
    }
    Ok(())
}

fn check_session(world: &World, notes: &Notes, session: &SessionId) -> Result<(), String> {
    // Without a namespace, a session's id is its partition's key.
    let journal: Vec<Made> = world.journal.iter().filter(|made| made.pk == session.as_str()).cloned().collect();
    let mut made_by: HashMap<u64, Vec<&Made>> = HashMap::new();
    for made in &journal {
        if let Some(op) = made.op {
            made_by.entry(op).or_default().push(made);
        }
    }
    for op in notes.ops.iter().filter(|op| op.session == *session) {
        let made = made_by.get(&op.number).map_or(&[][..], Vec::as_slice);
        check_op(op, made, &journal)?;
        check_deletes(op, made, notes)?;
    }
    for seen in notes.loads.iter().filter(|seen| seen.session == *session) {
        check_load(seen, &journal, notes)?;
    }
    // At the end, the log holds what was written, or what a sweep or TTL left of it.
    let ids = world.ids(session.as_str());
    if let Some(made) = view(&journal).iter().find(|made| made.expires_at.is_none() && !ids.contains(&made.append_id)) {
        return Err(format!("record {} is gone, though nothing hides it", made.seq));
    }
    Ok(())
}

/// An append must not land after a delete that began once nobody was trying it any more.
fn check_deletes(op: &Op, made: &[&Made], notes: &Notes) -> Result<(), String> {
    let Some(made) = made.first() else { return Ok(()) };
    let deletes = notes.deletes.iter().filter(|delete| delete.session == op.session && delete.ended < made.step);
    for delete in deletes {
        let was_tried = |(start, end): &(u64, Option<u64>)| end.is_none_or(|end| end >= delete.started) && *start <= made.step;
        if !op.tries.iter().any(was_tried) {
            return Err(format!("op {} landed at step {}, after a delete from {} on", op.number, made.step, delete.started));
        }
    }
    Ok(())
}

/// An append lands exactly once, at the acknowledged number, between its start and the response; a refused one never lands.
fn check_op(op: &Op, made: &[&Made], journal: &[Made]) -> Result<(), String> {
    let number = op.number;
    if made.len() > 1 {
        return Err(format!("op {number} landed {} times", made.len()));
    }
    match (&op.acked, made.first()) {
        (Some(_), None) => return Err(format!("op {number} was acknowledged and never landed")),
        (Some(ack), Some(made)) if ack.seq != made.seq || ack.id != Some(made.append_id.following(op.more.len() as u64)) => {
            return Err(format!("op {number} was acknowledged as record {} and is record {}", ack.seq, made.seq));
        }
        (Some(ack), Some(made)) if made.step < op.started || made.step > ack.step => {
            return Err(format!("op {number} landed outside of its time"));
        }
        (None, Some(_)) if op.refused && !op.was_repeated() => {
            return Err(format!("op {number} was refused and landed"));
        }
        _ => {}
    }
    if let Some(made) = made.first() {
        let at = journal.iter().position(|other| other.append_id == made.append_id).unwrap_or(0);
        let landed = journal[at..].iter().map(|other| (other.step, other.seq, other.append_id));
        let want = (0..=op.more.len() as u64).map(|n| (made.step, made.seq + n, made.append_id.following(n)));
        if !landed.take(op.more.len() + 1).eq(want) {
            return Err(format!("op {number} landed, but not all of its records with it"));
        }
    }
    if let (Some(expected), Some(made)) = (op.append.expected(), made.first()) {
        let at = journal.iter().position(|other| other.append_id == made.append_id).unwrap_or(0);
        let before = log(&journal[..at]).iter().rfind(|before| before.seq < made.seq).map(|before| before.append_id);
        // What was written since and purged again still counts.
        let read = journal[..at].iter().rposition(|other| Some(other.append_id) == expected.last()).map_or(0, |last| last + 1);
        let since = journal[read..at].iter().any(|other| Timestamp::from_millis(other.at_ms - MAX_SKEW_MS) > expected.read_at());
        if made.seq != expected.next() || since || made.seq > 0 && before != expected.last() {
            return Err(format!(
                "op {number} landed as record {}, not at the position it expected: {expected:?} read at {:?}",
                made.seq,
                expected.read_at()
            ));
        }
    }
    Ok(())
}

/// A load must show a state that the log had between its start and its end, or the newest part of one.
fn check_load(seen: &Seen, journal: &[Made], notes: &Notes) -> Result<(), String> {
    // What expires while the load runs may or may not be shown.
    let (from, to) = seen.clock;
    let surely = |expires_at: Option<Timestamp>| expires_at.is_none_or(|at| at > to);
    let expired = |expires_at: Option<Timestamp>| expires_at.is_some_and(|at| at <= from);
    if seen.history.records.iter().any(|record| expired(record.expires_at)) {
        return Err("a load shows what had expired".to_owned());
    }
    // A delete's record has no messages. If a second delete found nothing, its record is purged after a day, and the first one's is
    // visible again.
    let ends: HashSet<_> = journal.iter().filter(|made| made.began.is_none()).map(|made| made.append_id).collect();
    let kept = |id: &AppendId| !ends.contains(id);
    let shown = seen.history.records.iter().filter(|record| surely(record.expires_at)).map(|r| r.append_id);
    let shown: Vec<_> = shown.filter(kept).collect();
    let first = journal.iter().filter(|made| made.step < seen.started).count();
    let last = journal.iter().filter(|made| made.step <= seen.ended).count();
    let fits = |end: usize| {
        let state: Vec<_> =
            view(&journal[..end]).iter().filter(|made| surely(made.expires_at)).map(|made| made.append_id).filter(kept).collect();
        if seen.history.complete { state == shown } else { state.ends_with(&shown) }
    };
    // No load shows a part of what one transaction writes.
    let is_state = |end: &usize| end.checked_sub(1).is_none_or(|newest| !journal[newest].is_followed);
    if !(first..=last).filter(is_state).any(fits) {
        let numbers: Vec<u64> = seen.history.records.iter().map(|record| record.seq).collect();
        let views: Vec<Vec<u64>> =
            (first..=last).filter(is_state).map(|end| view(&journal[..end]).iter().map(|made| made.seq).collect()).collect();
        if crate::table::sim::is_shown() {
            eprintln!("load from {} to {}, {from:?} to {to:?}: {:?}", seen.started, seen.ended, seen.history.records);
        }
        return Err(format!(
            "a load ({:?}) shows records {numbers:?}, complete: {}; the states were {views:?}",
            seen.load.reach, seen.history.complete
        ));
    }
    let messages = || seen.history.messages().count();
    let enough = match seen.load.reach {
        Reach::Messages(n) | Reach::Turns(n) => seen.history.complete || messages() >= n,
        _ => seen.history.complete,
    };
    if !enough {
        return Err(format!("a load ({:?}) brought {} messages and says that there are more", seen.load.reach, messages()));
    }
    seen.history.records.iter().try_for_each(|record| check_body(record, seen, notes))
}

/// Each message must be as it was appended, or redacted: not before anyone began to redact it, and for good once that was
/// acknowledged.
fn check_body(record: &Record, seen: &Seen, notes: &Notes) -> Result<(), String> {
    let op = record.metadata.as_ref().and_then(|metadata| metadata["op"].as_u64()).map(|number| &notes.ops[number as usize]);
    let Some(op) = op else { return Ok(()) };
    if !op.append.is_body_of(record) {
        return Err(format!("record {} came back altered", record.seq));
    }
    for (n, (entry, given)) in record.entries.iter().zip(op.append.entries()).enumerate() {
        let mut redactions = notes
            .redactions
            .iter()
            .filter(|redaction| redaction.id == record.append_id && redaction.message.is_none_or(|message| message == n));
        if entry == given && redactions.clone().any(|redaction| redaction.ended.is_some_and(|ended| ended < seen.started)) {
            return Err(format!("record {} shows what was redacted", record.seq));
        }
        if entry != given && !redactions.any(|redaction| redaction.started <= seen.ended) {
            return Err(format!("record {} is redacted, and nobody did that", record.seq));
        }
    }
    Ok(())
}
