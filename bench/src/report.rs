//! The table, in Markdown.

use std::fmt::Write as _;

use crate::dynamodb::Counts;
use crate::measure::{Comparison, Rounds};
use crate::turns::{TEXT_BYTES, WINDOW};

/// The section about the library in `docs/benchmarks.md`.
pub fn markdown(rounds: Rounds, comparisons: &[Comparison], counts: &[Counts]) -> String {
    let Rounds { pairs, operations } = rounds;
    let mut page = format!(
        "# What the library adds\n\n\
        Written by `cargo xtask bench`. Each line compares the library with raw calls that do the same, in one run: {pairs} pairs of \
        rounds, alternating, {operations} operations a round. The ratio is the library's time divided by the raw calls' time: the median over \
        the pairs, and the middle half of them. Absolute times are left out, since they do not carry over to another machine.\n\n\
        A turn is a question and an answer of {TEXT_BYTES} bytes each, in one append; a window is the newest {WINDOW} messages.\n\n\
        | the library | against | ratio | middle half | aim |\n|---|---|---|---|---|\n"
    );
    for Comparison { library, raw, aim, ratio } in comparisons {
        let aim = aim.map_or_else(|| "–".to_owned(), |aim| format!("< {aim}"));
        // Writing to a string does not fail.
        let _ = writeln!(page, "| {library} | {raw} | {:.2} | {:.2}–{:.2} | {aim} |", ratio.median, ratio.low, ratio.high);
    }
    page.push_str(
        "\n## What DynamoDB counts\n\n\
        Requests, units and bytes as each operation reports them, the units by DynamoDB Local (`ReturnConsumedCapacity`). The first turn \
        of a session also pays for a search for records and for the session's entry in the directory.\n\n\
        | at turn | append: requests | write units | read units | bytes | window: requests | read units | bytes |\n\
        |---|---|---|---|---|---|---|---|\n",
    );
    for Counts { turns, append, window } in counts {
        let _ = writeln!(
            page,
            "| {turns} | {} | {} | {} | {} | {} | {} | {} |",
            append.requests,
            append.write_units,
            append.read_units,
            append.bytes,
            window.requests,
            window.read_units,
            window.bytes
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Ratio;
    use chat_memory::store::Cost;

    #[test]
    fn report_line_shows_ratio_spread_and_target() {
        let ratio = Ratio { median: 1.046, low: 1.0, high: 1.1 };
        let line = Comparison { library: "an append", raw: "a put", aim: Some(1.1), ratio };
        let counts = Counts { turns: 100, append: Cost::default(), window: Cost::default() };
        let page = markdown(Rounds::SMOKE, &[line.clone(), Comparison { aim: None, ..line }], &[counts]);
        assert!(page.contains("| an append | a put | 1.05 | 1.00–1.10 | < 1.1 |\n"), "{page}");
        assert!(page.contains("| 1.00–1.10 | – |\n"), "{page}");
        assert!(page.ends_with("| 100 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |\n"), "{page}");
    }
}
