//! The observer: writes down each operation with its causal history as it is written, and what nodes say.

use std::collections::BTreeMap;

use super::{Cluster, Violation};
use crate::core::check::reading;
use crate::core::check::replica::name_of;
use crate::core::check::spec::{self, Known};
use crate::core::identity::{Clock, Dot, LifeId, ReplicaId, ShardId, dot_order};
use crate::core::node::{Alarm, Input, Node};
use crate::core::op::{Action, Op};

/// What a node was like before an input.
#[derive(Debug)]
pub(super) struct Before {
    sums: Vec<u64>,
    /// It had no memory, and operations came.
    fresh_and_given_ops: bool,
}

impl Before {
    pub(super) fn of(node: &Node, input: &Input) -> Self {
        let ops = matches!(input, Input::Message(_, crate::core::message::Message::Ops(_)));
        Self { sums: sums(node), fresh_and_given_ops: ops && node.hello().fresh }
    }
}

fn sums(node: &Node) -> Vec<u64> {
    ShardId::all().map(|shard| node.shard(shard).digest().clock_sum).collect()
}

impl Cluster {
    /// Writes down what an input or a call has done to a seat's process, and does what it wants done.
    pub(super) fn after(&mut self, seat: usize, before: Option<Before>) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        let me = node.id();
        let by_itself = before.is_some();
        let changed: Vec<ShardId> = match &before {
            Some(before) => {
                let sums = sums(node);
                ShardId::all().filter(|shard| sums[shard.index()] != before.sums[shard.index()]).collect()
            }
            None => super::SHARDS_USED.to_vec(),
        };
        if before.is_some_and(|before| before.fresh_and_given_ops && node.hello().fresh)
            && !changed.is_empty()
        {
            return Err(Violation(format!("n{seat} has no memory and takes operations all the same")));
        }
        for shard in changed {
            self.unchecked.insert((seat, shard));
            self.note(seat, me, shard, by_itself)?;
        }
        self.outputs(seat)
    }

    /// Writes down the operations that a process has written since the last look. Within one input it writes last,
    /// so what it has applied by then is their history.
    fn note(&mut self, seat: usize, me: ReplicaId, shard: ShardId, by_itself: bool) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        let clock = node.shard(shard).clock().clone();
        let noted = self.noted.get(&(me, shard)).copied().unwrap_or(0);
        if clock.get(&me) > noted {
            let mut asked = clock.clone();
            asked.dots.insert(me, noted);
            let Some(own) = node.shard(shard).missing(&asked) else {
                return Err(Violation(format!(
                    "n{seat} has dropped an operation from its log while writing it"
                )));
            };
            for op in own {
                let mut history = clock.clone();
                history.dots.insert(me, op.dot.counter - 1);
                history.dots.retain(|_, counter| *counter > 0);
                if by_itself && self.ends_expired_lives(&op, &history) {
                    self.count("expired lives destroyed");
                    self.expiries.push((shard, dot_order(&op.dot)));
                }
                self.note_op(seat, shard, &op, history)?;
            }
            self.noted.insert((me, shard), clock.get(&me));
        }
        for (actor, counter) in &clock.dots {
            for sequence in 1..=*counter {
                self.kept.insert((shard, (*actor, sequence)));
            }
        }
        Ok(())
    }

    fn note_op(
        &mut self,
        seat: usize,
        shard: ShardId,
        op: &std::sync::Arc<Op>,
        history: Clock,
    ) -> Result<(), Violation> {
        let dot = dot_order(&op.dot);
        let mut since = history.clone();
        if let Some(previous) = self.known.get(&(shard, (dot.0, dot.1 - 1))) {
            since.dots.retain(|actor, counter| previous.history.get(actor) < *counter);
        }
        since.dots.remove(&dot.0);
        let mut deps: Vec<Dot> = op.deps.clone();
        deps.sort_by_key(dot_order);
        if deps != since.dots.into_iter().map(Dot::from).collect::<Vec<_>>() {
            return Err(Violation(format!(
                "{} names {deps:?}, but its author had seen {history:?}",
                name_of(dot)
            )));
        }
        self.say(|| format!("{} writes {} {:?} after {:?}", name_of(dot), op.object, op.action, op.deps));
        self.count(match &op.action {
            Action::Create { .. } => "lives created",
            Action::Edit { .. } => "edits",
            Action::Touch { .. } => "touches",
            Action::Destroy { .. } => "lives destroyed",
            Action::Barrier { .. } => "barriers written",
            Action::Unbarrier { .. } => "barriers removed",
        });
        self.known.insert((shard, dot), Known { op: std::sync::Arc::clone(op), history });
        self.born.insert((shard, dot), (self.step, seat));
        Ok(())
    }

    /// A node that destroys on its own account does so because a life has expired, or because it is hidden.
    fn ends_expired_lives(&self, op: &Op, history: &Clock) -> bool {
        let Action::Destroy { lives, .. } = &op.action else { return false };
        let within = self.known.values().filter(|known| {
            known.op.object == op.object && history.get(&known.op.dot.actor) >= known.op.dot.counter
        });
        let contents = spec::contents(within);
        let Some(object) = contents.get(&op.object) else { return false };
        let is_hidden = |life: &LifeId| {
            object.lives.get(&dot_order(life)).is_some_and(|life| reading::hidden(object, life))
        };
        !lives.iter().all(is_hidden)
    }

    pub(super) fn alarmed(&mut self, seat: usize, alarm: &Alarm) -> Result<(), Violation> {
        match alarm {
            Alarm::Diverged { peer, shard } => {
                Err(Violation(format!("n{seat} finds that {} holds something else in {shard:?}", peer.node)))
            }
            Alarm::Skewed { .. } => {
                self.count("skew alarms");
                Ok(())
            }
            Alarm::Corrected { .. } => {
                self.count("clocks corrected");
                Ok(())
            }
        }
    }

    pub(super) fn disconnect(&mut self, seat: usize, peer: ReplicaId, why: &str) -> Result<(), Violation> {
        Err(Violation(format!("n{seat} does not want to talk with {:x}: {why}", peer.0)))
    }

    /// How far a seat's present and former processes had got in a shard, each on its own.
    pub(super) fn ever(&self, seat: usize, shard: ShardId) -> Vec<Clock> {
        let dead = self.dead.iter().filter(|(of, _)| *of == seat);
        let mut clocks: Vec<Clock> = dead.filter_map(|(_, clocks)| clocks.get(&shard).cloned()).collect();
        clocks.extend(self.seats[seat].node.as_ref().map(|node| node.shard(shard).clock().clone()));
        clocks
    }

    /// A process is no more. What only it had may be lost from now on.
    pub(super) fn bury(&mut self, seat: usize) {
        let Some(node) = self.seats[seat].node.take() else { return };
        let clocks: BTreeMap<ShardId, Clock> = ShardId::all()
            .map(|shard| (shard, node.shard(shard).clock().clone()))
            .filter(|(_, clock)| !clock.is_empty())
            .collect();
        let survivors: Vec<&Node> = self.seats.iter().filter_map(|seat| seat.node.as_ref()).collect();
        let held = |shard: ShardId, actor: &ReplicaId, counter: u64| {
            survivors.iter().any(|node| node.shard(shard).clock().get(actor) >= counter)
        };
        self.kept.retain(|(shard, (actor, counter))| held(*shard, actor, *counter));
        self.dead.push((seat, clocks));
        self.users.buried(seat);
        self.cut();
    }
}
