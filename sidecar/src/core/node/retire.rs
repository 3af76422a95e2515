//! Retiring: agreement that a dead id has nothing left to bring, and then forgetting it.
//!
//! Every living member has reported the very roster that this node has, so it has sealed whom we have sealed, and a
//! last sequence of the dead id that equals ours, in all 256 shards. Members are found in the rosters themselves; a
//! process that joins later takes its state, and its seals, from one of them. So nobody can come to have more. What
//! remains is one pair, id and final sequence, for as long as anything that it wrote is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::roster::age;
use super::{Node, Output};
use crate::core::digest::clock_hash;
use crate::core::identity::{Clock, Dot, Replica, ReplicaId, ShardId};
use crate::core::message::{Message, PeerId, RetiredEntry, RosterEntry};
use crate::core::mutant::Rule;
use crate::core::time::{Now, UnixMillis};

/// Shards in which nothing of a forgotten process is stored, and the clock at which that was found.
#[derive(Debug, Default)]
pub(super) struct Traces {
    gone: BTreeMap<ReplicaId, BTreeMap<ShardId, Gone>>,
    /// Those of which nothing is left here while somebody still tells of them.
    dropped: BTreeSet<ReplicaId>,
    /// A member has a disk.
    disks_seen: bool,
}

#[derive(Debug)]
enum Gone {
    /// Not stored here, at this clock.
    Here(Clock),
    /// Not stored anywhere.
    Everywhere,
}

impl Node {
    /// Forgets whom it can.
    pub(super) fn retire_dead(&mut self, now: Now) {
        if self.is_fresh() {
            return;
        }
        let known = self.roster.retired().len();
        self.adopt_retired(now);
        let mut dead: Vec<Replica> = self
            .roster
            .sealed()
            .iter()
            .filter_map(|id| self.roster.get(*id))
            .map(|entry| entry.replica.clone())
            .collect();
        dead.sort_by_key(age);
        for replica in dead {
            if self.is_agreed(&replica) {
                let (sum, at) = (self.final_sum(replica.id), self.clock.time(now));
                self.retire(now, RetiredEntry { replica, sum, at });
            }
        }
        if self.roster.retired().len() > known {
            self.tell_retired();
            self.check_all_waits();
        }
    }

    /// Stands for how far an author got in all shards.
    pub(super) fn final_sum(&self, id: ReplicaId) -> u64 {
        self.shards.iter().fold(0, |sum, shard| match shard.reached(id) {
            0 => sum,
            last => sum.wrapping_add(clock_hash(shard.id().0, &Dot::new(id, last))),
        })
    }

    /// Every living member has sealed all whom we have sealed, and has exactly what we have of this one.
    fn is_agreed(&self, dead: &Replica) -> bool {
        if self.mutants.lacks(Rule::NaiveForget) {
            return true;
        }
        // By their order, so that the latest of a name goes last: until then it seals the others.
        let older = |entry: &RosterEntry| entry.replica.node == dead.node && age(&entry.replica) < age(dead);
        if self.roster.entries().iter().any(older) {
            return false;
        }
        if self.unsaved().iter().any(|(_, author, _)| *author == dead.id) {
            return false;
        }
        if self.is_overlay() {
            return self.is_agreed_by_survey(dead.id);
        }
        let ours = self.roster.entries();
        let mut living = self.roster.living().filter(|member| member.id != self.id());
        living.all(|member| self.agrees(member.id, dead.id, &ours))
    }

    fn agrees(&self, member: PeerId, dead: ReplicaId, ours: &[RosterEntry]) -> bool {
        let Some(report) = self.peers.get(&member).and_then(|peer| peer.report.as_ref()) else {
            return false;
        };
        let theirs = report.roster.iter().filter(|entry| !self.roster.is_retired(entry.replica.id));
        let same_roster = if self.mutants.lacks(Rule::SealOne) {
            let mut alone = super::roster::Roster::default();
            theirs.for_each(|entry| {
                alone.add(entry.clone());
            });
            alone.sealed().contains(&dead)
        } else {
            theirs.eq(ours.iter())
        };
        same_roster
            && self.shards.iter().all(|shard| {
                report.saved_counter(shard.id(), dead) == shard.clock().get(&dead)
                    && report.clocks.counter(shard.id(), dead) == shard.clock().get(&dead)
                    && report.clocks.get(shard.id()).is_none_or(|clock| shard.covers(clock))
            })
    }

    /// Others have agreed already: what is equal here can go here.
    fn adopt_retired(&mut self, now: Now) {
        let told: BTreeSet<(PeerId, RetiredEntry)> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.introduced)
            .flat_map(|(id, peer)| peer.retired.values().map(|entry| (*id, entry.clone())))
            .filter(|(_, entry)| self.is_news(entry.replica.id))
            .collect();
        for (from, entry) in told {
            if self.roster.is_retired(entry.replica.id) {
                continue;
            }
            if self.final_sum(entry.replica.id) == entry.sum {
                self.retire(now, entry);
            } else {
                self.want_history(now, from);
            }
        }
    }

    fn is_news(&self, id: ReplicaId) -> bool {
        !self.roster.is_retired(id) && !self.traces.dropped.contains(&id) && id != self.id()
    }

    fn retire(&mut self, now: Now, entry: RetiredEntry) {
        let id = entry.replica.id;
        self.shards.iter_mut().for_each(|shard| shard.retire(id));
        if let Some(disk) = &mut self.disk {
            disk.saved.retire(id);
        }
        self.roster.retire(entry);
        self.seal();
        self.strike(id);
        self.clock.forget(now, id);
        self.figures.retired_total += 1;
        if self.peers.get(&id).is_some_and(|peer| !peer.linked) {
            self.peers.remove(&id);
        }
        for peer in self.peers.values_mut() {
            peer.untold.retain(|(_, author), _| *author != id);
            peer.sent.retire(id);
            for gap in peer.gaps.values_mut() {
                gap.clock.dots.remove(&id);
            }
        }
    }

    /// A process comes back that had forgotten somebody. What it finds of it on its disk may be less than it had:
    /// then that one is only over, until the others tell how much there was.
    pub(super) fn restore_retired(&mut self, entry: RetiredEntry) {
        if self.final_sum(entry.replica.id) == entry.sum {
            let id = entry.replica.id;
            self.shards.iter_mut().for_each(|shard| shard.retire(id));
            self.roster.retire(entry);
        } else {
            self.enrol(RosterEntry { replica: entry.replica, left: true });
        }
    }

    /// The sponsor is lost before it has given everything. What it had forgotten is in no clock, and nobody could see
    /// that others lack what it wrote: it counts as over only, until all have agreed anew.
    pub(super) fn remember_retired(&mut self) {
        let known: BTreeMap<ReplicaId, Replica> = self
            .peers
            .values()
            .flat_map(|peer| peer.retired.values().map(|entry| (entry.replica.id, entry.replica.clone())))
            .collect();
        let ids: BTreeSet<ReplicaId> =
            self.shards.iter().flat_map(|shard| shard.retired().map(|dot| dot.actor)).collect();
        for id in ids.into_iter().filter(|id| !self.roster.is_retired(*id)).collect::<Vec<_>>() {
            match known.get(&id) {
                Some(replica) => {
                    self.enrol(RosterEntry { replica: replica.clone(), left: true });
                }
                None if self.roster.get(id).is_some() => {}
                None => continue,
            }
            self.shards.iter_mut().for_each(|shard| shard.unretire(id));
        }
    }

    fn tell_retired(&mut self) {
        let retired = Message::Retired(self.roster.retired_entries());
        self.broadcast(retired);
    }

    /// What a peer has forgotten is in its books no more.
    pub(super) fn retired_by(&mut self, now: Now, from: PeerId, entries: Vec<RetiredEntry>) {
        if entries.iter().any(|entry| entry.replica.id == self.id()) {
            let theirs = self.peers.get(&from).map(|peer| peer.roster.clone()).unwrap_or_default();
            self.accused(now, from, &theirs);
            return;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        for entry in &entries {
            peer.known.retire(entry.replica.id);
            peer.sent.retire(entry.replica.id);
            if let Some(saved) = &mut peer.saved {
                saved.retire(entry.replica.id);
            }
        }
        peer.retired_told = true;
        peer.retired = Arc::new(entries.into_iter().map(|entry| (entry.replica.id, entry)).collect());
        let peers = &self.peers;
        self.traces.dropped.retain(|id| peers.values().any(|peer| peer.retired.contains_key(id)));
        self.succeed_predecessors();
        if !self.is_fresh() {
            self.retire_dead(now);
        }
    }

    /// Lets go of forgotten processes of which nothing is stored anywhere any more: nothing can ask about them.
    pub(super) fn drop_traces(&mut self, now: Now, shard: ShardId, stable: Option<&Clock>) {
        let time = self.clock.time(now);
        let old = |at: UnixMillis| time.since(at) >= self.config.forget_after_millis;
        let candidates: Vec<ReplicaId> = self
            .roster
            .retired()
            .iter()
            .filter(|(id, retired)| old(retired.at) && self.is_forgotten_by_all(**id))
            .map(|(id, _)| *id)
            .collect();
        // A disk may hold what everybody else has let go of, and bring it back.
        self.traces.disks_seen |= self.disk.is_some() || self.peers.values().any(|peer| peer.saved.is_some());
        if self.traces.disks_seen || self.is_overlay() {
            return;
        }
        self.traces.gone.retain(|id, _| candidates.contains(id));
        self.drop_strays(shard);
        if candidates.is_empty() {
            return;
        }
        let stored = self.shard(shard).stored_authors();
        let clock = self.shard(shard).clock().clone();
        for id in candidates {
            let shards = self.traces.gone.entry(id).or_default();
            if stored.contains(&id) {
                shards.remove(&shard);
                continue;
            }
            let gone = shards.entry(shard).or_insert_with(|| Gone::Here(clock.clone()));
            if let (Gone::Here(then), Some(stable)) = (&*gone, stable)
                && then.dots.iter().all(|(author, counter)| {
                    *counter <= stable.get(author) || self.roster.is_retired(*author)
                })
            {
                *gone = Gone::Everywhere;
            }
            let done = shards.values().filter(|gone| matches!(gone, Gone::Everywhere)).count();
            if done == self.shards.len() {
                self.drop_retired(id);
            }
        }
    }

    /// Every other member has forgotten it as well, or never knew it.
    fn is_forgotten_by_all(&self, id: ReplicaId) -> bool {
        let mut others = self.roster.living().filter(|member| member.id != self.id());
        others.all(|member| {
            let report = self.peers.get(&member.id).and_then(|peer| peer.report.as_ref());
            report.is_some_and(|report| report.roster.iter().all(|entry| entry.replica.id != id))
        })
    }

    fn drop_retired(&mut self, id: ReplicaId) {
        self.roster.drop_retired(id);
        self.shards.iter_mut().for_each(|shard| shard.drop_retired(id));
        self.traces.gone.remove(&id);
        self.traces.dropped.insert(id);
        self.tell_retired();
    }

    /// A state from somebody who has not let go yet may have brought some back.
    fn drop_strays(&mut self, shard: ShardId) {
        let strays: Vec<ReplicaId> = self.shard(shard).retired().map(|dot| dot.actor).collect();
        for id in strays {
            if self.traces.dropped.contains(&id) {
                self.shard_mut(shard).drop_retired(id);
            }
        }
    }

    /// Whom it has forgotten.
    #[cfg(any(test, feature = "mutants"))]
    pub(crate) fn retired_ids(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.roster.retired().keys().copied()
    }

    /// Says once more whom it has forgotten.
    pub(super) fn introduce_retired_to(&mut self, to: PeerId) {
        let retired = Message::Retired(self.roster.retired_entries());
        self.outbox.push_back(Output::Send(to, Arc::new(retired)));
    }
}
