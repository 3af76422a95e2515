use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

type Graph = BTreeMap<ReplicaId, BTreeSet<ReplicaId>>;

/// Ids as bad as any: counted, not drawn.
fn ids(seed: u64, count: u64) -> Vec<ReplicaId> {
    (0..count).map(|n| ReplicaId(seed << 32 | (n + 1))).collect()
}

fn overlay(ids: &[ReplicaId]) -> Overlay {
    let mut overlay = Overlay::default();
    ids.iter().for_each(|id| overlay.insert(*id));
    overlay
}

fn graph(ids: &[ReplicaId]) -> Graph {
    let overlay = overlay(ids);
    ids.iter().map(|id| (*id, overlay.neighbours(*id))).collect()
}

/// The greatest number of hops from one member, and how many it reaches.
fn reach(graph: &Graph, from: ReplicaId) -> (usize, usize) {
    let mut hops = BTreeMap::from([(from, 0usize)]);
    let mut todo = VecDeque::from([from]);
    while let Some(at) = todo.pop_front() {
        let next = hops[&at] + 1;
        for id in graph[&at].iter().filter(|id| graph.contains_key(id)) {
            if !hops.contains_key(id) {
                hops.insert(*id, next);
                todo.push_back(*id);
            }
        }
    }
    (hops.values().copied().max().unwrap_or(0), hops.len())
}

fn log2(count: usize) -> f64 {
    (count as f64).log2()
}

#[test]
fn every_list_is_connected_with_few_links_and_few_hops() {
    for count in (33..130).chain([200, 300, 500, 700, 1_000]) {
        for seed in 1..=3 {
            let graph = graph(&ids(seed, count));
            let links: usize = graph.values().map(BTreeSet::len).sum();
            let most = graph.values().map(BTreeSet::len).max().unwrap();
            let count = graph.len();
            for (id, neighbours) in &graph {
                assert!(!neighbours.contains(id));
                assert!(neighbours.iter().all(|other| graph[other].contains(id)), "links have two ends");
            }
            assert!(links as f64 / count as f64 <= 2.0 * log2(count) + 1.0, "{links} links of {count}");
            assert!(most as f64 <= 3.5 * log2(count), "{most} links of one in {count}");
            let from = *graph.keys().next().unwrap();
            let (hops, reached) = reach(&graph, from);
            assert_eq!(reached, count);
            assert!(hops as f64 <= log2(count), "{hops} hops in {count}");
        }
    }
}

/// The dead stay members until they are forgotten, so their places stay taken.
#[test]
fn it_holds_together_without_three_in_ten() {
    for count in [33, 50, 100, 300, 1_000] {
        for seed in 1..=20 {
            let mut graph = graph(&ids(seed, count));
            graph.retain(|id, _| place(*id) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) > u64::MAX / 10 * 3);
            let left = graph.len();
            assert!(left * 100 <= count as usize * 85, "{left} of {count} are left");
            let (hops, reached) = reach(&graph, *graph.keys().next().unwrap());
            assert_eq!(reached, left, "seed {seed} falls apart");
            assert!(hops as f64 <= 2.0 * log2(left), "{hops} hops among {left}");
        }
    }
}

#[test]
fn a_newcomer_changes_few_links() {
    for count in [33, 100, 1_000] {
        let ids = ids(7, count + 1);
        let (before, after) = (graph(&ids[..count as usize]), graph(&ids));
        let newcomer = ids[count as usize];
        let lost: usize = before.iter().map(|(id, old)| old.difference(&after[id]).count()).sum();
        let gained = after.iter().filter(|(id, _)| **id != newcomer);
        let gained: usize = gained.map(|(id, new)| new.difference(&before[id]).count()).sum();
        // Of its own links it makes each once; of the two that it puts itself between one link goes, at most.
        assert_eq!(gained, after[&newcomer].len());
        assert!(lost <= 2 * after[&newcomer].len(), "{lost} links of {count} are gone");
    }
}

#[test]
fn the_order_in_which_members_come_does_not_matter() {
    let mut ids = ids(3, 40);
    let one = graph(&ids);
    ids.reverse();
    let mut other = overlay(&ids);
    other.insert(ReplicaId(99));
    other.remove(ReplicaId(99));
    assert!(ids.iter().all(|id| other.neighbours(*id) == one[id]));
}
