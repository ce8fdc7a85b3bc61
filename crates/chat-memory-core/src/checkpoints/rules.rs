//! The rules of the protocol. Simulations take one out, to show that it is needed.

use super::store::Inner;

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A checkpoint is put on the condition that nothing follows the one before it.
    Absent,
    /// A removal first puts a fence after the last row.
    Fence,
    /// The place of a checkpoint that is removed gets a mark.
    Marks,
    /// An id is greater than all before it.
    Greater,
    /// What leans on a row that goes is written alone before.
    Alone,
    /// It is written only in place of the row that was read.
    AsRead,
    /// Only a checkpoint that follows its parent leans on anything of its parent's.
    FollowerLeans,
    /// Rows are removed newest first.
    NewestFirst,
    /// A base has an id of its own, even if it is of the same checkpoint.
    OwnBase,
    /// Only bases of checkpoints that are removed are removed.
    KnownBases,
    /// A put that is refused was perhaps stored before.
    Repeat,
    /// What was read of a log is believed for a time only.
    TipLifetime,
    /// A checkpoint leans only on what is there until it expires.
    LeansUntil,
    /// Checkpoints that have expired are not read.
    SkipExpired,
    /// A reader that missed a row reads again.
    Steady,
    /// A fence that hides rows stays until they are gone.
    FenceStays,
    /// Nothing is put after a row that the table may delete soon.
    SolidEnd,
    /// What was found at the end of a log is acted on soon.
    Prompt,
    /// What tasks wrote at a checkpoint goes after the checkpoint.
    WritesGoLast,
}

impl Inner {
    /// Whether the protocol keeps this rule.
    #[cfg(feature = "simulation")]
    pub(super) fn keeps(&self, rule: Rule) -> bool {
        self.simulated.as_ref().is_none_or(|simulated| simulated.without != Some(rule))
    }

    /// Always: only simulations take rules out.
    #[cfg(not(feature = "simulation"))]
    pub(super) const fn keeps(&self, _: Rule) -> bool {
        true
    }
}
