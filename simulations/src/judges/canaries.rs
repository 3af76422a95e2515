//! A judge that is never heard proves nothing. Each must speak up about a rule of the core that is switched back to
//! its naive form, or about a system that lies.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a module of tests")]

use sidetalk::core::mutant::{Mutants, Rule};

use super::lying::{Lie, Lying};
use crate::explore::draw;
use crate::record::RunRecord;
use crate::run::run_on;
use crate::scenario::{Bytes, FaultKind, FaultSpec, Scenario, Share, Span};
use crate::system::Sidetalk;
use crate::world::Watch;

fn run_without(scenario: &Scenario, rule: Rule) -> RunRecord {
    let system = Sidetalk::with_mutants(scenario, Mutants::without(rule));
    run_on(scenario, system, &mut Watch::default()).unwrap().0
}

fn is_broken(record: &RunRecord, judge: &str) -> bool {
    record.broken().iter().any(|verdict| verdict.judge == judge)
}

/// The judge must find the missing rule in one of so many seeds of a scenario, and be silent where the rule holds.
fn finds(judge: &str, rule: Rule, seeds: u64, scenario: impl Fn(u64) -> Scenario) {
    let hit = (1..=seeds).map(&scenario).find(|scenario| is_broken(&run_without(scenario, rule), judge));
    let Some(scenario) = hit else { panic!("{judge} does not miss {rule:?} in {seeds} seeds") };
    let record = crate::run::run(&scenario).unwrap();
    assert!(!is_broken(&record, judge), "{judge} complains of a core that holds: {:?}", record.broken());
    println!("{judge} misses {rule:?} in seed {}", scenario.seed);
}

/// A split, and traffic that meets on both sides of it.
fn split(seed: u64) -> Scenario {
    let mut scenario = draw(1);
    scenario.seed = seed;
    scenario.duration = Span::secs(20);
    scenario.cluster = crate::scenario::ClusterSpec::default();
    scenario.network = crate::scenario::NetworkSpec::default();
    scenario.clocks = crate::scenario::ClockSpec::default();
    scenario.membership = crate::scenario::MembershipSpec::default();
    scenario.traffic = crate::scenario::TrafficSpec { users: 20, ..Default::default() };
    let partition = FaultSpec::new(FaultKind::Partition, Span::secs(3), Some(Span::secs(8)));
    scenario.faults = vec![FaultSpec { groups: vec![vec!["n1".into()]], ..partition }];
    scenario
}

/// Logs that are too small for the split: whole shards are joined.
fn joins(seed: u64) -> Scenario {
    let mut scenario = split(seed);
    scenario.cluster.log = Bytes(4 << 10);
    scenario.traffic.mix.logout = 20;
    scenario.traffic.counters.per_second = 40;
    scenario.traffic.counters.reset = Share(150_000);
    scenario.traffic.sets.per_second = 20;
    scenario
}

#[test]
fn convergence_misses_the_order_of_causes() {
    finds("convergence", Rule::NoCausality, 10, |seed| {
        let mut scenario = joins(seed);
        let degrade = FaultSpec::new(FaultKind::Degrade, Span::secs(1), Some(Span::secs(15)));
        let all = vec!["all".into()];
        scenario.faults.push(FaultSpec { nodes: all, reorder: Some(Share(400_000)), ..degrade });
        scenario.network.reorder_by = Span::millis(300);
        scenario
    });
}

#[test]
fn kept_writes_misses_what_a_join_brings_back() {
    finds("kept-writes", Rule::MergeUnion, 10, joins);
}

#[test]
fn destroyed_stays_destroyed_misses_the_barrier() {
    finds("destroyed-stays-destroyed", Rule::NoBarrier, 30, |seed| {
        let mut scenario = split(seed);
        scenario.traffic.mix.logout = 60;
        scenario
    });
}

#[test]
fn counters_exact_misses_the_sequence_of_totals() {
    finds("counters-exact", Rule::TotalMax, 200, |seed| {
        let mut scenario = joins(seed);
        scenario.traffic.counters.per_second = 150;
        scenario.traffic.counters.reset = Share(20_000);
        scenario
    });
}

/// A session in use on one side of a split, and by the other side's clock long over.
#[test]
fn logins_kept_misses_a_grace_period() {
    finds("logins-kept", Rule::GraceReap, 10, |seed| {
        let mut scenario = split(seed);
        scenario.duration = Span::secs(40);
        scenario.quiet = Span::secs(1);
        scenario.faults[0].r#for = Some(Span::secs(33));
        scenario.traffic.ttl = Span::secs(8);
        scenario.traffic.touch = Share(1_000_000);
        scenario.traffic.parallel = 1;
        scenario.traffic.balancer = crate::scenario::Balancer::Sticky;
        scenario
    });
}

/// A world in which nodes forget that they are behind: a client's token is thrown away on the way.
#[test]
fn read_your_writes_misses_a_token_that_is_thrown_away() {
    let scenario = split(1);
    let system = Lying { inner: Sidetalk::new(&scenario), lie: Lie::NoTokens };
    let record = run_on(&scenario, system, &mut Watch::default()).unwrap().0;
    assert!(is_broken(&record, "read-your-writes"), "{:?}", record.verdicts);
}

/// A node whose log knows no bound.
#[test]
fn bounded_misses_the_bound_of_the_log() {
    let mut scenario = joins(1);
    scenario.traffic.field_bytes = Bytes(2 << 10);
    let honest = Scenario { cluster: crate::scenario::ClusterSpec::default(), ..scenario };
    let tight = Scenario {
        cluster: crate::scenario::ClusterSpec { log: Bytes(0), ..honest.cluster.clone() },
        ..honest.clone()
    };
    let record = run_on(&tight, Sidetalk::new(&honest), &mut Watch::default()).unwrap().0;
    assert!(is_broken(&record, "bounded"), "{:?}", record.verdicts);
}

/// A node that says everything ten times.
#[test]
fn bytes_on_the_wire_misses_a_chatterbox() {
    let scenario = Scenario { limits: crate::scenario::LimitSpec::default(), ..split(1) };
    let system = Lying { inner: Sidetalk::new(&scenario), lie: Lie::TenTimesTheBytes };
    let record = run_on(&scenario, system, &mut Watch::default()).unwrap().0;
    assert!(is_broken(&record, "bytes-on-the-wire"), "{:?}", record.verdicts);
    assert!(!is_broken(&crate::run::run(&scenario).unwrap(), "bytes-on-the-wire"));
}

/// A partition that touches nobody.
#[test]
fn faults_happened_misses_a_fault_that_does_not_happen() {
    let mut scenario = split(1);
    let late = FaultSpec::new(FaultKind::Mistake, Span::millis(19_999), Some(Span::millis(1)));
    scenario.faults.push(FaultSpec { nodes: vec!["n1".into()], from: vec!["n1".into()], ..late });
    let record = crate::run::run(&scenario).unwrap();
    assert!(record.happened.contains_key("mistake in vain"), "{:?}", record.happened);
    scenario.faults =
        vec![FaultSpec { nodes: vec!["n1".into()], ..FaultSpec::new(FaultKind::Flap, Span::secs(1), None) }];
    assert!(!scenario.mistakes().is_empty());
}
