//! Checks that a load returns a state that the log had while it ran, or the newest part of one.

use super::Contract;
use super::appends::log_was;
use super::known::Known;
use crate::Result;
use crate::history::Loaded;

pub(super) fn check(known: &Known<'_>) -> Result {
    for load in &known.loads {
        one(known, load).map_err(|why| {
            let shown: Vec<String> = load.shown.iter().map(|shown| shown.seq.to_string()).collect();
            format!(
                "a load of {} from {} to {} returns records [{}], complete: {}, next: {}: {why}",
                load.session,
                load.from,
                load.to,
                shown.join(" "),
                load.complete,
                load.next
            )
        })?;
    }
    Ok(())
}

fn one(known: &Known<'_>, load: &Loaded) -> Result {
    log_was(known, &load.session, load.from, load.clock_to, load.next)?;
    if let Some(altered) = load.shown.iter().find(|shown| !shown.equal) {
        return Err(format!("record {} came back altered", altered.seq));
    }
    if let Some(expired) = load.shown.iter().find(|shown| shown.expires_at.is_some_and(|at| at * 1000 <= load.clock_from)) {
        return Err(format!("record {} had expired", expired.seq));
    }
    if let Some(first) = load.shown.first()
        && known.has_surely_expired(load)
    {
        return Err(format!("record {} had expired with its session", first.seq));
    }
    for shown in &load.shown {
        if let Some((append, _)) = shown.op.and_then(|number| known.landed(number)) {
            if append.op.what.rewinds_to() != shown.rewind && known.contract.shows_rewinds {
                return Err(format!("record {} rewinds to {:?}, and was written differently", shown.seq, shown.rewind));
            }
            if append.op.session != load.session {
                return Err(format!("record {} is one of {}", shown.seq, append.op.session));
            }
        }
    }
    let messages: usize = load.shown.iter().map(|shown| shown.messages).sum();
    if !load.complete && load.since.is_none() && load.messages.is_none_or(|asked| messages < asked) {
        return Err(format!("{messages} messages do not satisfy {:?}", load.messages));
    }
    hidden(known, load)?;
    missing(known, load)?;
    if known.contract.shows_rewinds { walk(known, load) } else { Ok(()) }
}

/// Checks that nothing is returned that a record in the log removed.
fn hidden(known: &Known<'_>, load: &Loaded) -> Result {
    for shown in &load.shown {
        for (append, place) in known.between(&load.session, shown.seq + 1..load.next, load.to) {
            let takes_back = append.op.what.rewinds_to().is_some_and(|to| to <= shown.seq);
            // Where numbers restart, the record that removed it may be from another time.
            if takes_back && !(known.contract.retained && place.may_be_gone(load.clock_to)) {
                return Err(format!("record {} was removed by record {} (append {})", shown.seq, place.seq, append.op.number));
            }
        }
    }
    Ok(())
}

/// Checks that whatever is not returned was removed, or has expired, or is older than what was asked for.
fn missing(known: &Known<'_>, load: &Loaded) -> Result {
    let Contract { retained, shows_rewinds, .. } = known.contract;
    let oldest = if load.complete { load.since.unwrap_or(0) } else { load.shown.first().map_or(load.next, |first| first.seq) };
    for (append, place) in known.between(&load.session, oldest..load.next, load.to) {
        let shown = load.shown.iter().any(|shown| shown.seq == place.seq);
        let explained = if shows_rewinds {
            // `gap` checks what may be gone.
            retained || load.shown.iter().any(|shown| shown.seq > place.seq && shown.rewind.is_some_and(|to| to <= place.seq))
        } else {
            // A record without messages is not returned. Where numbers restart, what was seen later may be newer.
            let is_gone = retained && (place.by > load.from || place.may_be_gone(load.clock_to));
            append.op.messages == 0 || is_gone || known.may_be_taken_back(append, place, load)
        };
        if !shown && !explained {
            return Err(format!("record {} (append {}) is missing", place.seq, append.op.number));
        }
    }
    Ok(())
}

/// Checks that each record, from the newest down, is followed by the one before it or by the one before what it removes.
fn walk(known: &Known<'_>, load: &Loaded) -> Result {
    let oldest = load.since.unwrap_or(0);
    let mut wanted = load.next;
    for shown in load.shown.iter().rev() {
        if shown.seq >= wanted {
            return Err(format!("record {} is returned, and a record above it removed it", shown.seq));
        }
        gap(known, load, shown.seq + 1..wanted)?;
        wanted = match shown.rewind {
            Some(to) if to > shown.seq => return Err(format!("record {} rewinds to {to}", shown.seq)),
            Some(to) => to,
            None => shown.seq,
        };
    }
    if load.complete { gap(known, load, oldest..wanted) } else { Ok(()) }
}

/// Checks that records that are not returned, and that nothing returned removes, have expired.
fn gap(known: &Known<'_>, load: &Loaded, seqs: std::ops::Range<u64>) -> Result {
    let Some(first) = seqs.clone().next() else { return Ok(()) };
    if !known.contract.retained {
        return Err(format!("records {first} to {} are missing", seqs.end - 1));
    }
    // An expired record may itself have removed others.
    let mut taken_back = seqs.end;
    for seq in seqs.rev() {
        let mut here = known.between(&load.session, seq..=seq, load.to).peekable();
        let unknown = here.peek().is_none();
        let mut gone = unknown;
        for (append, place) in here {
            if place.may_be_gone(load.clock_to) {
                gone = true;
                taken_back = taken_back.min(append.op.what.rewinds_to().unwrap_or(seq));
            } else {
                gone |= seq >= taken_back;
            }
        }
        if unknown {
            // It may have removed anything.
            taken_back = 0;
        }
        if !gone && seq < taken_back {
            return Err(format!("record {seq} is missing, and has not expired"));
        }
    }
    Ok(())
}
