//! A checker that cannot fail proves nothing: each rule is switched back to its naive form, and must be missed.

use crate::core::check::world::{CONFLICTS, COUNTERS, FOLDS, MIXED, Profile, SESSIONS, TREES, fails};
use crate::core::mutant::{Mutants, Rule};

fn found(rule: Rule, profile: Profile, seeds: u64, steps: usize) {
    let mutants = Mutants::without(rule);
    let hit = (0..seeds).find_map(|seed| Some((seed, fails(seed, profile, steps, mutants)?)));
    let Some((seed, failure)) = hit else {
        panic!("{rule:?} is not missed in {seeds} seeds of {}", profile.name)
    };
    println!("{rule:?}: seed {seed} of {}: {failure}", profile.name);
}

macro_rules! mutants {
    ($($name:ident: $rule:ident in $profile:ident, $seeds:literal x $steps:literal;)*) => {
        $(#[test]
        fn $name() {
            found(Rule::$rule, $profile, $seeds, $steps);
        })*
    };
}

mutants! {
    dead_skip: DeadSkip in SESSIONS, 200 x 150;
    entries_survive: EntriesSurvive in SESSIONS, 100 x 150;
    no_residue: NoResidue in COUNTERS, 100 x 150;
    eager_residue: EagerResidue in COUNTERS, 100 x 150;
    total_max: TotalMax in COUNTERS, 100 x 150;
    diff_remove: DiffRemove in MIXED, 100 x 150;
    no_barrier: NoBarrier in SESSIONS, 100 x 150;
    put_new: PutNew in SESSIONS, 100 x 150;
    ancestors_stay: AncestorsStay in CONFLICTS, 400 x 80;
    no_marker: NoMarker in TREES, 100 x 80;
    merge_union: MergeUnion in MIXED, 100 x 150;
    no_causality: NoCausality in MIXED, 100 x 150;
    fold_unstable: FoldUnstable in FOLDS, 100 x 150;
    log_keeps_hole: LogKeepsHole in MIXED, 100 x 150;
}
