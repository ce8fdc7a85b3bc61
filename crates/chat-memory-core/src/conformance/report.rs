//! The results of a run of the suite.

use std::fmt;

use super::{Capability, Case};

/// The result of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The promise held.
    Passed,
    /// The promise did not hold, and why.
    Failed(String),
    /// The store does not declare the capability that the promise needs.
    NotDeclared(Capability),
}

/// The results of all cases.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// Each case and its result.
    pub outcomes: Vec<(Case, Outcome)>,
}

impl Report {
    /// Whether no case failed.
    pub fn is_ok(&self) -> bool {
        self.failed().next().is_none()
    }

    /// Returns the cases that passed.
    pub fn passed(&self) -> impl Iterator<Item = &Case> {
        self.outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Passed).map(|(case, _)| case)
    }

    /// Returns the cases that failed, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&Case, &str)> {
        self.outcomes.iter().filter_map(|(case, outcome)| match outcome {
            Outcome::Failed(why) => Some((case, why.as_str())),
            _ => None,
        })
    }

    /// Returns the cases that do not apply to this store, with the capability that it does not declare.
    pub fn not_declared(&self) -> impl Iterator<Item = (&Case, Capability)> {
        self.outcomes.iter().filter_map(|(case, outcome)| match outcome {
            Outcome::NotDeclared(needed) => Some((case, *needed)),
            _ => None,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, why) in self.failed() {
            writeln!(f, "FAILED       {}, which promise that {}\n{why}", case.name, case.promise)?;
        }
        for (case, needed) in self.not_declared() {
            writeln!(f, "not declared {} ({needed:?})", case.name)?;
        }
        let counts = (self.passed().count(), self.failed().count(), self.not_declared().count());
        write!(f, "{} passed, {} failed, {} not declared", counts.0, counts.1, counts.2)
    }
}
