//! The observer: writes down each operation with its causal history as it is written, and what nodes say.

use std::collections::BTreeMap;

use super::{BOOTSTRAP_MILLIS, Cluster, Dead, SHARDS_USED, Violation};
use crate::core::check::replica::name_of;
use crate::core::check::spec::{self, Known};
use crate::core::check::{folds, reading};
use crate::core::command::Readiness;
use crate::core::identity::{Clock, Dot, LifeId, ReplicaId, ShardId, dot_order};
use crate::core::node::{Alarm, Dropped, DroppedWhy, Input, Node};
use crate::core::op::{Action, Fold, Op};

/// What a node was like before an input.
#[derive(Debug)]
pub(super) struct Before {
    sums: [u64; SHARDS_USED.len()],
    /// It had no memory, and operations came.
    fresh_and_given_ops: bool,
}

impl Before {
    pub(super) fn of(node: &Node, input: &Input) -> Self {
        let ops = matches!(input, Input::Message(_, crate::core::message::Message::Ops(_)));
        Self { sums: sums(node), fresh_and_given_ops: ops && node.hello().fresh }
    }
}

/// A link that a process has got before it was ready.
#[derive(Debug)]
pub(super) struct Met {
    link: u64,
    peer: ReplicaId,
    /// What the other end had then, if it was a member.
    had: Option<Had>,
}

#[derive(Debug)]
struct Had {
    lineage: u64,
    clocks: [Clock; SHARDS_USED.len()],
}

fn sums(node: &Node) -> [u64; SHARDS_USED.len()] {
    SHARDS_USED.map(|shard| node.shard(shard).digest().clock_sum)
}

impl Cluster {
    /// Writes down what an input or a call has done to a seat's process, and does what it wants done.
    pub(super) fn after(&mut self, seat: usize, before: Option<Before>) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        let me = node.id();
        let by_itself = before.is_some();
        let now = sums(node);
        let same = |at: usize| before.as_ref().is_some_and(|before| before.sums[at] == now[at]);
        let changed: Vec<ShardId> =
            SHARDS_USED.iter().enumerate().filter(|(at, _)| !same(*at)).map(|(_, shard)| *shard).collect();
        if before.is_some_and(|before| before.fresh_and_given_ops && node.hello().fresh)
            && !changed.is_empty()
        {
            return Err(Violation(format!("n{seat} has no memory and takes operations all the same")));
        }
        for shard in changed {
            self.unchecked.insert((seat, shard));
            self.note(seat, me, shard, by_itself)?;
        }
        self.outputs(seat)?;
        self.got_ready(seat)
    }

    /// A link between two seats is made: what the one has, if it is a member, the other must have when it is one.
    pub(super) fn meet(&mut self, link: u64, seat: usize, other: usize) {
        let Some(peer) = &self.seats[other].node else { return };
        let clocks = SHARDS_USED.map(|shard| peer.shard(shard).clock().clone());
        let hello = peer.hello();
        let had = (!hello.fresh).then_some(Had { lineage: hello.lineage, clocks });
        let met = Met { link, peer: self.seats[other].id, had };
        let me = self.seats[seat].id;
        if !self.ready.contains(&me) {
            self.met.entry(me).or_default().push(met);
        }
    }

    /// A process that has joined others is ready only with what one of them had when they met. When it has waited as long as it
    /// waits for anybody, those of whom it has heard nothing do not count. One that has a memory of its own goes on alone when all whom it has
    /// met are gone.
    fn got_ready(&mut self, seat: usize) -> Result<(), Violation> {
        let Some(node) = self.seats[seat].node.as_ref().filter(|node| node.readiness() == Readiness::Ready)
        else {
            return Ok(());
        };
        let me = node.id();
        if !self.ready.insert(me) {
            return Ok(());
        }
        let lineage = node.hello().lineage;
        let met = self.met.remove(&me).unwrap_or_default();
        let is_of_this_history = |met: &Met| {
            let now = || self.node_of(met.peer).map(|peer| peer.hello().lineage);
            met.had.as_ref().is_none_or(|had| had.lineage == lineage || now() == Some(lineage))
        };
        let late = self.seats[seat].started.plus_millis(BOOTSTRAP_MILLIS) <= self.mono;
        let is_silent = |met: &Met| late && !self.network.has_heard(met.link, me);
        let returned = self.returned.contains(&me);
        let is_gone = |met: &Met| returned && !self.network.is_whole(met.link);
        let silent = met.iter().filter(|met| is_silent(met)).count();
        let counts = |met: &&Met| is_of_this_history(met) && !is_silent(met) && !is_gone(met);
        let met: Vec<&Met> = met.iter().filter(counts).collect();
        let alone = lineage == me.0;
        // Of a peer that had no memory then it is not known here when it got one.
        let has_all = |met: &&Met| {
            let Some(had) = &met.had else { return true };
            SHARDS_USED.iter().zip(&had.clocks).all(|(shard, had)| {
                had.partial_cmp(node.shard(*shard).clock()).is_some_and(std::cmp::Ordering::is_le)
            })
        };
        if !alone && !met.is_empty() && !met.iter().any(has_all) {
            return Err(Violation(format!("n{seat} is ready without what any member had when they met")));
        }
        if silent > 0 {
            self.count("ready beside links that stayed silent");
        }
        self.count(if alone { "started alone" } else { "joined" });
        Ok(())
    }

    /// Writes down the operations that a process has written since the last look. Within one input it writes last,
    /// so what it has applied by then is their history.
    fn note(&mut self, seat: usize, me: ReplicaId, shard: ShardId, by_itself: bool) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        let clock = node.shard(shard).clock().clone();
        let noted = self.noted.get(&(me, shard)).copied().unwrap_or(0);
        if clock.get(&me) > noted {
            let mut asked = clock.clone();
            asked.set(me, noted);
            let Some(own) = node.shard(shard).missing_ops(&asked) else {
                return Err(Violation(format!(
                    "n{seat} has dropped an operation from its log while writing it"
                )));
            };
            if clock.named() < clock.len() {
                self.count("writes that lean on a past");
            }
            if clock.exceeds_past() {
                self.count("a past that went on");
            }
            for op in own {
                let mut history = clock.clone();
                history.set(me, op.dot.counter - 1);
                if by_itself && self.ends_expired_lives(&op, &history) {
                    self.count("expired lives destroyed");
                    self.expiries.push((shard, dot_order(&op.dot)));
                }
                self.note_op(seat, shard, &op, history)?;
            }
            self.noted.insert((me, shard), clock.get(&me));
        }
        for Dot { actor, counter } in clock.iter() {
            for sequence in 1..=counter {
                self.kept.insert((shard, (actor, sequence)));
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
            since = since.beyond(&previous.history).collect();
        }
        since.remove(&dot.0);
        let mut deps: Vec<Dot> = op.deps.clone();
        deps.sort_by_key(dot_order);
        if deps != since.iter().collect::<Vec<_>>() {
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
            Action::Fold(_) => "counters folded",
        });
        self.note_folds(shard, op, &history)?;
        self.known.insert((shard, dot), Known { op: std::sync::Arc::clone(op), history });
        self.born.insert((shard, dot), (self.step, seat));
        Ok(())
    }

    /// Resets of what is folded, and of what is being folded elsewhere. No two nodes fold one counter at once.
    fn note_folds(&mut self, shard: ShardId, op: &Op, history: &Clock) -> Result<(), Violation> {
        let of_object = |known: &&Known| known.op.object == op.object;
        for reset in folds::resets(op, history, self.known.values().filter(of_object)) {
            self.count(reset);
        }
        let Action::Fold(fold) = &op.action else { return Ok(()) };
        let beside = self.known.iter().find(|((of, (actor, counter)), known)| {
            let same = |other: &Fold| other.life == fold.life && other.path == fold.path;
            *of == shard
                && known.op.object == op.object
                && matches!(&known.op.action, Action::Fold(other) if same(other))
                && history.get(actor) < *counter
                && self.kept.contains(&(shard, (*actor, *counter)))
        });
        match beside {
            Some(((_, other), _)) => {
                let (one, other) = (name_of(dot_order(&op.dot)), name_of(*other));
                Err(Violation(format!("{one} and {other} fold one counter, and neither knows of the other")))
            }
            None => Ok(()),
        }
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
            Alarm::MemoryFull { .. } => {
                Err(Violation(format!("n{seat} has no limit on memory and reached it")))
            }
            Alarm::Corrected { .. } => {
                self.count("clocks corrected");
                Ok(())
            }
            Alarm::Forgotten { member } => {
                let (who, id) = (member.node.clone(), member.id);
                self.say(|| format!("n{seat} gives up {who} ({id})"));
                self.count("members forgotten");
                Ok(())
            }
        }
    }

    pub(super) fn disconnect(&mut self, seat: usize, peer: ReplicaId, why: &str) -> Result<(), Violation> {
        Err(Violation(format!("n{seat} does not want to talk with {:x}: {why}", peer.0)))
    }

    /// A process that was given up or superseded ends, and the next one takes its place, empty.
    pub(super) fn start_over(&mut self, seat: usize, dropped: &Dropped) -> Result<(), Violation> {
        self.say(|| format!("n{seat} starts over: {:?} by {}", dropped.why, dropped.told_by));
        self.count(match dropped.why {
            DroppedWhy::Forgotten => "forgotten and back",
            DroppedWhy::Superseded => "superseded",
        });
        let place = &self.seats[seat];
        if dropped.why == DroppedWhy::Forgotten && !(place.given_up || place.changed_disks) {
            return Err(Violation(format!("n{seat} starts over, and nobody has gone on without it")));
        }
        self.tally.entry("dropped operations").and_modify(|n| *n += dropped.count).or_insert(dropped.count);
        self.disowned += 1;
        self.bury(seat);
        self.set_disk_aside(seat);
        self.start(seat)
    }

    /// How far a seat's present and former processes had got in a shard, each on its own, for good where it has a disk.
    pub(super) fn ever(&self, seat: usize, shard: ShardId) -> Vec<Clock> {
        if let Some(saved) = self.ever_saved(seat, shard) {
            return saved;
        }
        let dead = self.dead.iter().filter(|dead| dead.seat == seat);
        let mut clocks: Vec<Clock> = dead.filter_map(|dead| dead.clocks.get(&shard).cloned()).collect();
        clocks.extend(self.seats[seat].node.as_ref().map(|node| node.shard(shard).clock().clone()));
        clocks
    }

    /// What no process and no disk has any more need not come back.
    pub(super) fn forget_lost(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.retain(|(shard, (actor, counter))| {
            self.up().any(|(_, node)| node.shard(*shard).clock().get(actor) >= *counter)
                || self.on_some_disk(*shard, Dot::new(*actor, *counter))
        });
        self.kept = kept;
    }

    /// A process is no more. What only it had may be lost from now on.
    pub(super) fn bury(&mut self, seat: usize) {
        self.disk_dies(seat);
        let Some(node) = self.seats[seat].node.take() else { return };
        let clocks: BTreeMap<ShardId, Clock> = ShardId::all()
            .map(|shard| (shard, node.shard(shard).clock().clone()))
            .filter(|(_, clock)| !clock.is_empty())
            .collect();
        self.forget_lost();
        self.dead.push(Dead { seat, process: node.id(), since: self.mono, clocks });
        self.users.buried(seat);
        self.cut();
    }
}
