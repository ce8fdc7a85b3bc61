//! One session, turn by turn.

use std::time::{Duration, Instant};

use chat_memory::store::{ChatStore, Cost, Load, PageCursor};
use chat_memory::{SessionId, Timestamp};

use super::{Kind, Measured, median};
use crate::Result;
use crate::resident::resident;
use crate::turns::{WINDOW, turn};

/// Costs are averaged over this many appends before a length, or over half of its turns if that is fewer.
pub const AVERAGED: usize = 100;

/// The result for one kind of store.
#[derive(Debug)]
pub struct Grown {
    pub name: &'static str,
    pub units: bool,
    pub at: Vec<At>,
}

/// The result at a number of turns.
#[derive(Debug)]
pub struct At {
    pub turns: usize,
    /// Of an append: the mean over the last ones; the time is their median.
    pub requests: f64,
    pub write_units: f64,
    pub append_time: Duration,
    pub window: Measured,
    /// The window's messages before the middle of the session.
    pub page: Option<Measured>,
    /// Bytes of this process's memory.
    pub resident: u64,
}

/// Appends up to the greatest of these lengths, and measures at each.
pub async fn grow(kind: &Kind, marks: &[usize], times: usize) -> Result<Grown> {
    // Warms up the store for the first lengths.
    let warm = SessionId::new("warm")?;
    for number in 0..times * 20 {
        kind.store.append(&warm, &turn(number)).await?;
        kind.store.load(&warm, &Load::last(WINDOW)).await?;
    }
    let session = SessionId::new("scale")?;
    let (mut costs, mut took): (Vec<Cost>, Vec<Duration>) = Default::default();
    let mut at = Vec::new();
    for number in 0..marks.iter().copied().max().unwrap_or(0) {
        let turn = turn(number);
        let start = Instant::now();
        let appended = kind.store.append(&session, &turn).await?;
        took.push(start.elapsed());
        costs.push(appended.cost);
        if costs.len() > AVERAGED {
            costs.remove(0);
            took.remove(0);
        }
        let turns = number + 1;
        if marks.contains(&turns) {
            eprintln!("{}: {turns} turns …", kind.name);
            let last = AVERAGED.min(turns.div_ceil(2));
            let of = |cost: fn(&Cost) -> f64| costs.iter().rev().take(last).map(cost).sum::<f64>() / last as f64;
            let from = turns.saturating_sub(WINDOW / 2);
            let window = read(kind.store.as_ref(), &session, &Load::last(WINDOW), times, from, turns).await?;
            let middle = turns / 2;
            let page = if middle * 2 >= WINDOW {
                let load = Load::last(WINDOW).before(PageCursor::new(turns as u64, middle as u64, Timestamp::now()));
                Some(read(kind.store.as_ref(), &session, &load, times, middle - WINDOW / 2, middle).await?)
            } else {
                None
            };
            at.push(At {
                turns,
                requests: of(|cost| cost.requests as f64),
                write_units: of(|cost| cost.write_units),
                append_time: median(took.iter().rev().take(last).copied().collect()),
                window,
                page,
                resident: resident(std::process::id())?,
            });
        }
    }
    Ok(Grown { name: kind.name, units: kind.units, at })
}

/// Loads a window, and checks that it is the turns from this number up to that.
async fn read(store: &dyn ChatStore, session: &SessionId, load: &Load, times: usize, from: usize, to: usize) -> Result<Measured> {
    let mut took = Vec::with_capacity(times);
    let mut cost = Cost::default();
    for _ in 0..times {
        let start = Instant::now();
        let history = store.load(session, load).await?;
        took.push(start.elapsed());
        cost = history.cost;
        let wanted: Vec<_> = (from..to).flat_map(|number| turn(number).entries().to_vec()).collect();
        if !history.entries().eq(&wanted) {
            return Err(format!("a load should bring turns {from} to {to}, and brings others").into());
        }
    }
    Ok(Measured { cost, time: median(took) })
}
