//! Rules of the core that a test can switch back to their naive form, to prove that it would notice.
//!
//! In a build without tests and without the `mutants` feature every rule holds and the switch costs nothing.

/// A rule, named after what the naive form does instead; `docs/protocol.md` tells the histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rule {
    /// An operation for a dead life changes nothing at all, not even what it clears.
    DeadSkip,
    /// Entries that the other side never saw survive the end of their life in a merge.
    EntriesSurvive,
    /// A covered accumulator goes at once, and its owner goes on counting where it was.
    NoResidue,
    /// A covered accumulator goes at once.
    EagerResidue,
    /// Running totals join by the larger total instead of the later sequence.
    TotalMax,
    /// What an operation removes is rebuilt from its author's clock differences.
    DiffRemove,
    /// DELETE of an unknown session leaves nothing behind.
    NoBarrier,
    /// An expired life is destroyed after a fixed grace period.
    GraceReap,
    /// An expired life is dropped without an operation.
    LocalPurge,
    /// A member counts as heard when any of its incarnations has reported.
    FlatRoster,
    /// PUT on a live session makes a new life.
    PutNew,
    /// A node without memory is brought up by operations instead of one whole state.
    NoSponsor,
    /// Losing values at ancestors of a path stay.
    AncestorsStay,
    /// Objects have no marker.
    NoMarker,
    /// The entries of a state that the receiver has removed come back in a merge.
    MergeUnion,
    /// An operation whose dependencies are missing applies at once.
    NoCausality,
    /// After a jump the log goes on as if it had no hole.
    LogKeepsHole,
    /// A survey counts although not everyone has answered it.
    PartialSurvey,
    /// A survey counts although it is not known exactly how far a neighbour was.
    HazySurvey,
    /// Who was asked counts as everyone.
    PartialAnswer,
    /// What is given to the disk counts as saved.
    SavedEarly,
    /// A node reports a time behind which a restart may go back.
    UnsavedTime,
    /// A process goes on writing after its farewell.
    LateWrites,
    /// A later process of a name is taken for a member while the earlier one is still heard.
    HastySuccession,
    /// A process is heard after it is over.
    DeadHeard,
    /// The word of the dead is not waited for although somebody may still hear them.
    DeadUncounted,
    /// Accumulators are folded of which some member may lack something.
    FoldUnstable,
    /// Whoever thinks that it can folds.
    FoldByAnyone,
}

/// The rules that are switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutants(#[cfg(any(test, feature = "mutants"))] u32);

impl Mutants {
    /// Every rule holds.
    pub const NONE: Self = Self(
        #[cfg(any(test, feature = "mutants"))]
        0,
    );

    /// Switches one rule off.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub fn without(rule: Rule) -> Self {
        Self(1 << rule as u32)
    }

    /// Whether this rule is switched off.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub(crate) fn lacks(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }

    #[cfg(not(any(test, feature = "mutants")))]
    #[inline(always)]
    pub(crate) fn lacks(self, _: Rule) -> bool {
        false
    }
}
