//! Timing two sides in alternating rounds.

use std::time::{Duration, Instant};

use crate::Result;

/// How many rounds to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounds {
    /// Pairs of rounds that count, one round of each side.
    pub pairs: usize,
    /// Operations in a round.
    pub operations: usize,
}

impl Rounds {
    /// For results worth keeping.
    pub const FULL: Self = Self { pairs: 31, operations: 40 };
    /// To check that it works.
    pub const SMOKE: Self = Self { pairs: 3, operations: 4 };
}

/// The library's time divided by the raw calls' time, over all pairs of rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub low: f64,
    /// The upper quartile.
    pub high: f64,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What the library does.
    pub library: &'static str,
    /// What it is compared with.
    pub raw: &'static str,
    /// The aim, if there is one: an upper bound of the ratio.
    pub aim: Option<f64>,
    /// The result.
    pub ratio: Ratio,
}

impl Ratio {
    /// The quartiles of the ratios of these pairs, the library's time first.
    pub fn of(pairs: &[(Duration, Duration)]) -> Self {
        let mut ratios: Vec<f64> = pairs.iter().map(|(library, raw)| library.as_secs_f64() / raw.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |share: f64| ratios.get(((ratios.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(f64::NAN);
        Self { median: at(0.5), low: at(0.25), high: at(0.75) }
    }
}

/// Times both sides in alternating rounds. Each pair is one round of the library and one of raw calls, in alternating order. The
/// first pair warms up and does not count.
pub async fn alternate(
    rounds: Rounds,
    mut library: impl AsyncFnMut() -> Result,
    mut raw: impl AsyncFnMut() -> Result,
) -> Result<Ratio> {
    let mut pairs = Vec::with_capacity(rounds.pairs);
    for pair in 0..=rounds.pairs {
        let times = if pair % 2 == 0 {
            let first = time(rounds.operations, &mut library).await?;
            (first, time(rounds.operations, &mut raw).await?)
        } else {
            let first = time(rounds.operations, &mut raw).await?;
            (time(rounds.operations, &mut library).await?, first)
        };
        if pair > 0 {
            pairs.push(times);
        }
    }
    Ok(Ratio::of(&pairs))
}

async fn time(operations: usize, operation: &mut impl AsyncFnMut() -> Result) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..operations {
        operation().await?;
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_the_median_of_pairwise_ratios() {
        let pair = |library, raw| (Duration::from_millis(library), Duration::from_millis(raw));
        let ratio = Ratio::of(&[pair(20, 10), pair(3, 1), pair(1000, 1000), pair(15, 10), pair(50, 10)]);
        assert_eq!((ratio.low, ratio.median, ratio.high), (1.5, 2.0, 3.0));
    }

    #[tokio::test]
    async fn both_sides_run_equally_often_and_alternate_going_first() {
        let order = std::cell::RefCell::new(String::new());
        let side = |name| {
            let order = &order;
            async move || {
                order.borrow_mut().push(name);
                Ok(())
            }
        };
        let rounds = Rounds { pairs: 3, operations: 2 };
        alternate(rounds, side('l'), side('r')).await.expect("it cannot fail");
        assert_eq!(order.into_inner(), "llrr".to_owned() + "rrll" + "llrr" + "rrll");
    }
}
