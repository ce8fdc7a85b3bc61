//! The section about the service, in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::load::{Comparison, Pace};
use super::{Extent, Outcome};
use crate::measure::Ratio;
use crate::turns::{TEXT_BYTES, WINDOW};

/// The section.
pub fn markdown(extent: Extent, outcomes: &[Outcome]) -> String {
    let Extent { pairs, each, together, requests, .. } = extent;
    let mut page = format!(
        "# What the service adds\n\n\
        Written by `cargo xtask bench service`. `chat-memory serve` runs as a separate process, with a key and its log, and gets requests over \
        persistent HTTP connections. It is compared with the same calls of the library in one process, with the same number of concurrent \
        callers, each with its own session: {pairs} pairs of rounds, alternating, {each} requests of each client in a round, {together} at least. The ratio is \
        the service's time divided by the library's: the median over the pairs, and the middle half of them. On SQLite it is also compared with \
        a bare handler in a process of its own: axum and rusqlite with the same statements and nothing else, neither keys nor limits nor metrics. \
        The client runs on the same machine and is part of the ratios. Rates and times are of the machine that wrote this table.\n\n\
        A turn is a question and an answer of {TEXT_BYTES} bytes each, in one append; a window is the newest {WINDOW} messages.\n\n\
        | store | request | clients | HTTP: requests/s | p50 | p99 | library: calls/s | p50 | p99 | ratio | middle half | bare handler: requests/s | ratio | middle half |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for outcome in outcomes {
        for (Comparison { operation, clients, served, other, ratio: of_library }, bare) in &outcome.comparisons {
            let bare = bare.as_ref().map(|bare| format!("{:.0} | {}", bare.other.rate, ratio(&bare.ratio)));
            // Writing to a string does not fail.
            let _ = writeln!(
                page,
                "| {} | {operation} | {clients} | {} | {} | {} | {} |",
                outcome.store,
                pace(served),
                pace(other),
                ratio(of_library),
                bare.as_deref().unwrap_or("– | – | –")
            );
        }
    }
    let _ = write!(
        page,
        "\n## The memory that it holds\n\n\
        Resident memory of the process in MB during {requests} requests of 16 clients, half of them appends and half reads, to new sessions \
        of 10 turns each.\n\n"
    );
    let looks = outcomes.first().map(|outcome| outcome.memory.looks.as_slice()).unwrap_or_default();
    let row = |first: &str, cells: Vec<String>| format!("| {first} | {} |\n", cells.join(" | "));
    page.push_str(&row("requests", looks.iter().map(|(requests, _)| requests.to_string()).collect()));
    page.push_str(&format!("|{}\n", "---|".repeat(looks.len() + 1)));
    for outcome in outcomes {
        let megabytes = outcome.memory.looks.iter().map(|(_, bytes)| format!("{:.1}", *bytes as f64 / 1e6));
        page.push_str(&row(outcome.store, megabytes.collect()));
    }
    page
}

fn ratio(Ratio { median, low, high }: &Ratio) -> String {
    format!("{median:.2} | {low:.2}–{high:.2}")
}

fn pace(Pace { rate, p50, p99 }: &Pace) -> String {
    let ms = |time: &Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    format!("{rate:.0} | {} | {}", ms(p50), ms(p99))
}
