//! The scenarios that strangers copy: each runs, each does what it says, and no judge has anything to say.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::path::Path;

use sidetalk_simulations::record::RunRecord;
use sidetalk_simulations::run::run;
use sidetalk_simulations::scenario::{FaultKind, Scenario};

fn read(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.toml"));
    let scenario = Scenario::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(scenario.name, name);
    scenario
}

/// Runs a scenario; what it says must have happened, and nothing of it in vain.
fn holds(name: &str, must_happen: &[&str]) -> RunRecord {
    let record = run(&read(name)).unwrap();
    assert!(record.is_clean(), "{:#?}", record.broken());
    for what in must_happen {
        assert!(record.happened.contains_key(*what), "{what} never happened: {:?}", record.happened);
    }
    assert!(!record.happened.keys().any(|what| what.ends_with("in vain")), "{:?}", record.happened);
    assert!(record.outcomes.reads > 100 && record.converged_s.is_some());
    assert_eq!(record.outcomes.lost_logins, 0);
    record
}

macro_rules! scenarios {
    ($($test:ident: $name:literal, $must:expr;)*) => {
        $(#[test]
        fn $test() {
            holds($name, &$must);
        })*

        /// A file that no test runs is a promise that nobody keeps.
        #[test]
        fn every_file_has_its_test() {
            let tested = [$($name),*];
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                assert!(tested.contains(&name.as_str()), "{name}");
            }
        }
    };
}

scenarios! {
    split_brain: "split-brain", ["paths blocked", "messages held by a partition", "links lost"];
    rolling_deploy: "rolling-deploy", ["departures", "restarts"];
    zone_loss: "zone-loss", ["crashes", "restarts"];
    slow_node: "slow-node", ["slow nodes"];
    slow_disk: "slow-disk", ["crashes", "restarts", "slow disks", "commits cut off", "images restored"];
    clock_skew: "clock-skew", ["clocks stepped", "clocks drifting", "clocks corrected"];
    flapping_link: "flapping-link", ["flaps"];
    long_partition_past_the_log: "long-partition-past-the-log", ["paths blocked"];
    logout_storm: "logout-storm", ["paths blocked"];
    black_friday: "black-friday", ["crashes", "restarts"];
    trap_one_map_on_both_sides: "trap-one-map-on-both-sides", ["paths blocked"];
    trap_swapped_values: "trap-swapped-values", ["paths blocked"];
    trap_delete_while_down: "trap-delete-while-down", ["crashes", "restarts", "suspensions"];
    trap_increments_during_a_restart: "trap-increments-during-a-restart", ["crashes", "restarts"];
    trap_delete_on_two_nodes: "trap-delete-on-two-nodes", ["paths blocked"];
    trap_large_values: "trap-large-values", ["paths blocked"];
    trap_many_differences: "trap-many-differences", ["crashes", "restarts"];
    trap_joins_before_leaves: "trap-joins-before-leaves", ["live nodes taken for dead", "restarts"];
    trap_away_longer_than_deletions: "trap-away-longer-than-deletions", ["suspensions"];
    trap_traffic_after_a_restart: "trap-traffic-after-a-restart", ["crashes", "restarts"];
    trap_two_quick_restarts: "trap-two-quick-restarts", ["departures", "restarts"];
}

/// What was lost in the world is caught up by whole shards, as the scenario says.
#[test]
fn the_long_partition_outlasts_the_log() {
    let record = holds("long-partition-past-the-log", &["paths blocked"]);
    let merged: u64 = record
        .samples
        .iter()
        .flat_map(|sample| sample.nodes.iter())
        .map(|node| node.gauges.states_merged)
        .max()
        .unwrap();
    assert!(merged > 0, "no shard was taken over whole");
}

/// All processes die at once, and all that was acknowledged is there again: nobody is excused.
#[test]
fn what_is_on_disks_outlives_all_processes() {
    let record = holds("slow-disk", &["crashes", "images restored"]);
    assert_eq!(record.happened["crashes"], 4);
    assert_eq!(record.outcomes.lost_with_their_holders, 0);
    let mut without = read("slow-disk");
    without.cluster.disk = None;
    without.faults.retain(|fault| fault.kind == FaultKind::Crash);
    let record = run(&without).unwrap();
    assert!(
        record.outcomes.lost_with_their_holders > 100,
        "without disks all is lost: {:?}",
        record.outcomes
    );
}
