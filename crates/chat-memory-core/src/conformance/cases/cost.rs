//! What operations cost, by their receipts, and sessions that are long.

use crate::conformance::sample::{all, count_to, seqs};
use crate::conformance::{Failure, Trial};
use crate::message::Message;
use crate::session::SessionId;
use crate::store::{Append, Load, Receipt};

cases! {
    an_append_costs_the_same_at_any_length [BoundedCost]: "an append to a long session costs what it cost when the session was short (promise 7)",
    an_append_with_a_key_costs_the_same_at_any_length [BoundedCost]: "an append with an idempotency key to a long session, by a process that wrote there with keys before, costs what it cost when the session was short (promise 7)",
    a_window_costs_the_same_at_any_length [BoundedCost]: "a window of a long session costs what it cost when the session was short (promise 7)",
    a_page_costs_the_same_at_any_depth [BoundedCost]: "a page far behind the end of a long session costs what one near its end costs (promise 7)",
    a_long_session_loads_whole: "1,500 records come back, each once and in order, from one load (promises 3, 8)",
}

/// A turn of 300 and 300 bytes.
fn turn(n: usize) -> Append {
    Append::new([Message::user(format!("{n:0300}")), Message::assistant(format!("{n:0300}"))])
}

/// What the last of these appends cost: by then the handle knows the log's end.
async fn grow(trial: &Trial, session: &SessionId, from: usize, to: usize) -> Result<Receipt, Failure> {
    let mut receipt = Receipt::default();
    for n in from..to {
        receipt = trial.store.append(session, &turn(n)).await?.receipt;
    }
    Ok(receipt)
}

fn check(what: &str, short: &Receipt, long: &Receipt) -> Result<(), Failure> {
    let holds = long.requests <= short.requests
        && long.read_units <= short.read_units
        && long.write_units <= short.write_units
        // The digits of a number in a key may be a byte more.
        && long.bytes <= short.bytes + short.bytes / 10;
    ensure!(holds, "{what} cost {short} in a session of 30 records, and {long} in one of 300");
    Ok(())
}

async fn an_append_costs_the_same_at_any_length(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let short = grow(&trial, &session, 0, 30).await?;
    let long = grow(&trial, &session, 30, 300).await?;
    check("an append", &short, &long)?;
    let cold = trial.open().await?.append(&session, &turn(300)).await?.receipt;
    ensure!(cold.requests <= long.requests + 2, "an append of another handle cost {cold}, and of one that was there {long}");
    Ok(())
}

async fn an_append_with_a_key_costs_the_same_at_any_length(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    let with_key = |n: usize| turn(n).with_key(format!("key {n:04}"));
    let mut receipts = Vec::new();
    for n in 0..200 {
        let receipt = trial.store.append(&session, &with_key(n)).await?.receipt;
        // Others write in between, with keys and without.
        let other = if n % 20 == 10 { Some(turn(1_000 + n)) } else { None };
        if let Some(other) = &other {
            trial.store.append(&session, other).await?;
        }
        receipts.push(receipt);
    }
    check("an append with a key", &receipts[25], &receipts[195])?;
    // By another handle in between, what is new is read, and no more.
    let others = trial.open().await?;
    others.append(&session, &with_key(500)).await?;
    let after_others = trial.store.append(&session, &with_key(501)).await?.receipt;
    ensure!(
        after_others.bytes <= 8 * receipts[25].bytes,
        "an append with a key behind another handle's cost {after_others}, and else {}",
        receipts[25]
    );
    for (n, handle) in [(500, &trial.store), (501, &others), (3, &trial.store)] {
        ensure!(handle.append(&session, &with_key(n)).await?.repeated, "the key of append {n} is not known any more");
    }
    Ok(())
}

async fn a_window_costs_the_same_at_any_length(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    grow(&trial, &session, 0, 30).await?;
    let short = trial.store.load(&session, &Load::last(20)).await?.receipt;
    grow(&trial, &session, 30, 300).await?;
    let long = trial.store.load(&session, &Load::last(20)).await?.receipt;
    check("a window of 20 messages", &short, &long)
}

async fn a_page_costs_the_same_at_any_depth(trial: Trial) -> Result<(), Failure> {
    let session = trial.session()?;
    grow(&trial, &session, 0, 300).await?;
    let mut page = trial.store.load(&session, &Load::last(20)).await?;
    let (mut near, mut pages) = (None, 0);
    while let Some(older) = page.older().filter(|_| pages < 20) {
        page = trial.store.load(&session, &Load::last(20).before(older)).await?;
        pages += 1;
        near.get_or_insert(page.receipt);
        let (near, this) = (near.unwrap_or_default(), page.receipt);
        let holds =
            this.requests <= near.requests && this.read_units <= near.read_units && this.bytes <= near.bytes + near.bytes / 10;
        ensure!(holds, "the first page before the newest cost {near}, and the one {pages} pages before it {this}");
    }
    let since = trial.store.load(&session, &Load::all().since(299)).await?;
    let newest = trial.store.load(&session, &Load::last(4)).await?;
    ensure!(
        since.receipt.bytes <= newest.receipt.bytes,
        "what is new since 299 cost {}, and the newest {}",
        since.receipt,
        newest.receipt
    );
    Ok(())
}

async fn a_long_session_loads_whole(trial: Trial) -> Result<(), Failure> {
    const RECORDS: usize = 1_500;
    let session = trial.session()?;
    count_to(&trial.store, &session, RECORDS).await?;
    let history = all(&trial.open().await?, &session).await?;
    ensure_eq!(seqs(&history), (0..RECORDS as u64).collect::<Vec<_>>(), "the numbers of the records");
    let wrong = history.messages().enumerate().find(|(n, message)| message.text() != n.to_string());
    ensure!(wrong.is_none(), "a message out of its place: {wrong:?}");
    ensure!(history.complete, "all was loaded, and the history says it was not");
    let window = trial.store.load(&session, &Load::last(RECORDS / 2)).await?;
    ensure!(window.records.len() >= RECORDS / 2, "a window of {} records has {}", RECORDS / 2, window.records.len());
    ensure_eq!(window.records.last(), history.records.last(), "the newest record of a large window");
    let tail = &history.records[RECORDS - window.records.len()..];
    ensure_eq!(window.records, tail, "a large window, and the newest part of the whole");
    // And forgets as much in one step.
    trial.store.clear(&session).await?;
    ensure!(all(&trial.store, &session).await?.is_empty(), "messages are left of a long session after its clear");
    Ok(())
}
