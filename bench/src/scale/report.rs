//! The section about growth in `docs/benchmarks.md`, and its plots.

use std::fmt::Write as _;
use std::time::Duration;

use chat_memory::store::Cost;
use serde_json::{Value, json};

use super::session::{AVERAGED, Grown};
use super::sessions::{Filled, PAGE};
use super::writers::Written;
use super::{Extent, Measured};
use crate::turns::{TEXT_BYTES, WINDOW};

/// The whole section.
pub fn markdown(extent: &Extent, grown: &[Grown], filled: &[Filled], written: &[Written]) -> String {
    let Extent { appends, times, .. } = extent;
    let mut page = format!(
        "# How cost, time and memory grow\n\n\
        Written by `cargo xtask bench scale`, with the drawings. Only one process is measured, with the library and AWS's SDK; \
        DynamoDB Local runs outside of it. Everything is written by the library's own appends, one turn at a time, a question and an answer of \
        {TEXT_BYTES} bytes each. Counts are the same on every machine; a time is the median of {times} calls on the machine that \
        wrote this ({} cores, shared with other work), to be compared within a column only.\n\n\
        ## One session\n\n\
        One writer, after another session has warmed up the store. An append's figures are the average of the last {AVERAGED} before this length \
        (of the second half where that is shorter), its time their median. A window is the newest {WINDOW} messages, a page as many from the session's middle; each was compared \
        with what was written. Memory is that of the process.\n",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    for Grown { name, units, at } in grown {
        let (writes, reads) = if *units { ("write units / requests", "read units / requests") } else { ("requests", "requests") };
        let _ = write!(
            page,
            "\n| {name}: turns | append: {writes} | time | window: {reads} | time | page: {reads} | time | memory |\n|---|---|---|---|---|---|---|---|\n"
        );
        for at in at {
            let append = match units {
                true => format!("{} / {}", number(at.write_units), number(at.requests)),
                false => number(at.requests),
            };
            let cost = |of: &Measured| (reads_of(&of.cost, *units), milliseconds(of.time));
            let (window, window_time) = cost(&at.window);
            let (middle, middle_time) = at.page.as_ref().map_or_else(|| ("–".to_owned(), "–".to_owned()), cost);
            let _ = writeln!(
                page,
                "| {} | {append} | {} | {window} | {window_time} | {middle} | {middle_time} | {} |",
                thousands(at.turns),
                milliseconds(at.append_time),
                megabytes(at.resident)
            );
        }
    }
    page.push_str(
        "\n![Write units of an append, as a session grows](benchmarks-scale-units.svg)\n\n\
        ![Time of an append and of a window, as a session grows](benchmarks-scale-time.svg)\n",
    );
    sessions(&mut page, filled);
    writers(&mut page, *appends, written);
    page
}

fn sessions(page: &mut String, filled: &[Filled]) {
    let _ = write!(
        page,
        "\n## Many sessions\n\n\
        64 concurrent tasks begin the sessions, each with one turn. Then one more session is begun, a session that the process has written to gets \
        another turn, one gets a turn from a newly opened store, and the directory is read: a page of {PAGE} sessions, and the page \
        after it.\n"
    );
    for Filled { name, units, at } in filled {
        let (writes, reads) =
            if *units { ("write / read units / requests", "read units / requests") } else { ("requests", "requests") };
        let _ = write!(
            page,
            "\n| {name}: sessions | first turn: {writes} | time | next turn: {writes} | time | by a new store | page: {reads} | time | next page | time | \
            memory |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
        );
        for at in at {
            let wrote = |of: &Measured| match (units, of.cost) {
                (true, Cost { requests, write_units, read_units, .. }) => {
                    format!("{} / {} / {requests}", number(write_units), number(read_units))
                }
                (false, cost) => cost.requests.to_string(),
            };
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                thousands(at.sessions),
                wrote(&at.first),
                milliseconds(at.first.time),
                wrote(&at.known),
                milliseconds(at.known.time),
                wrote(&at.unknown),
                reads_of(&at.page.cost, *units),
                milliseconds(at.page.time),
                reads_of(&at.next.cost, *units),
                milliseconds(at.next.time),
                megabytes(at.resident)
            );
        }
    }
}

fn writers(page: &mut String, appends: usize, written: &[Written]) {
    let _ = write!(
        page,
        "\n## Many writers\n\n\
        {appends} appends by n writers together; afterwards all turns were stored, each once. On DynamoDB each writer has its own store, \
        as a process has; on SQLite they share one. Requests are per append: one if no one else wrote in between. (AWS also charges a \
        write that lost to another; DynamoDB Local does not report how much.)\n\n\
        | writers | to a session each: appends/s | requests | to one session: appends/s | requests |\n|---|---|---|---|---|\n"
    );
    for own in written.iter().filter(|one| !one.shared) {
        let same = |one: &&Written| one.shared && (one.name, one.writers) == (own.name, own.writers);
        let Some(shared) = written.iter().find(same) else { continue };
        let _ = writeln!(
            page,
            "| {}: {} | {:.0} | {} | {:.0} | {} |",
            own.name,
            own.writers,
            own.per_second,
            number(own.requests),
            shared.per_second,
            number(shared.requests)
        );
    }
}

/// The plots of a growing session: units, and times.
pub fn drawings(grown: &[Grown]) -> Vec<(&'static str, Value)> {
    let plain = |grown: &Grown| grown.name.replace('`', "");
    let units = grown.iter().filter(|grown| grown.units).map(|grown| {
        let points: Vec<_> = grown.at.iter().map(|at| json!([at.turns, at.write_units])).collect();
        json!({"name": plain(grown), "points": points})
    });
    let times = grown.iter().filter(|grown| !grown.name.contains("list")).flat_map(|grown| {
        let points = |of: fn(&super::session::At) -> Duration| -> Vec<_> {
            grown.at.iter().map(|at| json!([at.turns, of(at).as_secs_f64() * 1e3])).collect()
        };
        [
            json!({"name": format!("{}: append", plain(grown)), "points": points(|at| at.append_time)}),
            json!({"name": format!("{}: window", plain(grown)), "points": points(|at| at.window.time)}),
        ]
    });
    vec![
        (
            "benchmarks-scale-units",
            json!({"title": "Write units of an append, as a session grows", "x": "turns", "y": "write units", "series": units.collect::<Vec<_>>()}),
        ),
        (
            "benchmarks-scale-time",
            json!({"title": "Time of a call, as a session grows", "x": "turns", "y": "milliseconds", "series": times.collect::<Vec<_>>()}),
        ),
    ]
}

fn reads_of(cost: &Cost, units: bool) -> String {
    if units { format!("{} / {}", number(cost.read_units), cost.requests) } else { cost.requests.to_string() }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Formats a number without insignificant decimals.
pub fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Formats a number for people.
pub fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_use_thousands_separators_and_no_trailing_zeros() {
        assert_eq!([1.0, 1.5, 27.25, 10.0].map(number), ["1", "1.5", "27.25", "10"]);
        assert_eq!([1, 100, 1_000, 100_000].map(thousands), ["1", "100", "1,000", "100,000"]);
    }
}
