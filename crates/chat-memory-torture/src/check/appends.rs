//! Checks appends: stored once, in one order, at the expected position, and not at all if refused.

use chat_memory::store::Position;

use super::known::{Appended, Known, Place};
use crate::Result;
use crate::history::Outcome;

/// How long positions are certainly valid: a day, less the possible difference between clocks.
const POSITION_MS: i64 = 23 * 60 * 60 * 1000;

pub(super) fn check(known: &Known<'_>) -> Result {
    for session in known.at.keys() {
        one_record_a_number(known, session)?;
    }
    for append in known.appends.values() {
        outcomes(known, append)?;
        if let Some(place) = &append.landed {
            order(known, append, place)?;
            position(known, append, place)?;
        }
    }
    Ok(())
}

fn one_record_a_number(known: &Known<'_>, session: &str) -> Result {
    for (seq, numbers) in known.at.get(session).into_iter().flatten() {
        let [first, others @ ..] = numbers.as_slice() else { continue };
        if let Some(other) = others.first()
            && !known.contract.retained
        {
            return Err(format!("appends {first} and {other} are both record {seq} of {session}"));
        }
    }
    Ok(())
}

/// Checks that nothing refused is in the log, and that positions were refused rightly.
fn outcomes(known: &Known<'_>, append: &Appended<'_>) -> Result {
    let number = append.op.number;
    if append.landed.is_some() && append.was_refused() {
        let answers: Vec<_> = append.tries.iter().filter_map(|one| one.ended).map(|(.., outcome)| outcome).collect();
        return Err(format!("append {number} was refused and landed: {answers:?}"));
    }
    for one in &append.tries {
        let Some((_, clock, Outcome::Conflict { next })) = one.ended else { continue };
        let expected = append.op.expected.as_deref().and_then(|text| text.parse::<Position>().ok());
        let Some(expected) = expected else { return Err(format!("append {number} expected no position and got a conflict")) };
        let Some(next) = *next else { continue };
        log_was(known, &append.op.session, one.from, clock, next)
            .map_err(|why| format!("the conflict of append {number}: {why}"))?;
        // With a ticket, the record there may be its own; and yesterday's position is refused whatever was written.
        let is_old = clock - expected.read_at().as_millis() > POSITION_MS;
        if next == expected.next() && !one.ticket && !is_old && !known.contract.retained {
            return Err(format!("append {number} got a conflict at exactly the position {next} that it expected"));
        }
    }
    Ok(())
}

/// Whether a log can have had only `next` records at an instant after this time. The [order] of later records shows that it can
/// have had that many.
pub(super) fn log_was(known: &Known<'_>, session: &str, from: u64, clock: i64, next: u64) -> Result {
    for mark in known.marks.get(session).into_iter().flatten() {
        if mark.by < from && mark.next > next && !known.may_be_shorter(session, next, mark, clock) {
            return Err(format!(
                "it reports {next} as the next number, and the log had {} records before the request",
                mark.next
            ));
        }
    }
    Ok(())
}

/// Checks that what starts after a record was written comes after it.
fn order(known: &Known<'_>, append: &Appended<'_>, place: &Place) -> Result {
    let from = append.from();
    let clock = append.tries.iter().filter_map(|one| one.ended).map(|(_, clock, _)| clock).max().unwrap_or(i64::MAX);
    for mark in known.marks.get(append.op.session.as_str()).into_iter().flatten() {
        if mark.by < from && place.seq < mark.next && !known.may_be_shorter(&append.op.session, place.seq + 1, mark, clock) {
            return Err(format!(
                "append {} is record {}, and the log had {} records before it started",
                append.op.number, place.seq, mark.next
            ));
        }
    }
    Ok(())
}

/// Checks that it was written at the position that it expected.
fn position(known: &Known<'_>, append: &Appended<'_>, place: &Place) -> Result {
    let Some(expected) = append.op.expected.as_deref().and_then(|text| text.parse::<Position>().ok()) else { return Ok(()) };
    let number = append.op.number;
    if place.seq != expected.next() {
        return Err(format!("append {number} is record {}, and expected to be {}", place.seq, expected.next()));
    }
    let Some(before) = place.seq.checked_sub(1) else { return Ok(()) };
    for (other, there) in known.between(&append.op.session, before..=before, u64::MAX) {
        let last = expected.last().map(|id| id.to_string());
        if last.as_ref() != Some(&there.id) && !known.contract.retained {
            return Err(format!("append {number} expected {last:?} before it, and found append {}", other.op.number));
        }
    }
    Ok(())
}
