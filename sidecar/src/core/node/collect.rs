//! Collection: what may go once everyone knows, and only then.
//!
//! "Everyone" is the closure of the rosters that the members report, the dead predecessors of restarted nodes among
//! them: the latest report of each name is not enough (semantics finding 22). Everything that leaves the store
//! leaves it by an operation; only residue and the log, which no digest counts, go silently.

use std::collections::BTreeMap;

use super::Node;
use super::peer::Report;
use crate::core::identity::{Clock, Dot, LifeId, ObjectId, ReplicaId, ShardId};
use crate::core::mutant::Rule;
use crate::core::op::{Action, Removal};
use crate::core::stored::Stored;
use crate::core::time::{Now, UnixMillis};

/// Operations that one look at a shard may author.
const OPS_PER_SWEEP: usize = 1_000;

/// Logs that one sweep shortens.
const LOGS_PER_SWEEP: usize = 16;

/// The naive grace period of a mutant, in milliseconds.
const NAIVE_GRACE_MILLIS: u64 = 6_000;

/// What everyone is known to know of one shard.
pub(super) struct Evidence {
    /// Within every member's clock.
    pub(super) stable: Clock,
    /// Every member has reported a time as late as this, with a clock that ours covers.
    pub(super) time: Option<UnixMillis>,
}

impl Node {
    /// Looks at the next shard for what can be collected.
    pub(super) fn sweep(&mut self, now: Now) {
        let shard = self.sweep_next;
        self.sweep_next = ShardId(shard.0.wrapping_add(1));
        if self.is_fresh() || self.is_returning() {
            return;
        }
        self.end_probation();
        self.trim_logs(now);
        self.sweep_past();
        let evidence = self.evidence(now, shard);
        self.collect_residue(shard, evidence.as_ref());
        self.fold(now, shard, evidence.as_ref());
        self.note_memory(shard);
        if self.mutants.lacks(Rule::LocalPurge) {
            self.purge_locally(now, shard);
        }
        self.collect_ended(now, shard, evidence.as_ref());
    }

    /// Sees to what has ended. Most of the time nothing can have, and then the objects are not read.
    fn collect_ended(&mut self, now: Now, shard: ShardId, evidence: Option<&Evidence>) {
        let time = self.clock.advance(now);
        let since = self.sweep_time.insert(shard, time).unwrap_or(time);
        let everyone = evidence.and_then(|evidence| evidence.time);
        let everyone = if self.mutants.lacks(Rule::GraceReap) { Some(time) } else { everyone };
        let expired = self.shard(shard).may_have_expired(time);
        let due = self.sweeps(shard) && self.shard(shard).may_be_due(everyone);
        #[cfg(test)]
        self.assert_nothing_is_missed(now, shard, evidence, (since, time), (expired, due));
        if expired {
            self.journal_expired(shard, since, time);
        }
        if due {
            for (object, action) in self.due(now, shard, evidence) {
                let stamp = self.clock.next_stamp(now, None);
                self.figures.expired += u64::from(matches!(action, Action::Destroy { .. }));
                self.author(now, stamp, object, action);
            }
        }
        if expired || due {
            self.shard_mut(shard).look_ahead(time);
        }
    }

    /// What is not looked at would have shown nothing.
    #[cfg(test)]
    fn assert_nothing_is_missed(
        &self,
        now: Now,
        shard: ShardId,
        evidence: Option<&Evidence>,
        (since, time): (UnixMillis, UnixMillis),
        (expired, due): (bool, bool),
    ) {
        assert!(
            expired || self.expired_between(shard, since, time).is_empty(),
            "{shard:?} has expired lives"
        );
        let missed = !due && self.sweeps(shard) && !self.due(now, shard, evidence).is_empty();
        assert!(!missed, "something is due in {shard:?}");
    }

    /// What everyone has needs no log entry. All logs are looked at within two seconds: what they hold after a burst of
    /// writes is room that nothing else can have.
    fn trim_logs(&mut self, now: Now) {
        let bytes_max = self.config.log_bytes_max;
        for _ in 0..LOGS_PER_SWEEP {
            let shard = self.trim_next;
            self.trim_next = ShardId(shard.0.wrapping_add(1));
            if self.shard(shard).log_size().0 == 0 {
                continue;
            }
            if let Some(Evidence { stable, .. }) = self.evidence(now, shard) {
                self.shard_mut(shard).truncate_log(bytes_max, |dot| dot.counter <= stable.get(&dot.actor));
            }
            self.note_memory(shard);
        }
    }

    /// One linked member does the work of all. Where two think they are it, both do it, which is only waste.
    pub(super) fn sweeps(&self, shard: ShardId) -> bool {
        if !self.writes() {
            return false;
        }
        let rank = |id: ReplicaId| (id.0 ^ u64::from(shard.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let me = rank(self.id());
        if self.is_overlay() {
            return self.members_up().all(|id| rank(id) <= me);
        }
        self.peers.iter().filter(|(_, peer)| peer.takes_ops()).all(|(id, _)| rank(*id) < me)
    }

    /// Those who watch are told that a life has expired, though it is destroyed only when everyone knows.
    fn journal_expired(&mut self, shard: ShardId, since: UnixMillis, time: UnixMillis) {
        for object in self.expired_between(shard, since, time) {
            self.journal.push(&object);
        }
    }

    fn expired_between(&self, shard: ShardId, since: UnixMillis, time: UnixMillis) -> Vec<ObjectId> {
        let ended = |ends| since < ends && ends <= time;
        let objects = self.shard(shard).objects().iter();
        let expired =
            objects.filter(|stored| stored.object().lives.iter().any(|life| ended(life.lease.ends())));
        expired.map(Stored::id).collect()
    }

    /// An owner that has seen the cover goes on with another accumulator, and one that has left does not go on; but
    /// what it counted before that must be here.
    fn collect_residue(&mut self, shard: ShardId, evidence: Option<&Evidence>) {
        let (all_of_the_left_is_here, far) = (evidence.is_some(), self.is_overlay());
        let me = self.id();
        let peers = &self.peers;
        let roster = &self.roster;
        let ours = self.shards[shard.index()].clock().clone();
        self.shards[shard.index()].collect_residue(|owner, cover| {
            if owner == me {
                return true;
            }
            if roster.get(owner).is_some_and(|entry| entry.left) {
                return all_of_the_left_is_here;
            }
            if far {
                let has = |cover: &Dot| {
                    evidence.is_some_and(|known| known.stable.get(&cover.actor) >= cover.counter)
                };
                return cover.is_some_and(has);
            }
            let report = peers.get(&owner).and_then(|peer| peer.report.as_ref());
            report.is_some_and(|report| {
                cover.is_some_and(|cover| cover.counter <= report.saved_counter(shard, cover.actor))
                    && ours.get(&owner) >= report.clocks.counter(shard, owner)
            })
        });
    }

    /// The last word of every process that counts, ours aside; `None` while one has said nothing yet.
    pub(super) fn everyone(&self) -> Option<Vec<&Report>> {
        if self.mutants.lacks(Rule::FlatRoster) {
            let introduced = self.peers.values().filter(|peer| peer.introduced);
            return Some(introduced.filter_map(|peer| peer.report.as_ref()).collect());
        }
        let mut found: BTreeMap<ReplicaId, &Report> = BTreeMap::new();
        let mut todo: Vec<ReplicaId> = self.roster.needed().collect();
        while let Some(id) = todo.pop() {
            if id == self.id() || found.contains_key(&id) {
                continue;
            }
            if self.is_sealed(id) && self.mutants.lacks(Rule::DeadUncounted) {
                continue;
            }
            if self.is_sealed(id) {
                // Somebody's word is older than this departure, and need not contain what was handed over; or it may
                // have taken something from the dead since.
                return None;
            }
            let report = self.peers.get(&id)?.report.as_ref()?;
            found.insert(id, report);
            todo.extend(report.living.iter().copied());
        }
        Some(found.into_values().collect())
    }

    fn evidence(&mut self, now: Now, shard: ShardId) -> Option<Evidence> {
        if self.is_overlay() {
            return self.surveyed(shard);
        }
        let own_time = self.time_for_good(now);
        let everyone = self.everyone()?;
        let ours = self.shard(shard).clock();
        let nothing = Clock::default();
        let mut stable = ours.clone();
        if let Some(disk) = &self.disk {
            stable.lower_to(disk.saved.get(shard).unwrap_or(&nothing));
        }
        let mut time = Some(own_time);
        for report in everyone {
            if !report.clocks.get(shard).is_none_or(|clock| ours.covers(clock)) {
                return None;
            }
            stable.lower_to(report.clocks.get(shard).unwrap_or(&nothing));
            if let Some(saved) = &report.saved {
                stable.lower_to(saved.get(shard).unwrap_or(&nothing));
            }
            time = time.min(Some(report.time));
        }
        Some(Evidence { stable, time })
    }

    /// The operations that collection calls for in one shard.
    fn due(&self, now: Now, shard: ShardId, evidence: Option<&Evidence>) -> Vec<(ObjectId, Action)> {
        let mut due = Vec::new();
        for stored in self.shard(shard).objects().iter() {
            if due.len() >= OPS_PER_SWEEP {
                break;
            }
            let object = stored.object();
            let ended: Vec<LifeId> = object
                .lives
                .iter()
                .filter(|life| life.is_leased())
                .filter(|life| object.hides(life) || self.is_over(now, life.lease.ends(), evidence))
                .map(|life| life.id)
                .collect();
            if !ended.is_empty() {
                due.push((stored.id(), Action::Destroy { lives: ended, removal: Removal::default() }));
                continue;
            }
            let hides_nothing = !object.lives.iter().any(|life| object.hides(life));
            let barriers: Vec<Dot> = object
                .barriers()
                .iter()
                .map(|(barrier, _)| *barrier)
                .filter(|barrier| {
                    evidence.is_some_and(|known| barrier.counter <= known.stable.get(&barrier.actor))
                })
                .collect();
            if hides_nothing && !barriers.is_empty() {
                due.push((stored.id(), Action::Unbarrier { barriers }));
            }
        }
        due
    }

    /// Nobody can still see the life, so nobody can be using it: a fixed grace period is not enough, a partition can
    /// outlast it (semantics finding 9).
    fn is_over(&self, now: Now, ends: UnixMillis, evidence: Option<&Evidence>) -> bool {
        if self.mutants.lacks(Rule::GraceReap) {
            return self.clock.time(now) > ends.plus(NAIVE_GRACE_MILLIS);
        }
        evidence.and_then(|evidence| evidence.time).is_some_and(|time| time > ends)
    }

    /// The naive way: without an operation.
    fn purge_locally(&mut self, now: Now, shard: ShardId) {
        let time = self.clock.time(now);
        let expired: Vec<(ObjectId, LifeId)> = self
            .shard(shard)
            .objects()
            .iter()
            .flat_map(|stored| {
                let object = stored.object();
                let expired = object.lives.iter().filter(|life| life.expired(time));
                expired.map(|life| (stored.id(), life.id)).collect::<Vec<_>>()
            })
            .collect();
        for (id, life) in expired {
            self.shard_mut(shard).purge(&id, &life);
        }
    }
}
