//! Giving up a member, and what becomes of whoever was given up.
//!
//! A member that will not come back is given up by an operator: from then on the others wait for its word no more. Should it
//! come back all the same, or should a process find that a later one bears its name, what it holds may not be joined with
//! what the others hold: it stands still, says what it drops, and starts over, empty. So does who comes back with a disk that
//! a later process of its name has done without. Should two sides have given up each other, the one with fewer members yields.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::roster::{Roster, age};
use super::{Alarm, Node, Output};
use crate::core::command::KeptMember;
use crate::core::identity::{Dot, Replica};
use crate::core::message::{PeerId, RosterEntry};
use crate::core::mutant::Rule;
use crate::core::op::Op;
use crate::core::time::{MonoMicros, Now};

/// How long a process that was given up waits for the clocks of whoever told it, to know what they lack.
const STAND_DOWN_MILLIS: u64 = 2_000;

/// How long a superseded process tries to hand over what it holds to those who hear it still.
const HAND_OVER_MILLIS: u64 = 10_000;

/// Long after the driver has put another process in its place.
const NEVER_MICROS: u64 = 365 * 24 * 3_600 * 1_000_000;

/// Why a process must start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DroppedWhy {
    /// The others have given it up, or have gone on with a process of its name that had not its memory.
    Forgotten,
    /// A later process bears this node's name.
    Superseded,
}

/// What a process that starts over drops.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// Why.
    pub why: DroppedWhy,
    /// Who said so: a node's name.
    pub told_by: String,
    /// Operations that were not shared, as far as they are logged.
    pub ops: Vec<Arc<Op>>,
    /// Operations that were not shared, in all.
    pub count: u64,
}

/// How this process stands with the others.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Others count on it under this stamp.
    admitted: bool,
    accused: Option<Accused>,
    over_since: Option<MonoMicros>,
    said_farewell: bool,
    /// The process whose memory this one has, and those that had it in between: the others may have given up any of them.
    carries: Vec<Replica>,
}

#[derive(Clone, Copy, Debug)]
struct Accused {
    by: PeerId,
    why: DroppedWhy,
    until: MonoMicros,
}

impl Standing {
    pub(super) fn is_over(&self) -> bool {
        self.over_since.is_some()
    }

    /// It must not take any more, or say that it serves.
    pub(super) fn is_accused(&self) -> bool {
        self.accused.is_some()
    }

    /// What it has may be shared with nobody: others have gone on without it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.accused.is_some_and(|accused| accused.why == DroppedWhy::Forgotten)
    }

    pub(super) fn say_farewell(&mut self) {
        self.said_farewell = true;
    }

    /// Its memory is that of these, the earliest first.
    pub(super) fn carry(&mut self, predecessors: Vec<Replica>) {
        self.carries = predecessors;
    }

    /// Those who had its memory before.
    pub(super) fn bearers(&self) -> &[Replica] {
        &self.carries
    }

    /// The earliest of them.
    pub(super) fn carried(&self) -> Option<&Replica> {
        self.carries.first()
    }

    /// Not all who could say that it was given up have said otherwise.
    pub(super) fn is_on_probation(&self) -> bool {
        !self.carries.is_empty()
    }

    /// All who could say so have let it in with what it carries.
    pub(super) fn has_shared(&mut self) {
        self.carries = Vec::new();
    }

    pub(super) fn deadline(&self) -> Option<MonoMicros> {
        self.over_since.map(|since| MonoMicros(since.0.saturating_add(NEVER_MICROS)))
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.admitted
    }

    pub(super) fn admit(&mut self) {
        self.admitted = true;
    }
}

impl Node {
    /// It may make operations: it has not said farewell, and nobody has gone on without it.
    pub(super) fn writes(&self) -> bool {
        let is_gone = self.standing.said_farewell && !self.mutants.lacks(Rule::LateWrites);
        !is_gone && !self.standing.is_accused()
    }

    /// Gives up a member that will not come back: from now on it counts as one that has left. Should it be alive all the
    /// same, where this node does not hear it, it starts over, and what only it had is dropped.
    ///
    /// # Errors
    /// When there is no such member, or no reason to give it up.
    pub fn give_up(&mut self, name: &str) -> Result<(), KeptMember> {
        if !self.serves() || self.leaving {
            return Err(KeptMember::NotReady);
        }
        let Some(entry) = self.roster.current().get(name).map(|entry| (*entry).clone()) else {
            return Err(KeptMember::Unknown);
        };
        if entry.left {
            return Ok(());
        }
        let id = entry.replica.id;
        let is_heard = self.alive.contains_key(&id) || self.peers.get(&id).is_some_and(|peer| peer.linked);
        if name == self.config.replica.node || is_heard {
            return Err(KeptMember::Alive);
        }
        self.count_out(entry.replica);
        Ok(())
    }

    /// It counts as a member no more, as if it had left.
    fn count_out(&mut self, replica: Replica) {
        self.enrol(RosterEntry { replica: replica.clone(), left: true });
        self.figures.forgotten += 1;
        self.alarm(Alarm::Forgotten { member: replica });
        self.broadcast_roster();
        self.check_all_waits();
    }

    /// Looks for what a peer's roster says of this process. Gives whether the rest of it is to be ignored.
    pub(super) fn is_disowned_by(&mut self, now: Now, from: PeerId, entries: &[RosterEntry]) -> bool {
        let me = self.config.replica.clone();
        let own = entries.iter().find(|entry| entry.replica.id == me.id);
        let given_up = |id| entries.iter().any(|entry| entry.replica.id == id && entry.left);
        let is_given_up = given_up(me.id) || self.standing.carries.iter().any(|carried| given_up(carried.id));
        if (is_given_up || self.was_done_without(entries)) && !self.leaving {
            self.accused(now, from, entries);
            return true;
        }
        let successor = entries.iter().any(|entry| {
            entry.replica.node == me.node && entry.replica.id != me.id && age(&entry.replica) > age(&me)
        });
        if successor && self.standing.admitted {
            self.stand_accused(now, from, DroppedWhy::Superseded);
        } else if own.is_some_and(|own| own.replica.started == me.started) {
            self.standing.admitted = true;
        }
        // Of whoever was forgotten here, nothing is news.
        self.has_left(from)
    }

    /// Whether others have counted as a member a later process of this name, which had not the memory that this one has. What
    /// they then found that everybody had, they found without it.
    fn was_done_without(&self, entries: &[RosterEntry]) -> bool {
        let Some(first) = self.standing.carried() else { return false };
        let bears = |id| self.standing.carries.iter().any(|bearer| bearer.id == id);
        // They may know of a later start: a process takes one that is later than all of its name that it hears of.
        let known = entries.iter().map(|entry| &entry.replica).find(|known| known.id == first.id);
        let first = known.unwrap_or(first);
        let others = entries.iter().map(|entry| &entry.replica).filter(|other| other.node == first.node);
        others.filter(|other| other.id != self.id() && !bears(other.id)).any(|other| age(other) > age(first))
    }

    /// Whether a peer may have what this process has. Who comes back with a disk is first told by the peer whom that counts
    /// as a member: perhaps the others have gone on without this memory.
    pub(super) fn may_share_with(&self, id: PeerId) -> bool {
        let has_spoken = || self.peers.get(&id).is_some_and(|peer| peer.has_named_members);
        !self.standing.is_forgotten() && (!self.standing.is_on_probation() || has_spoken())
    }

    /// A peer has forgotten this process. It yields, unless it has forgotten members of the other side as well and
    /// its own side is the larger one.
    pub(super) fn accused(&mut self, now: Now, from: PeerId, theirs: &[RosterEntry]) {
        if self.leaving {
            return;
        }
        let rivals = theirs.iter().any(|entry| {
            let id = entry.replica.id;
            !entry.left && id != self.id() && self.has_left(id)
        });
        if rivals && weight(&self.roster.entries()) > weight(theirs) {
            return;
        }
        self.stand_accused(now, from, DroppedWhy::Forgotten);
    }

    pub(super) fn stand_accused(&mut self, now: Now, by: PeerId, why: DroppedWhy) {
        let millis = match why {
            DroppedWhy::Forgotten => STAND_DOWN_MILLIS,
            DroppedWhy::Superseded => HAND_OVER_MILLIS,
        };
        let until = now.mono.plus_millis(millis);
        self.standing.accused.get_or_insert(Accused { by, why, until });
    }

    /// Puts out what is dropped, once it is known what the others lack, and says nothing more.
    pub(super) fn stand_down(&mut self, now: Now) {
        let Some(Accused { by, why, until }) = self.standing.accused else { return };
        // A successor is no reason to drop anything, as long as somebody hears this process.
        let handed_over = || why == DroppedWhy::Superseded && self.hand_over().held_by_nobody_else == 0;
        if self.standing.is_over() || until > now.mono && !handed_over() {
            return;
        }
        self.end_all_waits();
        let dropped = self.dropped(by, why);
        self.outbox.push_back(Output::StartOver(Box::new(dropped)));
        self.standing.over_since = Some(now.mono);
    }

    fn dropped(&self, by: PeerId, why: DroppedWhy) -> Dropped {
        let peer = self.peers.get(&by);
        let mut dropped = Dropped {
            why,
            told_by: peer.map(|peer| peer.replica.node.clone()).unwrap_or_default(),
            ops: Vec::new(),
            count: 0,
        };
        for shard in &self.shards {
            let known = match why {
                DroppedWhy::Forgotten => peer.and_then(|peer| peer.known.get(shard.id())).cloned(),
                DroppedWhy::Superseded => Some(self.kept_by_others(shard.id())),
            };
            let known = known.unwrap_or_default();
            for Dot { actor, counter } in shard.clock().beyond(&known) {
                dropped.count += counter - known.get(&actor);
            }
            dropped.ops.extend(shard.logged_beyond(&known));
        }
        dropped
    }
}

/// How much a side weighs: its members, and something that is never equal on both sides.
fn weight(entries: &[RosterEntry]) -> (usize, u64) {
    let roster = Roster::of(entries);
    let ids: Vec<u8> = roster.living().flat_map(|member| member.id.0.to_le_bytes()).collect();
    (roster.living().count(), xxh3_64(&ids))
}
