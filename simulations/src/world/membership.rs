//! Who is taken for alive by whom: late, and sometimes wrongly.
//!
//! Gossip travels through third nodes, so a process is heard by whoever a chain of open paths leads to.

use std::collections::BTreeSet;

use super::{Event, World};
use crate::rng::Rng;
use crate::scenario::{FaultKind, Scenario};
use crate::system::{Input, NodeIx, Process, System};

/// What every node believes.
pub(super) struct Membership {
    /// By observer: processes taken for alive.
    alive: Vec<BTreeSet<Process>>,
    /// Changes of mind on their way.
    pending: BTreeSet<(NodeIx, Process, bool)>,
    /// Observers and nodes that are wrongly taken for dead, and by which mistake.
    mistaken: BTreeSet<(NodeIx, NodeIx, u64)>,
    mistakes: u64,
    /// Who hears whom, as of the last time that it may have changed: it takes long to work out.
    hearing: Vec<Option<usize>>,
    rng: Rng,
}

impl Membership {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            alive: vec![BTreeSet::new(); scenario.cluster.nodes],
            pending: BTreeSet::new(),
            mistaken: BTreeSet::new(),
            mistakes: 0,
            hearing: vec![None; scenario.cluster.nodes],
            rng: Rng::fork(scenario.seed, "membership", 0),
        }
    }

    fn takes_for_dead(&self, observer: NodeIx, node: NodeIx) -> bool {
        self.mistaken.range((observer, node, 0)..=(observer, node, u64::MAX)).next().is_some()
    }

    /// Whether one node takes a process for alive.
    pub(super) fn knows(&self, observer: NodeIx, process: Process) -> bool {
        self.alive[observer].contains(&process)
    }
}

impl<S: System> World<S> {
    /// Which nodes hear each other, by a number for each group; a node without a running process hears nobody.
    fn hearing(&self) -> Vec<Option<usize>> {
        let runs = |node: NodeIx| self.seats[node].process.is_some() && !self.seats[node].paused;
        let nodes = self.seats.len();
        if !self.network.active.iter().any(|fault| blocks(fault.kind)) {
            return (0..nodes).map(|node| runs(node).then_some(0)).collect();
        }
        let mut group: Vec<Option<usize>> = vec![None; nodes];
        for first in 0..nodes {
            if group[first].is_some() || !runs(first) {
                continue;
            }
            group[first] = Some(first);
            let mut todo = vec![first];
            while let Some(node) = todo.pop() {
                for (other, group) in group.iter_mut().enumerate() {
                    if group.is_none() && runs(other) && self.network.is_open(node, other) {
                        *group = Some(first);
                        todo.push(other);
                    }
                }
            }
        }
        group
    }

    fn hears(&self, observer: NodeIx, node: NodeIx) -> bool {
        if !self.network.active.iter().any(|fault| blocks(fault.kind)) {
            return self.seats[observer].runs() && self.seats[node].runs();
        }
        let hearing = &self.membership.hearing;
        hearing[node].is_some() && hearing[node] == hearing[observer]
    }

    /// Who can be heard has changed: those who are to hear of it will, each in its own time.
    pub(super) fn look_around(&mut self) {
        let hearing = self.hearing();
        self.membership.hearing.clone_from(&hearing);
        for observer in 0..self.seats.len() {
            for node in 0..self.seats.len() {
                self.look_at(&hearing, observer, node);
            }
        }
    }

    /// One node's process has started or gone.
    pub(super) fn look_around_for(&mut self, node: NodeIx) {
        let hearing = self.hearing();
        self.membership.hearing.clone_from(&hearing);
        for other in 0..self.seats.len() {
            self.look_at(&hearing, other, node);
            self.look_at(&hearing, node, other);
        }
    }

    fn look_at(&mut self, hearing: &[Option<usize>], observer: NodeIx, node: NodeIx) {
        if observer == node || self.seats[observer].process.is_none() {
            return;
        }
        let current = self.seats[node].process;
        let heard = hearing[node].is_some() && hearing[node] == hearing[observer];
        let alive = heard && !self.membership.takes_for_dead(observer, node);
        if let Some(process) = current {
            self.change_mind(observer, process, alive);
        }
        let known = &self.membership.alive[observer];
        let bounds = Process { node, id: 0 }..=Process { node, id: u64::MAX };
        let gone: Vec<Process> =
            known.range(bounds).copied().filter(|process| Some(*process) != current).collect();
        for process in gone {
            self.change_mind(observer, process, false);
        }
    }

    fn change_mind(&mut self, observer: NodeIx, process: Process, alive: bool) {
        let known = self.membership.knows(observer, process);
        if known == alive || !self.membership.pending.insert((observer, process, alive)) {
            return;
        }
        let spec = &self.scenario.membership;
        let spread = if alive { spec.detect_up } else { spec.detect_down };
        let at = self.now + spread.draw(&mut self.membership.rng);
        self.queue.at(at, Event::Alive { observer, process, alive });
    }

    /// An observer changes its mind, unless things have changed since.
    pub(super) fn hear(&mut self, observer: NodeIx, process: Process, alive: bool) {
        self.membership.pending.remove(&(observer, process, alive));
        let current = self.seats[process.node].process == Some(process);
        let heard = current && self.hears(observer, process.node);
        let is_alive = heard && !self.membership.takes_for_dead(observer, process.node);
        if is_alive != alive || self.seats[observer].process.is_none() {
            return;
        }
        let news = match alive {
            true => self.membership.alive[observer].insert(process),
            false => self.membership.alive[observer].remove(&process),
        };
        if news {
            if current && !alive && self.seats[process.node].runs() {
                self.count("live nodes taken for dead");
            }
            self.input(observer, Input::Alive(process, alive));
            self.consider(observer, process.node);
        }
    }

    /// An observer's process is gone, and all it believed.
    pub(super) fn forget_beliefs(&mut self, observer: NodeIx) {
        self.membership.alive[observer].clear();
        self.membership.pending.retain(|(who, _, _)| *who != observer);
    }

    /// An observer wrongly takes a node for dead from now on, or no longer. Gives whether that is news.
    pub(super) fn ordered_mistake(
        &mut self,
        observer: NodeIx,
        node: NodeIx,
        number: u64,
        begins: bool,
    ) -> bool {
        let entry = (observer, node, number);
        if !begins {
            self.membership.mistaken.remove(&entry);
            let hearing = self.hearing();
            self.look_at(&hearing, observer, node);
            return true;
        }
        self.membership.mistaken.insert(entry);
        let Some(process) = self.seats[node].process else { return false };
        let known = self.seats[observer].process.is_some() && self.membership.knows(observer, process);
        if known {
            self.hear(observer, process, false);
        }
        // One that stands still is no live node.
        known && self.seats[node].runs()
    }

    /// The next mistake that nobody ordered.
    pub(super) fn next_mistake(&mut self) {
        let per_hour = u64::from(self.scenario.membership.mistakes_per_hour);
        if per_hour > 0 && self.seats.len() > 1 {
            let pause = 1 + self.membership.rng.below(2 * 3_600_000_000 / per_hour);
            self.queue.at(self.now + pause, Event::Mistake);
        }
    }

    pub(super) fn random_mistake(&mut self) {
        let nodes = self.seats.len();
        let observer = self.membership.rng.index(nodes);
        let node = (observer + 1 + self.membership.rng.index(nodes - 1)) % nodes;
        self.membership.mistakes += 1;
        let number = self.membership.mistakes;
        self.ordered_mistake(observer, node, number, true);
        let until = self.now + self.scenario.membership.mistake_for.0;
        self.queue.at(until, Event::MistakeEnds { observer, node, number });
        self.next_mistake();
    }
}

/// Whether a fault of this sort can block a path.
pub(super) fn blocks(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Partition | FaultKind::Cut | FaultKind::Isolate | FaultKind::Flap)
}
