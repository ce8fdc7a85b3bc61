//! The reported cost of operations, and long sessions.

use crate::conformance::sample::{all, count_to, seqs};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;
use crate::session::SessionId;
use crate::store::{Append, Cost, Load};

/// A turn of 300 and 300 bytes.
fn turn(n: usize) -> Append {
    Append::new([Message::user(format!("{n:0300}")), Message::assistant(format!("{n:0300}"))])
}

/// Returns the cost of the last of these appends; by then the handle knows the end of the log.
async fn grow(context: &TestContext, session: &SessionId, from: usize, to: usize) -> Result<Cost, Failure> {
    let mut cost = Cost::default();
    for n in from..to {
        cost = context.store.append(session, &turn(n)).await?.cost;
    }
    Ok(cost)
}

fn check(what: &str, short: &Cost, long: &Cost) -> Result<(), Failure> {
    let holds = long.requests <= short.requests
        && long.read_units <= short.read_units
        && long.write_units <= short.write_units
        // The digits of a number in a key may take another byte.
        && long.bytes <= short.bytes + short.bytes / 10;
    ensure!(holds, "{what} cost {short} in a session of 30 records, and {long} in one of 300");
    Ok(())
}

pub(super) async fn append_costs_the_same_at_any_length(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let short = grow(&context, &session, 0, 30).await?;
    let long = grow(&context, &session, 30, 300).await?;
    check("an append", &short, &long)?;
    let cold = context.open().await?.append(&session, &turn(300)).await?.cost;
    ensure!(cold.requests <= long.requests + 2, "an append of another handle cost {cold}, and of a warm one {long}");
    Ok(())
}

pub(super) async fn append_with_a_key_costs_the_same_at_any_length(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let with_key = |n: usize| turn(n).with_key(format!("key {n:04}"));
    let mut costs = Vec::new();
    for n in 0..200 {
        let cost = context.store.append(&session, &with_key(n)).await?.cost;
        // Others write in between, with and without keys.
        let other = if n % 20 == 10 { Some(turn(1_000 + n)) } else { None };
        if let Some(other) = &other {
            context.store.append(&session, other).await?;
        }
        costs.push(cost);
    }
    check("an append with a key", &costs[25], &costs[195])?;
    // After writes by another handle, only the new records are read.
    let others = context.open().await?;
    others.append(&session, &with_key(500)).await?;
    let after_others = context.store.append(&session, &with_key(501)).await?.cost;
    ensure!(
        after_others.bytes <= 8 * costs[25].bytes,
        "an append with a key after another handle's cost {after_others}, and otherwise {}",
        costs[25]
    );
    for (n, handle) in [(500, &context.store), (501, &others), (3, &context.store)] {
        ensure!(handle.append(&session, &with_key(n)).await?.repeated, "the key of append {n} is no longer recognised");
    }
    Ok(())
}

pub(super) async fn window_costs_the_same_at_any_length(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    grow(&context, &session, 0, 30).await?;
    let short = context.store.load(&session, &Load::last(20)).await?.cost;
    grow(&context, &session, 30, 300).await?;
    let long = context.store.load(&session, &Load::last(20)).await?.cost;
    check("a window of 20 messages", &short, &long)
}

pub(super) async fn page_costs_the_same_at_any_depth(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    grow(&context, &session, 0, 300).await?;
    let mut page = context.store.load(&session, &Load::last(20)).await?;
    let (mut near, mut pages) = (None, 0);
    while let Some(older) = page.older().filter(|_| pages < 20) {
        page = context.store.load(&session, &Load::last(20).before(older)).await?;
        pages += 1;
        near.get_or_insert(page.cost);
        let (near, this) = (near.unwrap_or_default(), page.cost);
        let holds =
            this.requests <= near.requests && this.read_units <= near.read_units && this.bytes <= near.bytes + near.bytes / 10;
        ensure!(holds, "the first page before the newest cost {near}, and the one {pages} pages earlier {this}");
    }
    let since = context.store.load(&session, &Load::all().since(299)).await?;
    let newest = context.store.load(&session, &Load::last(4)).await?;
    ensure!(since.cost.bytes <= newest.cost.bytes, "a load since 299 cost {}, and the newest record {}", since.cost, newest.cost);
    Ok(())
}

pub(super) async fn long_session_loads_whole(context: TestContext) -> Result<(), Failure> {
    const RECORDS: usize = 1_500;
    let session = context.session()?;
    count_to(&context.store, &session, RECORDS).await?;
    let history = all(&context.open().await?, &session).await?;
    ensure_eq!(seqs(&history), (0..RECORDS as u64).collect::<Vec<_>>(), "the numbers of the records");
    let wrong = history.messages().enumerate().find(|(n, message)| message.text() != n.to_string());
    ensure!(wrong.is_none(), "a message out of place: {wrong:?}");
    ensure!(history.complete, "everything was loaded, but the history is not complete");
    let window = context.store.load(&session, &Load::last(RECORDS / 2)).await?;
    ensure!(window.records.len() >= RECORDS / 2, "a window of {} records has {}", RECORDS / 2, window.records.len());
    ensure_eq!(window.records.last(), history.records.last(), "the newest record of a large window");
    let tail = &history.records[RECORDS - window.records.len()..];
    ensure_eq!(window.records, tail, "a large window, and the newest part of the whole");
    // Clearing hides as much in one step.
    context.store.clear(&session).await?;
    ensure!(all(&context.store, &session).await?.is_empty(), "messages are left of a long session after its clear");
    Ok(())
}
