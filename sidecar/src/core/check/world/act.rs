//! What each sort of step does.

use std::sync::Arc;

use super::{Act, Event, Parcel, SHARD, Step, Violation, World};
use crate::core::check::replica::{Replica, name_of};
use crate::core::check::rng::Rng;
use crate::core::contents::DotKey;
use crate::core::identity::{Clock, Dot, dot_order};
use crate::core::op::Op;
use crate::core::packed::NewOp;
use crate::core::shard::ShardState;

/// More incarnations of one node than a world needs.
const INCARNATIONS_MAX: u64 = 6;

impl World {
    pub(super) fn act(&mut self, step: &Step) -> Result<(), Violation> {
        let mut rng = Rng::new(step.seed);
        let (node, rng) = (step.node, &mut rng);
        let up = !self.replicas[node].fresh;
        match step.act {
            Act::Time => {
                self.now = self.now.plus(rng.pick(&[1, 500, 1_000, 2_000, 5_000, 12_000]));
                Ok(())
            }
            Act::Session | Act::Document | Act::Counter | Act::Set if up => self.user(node, step.act, rng),
            Act::Deliver if up => self.deliver_some(node, rng),
            Act::Sync => {
                let from = self.other(node, rng);
                self.sync(from, node, rng)
            }
            Act::Snapshot if up => {
                self.snapshot(node, rng);
                Ok(())
            }
            Act::Join if up => {
                let to = self.other(node, rng);
                self.join(node, to)
            }
            Act::Truncate => {
                self.truncate(node, rng);
                Ok(())
            }
            Act::Restart => {
                self.restart(node, rng);
                Ok(())
            }
            Act::Split => {
                self.split(rng);
                Ok(())
            }
            Act::Collect if up => {
                self.collect(node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn other(&self, node: usize, rng: &mut Rng) -> usize {
        (node + 1 + rng.index(self.replicas.len() - 1)) % self.replicas.len()
    }

    pub(super) fn together(&self, a: usize, b: usize) -> bool {
        self.groups[a] == self.groups[b]
    }

    /// A node's name in a story.
    pub(super) fn called(&self, node: usize) -> String {
        name_of((self.replicas[node].id, 0)).trim_end_matches(":0").to_owned()
    }

    pub(super) fn push(&mut self, from: usize, op: &Arc<Op>, rng: &mut Rng) {
        for to in 0..self.replicas.len() {
            if to != from && self.together(from, to) && rng.percent(self.setup.pushed_percent) {
                self.bags[to].push(Parcel::Op(Arc::clone(op)));
            }
        }
    }

    fn deliver_some(&mut self, node: usize, rng: &mut Rng) -> Result<(), Violation> {
        for _ in 0..rng.pick(&[1, 2, 4]) {
            if self.bags[node].is_empty() {
                break;
            }
            let at = rng.index(self.bags[node].len());
            if at > 0 {
                self.count("reordered");
            }
            let parcel = if rng.percent(self.setup.repeated_percent) {
                self.count("repeated");
                self.bags[node][at].clone()
            } else {
                self.bags[node].remove(at)
            };
            if rng.percent(self.setup.lost_percent) {
                self.count("lost");
            } else {
                self.deliver(node, parcel)?;
            }
        }
        Ok(())
    }

    fn deliver(&mut self, node: usize, parcel: Parcel) -> Result<(), Violation> {
        match parcel {
            Parcel::Op(op) => {
                self.receive(node, op);
                Ok(())
            }
            Parcel::State(copy, state) => {
                self.count("late states");
                self.merge(node, copy, *state)
            }
        }
    }

    /// An operation arrives.
    pub fn receive(&mut self, node: usize, op: Arc<Op>) {
        let (dot, hlc) = (dot_order(&op.dot), op.hlc);
        let applied = self.replicas[node].shard.receive(NewOp::of(op));
        self.replicas[node].observe(hlc, self.now);
        if applied.is_empty() {
            self.count("held or known");
        }
        self.say_applied(node, &format!("gets {}", name_of(dot)), &applied);
        self.follow(node, applied);
    }

    fn say_applied(&mut self, node: usize, what: &str, applied: &[NewOp]) {
        let who = self.called(node);
        self.say(|| {
            let dots: Vec<_> = applied.iter().map(|new| name_of(dot_order(&new.op.dot))).collect();
            format!("{who} {what}, applies {}", dots.join(" "))
        });
    }

    fn follow(&mut self, node: usize, applied: Vec<NewOp>) {
        self.unchecked[node] = true;
        for new in applied {
            self.event(Event::Applied(node, new.op));
        }
    }

    fn copy(&mut self, node: usize) -> (u64, ShardState) {
        self.copies += 1;
        self.event(Event::Copied(node, self.copies));
        (self.copies, self.replicas[node].shard.state())
    }

    fn merge(&mut self, node: usize, copy: u64, state: ShardState) -> Result<(), Violation> {
        let (ours, theirs) = (self.replicas[node].shard.clock(), &state.clock);
        let two_ways = ours.partial_cmp(theirs).is_none();
        let has = |clock: &Clock, (author, sequence): DotKey| clock.get(&author) >= sequence;
        let one_folded = self.folds_known().any(|fold| has(ours, fold) != has(theirs, fold));
        if two_ways {
            self.count("merges of two that differ both ways");
        }
        if one_folded {
            self.count("merges where one side has folded");
        }
        let merged = self.replicas[node].shard.merge_state(state);
        let Ok(merged) = merged else {
            return Err(Violation(format!("{} refuses an honest state", self.called(node))));
        };
        self.event(Event::Merged(node, copy));
        self.say_applied(node, "merges a state", &merged.applied);
        self.follow(node, merged.applied);
        Ok(())
    }

    /// One replica catches up with another as nodes do: from the log, and where that does not reach, by the state.
    pub(super) fn sync(&mut self, from: usize, to: usize, rng: &mut Rng) -> Result<(), Violation> {
        if !self.together(from, to) || self.replicas[from].fresh {
            return Ok(());
        }
        let direct = self.replicas[to].fresh || rng.percent(50);
        let missing = self.replicas[from].shard.missing_ops(self.replicas[to].shard.clock());
        let mut parcels: Vec<Parcel> = match missing {
            Some(ops) if !self.replicas[to].fresh => {
                self.reaches(from, to, &ops)?;
                ops.into_iter().map(Parcel::Op).collect()
            }
            _ => {
                let (copy, state) = self.copy(from);
                self.count(if self.replicas[to].fresh { "sponsored" } else { "caught up by state" });
                self.replicas[to].fresh = false;
                vec![Parcel::State(copy, Box::new(state))]
            }
        };
        rng.shuffle(&mut parcels);
        if !direct {
            self.bags[to].extend(parcels);
            return Ok(());
        }
        let (source, target) = (self.called(from), self.called(to));
        self.say(|| format!("{target} catches up with {source}"));
        parcels.into_iter().try_for_each(|parcel| self.deliver(to, parcel))
    }

    /// What a log says is missing must be all that is missing.
    fn reaches(&self, from: usize, to: usize, ops: &[Arc<Op>]) -> Result<(), Violation> {
        let (ours, theirs) = (self.replicas[from].shard.clock(), self.replicas[to].shard.clock());
        for dot in ours.iter() {
            for sequence in theirs.get(&dot.actor) + 1..=dot.counter {
                if !ops.iter().any(|op| op.dot == Dot::new(dot.actor, sequence)) {
                    let name = name_of((dot.actor, sequence));
                    return Err(Violation(format!("the log of {} has a hole at {name}", self.called(from))));
                }
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, from: usize, rng: &mut Rng) {
        let to = self.other(from, rng);
        if self.together(from, to) && !self.replicas[to].fresh {
            let (copy, state) = self.copy(from);
            self.bags[to].push(Parcel::State(copy, Box::new(state)));
        }
    }

    /// A whole state arrives at once.
    ///
    /// # Errors
    /// When the receiver refuses it.
    pub fn join(&mut self, from: usize, to: usize) -> Result<(), Violation> {
        if !self.together(from, to) || self.replicas[to].fresh {
            return Ok(());
        }
        let (copy, state) = self.copy(from);
        self.merge(to, copy, state)
    }

    fn truncate(&mut self, node: usize, rng: &mut Rng) {
        let keep = rng.pick(&[0, 1, 2]);
        let shard = &mut self.replicas[node].shard;
        let clock = shard.clock().clone();
        let (ops, _) = shard.log_size();
        let oldest: Vec<Dot> = shard
            .missing_ops(&Default::default())
            .into_iter()
            .flatten()
            .take(ops.saturating_sub(keep))
            .map(|op| op.dot)
            .collect();
        if oldest.is_empty() {
            // What is left of the log does not reach back to the beginning.
            shard.bound_log(0);
        } else {
            shard.truncate_log(u64::MAX, |dot| oldest.contains(dot) && dot.counter <= clock.get(&dot.actor));
        }
        self.count("logs cut");
    }

    fn restart(&mut self, node: usize, rng: &mut Rng) {
        let others_up = (0..self.replicas.len()).any(|other| other != node && !self.replicas[other].fresh);
        let old = &self.replicas[node];
        if old.incarnation >= INCARNATIONS_MAX {
            return;
        }
        let disk = !old.fresh && (rng.percent(50) || !others_up);
        if !old.fresh || others_up {
            self.die(node, disk);
        }
    }

    /// A process dies; the next one has its disk, or nothing.
    pub fn die(&mut self, node: usize, disk: bool) {
        if !disk {
            self.forget_what_only(node);
        }
        let next: Replica = self.replicas[node].restarted(node, disk, self.setup.mutants);
        let who = self.called(node);
        self.say(|| format!("{who} dies; the next {}", if disk { "has its disk" } else { "has nothing" }));
        self.count(if disk { "restarted with a disk" } else { "restarted without memory" });
        self.replicas[node] = next;
        self.bags[node].clear();
        self.unchecked[node] = true;
        self.event(Event::Restarted(node, disk));
        debug_assert_eq!(self.replicas[node].shard.id(), SHARD);
    }

    /// Operations that only this replica holds may be lost from now on.
    fn forget_what_only(&mut self, node: usize) {
        let replicas = &self.replicas;
        self.kept.retain(|(actor, counter)| {
            replicas
                .iter()
                .enumerate()
                .any(|(other, replica)| other != node && replica.shard.clock().get(actor) >= *counter)
        });
    }

    fn split(&mut self, rng: &mut Rng) {
        let heals = rng.percent(40);
        for group in &mut self.groups {
            *group = if heals { 0 } else { rng.below(2) };
        }
        if self.groups.iter().any(|group| *group != self.groups[0]) {
            self.count("splits");
        }
        let groups = self.groups.clone();
        self.say(|| format!("the network is split into {groups:?}"));
    }
}
