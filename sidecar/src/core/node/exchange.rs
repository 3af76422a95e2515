//! Links and the messages on them: push at once, compare always.

use super::peer::{Gap, Peer, RESEND_MILLIS};
use super::{Alarm, COMPARE_MILLIS, Node, Output};
use crate::core::identity::{Clock, Dot, Replica, ReplicaId, ShardId};
use crate::core::message::{Message, PeerId, Progress, ShardClock, ShardDigest};
use crate::core::packed::{NewOp, PackedOp};
use crate::core::shard::ShardState;
use crate::core::time::{Now, UnixMillis};

/// Whole shards sent to one peer in one comparison, at most.
const STATES_PER_COMPARISON: usize = 8;

/// Operations in one message, at most.
const OPS_PER_MESSAGE: usize = 512;

/// Digests of single shards in one comparison, where totals differ.
const DIGESTS_PER_COMPARISON: usize = 16;

/// What a peer is told whose clocks are not taken.
pub(super) const CROWDED: &str = "its clocks name more processes than any cluster has";

impl Node {
    pub(super) fn link_up(&mut self, now: Now, id: PeerId) {
        let replica = Replica { node: String::new(), started: UnixMillis(0), id };
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(replica));
        peer.linked = true;
        peer.introduced = false;
        peer.told = false;
        peer.admits = false;
        peer.has_named_members = false;
        peer.untold.clear();
        peer.forget_sent();
        peer.compare_at = now.mono.plus_millis(COMPARE_MILLIS);
        peer.resend_at = now.mono.plus_millis(RESEND_MILLIS);
        peer.ping_at = now.mono;
        self.introduce_to(id);
        // First, so that nothing it is told counts for more than it is.
        self.send_saved(id);
        self.send_clocks(id);
    }

    /// Says who this node is and whom it counts as members. Sent again when a ping shows that it was lost.
    pub(super) fn introduce_to(&mut self, id: PeerId) {
        let hello = Message::Hello(self.hello());
        self.send(id, hello);
        let roster = Message::Roster(self.roster.entries());
        self.send(id, roster);
    }

    pub(super) fn link_down(&mut self, now: Now, id: PeerId) {
        self.await_return(now, id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.linked = false;
        peer.introduced = false;
        peer.forget_sent();
        self.clock.forget(now, id);
        self.forget_divergence(id);
        self.asked_peer_lost(now, id);
        self.wave_peer_lost(now, id);
        self.sponsor_lost(now, id);
        self.forget_stranger(id);
        if self.is_sealed(id) {
            self.peers.remove(&id);
        }
    }

    pub(super) fn receive(&mut self, now: Now, from: PeerId, message: Message) {
        if !self.peers.get(&from).is_some_and(|peer| peer.linked) {
            return;
        }
        match message {
            Message::Hello(hello) => self.introduced(now, from, hello),
            Message::Roster(entries) => self.roster_from(now, from, &entries),
            Message::Ops(_)
            | Message::State(_)
            | Message::Answer { .. }
            | Message::Relay { .. }
            | Message::Echo { .. }
                if !self.is_heard(from) => {}
            Message::Ops(ops) => self.ops_from(now, from, ops),
            Message::Applied(progress) => self.applied_by(from, &progress),
            Message::Clocks(clocks) => self.clocks_of(from, &clocks),
            Message::Digests { total, shards } => self.compare_digests(from, total, &shards),
            Message::WantStates(shards) => self.give_states(from, &shards),
            Message::State(state) => self.state_from(now, from, *state),
            Message::Ask { id, object, clock } => self.answer(from, id, &object, &clock),
            Message::Answer { id, missing, ended } => self.answered(now, from, id, missing, ended),
            Message::Ping { sent, wall: _, now: time, clock_sum, introduction } => {
                self.pinged(now, from, sent, time, clock_sum, introduction);
            }
            Message::Pong { sent, wall, clocks_known, introduction_known } => {
                self.ponged(now, from, sent, wall);
                if !introduction_known {
                    self.introduce_to(from);
                }
                if !clocks_known {
                    self.send_clocks(from);
                }
            }
            Message::Leave => self.departed(from),
            Message::Relay { ops, until } => self.relayed(now, from, ops, until),
            Message::Members(entries) => self.members_from(now, from, &entries),
            Message::Wave { wave, reach, question } => self.wave_from(now, from, wave, reach, question),
            Message::Echo { wave, echo } => self.echo_from(now, from, wave, echo),
            Message::Settled(settled) => self.settled_by(from, &settled),
            Message::Saved { progress, sum } => self.saved_by(from, &progress, sum),
            Message::WantSaved => self.send_saved(from),
        }
        self.part_if_crowded(from);
    }

    /// Who names more processes than any cluster has is broken or lies: it would fill the memory.
    fn part_if_crowded(&mut self, from: PeerId) {
        if self.peers.get_mut(&from).is_some_and(Peer::take_crowded) {
            self.figures.clocks_refused += 1;
            self.outbox.push_back(Output::Disconnect(from, CROWDED));
        }
    }

    /// Operations from a peer. A node without memory takes none: it would write below what the others hold to be
    /// known everywhere (semantics finding 23).
    pub(super) fn ops_from(&mut self, now: Now, from: PeerId, ops: Vec<PackedOp>) {
        let ops = ops.into_iter().filter_map(PackedOp::open).collect();
        self.new_ops_from(now, from, ops);
    }

    pub(super) fn new_ops_from(&mut self, now: Now, from: PeerId, ops: Vec<NewOp>) {
        for NewOp { op, .. } in &ops {
            self.known_to(from, op.object.shard(), op.dot);
        }
        if self.is_fresh() {
            return;
        }
        for op in ops {
            let shard = op.op.object.shard();
            let foreign_history =
                self.peers.get(&from).is_some_and(|peer| peer.states_wanted.contains(&shard));
            if !foreign_history {
                self.take_op(now, op);
            }
        }
        self.tell_progress(from);
    }

    /// Lets an operation in by the normal door.
    pub(super) fn take_op(&mut self, now: Now, op: NewOp) {
        let (me, dot, shard) = (self.id(), op.op.dot, op.op.object.shard());
        if dot.actor == me {
            return;
        }
        if self.shard(shard).has(&dot) {
            self.figures.ops_duplicate += 1;
            return;
        }
        let applied = self.shard_mut(shard).receive(op);
        self.changed(now, shard, &applied);
    }

    /// A peer has reported to have applied this.
    pub(super) fn known_to(&mut self, peer: PeerId, shard: ShardId, dot: Dot) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        if peer.knows(shard, dot) {
            self.check_waits(shard);
        }
    }

    /// A peer has reported to have applied all of this.
    pub(super) fn clock_known(&mut self, peer: PeerId, shard: ShardId, clock: &Clock) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.knows_all(shard, clock);
        }
        self.check_waits(shard);
    }

    fn applied_by(&mut self, from: PeerId, progress: &[Progress]) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if self.waits.is_empty() {
            for progress in progress {
                peer.knows(progress.shard, progress.dot);
            }
            return;
        }
        for progress in progress {
            self.known_to(from, progress.shard, progress.dot);
        }
    }

    fn clocks_of(&mut self, from: PeerId, clocks: &[ShardClock]) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        for clock in clocks {
            peer.knows_all(clock.shard, &clock.clock);
            peer.lean_on(&self.past, clock.shard);
        }
        for clock in clocks {
            self.check_waits(clock.shard);
        }
    }

    pub(super) fn send_clocks(&mut self, to: PeerId) {
        let clocks = self
            .shards
            .iter()
            .filter(|shard| !shard.clock().is_empty())
            .map(|shard| ShardClock { shard: shard.id(), clock: shard.clock().clone() })
            .collect();
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.untold.clear();
        }
        self.send(to, Message::Clocks(clocks));
    }

    pub(super) fn compare_if_due(&mut self, now: Now, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.compare_at <= now.mono) else { return };
        peer.compare_at = now.mono.plus_millis(COMPARE_MILLIS);
        self.tell_progress(id);
        if self.peers.get(&id).is_some_and(Peer::takes_ops) && !self.is_fresh() {
            self.resend_if_stuck(now, id);
            self.fill_gaps(now, id);
            self.send_digests(id);
        }
    }

    fn resend_if_stuck(&mut self, now: Now, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.resend_at <= now.mono) else { return };
        peer.resend_at = now.mono.plus_millis(RESEND_MILLIS);
        if peer.resend_mark == peer.known.sum() {
            peer.forget_sent();
        }
        peer.resend_mark = peer.known.sum();
    }

    /// Sends what the peer lacks, whoever wrote it, if it lacked it at the last comparison already.
    fn fill_gaps(&mut self, now: Now, id: PeerId) {
        let clock_sum = self.clock_sum();
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.known.sum() == clock_sum) {
            peer.gaps.clear();
            return;
        }
        let mut states = 0;
        for shard in ShardId::all() {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if peer.known.sum_of(shard) == self.shards[shard.index()].digest().clock_sum {
                peer.gaps.remove(&shard);
                continue;
            }
            let ours = self.shards[shard.index()].clock();
            if peer.known.get(shard).is_some_and(|known| known.covers(ours)) || ours.is_empty() {
                peer.gaps.remove(&shard);
                continue;
            }
            let Some(gap) = peer.gaps.get_mut(&shard) else {
                peer.gaps.insert(shard, Gap::new(ours.clone(), now));
                continue;
            };
            let known = peer.known.get(shard).cloned().unwrap_or_default();
            if known.covers(&gap.clock) {
                peer.gaps.insert(shard, Gap::new(ours.clone(), now));
                continue;
            }
            if gap.is_stale(now) {
                peer.sent.forget(shard);
            }
            let lacked = gap.clock.clone();
            if !peer.reached(shard).covers(&lacked) && states < STATES_PER_COMPARISON {
                states += usize::from(self.send_missing(id, shard));
            }
        }
    }

    /// Sends what a peer lacks in one shard. Gives whether that was the whole shard.
    fn send_missing(&mut self, id: PeerId, shard: ShardId) -> bool {
        if !self.may_share_with(id) {
            return false;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        let reached = peer.reached(shard);
        let ours = self.shards[shard.index()].clock();
        peer.was_sent(shard, ours);
        match self.shards[shard.index()].missing(&reached) {
            Some(ops) => {
                for ops in ops.chunks(OPS_PER_MESSAGE) {
                    self.send(id, Message::Ops(ops.to_vec()));
                }
                false
            }
            None => {
                self.send_state(id, shard);
                true
            }
        }
    }

    pub(super) fn send_state(&mut self, id: PeerId, shard: ShardId) {
        self.figures.states_sent += 1;
        let state = Box::new(self.shard(shard).state());
        self.send(id, Message::State(state));
    }

    fn give_states(&mut self, from: PeerId, shards: &[ShardId]) {
        // Into the roster first, by its introduction; then the state (semantics finding 23).
        let Some(peer) = self.peers.get(&from).filter(|peer| peer.introduced) else { return };
        if self.is_fresh() || peer.fresh && !self.may_sponsor() || !self.may_share_with(from) {
            return;
        }
        for shard in shards.iter().take(STATES_PER_COMPARISON) {
            self.send_state(from, *shard);
        }
    }

    pub(super) fn merge(&mut self, now: Now, state: ShardState) -> bool {
        let (me, shard) = (self.id(), state.shard);
        // Nobody knows operations of this process that it does not know itself.
        if state.clock.get(&me) > self.shard(shard).clock().get(&me) {
            return false;
        }
        let known = self.shard(shard).digest().clock_sum;
        let before = self.shard(shard).clock().clone();
        let Ok(merged) = self.shard_mut(shard).merge_state(state) else { return false };
        self.figures.states_merged += u64::from(known != self.shard(shard).digest().clock_sum);
        if !merged.changed.is_empty() || !merged.raised.is_empty() {
            self.unsaved_whole(shard);
        }
        for object in merged.changed {
            self.asked_object_changed(now, &object);
            self.journal.push(&object);
        }
        for dot in merged.raised {
            self.advanced(shard, dot.actor, before.get(&dot.actor));
            self.progressed(shard, dot);
        }
        self.changed(now, shard, &merged.applied);
        true
    }

    fn total_digest(&self) -> ShardDigest {
        self.shards.iter().map(|shard| shard.digest()).fold(ShardDigest::default(), |total, shard| {
            ShardDigest {
                clock_sum: total.clock_sum.wrapping_add(shard.clock_sum),
                content_sum: total.content_sum.wrapping_add(shard.content_sum),
            }
        })
    }

    pub(super) fn clock_sum(&self) -> u64 {
        self.shards.iter().fold(0, |sum, shard| sum.wrapping_add(shard.digest().clock_sum))
    }

    fn send_digests(&mut self, to: PeerId) {
        let total = self.total_digest();
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let mut shards = Vec::new();
        if peer.differs {
            for _ in 0..DIGESTS_PER_COMPARISON {
                let shard = ShardId(peer.digest_cursor);
                shards.push((shard, self.shards[shard.index()].digest()));
                peer.digest_cursor = peer.digest_cursor.wrapping_add(1);
            }
        }
        self.send(to, Message::Digests { total, shards });
    }

    /// Equal clocks must have equal contents. A mismatch is told and never mended by merging, which would keep only
    /// what both have (semantics finding 26).
    fn compare_digests(&mut self, from: PeerId, total: ShardDigest, shards: &[(ShardId, ShardDigest)]) {
        if self.is_fresh() {
            return;
        }
        let ours = self.total_digest();
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.differs = ours != total;
        }
        if shards.is_empty() && ours.clock_sum == total.clock_sum && ours.content_sum != total.content_sum {
            // Somewhere they differ: shard by shard the peer finds out where, and so do we from its answer.
            let shards = self.shards.iter().map(|shard| (shard.id(), shard.digest())).collect();
            self.send(from, Message::Digests { total: ours, shards });
        }
        if ours == total {
            self.forget_divergence(from);
        }
        for (shard, theirs) in shards {
            let ours = self.shard(*shard).digest();
            if ours == *theirs {
                self.diverged.remove(&(from, *shard));
            } else if ours.clock_sum == theirs.clock_sum && self.diverged.insert((from, *shard)) {
                self.figures.divergence_alarms += 1;
                self.alarm_diverged(from, *shard);
            }
        }
    }

    /// It is the same again, or not to be compared any more: it may have been started anew.
    fn forget_divergence(&mut self, peer: PeerId) {
        self.diverged.retain(|(with, _)| *with != peer);
    }

    fn alarm_diverged(&mut self, from: PeerId, shard: ShardId) {
        if let Some(peer) = self.peers.get(&from) {
            let alarm = Alarm::Diverged { peer: peer.replica.clone(), shard };
            self.outbox.push_back(Output::Alarm(alarm));
        }
    }

    /// The processes that stand for other members, by name.
    pub(super) fn other_members(&self) -> Vec<(String, ReplicaId)> {
        let me = &self.config.replica.node;
        self.roster.members().filter(|member| member.node != *me).map(|m| (m.node.clone(), m.id)).collect()
    }
}
