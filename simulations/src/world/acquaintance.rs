//! Which processes can know of each other: those that a chain of links has ever joined.

use std::collections::{BTreeMap, BTreeSet};

use super::Micros;
use crate::system::Process;

/// Two groups that served before they met take this long to learn all that the other knows.
pub(super) const ACQUAINTED: Micros = 10_000_000;

/// Groups of processes that have met. They only grow together, so each remembers from when on it was part of a larger
/// one: two processes know each other from the latest of those times on the way between them (union by size, paths
/// left as they are).
#[derive(Default)]
pub(super) struct Acquaintance {
    joined: BTreeMap<Process, (Process, Micros)>,
    sizes: BTreeMap<Process, usize>,
    serving: BTreeSet<Process>,
    /// When the last of a group's parts know each other: who comes to know one of them knows all from then on.
    settled: BTreeMap<Process, Micros>,
}

impl Acquaintance {
    /// A process serves users from now on.
    pub(super) fn serves(&mut self, process: Process) {
        self.serving.insert(self.first_of(process));
    }

    /// Two processes have a link.
    pub(super) fn meet(&mut self, now: Micros, one: Process, other: Process) {
        let (one, other) = (self.first_of(one), self.first_of(other));
        if one == other {
            return;
        }
        let size = |of: Process| self.sizes.get(&of).copied().unwrap_or(1);
        let (smaller, larger) = if size(one) < size(other) { (one, other) } else { (other, one) };
        self.sizes.insert(larger, size(smaller) + size(larger));
        let grace =
            if self.serving.remove(&smaller) && !self.serving.insert(larger) { ACQUAINTED } else { 0 };
        let settled = [one, other].iter().filter_map(|first| self.settled.get(first)).copied().max();
        let known = (now + grace).max(settled.unwrap_or(0));
        self.settled.insert(larger, known);
        self.joined.insert(smaller, (larger, known));
    }

    /// From when on two processes know of each other's, if a chain of links ever joined them.
    pub(super) fn known_from(&self, one: Process, other: Process) -> Option<Micros> {
        let way = self.way_of(one);
        let other_way = self.way_of(other);
        let shared = |&&(process, _): &&(Process, Micros)| other_way.iter().any(|(also, _)| *also == process);
        let (meeting, when) = way.iter().find(shared)?;
        let other_when = other_way.iter().find(|(process, _)| process == meeting).map_or(0, |(_, at)| *at);
        Some(other_when.max(*when))
    }

    fn first_of(&self, process: Process) -> Process {
        self.way_of(process).last().map_or(process, |(first, _)| *first)
    }

    /// The process and those whose groups it became part of, with the time of each.
    fn way_of(&self, process: Process) -> Vec<(Process, Micros)> {
        let mut way = vec![(process, 0)];
        let mut at = process;
        while let Some((larger, when)) = self.joined.get(&at) {
            way.push((*larger, *when));
            at = *larger;
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(node: usize) -> Process {
        Process { node, id: node as u64 + 100 }
    }

    #[test]
    fn two_know_each_other_when_the_last_link_between_them_is_made() {
        let mut known = Acquaintance::default();
        let links = [(0, 1, 10), (2, 3, 20), (1, 0, 25), (4, 3, 30), (1, 2, 40), (0, 4, 50)];
        for (one, other, now) in links {
            known.meet(now, process(one), process(other));
        }
        let met = |one, other| known.known_from(process(one), process(other));
        assert_eq!((met(0, 1), met(2, 3), met(2, 4)), (Some(10), Some(20), Some(30)));
        assert_eq!((met(0, 3), met(4, 1), met(3, 1)), (Some(40), Some(40), Some(40)));
        assert_eq!((met(0, 5), met(5, 5)), (None, Some(0)));
    }

    #[test]
    fn only_groups_that_both_served_need_time() {
        let mut known = Acquaintance::default();
        known.serves(process(0));
        known.meet(10, process(1), process(0));
        known.serves(process(1));
        known.serves(process(2));
        known.meet(30, process(2), process(1));
        known.meet(40, process(3), process(2));
        let met = |one, other| known.known_from(process(one), process(other));
        assert_eq!((met(0, 1), met(3, 0)), (Some(10), Some(30 + ACQUAINTED)));
        assert_eq!((met(2, 1), met(3, 1)), (Some(30 + ACQUAINTED), Some(30 + ACQUAINTED)));
    }
}
