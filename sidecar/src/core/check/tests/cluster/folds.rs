//! Counters of clusters whose processes leave and come back.

use super::*;
use crate::core::command::PathOp;
use crate::core::identity::ObjectId;
use crate::core::path::Path;

/// Processes that leave in order, of which nothing is left but what they counted.
#[test]
fn what_those_that_left_have_counted_is_folded() {
    let must_happen = [
        "counters folded",
        "crashes",
        "departures",
        "joined",
        "resets of what is folded",
        "restarts",
        "splits",
    ];
    seeds(Theme::Deploys, 0..8, &must_happen);
    durable_seeds(Theme::Deploys, 0..4, &["came back from a disk", "counters folded", "departures"]);
}

/// Three nodes and a counter.
struct Story {
    cluster: Cluster,
    counter: ObjectId,
}

impl Story {
    fn new(mutants: Mutants) -> Result<Self, Violation> {
        let [counter, _] = objects(Kind::Counter);
        let mut story = Self { cluster: Cluster::new(Setup::calm(3, mutants, through_bytes), 1), counter };
        story.cluster.pass(3_000)?;
        Ok(story)
    }

    fn write(&mut self, seat: usize, change: Change) -> Result<(), Violation> {
        self.cluster.write(seat, &Write::new(self.counter.clone(), change))?;
        Ok(())
    }

    fn add(&mut self, seat: usize, by: i64) -> Result<(), Violation> {
        self.write(seat, Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by }]))
    }

    /// Somebody counts, leaves and comes back.
    fn deploy(&mut self, seat: usize, by: i64) -> Result<(), Violation> {
        self.add(seat, by)?;
        self.cluster.leave(seat)?;
        self.cluster.revive(seat, 0)?;
        self.cluster.pass(2_500)
    }

    fn reads(&self, value: i64) {
        for seat in 0..3 {
            assert_eq!(self.cluster.read(seat, &self.counter), Some(value.into()), "n{seat}");
        }
    }

    fn happened(&self, what: &str) -> u64 {
        self.cluster.tally.get(what).copied().unwrap_or_default()
    }
}

/// All know all when the network splits. One side folds, the other resets.
fn one_side_folds(mutants: Mutants) -> Result<(), String> {
    let run = || {
        let mut story = Story::new(mutants)?;
        story.deploy(1, 5)?;
        story.deploy(2, 7)?;
        story.add(0, 1)?;
        story.cluster.pass(2_000)?;
        story.cluster.split(&[0, 1, 1]);
        assert_eq!(story.happened("counters folded"), 0, "too early for this story");
        story.cluster.pass(30_000)?;
        story.reads(13);
        assert_eq!(story.happened("counters folded"), 1);
        story.write(2, Change::Destroy)?;
        story.add(0, 100)?;
        story.cluster.pass(1_000)?;
        story.cluster.split(&[0, 0, 0]);
        story.cluster.pass(5_000)?;
        story.reads(100);
        assert_eq!(story.happened("resets beside a fold"), 1);
        story.cluster.finish()
    };
    run().map_err(|violation: Violation| violation.0)
}

#[test]
fn a_reset_on_the_other_side_of_a_split_resets_what_is_folded() {
    one_side_folds(Mutants::NONE).unwrap();
    let failure = one_side_folds(Mutants::without(Rule::FoldByAnyone)).unwrap_err();
    assert!(failure.contains("neither knows of the other"), "{failure}");
}

/// Somebody who lacks a part of what has been counted resets the counter.
fn a_reset_by_one_who_lacks_a_part(mutants: Mutants) -> Result<(), String> {
    let run = || {
        let mut story = Story::new(mutants)?;
        story.deploy(1, 5)?;
        story.cluster.split(&[0, 0, 1]);
        story.add(1, 7)?;
        story.cluster.pass(30_000)?;
        story.write(2, Change::Destroy)?;
        story.cluster.split(&[0, 0, 0]);
        story.cluster.pass(5_000)?;
        story.reads(7);
        story.deploy(1, 3)?;
        story.deploy(2, 2)?;
        story.cluster.pass(60_000)?;
        story.reads(12);
        assert_eq!(story.happened("counters folded"), 1);
        story.cluster.finish()
    };
    run().map_err(|violation: Violation| violation.0)
}

#[test]
fn nothing_is_folded_that_somebody_may_lack() {
    a_reset_by_one_who_lacks_a_part(Mutants::NONE).unwrap();
    let failure = a_reset_by_one_who_lacks_a_part(Mutants::without(Rule::FoldUnstable)).unwrap_err();
    assert!(failure.contains("holds something else"), "{failure}");
}
